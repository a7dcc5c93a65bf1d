//! Where canvases are kept: a folder a session, beneath the state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adjutant_domain::id::SessionId;
use adjutant_gateway::CanvasFolders;
use adjutant_ports::files::{FileError, FileScope, Files};

/// The folder that holds the folders.
pub(crate) struct CanvasDir(PathBuf);

impl CanvasDir {
    pub(crate) fn beneath(home: &Path) -> Self {
        Self(home.join("canvas"))
    }

    fn of(&self, session: SessionId) -> PathBuf {
        self.0.join(session.to_string())
    }
}

fn unusable(path: &Path, source: std::io::Error) -> FileError {
    FileError::Io {
        path: path.display().to_string(),
        source,
    }
}

impl CanvasFolders for CanvasDir {
    fn open(&self, session: SessionId) -> Result<Arc<dyn Files>, FileError> {
        let workspace = self.of(session);
        crate::platform::folders(0o700)
            .recursive(true)
            .create(&workspace)
            .map_err(|error| unusable(&workspace, error))?;
        adjutant_sandbox::paths::open(&FileScope {
            workspace,
            allowed_dirs: Vec::new(),
            denied: Vec::new(),
        })
    }

    fn remove(&self, session: SessionId) -> Result<(), FileError> {
        let folder = self.of(session);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(unusable(&folder, error))
            }
            _ => Ok(()),
        }
    }
}
