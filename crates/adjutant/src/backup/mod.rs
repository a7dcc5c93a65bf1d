//! One file with everything of a state directory, taken while it is in use, and the way back (R23).
//!
//! The file is a tar archive: the first entry says what it is, then come the store as of one moment and every other file
//! as it lies there. The store is the SQLite file, or the rows of a server's database as lines. Locks, sockets and logs
//! belong to a process, not to its owner, and stay behind. The archive holds the token and the words of every conversation,
//! so only its owner may read it.

mod command;
mod error;
mod restore;
mod rows;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use adjutant_domain::time::Timestamp;

use crate::scrap::Scrap;
use crate::{daemon, platform};
use error::{BackupError, io_error};

/// What the first entry is called.
const MANIFEST: &str = "adjutant-backup.json";
/// The format of archives with a SQLite file in them.
const FORMAT_FILE: u32 = 1;
/// The format of archives with the rows of a server's database in them.
const FORMAT_ROWS: u32 = 2;
/// What those rows are called in the archive: the lines of `adjutant db export`, with nothing left out.
const ROWS_NAME: &str = "adjutant-rows.jsonl";
/// Bytes of the first entry, at most.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
/// Folders within folders, at most.
const DEPTH_MAX: usize = 64;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Version of the program that wrote it.
    version: String,
    /// When, in milliseconds since 1970.
    at: Timestamp,
    /// The server and database whose rows are in it; none: the SQLite file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

/// What was put into an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    /// Files, the store among them.
    files: u64,
    /// Size of the archive in bytes.
    bytes: u64,
}

/// Whether the folders in which agents work are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workspaces {
    /// They are.
    With,
    /// They are not.
    Without,
}

/// What an archive holds of the store.
#[derive(Debug)]
enum Image {
    /// The SQLite file, of which a copy is made.
    File,
    /// Rows of a server's database, which were written there.
    Rows(Scrap),
}

/// Why `file` cannot be written, before anything is read for it.
fn check(home: &Path, file: &Path) -> Result<PathBuf, BackupError> {
    let file = std::path::absolute(file).map_err(io_error(file))?;
    let folder = file.parent().unwrap_or(&file).to_owned();
    let inside = |it: &Path| {
        Some(
            it.canonicalize()
                .ok()?
                .starts_with(home.canonicalize().ok()?),
        )
    };
    if inside(&folder).unwrap_or(false) {
        return Err(BackupError::Inside { path: file });
    }
    if file.exists() {
        return Err(BackupError::Exists { path: file });
    }
    Ok(file)
}

/// What is to be archived, and where.
struct Order {
    home: PathBuf,
    file: PathBuf,
    workspaces: Workspaces,
    manifest: Manifest,
    store: Image,
}

/// [`create`], until `stop`: what was begun is taken away before this returns.
async fn make(order: Order, stop: impl Future<Output = ()>) -> Result<Made, BackupError> {
    let work = move |is_stopped: &AtomicBool| create(&order, is_stopped);
    let (made, _is_stopped) = until_stopped(stop, work).await;
    made
}

/// Does `work` on a thread of its own, tells it when to stop, and waits for it in any case, since it writes. Also whether it
/// was told to stop; it may have come to its end all the same.
async fn until_stopped<T: Send + 'static>(
    stop: impl Future<Output = ()>,
    work: impl FnOnce(&AtomicBool) -> Result<T, BackupError> + Send + 'static,
) -> (Result<T, BackupError>, bool) {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let mut working = tokio::task::spawn_blocking({
        let is_stopped = Arc::clone(&is_stopped);
        move || work(&is_stopped)
    });
    let done = tokio::select! {
        biased;
        () = stop => {
            is_stopped.store(true, Ordering::Relaxed);
            working.await
        }
        done = &mut working => done,
    };
    let panicked = |error: tokio::task::JoinError| BackupError::Unchecked {
        reason: error.to_string(),
    };
    let done = done.map_err(panicked).flatten();
    (done, is_stopped.load(Ordering::Relaxed))
}

/// Writes an archive. Nothing is at its place before it is complete and on the disk.
fn create(order: &Order, is_stopped: &AtomicBool) -> Result<Made, BackupError> {
    let Order {
        home,
        file,
        workspaces,
        manifest,
        store,
    } = order;
    if matches!(store, Image::File) && !home.join(adjutant_store::FILE_NAME).exists() {
        return Err(BackupError::NoStore {
            home: home.to_owned(),
        });
    }
    let file = check(home, file)?;
    let partial = Scrap::beside(&file, "partial");
    let made;
    let (image, name) = match store {
        Image::File => {
            made = Scrap::beside(&file, "store");
            adjutant_store::snapshot(home, made.path())?;
            (&made, adjutant_store::FILE_NAME)
        }
        Image::Rows(rows) => (rows, ROWS_NAME),
    };
    let wrong = || io_error(partial.path());
    let out = partial.create().map_err(wrong())?;
    let mut archive = Archive {
        tar: tar::Builder::new(io::BufWriter::new(out)),
        at: manifest.at,
        files: 0,
        is_stopped,
    };
    archive.manifest(manifest, partial.path())?;
    archive.file(image.path(), Path::new(name))?;
    archive.folder(home, Path::new(""), *workspaces, 0)?;
    archive.go_on()?;
    let files = archive.files;
    let out = archive.tar.into_inner().map_err(wrong())?;
    let out = out
        .into_inner()
        .map_err(|error| wrong()(error.into_error()))?;
    let bytes = out.metadata().map_err(wrong())?.len();
    partial.put_in_place(&out, &file).map_err(io_error(&file))?;
    Ok(Made { files, bytes })
}

impl Manifest {
    fn new(at: Timestamp) -> Self {
        Self {
            format: FORMAT_FILE,
            version: crate::VERSION.to_owned(),
            at,
            database: None,
        }
    }

    /// Of an archive with the rows of a server's database.
    fn of_rows(at: Timestamp, database: String) -> Self {
        Self {
            format: FORMAT_ROWS,
            database: Some(database),
            ..Self::new(at)
        }
    }
}

struct Archive<'a, W: io::Write> {
    tar: tar::Builder<W>,
    at: Timestamp,
    files: u64,
    is_stopped: &'a AtomicBool,
}

/// What is read until somebody stops it.
struct Until<'a, R> {
    inner: R,
    is_stopped: &'a AtomicBool,
}

impl<R: Read> Read for Until<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        self.inner.read(into)
    }
}

impl<W: io::Write> Archive<'_, W> {
    fn go_on(&self) -> Result<(), BackupError> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(BackupError::Interrupted);
        }
        Ok(())
    }

    fn manifest(&mut self, manifest: &Manifest, path: &Path) -> Result<(), BackupError> {
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| io_error(path)(io::Error::other(error)))?;
        let mut header = self.header(text.len() as u64, 0o600);
        self.tar
            .append_data(&mut header, MANIFEST, text.as_slice())
            .map_err(io_error(path))
    }

    fn header(&self, bytes: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(mode);
        header.set_mtime(u64::try_from(self.at.as_millis() / 1_000).unwrap_or_default());
        header
    }

    fn file(&mut self, from: &Path, name: &Path) -> Result<(), BackupError> {
        let file = File::open(from).map_err(io_error(from))?;
        let metadata = file.metadata().map_err(io_error(from))?;
        let bytes = metadata.len();
        let mut header = self.header(bytes, platform::mode(&metadata).unwrap_or(0o600));
        // Somebody may be writing to it: what the header promised is what comes.
        let content = Until {
            inner: file.chain(io::repeat(0)).take(bytes),
            is_stopped: self.is_stopped,
        };
        let added = self.tar.append_data(&mut header, name, content);
        self.go_on()?;
        added.map_err(io_error(from))?;
        self.files += 1;
        Ok(())
    }

    fn folder(
        &mut self,
        folder: &Path,
        name: &Path,
        workspaces: Workspaces,
        depth: usize,
    ) -> Result<(), BackupError> {
        if depth > DEPTH_MAX {
            let deep = io::Error::other(format!("more than {DEPTH_MAX} folders deep"));
            return Err(io_error(folder)(deep));
        }
        let entries = fs::read_dir(folder).map_err(io_error(folder))?;
        let mut entries = entries
            .collect::<io::Result<Vec<_>>>()
            .map_err(io_error(folder))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let text = entry.file_name().to_string_lossy().into_owned();
            if depth == 0 && stays_behind(&text, workspaces) {
                continue;
            }
            let (from, name) = (entry.path(), name.join(entry.file_name()));
            let kind = entry.file_type().map_err(io_error(&from))?;
            if kind.is_dir() {
                self.folder(&from, &name, workspaces, depth + 1)?;
            } else if kind.is_file() {
                match self.file(&from, &name) {
                    // Gone since the folder was read.
                    Err(BackupError::Io { source, .. })
                        if source.kind() == io::ErrorKind::NotFound => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }
}

/// What belongs to a process, or is archived in another way.
fn stays_behind(name: &str, workspaces: Workspaces) -> bool {
    let before = name
        .strip_prefix(adjutant_store::FILE_NAME)
        .is_some_and(|rest| rest.starts_with(".before-") || rest.starts_with(".copying"));
    let store = name == adjutant_store::FILE_NAME
        || before
        || name == ROWS_NAME
        || ["-wal", "-shm", "-journal"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(adjutant_store::FILE_NAME));
    let work = ["workspace", "workspaces"].contains(&name) && workspaces == Workspaces::Without;
    let process = ["lock", "logs", daemon::SOCKET_FILE, daemon::PID_FILE].contains(&name);
    store || work || process || name.ends_with(".sock") || name.ends_with(".lock")
}

#[cfg(test)]
mod tests;
