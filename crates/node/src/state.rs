//! What a node leaves in its folder for others to see: how it stands, and what it was asked.

use std::fs::TryLockError;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::json;

use adjutant_domain::time::Timestamp;

use crate::credential::write_private;
use crate::platform::for_owner;

/// Lines kept of what was asked, before the older half goes.
const LINES_MAX: usize = 1_000;

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// Not running.
    Stopped,
    /// Dialling.
    Connecting {
        /// Why it is not connected, after a first failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody has to admit it at the gateway.
    #[serde(rename_all = "camelCase")]
    Pairing {
        /// What to approve, when the gateway said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Serving.
    Connected {
        /// The version of the protocol that was negotiated.
        protocol: u32,
    },
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Its name at the gateway: the hash of its key.
    pub node_id: String,
    /// Its name for people.
    pub name: String,
    /// The gateway.
    pub gateway: String,
    /// Its process.
    pub pid: u32,
    /// What it offers.
    pub commands: Vec<String>,
}

const STATUS_FILE: &str = "status.json";

/// How the node of `folder` stands, as far as it said; none when it never ran there.
///
/// # Errors
/// When the file cannot be read.
pub fn read_status(folder: &Path) -> std::io::Result<Option<Status>> {
    let text = match std::fs::read_to_string(folder.join(STATUS_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut status: Status = serde_json::from_str(&text)?;
    if !is_locked(folder) {
        status.phase = Phase::Stopped;
    }
    Ok(Some(status))
}

pub(crate) fn write_status(folder: &Path, status: &Status) {
    let written = serde_json::to_vec_pretty(status)
        .map_err(std::io::Error::from)
        .and_then(|bytes| write_private(&folder.join(STATUS_FILE), &bytes));
    if let Err(error) = written {
        tracing::warn!(%error, "the state of the node cannot be written");
    }
}

/// One node per folder: a second with the same key would push the first out at the gateway.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: std::fs::File,
}

impl Lock {
    /// None when another process holds it.
    pub(crate) fn take(folder: &Path) -> std::io::Result<Option<Self>> {
        let file = open_lock(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open_lock(folder: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    for_owner(&mut options).open(folder.join("lock"))
}

fn is_locked(folder: &Path) -> bool {
    let Ok(file) = std::fs::File::open(folder.join("lock")) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The node's own record of what it was asked, kept where the gateway cannot reach it.
pub(crate) struct Diary {
    path: PathBuf,
    lines: Mutex<usize>,
}

impl Diary {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join("invokes.jsonl");
        let lines = std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        Self {
            path,
            lines: Mutex::new(lines),
        }
    }

    /// Notes one request and how it ended. Parameters are not kept: they may be private.
    pub(crate) fn note(&self, at: Timestamp, command: &str, outcome: &str) {
        let line = json!({ "at": at, "command": command, "outcome": outcome });
        if let Err(error) = self.append(&line.to_string()) {
            tracing::warn!(%error, "the record of requests cannot be written");
        }
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if LINES_MAX <= *lines {
            std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            *lines = 0;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        let mut file = for_owner(&mut options).open(&self.path)?;
        writeln!(file, "{line}")?;
        *lines += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_status_without_a_process_behind_it_reads_as_stopped() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_status(dir.path()).unwrap(), None);
        let status = Status {
            phase: Phase::Connected { protocol: 4 },
            since: Timestamp::from_millis(5),
            node_id: "ab".to_owned(),
            name: "box".to_owned(),
            gateway: "ws://127.0.0.1:1/".to_owned(),
            pid: 7,
            commands: vec!["system.which".to_owned()],
        };
        write_status(dir.path(), &status);
        let lock = Lock::take(dir.path()).unwrap().unwrap();
        assert!(Lock::take(dir.path()).unwrap().is_none());
        assert_eq!(read_status(dir.path()).unwrap(), Some(status));
        drop(lock);
        assert_eq!(
            read_status(dir.path()).unwrap().unwrap().phase,
            Phase::Stopped
        );
    }

    #[test]
    fn the_diary_keeps_a_bounded_number_of_lines() {
        let dir = tempfile::tempdir().unwrap();
        let diary = Diary::open(dir.path());
        for _ in 0..LINES_MAX + 3 {
            diary.note(Timestamp::from_millis(1), "system.which", "ok");
        }
        let now = std::fs::read_to_string(dir.path().join("invokes.jsonl")).unwrap();
        assert_eq!(now.lines().count(), 3);
        assert_eq!(*Diary::open(dir.path()).lines.lock().unwrap(), 3);
    }
}
