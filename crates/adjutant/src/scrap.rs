//! What is written beside its place and takes it when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::platform;

/// The path with more at the end of its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A name beside `path` for something that is not finished, which no other process gives.
pub(crate) fn beside(path: &Path, what: &str) -> PathBuf {
    with_suffix(path, &format!(".{what}-{}", std::process::id()))
}

/// A new file that only its owner can read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    platform::with_mode(options.write(true).create_new(true), 0o600).open(path)
}

/// A file that goes when its work is done, or was not.
#[derive(Debug)]
pub(crate) struct Scrap(PathBuf);

impl Scrap {
    /// Will be beside `path`.
    pub(crate) fn beside(path: &Path, what: &str) -> Self {
        Self(beside(path, what))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the file, for its owner only.
    pub(crate) fn create(&self) -> io::Result<File> {
        private_file(&self.0)
    }

    /// Flushes what was written to it, and gives it the name `place`.
    pub(crate) fn put_in_place(self, written: &File, place: &Path) -> io::Result<()> {
        written.sync_all()?;
        fs::rename(&self.0, place)?;
        match place.parent() {
            Some(folder) => platform::flush_folder(folder),
            None => Ok(()),
        }
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // It may have been renamed, or never made.
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_not_finished_is_gone_and_what_is_has_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a");
        let scrap = Scrap::beside(&place, "partial");
        scrap.create().unwrap().write_all(b"half").unwrap();
        assert!(!place.exists());
        drop(scrap);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let scrap = Scrap::beside(&place, "partial");
        let mut file = scrap.create().unwrap();
        file.write_all(b"whole").unwrap();
        scrap.put_in_place(&file, &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
