//! A log file that begins anew when it is full and keeps a few old ones: `gateway.log`, `gateway.log.1`, …

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::platform::{folders_for_owner, for_owner};

/// A file with a bound. Readable by its owner only.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    bytes_max: u64,
    keep: u32,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// Opens the file for appending; missing folders are made.
    pub(super) fn open(path: &Path, bytes_max: u64, keep: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            make_folder(folder)?;
        }
        let open = Mutex::new(Open::at(path)?);
        Ok(Self {
            path: path.to_owned(),
            bytes_max,
            keep,
            open,
        })
    }

    /// A handle that writes whole lines.
    pub(super) fn writer(self: &std::sync::Arc<Self>) -> Writer {
        Writer {
            file: std::sync::Arc::clone(self),
        }
    }

    /// Hands everything to the disk. A log that cannot be flushed has nowhere to say so.
    pub(super) fn flush(&self) {
        self.guard().file.sync_data().unwrap_or_default();
    }

    fn guard(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.guard();
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if open.bytes != 0 && self.bytes_max < open.bytes.saturating_add(length) {
            self.rotate()?;
            *open = Open::at(&self.path)?;
        }
        open.file.write_all(line)?;
        open.bytes = open.bytes.saturating_add(length);
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        for n in (1..self.keep).rev() {
            rename_if_there(&self.old(n), &self.old(n + 1))?;
        }
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        rename_if_there(&self.path, &self.old(1))
    }

    fn old(&self, n: u32) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{n}"));
        self.path.with_file_name(name)
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let file = for_owner(&mut options).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// A folder for its owner only.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    folders_for_owner(&mut builder).create(folder)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes lines into a [`RotatingFile`].
pub(super) struct Writer {
    file: std::sync::Arc<RotatingFile>,
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.file.append(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_file_moves_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/a.log");
        let file = Arc::new(RotatingFile::open(&path, 10, 2).unwrap());
        for line in [
            "one\n",
            "two\n",
            "three\n",
            "four\n",
            "five\n",
            "six\n",
            "a long line\n",
            "end\n",
        ] {
            file.writer().write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join("logs").join(name)).ok();
        assert_eq!(read("a.log").as_deref(), Some("end\n"));
        assert_eq!(read("a.log.1").as_deref(), Some("a long line\n"));
        assert_eq!(read("a.log.2").as_deref(), Some("six\n"));
        assert_eq!(read("a.log.3"), None);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn an_existing_file_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "old\n").unwrap();
        let file = Arc::new(RotatingFile::open(&path, 100, 0).unwrap());
        file.writer().write_all(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }
}
