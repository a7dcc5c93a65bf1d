//! Who holds the lock of a state directory, without taking it.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::platform::{file_number, is_alive};

/// Who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is free.
    Nobody,
    /// A live process.
    Somebody {
        /// Its number, if it said so.
        pid: Option<u32>,
    },
}

/// Looks at the lock of `home`.
pub(super) fn holder(home: &Path) -> Holder {
    let path = home.join("lock");
    let Ok(file) = File::open(&path) else {
        return Holder::Nobody;
    };
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<u32>().ok());
    // The kernel's own list first: trying the lock would, for a moment, keep a gateway from starting.
    if pid.is_some_and(|pid| !is_alive(pid)) {
        return Holder::Nobody;
    }
    if let (Some(pid), Ok(metadata)) = (pid, file.metadata())
        && is_listed(pid, file_number(&metadata))
    {
        return Holder::Somebody { pid: Some(pid) };
    }
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Holder::Somebody { pid },
        // Closing the file gives the lock back.
        Ok(()) | Err(TryLockError::Error(_)) => Holder::Nobody,
    }
}

#[cfg(target_os = "linux")]
fn is_listed(pid: u32, inode: u64) -> bool {
    std::fs::read_to_string("/proc/locks").is_ok_and(|text| lists(&text, pid, inode))
}

#[cfg(not(target_os = "linux"))]
fn is_listed(_pid: u32, _inode: u64) -> bool {
    false
}

/// Reads lines like `1: FLOCK  ADVISORY  WRITE 1234 08:01:131090 0 EOF`.
#[cfg(target_os = "linux")]
fn lists(text: &str, pid: u32, inode: u64) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", owner, file, ..] = words.as_slice() else {
            return false;
        };
        let same_file = file.rsplit(':').next().and_then(|it| it.parse().ok()) == Some(inode);
        same_file && owner.parse() == Ok(pid)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernels_list_is_understood() {
        let text = "1: POSIX  ADVISORY  WRITE 7 08:01:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 7 00:2a:99 0 EOF\n";
        assert!(lists(text, 7, 99));
        assert!(!lists(text, 7, 5) && !lists(text, 8, 99));
    }

    #[test]
    fn a_lock_file_of_a_dead_process_is_free() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "999999999\n\n").unwrap();
        assert_eq!(holder(dir.path()), Holder::Nobody);
    }

    #[test]
    fn looking_does_not_take_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        drop(adjutant_store::Lock::acquire(dir.path()).unwrap());
        assert_eq!(holder(dir.path()), Holder::Nobody);
        let _lock = adjutant_store::Lock::acquire(dir.path()).unwrap();
        assert_eq!(
            holder(dir.path()),
            Holder::Somebody {
                pid: Some(std::process::id())
            }
        );
    }
}
