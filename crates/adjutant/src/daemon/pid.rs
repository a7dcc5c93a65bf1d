//! What a running gateway says about itself, for those who do not talk to it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use adjutant_domain::time::Timestamp;

use crate::platform::with_mode;

/// Name of the file within the state directory.
pub(crate) const FILE_NAME: &str = "gateway.pid";

/// The file beside the lock. It is a courtesy: the lock is the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PidFile {
    /// The process.
    pub(crate) pid: u32,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<SocketAddr>,
    /// SHA-256 of the certificate its port showed at the start; none when it is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// Its socket file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket: Option<PathBuf>,
    /// Host and name of the database it works on, when that is not the SQLite file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
}

impl PidFile {
    /// Where it is.
    pub(crate) fn path(home: &Path) -> PathBuf {
        home.join(FILE_NAME)
    }

    /// What is written there; none when there is nothing, or nothing that can be read.
    pub(crate) fn read(home: &Path) -> Option<Self> {
        let bytes = std::fs::read(Self::path(home)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it, whole or not at all.
    pub(crate) fn write(&self, home: &Path) -> std::io::Result<()> {
        let path = Self::path(home);
        let new = path.with_extension("pid.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = with_mode(&mut options, 0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }

    /// Removes it, if it is this process that wrote it.
    pub(crate) fn remove_own(home: &Path) {
        let own = Self::read(home).is_some_and(|it| it.pid == std::process::id());
        if own && let Err(error) = std::fs::remove_file(Self::path(home)) {
            tracing::warn!(%error, "the process number file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_the_process_that_wrote_the_file_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = PidFile {
            pid: 1,
            address: None,
            fingerprint: None,
            socket: None,
            database: None,
            version: None,
            started_at: None,
        };
        file.write(dir.path()).unwrap();
        PidFile::remove_own(dir.path());
        assert_eq!(PidFile::read(dir.path()), Some(file.clone()));
        file.pid = std::process::id();
        file.write(dir.path()).unwrap();
        PidFile::remove_own(dir.path());
        assert_eq!(PidFile::read(dir.path()), None);
    }

    #[test]
    fn half_a_file_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(PidFile::path(dir.path()), "{\"pid\": 1").unwrap();
        assert_eq!(PidFile::read(dir.path()), None);
    }
}
