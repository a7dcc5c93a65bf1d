//! One live owner per state directory (R14): a kernel lock, which dies with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::platform;

/// Name of the locked file.
const LOCK_NAME: &str = "lock";
/// Longest content that is read back.
const LOCK_BYTES_MAX: u64 = 1_024;
/// How often, and how far apart, a second start looks for the name of the first.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the directory cannot be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A live process owns it.
    #[error(
        "`{dir}` is in use by {}{}", pid.map_or_else(|| "another process".to_owned(), |p| format!("process {p}")),
        address.as_ref().map(|a| format!(" at {a}")).unwrap_or_default()
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// Its owner, if it said so.
        pid: Option<u32>,
        /// Where its owner can be reached, if it said so.
        address: Option<String>,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock `{path}`: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Ownership of a state directory, until dropped or dead.
#[derive(Debug)]
pub struct Lock {
    dir: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of `dir`, making the directory if there is none.
    ///
    /// # Errors
    /// [`LockError::Held`] within a quarter of a second, naming the owner; [`LockError::Unusable`].
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_NAME);
        let unusable = |source| LockError::Unusable {
            path: path.clone(),
            source,
        };
        make_private_dir(dir).map_err(unusable)?;
        let mut file = open_private(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(dir, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let mut lock = Self {
            dir: dir.to_owned(),
            file,
        };
        lock.write(None).map_err(unusable)?;
        Ok(lock)
    }

    /// Says where this process can be reached, for those who come second.
    ///
    /// # Errors
    /// When the file cannot be written; the lock is kept.
    pub fn announce(&mut self, address: &str) -> std::io::Result<()> {
        self.write(Some(address))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn write(&mut self, address: Option<&str>) -> std::io::Result<()> {
        let text = format!("{}\n{}\n", std::process::id(), address.unwrap_or_default());
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }
}

/// The owner writes its name right after it takes the lock, so an empty file is looked at again for a moment. Windows
/// lets nobody read a locked file: there the owner stays without a name.
fn held(dir: &Path, file: &mut File) -> LockError {
    for look in 0..LOOKS {
        let mut text = String::new();
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.take(LOCK_BYTES_MAX).read_to_string(&mut text));
        let mut lines = text.lines();
        if let (Ok(_), Some(pid)) = (read, lines.next().and_then(|line| line.parse().ok())) {
            let address = lines
                .next()
                .filter(|a| !a.is_empty())
                .map(ToOwned::to_owned);
            return LockError::Held {
                dir: dir.to_owned(),
                pid: Some(pid),
                address,
            };
        }
        if look + 1 < LOOKS {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    LockError::Held {
        dir: dir.to_owned(),
        pid: None,
        address: None,
    }
}

/// A directory that only its owner can enter, whatever the umask says (S48). One that was there is left as it is: it may
/// be shared on purpose, and the files in it are private by themselves.
pub(crate) fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    platform::close_folder(dir)
}

/// A file that only its owner can open, whatever the umask says (S48).
pub(crate) fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    platform::open_for_owner(&mut options, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // covers: R14
    #[test]
    fn a_second_start_is_told_who_is_first_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Lock::acquire(dir.path()).unwrap();
        first.announce("127.0.0.1:18789").unwrap();
        let begun = std::time::Instant::now();
        let second = Lock::acquire(dir.path()).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2));
        let text = second.to_string();
        assert!(
            text.contains(&std::process::id().to_string()) && text.contains("127.0.0.1:18789"),
            "{text}"
        );
        drop(first);
        Lock::acquire(dir.path()).unwrap();
    }

    // covers: R14
    #[test]
    fn a_dead_owner_never_blocks() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_NAME), "1\nsomewhere\n").unwrap();
        Lock::acquire(dir.path()).unwrap();
    }
}
