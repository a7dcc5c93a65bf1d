//! Files on a system for which no walk by descriptor exists yet: refused, not approximated.

use std::path::{Path, PathBuf};

use adjutant_ports::files::{
    FileContent, FileError, FileStat, Files, Listing, WalkLimits, WriteMode, Written,
};

/// Refuses everything on this operating system.
#[derive(Debug)]
pub struct Roots {
    workspace: PathBuf,
}

fn refused(path: &str) -> FileError {
    let source = std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "files beneath a directory cannot be confined on this operating system yet",
    );
    FileError::Io {
        path: path.to_owned(),
        source,
    }
}

impl Roots {
    /// Keeps the name of the workspace.
    ///
    /// # Errors
    /// None here.
    pub fn new(
        workspace: &Path,
        _allowed: &[PathBuf],
        _denied: &[PathBuf],
    ) -> Result<Self, FileError> {
        Ok(Self {
            workspace: workspace.to_path_buf(),
        })
    }
}

impl Files for Roots {
    fn read(&self, path: &str, _bytes_max: u64) -> Result<FileContent, FileError> {
        Err(refused(path))
    }

    fn write(&self, path: &str, _bytes: &[u8], _mode: WriteMode) -> Result<Written, FileError> {
        Err(refused(path))
    }

    fn list(&self, path: &str, _entries_max: usize) -> Result<Listing, FileError> {
        Err(refused(path))
    }

    fn walk(&self, path: &str, _limits: &WalkLimits) -> Result<Listing, FileError> {
        Err(refused(path))
    }

    fn stat(&self, path: &str) -> Result<FileStat, FileError> {
        Err(refused(path))
    }

    fn remove(&self, path: &str) -> Result<(), FileError> {
        Err(refused(path))
    }

    fn display_root(&self) -> PathBuf {
        self.workspace.clone()
    }
}
