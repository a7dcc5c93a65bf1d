//! One file with everything of a state directory, taken while it is in use, and the way back (R23).
//!
//! The file is a tar archive: the first entry says what it is, then come the store as of one moment and every other file
//! as it lies there. The store is the SQLite file, or the rows of a server's database as lines. Locks, sockets and logs belong to a process, not to its owner, and stay behind. The archive holds the
//! token and the words of every conversation, so only its owner may read it.

mod command;
mod restore;
mod rows;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use adjutant_domain::time::Timestamp;
use adjutant_store::OpenError;

use crate::{daemon, platform};
pub(crate) use restore::restore;

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
pub(crate) struct Manifest {
    format: u32,
    /// Version of the program that wrote it.
    pub(crate) version: String,
    /// When, in milliseconds since 1970.
    pub(crate) at: Timestamp,
    /// The server and database whose rows are in it; none: the SQLite file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<String>,
}

/// Why there is no backup, or no way back from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The file system said no.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing to back up.
    #[error("there is no store in `{}`", home.display())]
    NoStore {
        /// The state directory.
        home: PathBuf,
    },
    /// The archive must not be inside of what it archives.
    #[error("`{}` lies in the state directory: the next backup would hold this one", path.display())]
    Inside {
        /// The file.
        path: PathBuf,
    },
    /// A file is there already.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be read or opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The rows of a server's database cannot be read, or not be put into another.
    #[error(transparent)]
    Rows(#[from] adjutant_store::copy::CopyError),
    /// Nobody says where the rows go.
    #[error("`{}` holds the rows of a PostgreSQL database, and nothing says which one they go to", path.display())]
    NoDatabase {
        /// The archive.
        path: PathBuf,
    },
    /// A database was named for an archive that holds a file.
    #[error("`{}` holds a SQLite file: there are no rows for a PostgreSQL database in it", path.display())]
    NoRows {
        /// The archive.
        path: PathBuf,
    },
    /// The settings in the archive cannot be used.
    #[error("the settings in `{}` cannot be used: {reason}", path.display())]
    Settings {
        /// The archive.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not an archive of ours, or a newer one.
    #[error("`{}` is no backup that this program can restore: {reason}", path.display())]
    Foreign {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What came out of the archive does not hold together.
    #[error("the store in `{}` is not whole: {finding} (and {more} more)", path.display())]
    Broken {
        /// The archive.
        path: PathBuf,
        /// The first finding.
        finding: String,
        /// How many more there are.
        more: usize,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

/// What was put into an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Files, the store among them.
    pub(crate) files: u64,
    /// Size of the archive in bytes.
    pub(crate) bytes: u64,
}

/// Whether the folders in which agents work are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workspaces {
    /// They are.
    With,
    /// They are not.
    Without,
}

/// Writes an archive of `home` to `file`. Nothing is at `file` before it is complete and on the disk.
#[cfg(test)]
pub(crate) fn create(
    home: &Path,
    file: &Path,
    workspaces: Workspaces,
    manifest: &Manifest,
) -> Result<Made, BackupError> {
    let image = Image::File;
    create_with(home, file, workspaces, manifest, &image)
}

/// What an archive holds of the store.
#[derive(Debug)]
pub(crate) enum Image {
    /// The SQLite file, of which a copy is made.
    File,
    /// Rows of a server's database, which were written there.
    Rows(Scrap),
}

/// Why `file` cannot be written, before anything is read for it.
pub(crate) fn check(home: &Path, file: &Path) -> Result<PathBuf, BackupError> {
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

/// Writes an archive with this image of the store.
pub(crate) fn create_with(
    home: &Path,
    file: &Path,
    workspaces: Workspaces,
    manifest: &Manifest,
    store: &Image,
) -> Result<Made, BackupError> {
    if matches!(store, Image::File) && !home.join(adjutant_store::FILE_NAME).exists() {
        return Err(BackupError::NoStore {
            home: home.to_owned(),
        });
    }
    let file = check(home, file)?;
    let folder = file.parent().unwrap_or(&file).to_owned();
    let partial = Scrap(beside(&file, "partial"));
    let made;
    let (image, name) = match store {
        Image::File => {
            made = Scrap(beside(&file, "store"));
            adjutant_store::snapshot(home, &made.0)?;
            (&made, adjutant_store::FILE_NAME)
        }
        Image::Rows(rows) => (rows, ROWS_NAME),
    };
    let out = private_file(&partial.0)?;
    let mut archive = Archive {
        tar: tar::Builder::new(io::BufWriter::new(out)),
        at: manifest.at,
        files: 0,
    };
    archive.manifest(manifest, &partial.0)?;
    archive.file(&image.0, Path::new(name))?;
    archive.folder(home, Path::new(""), workspaces, 0)?;
    let files = archive.files;
    let out = archive.tar.into_inner().map_err(io_error(&partial.0))?;
    let out = out
        .into_inner()
        .map_err(|error| io_error(&partial.0)(error.into_error()))?;
    out.sync_all().map_err(io_error(&partial.0))?;
    let bytes = out.metadata().map_err(io_error(&partial.0))?.len();
    fs::rename(&partial.0, &file).map_err(io_error(&file))?;
    platform::flush_folder(&folder).map_err(io_error(&folder))?;
    Ok(Made { files, bytes })
}

impl Manifest {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self {
            format: FORMAT_FILE,
            version: crate::VERSION.to_owned(),
            at,
            database: None,
        }
    }

    /// Of an archive with the rows of a server's database.
    pub(crate) fn of_rows(at: Timestamp, database: String) -> Self {
        Self {
            format: FORMAT_ROWS,
            database: Some(database),
            ..Self::new(at)
        }
    }
}

/// A file that goes when its work is done, or was not.
#[derive(Debug)]
pub(crate) struct Scrap(PathBuf);

impl Drop for Scrap {
    fn drop(&mut self) {
        // It may have been renamed, or never made.
        drop(fs::remove_file(&self.0));
    }
}

/// A name beside `file` for something that is not finished.
fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{what}-{}", std::process::id()));
    PathBuf::from(name)
}

/// A new file that only its owner can read.
fn private_file(path: &Path) -> Result<File, BackupError> {
    let mut options = OpenOptions::new();
    platform::with_mode(options.write(true).create_new(true), 0o600)
        .open(path)
        .map_err(io_error(path))
}

struct Archive<W: io::Write> {
    tar: tar::Builder<W>,
    at: Timestamp,
    files: u64,
}

impl<W: io::Write> Archive<W> {
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
        let content = file.chain(io::repeat(0)).take(bytes);
        self.tar
            .append_data(&mut header, name, content)
            .map_err(io_error(from))?;
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use adjutant_domain::id::{OwnerId, SessionKey};
    use adjutant_ports::store::SessionStore as _;
    use adjutant_store::{Config, LocalBus, Sqlite};

    use super::*;
    use crate::doors::{OsEntropy, SystemClock};

    async fn home() -> (tempfile::TempDir, PathBuf, Arc<Sqlite>) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let store = open(&home);
        seat(&store, "agent:main:one").await;
        fs::write(home.join("token"), "secret").unwrap();
        fs::create_dir_all(home.join("workspace/notes")).unwrap();
        fs::write(home.join("workspace/notes/a.md"), "words").unwrap();
        fs::create_dir_all(home.join("logs")).unwrap();
        fs::write(home.join("logs/gateway.log"), "noise").unwrap();
        (dir, home, store)
    }

    fn open(home: &Path) -> Arc<Sqlite> {
        let clock = Arc::new(SystemClock::new());
        let bus = Arc::new(LocalBus::new());
        Sqlite::open(home, clock, bus, Arc::new(OsEntropy), Config::default()).unwrap()
    }

    async fn seat(store: &Sqlite, key: &str) {
        let key = SessionKey::parse(key).unwrap();
        store
            .open_session(&OwnerId::local(), &key, None, None)
            .await
            .unwrap();
    }

    fn manifest() -> Manifest {
        Manifest::new(Timestamp::from_millis(1_700_000_000_000))
    }

    #[tokio::test]
    async fn what_is_taken_while_the_store_is_in_use_comes_back_whole() {
        // covers: R23
        let (dir, home, store) = home().await;
        let file = dir.path().join("a.tar");
        let made = create(&home, &file, Workspaces::With, &manifest()).unwrap();
        assert_eq!(made.files, 3);
        seat(&store, "agent:main:later").await;
        drop(store);

        let back = restore(&home, &file, None).await.unwrap();
        let aside = back.aside.unwrap();
        assert!(aside.join("logs/gateway.log").exists());
        assert_eq!(fs::read_to_string(home.join("token")).unwrap(), "secret");
        let note = home.join("workspace/notes/a.md");
        assert_eq!(fs::read_to_string(note).unwrap(), "words");
        assert!(!home.join("logs").exists());
        let store = open(&home);
        let n = store.count_sessions(&OwnerId::local()).await.unwrap();
        assert_eq!(n, 1, "as of the moment of the backup");
        #[cfg(unix)]
        for private in [&file, &home.join("token")] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(private).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", private.display());
        }
    }

    #[tokio::test]
    async fn workspaces_can_stay_behind_and_nothing_is_overwritten() {
        let (dir, home, _store) = home().await;
        let file = dir.path().join("a.tar");
        let made = create(&home, &file, Workspaces::Without, &manifest()).unwrap();
        assert_eq!(made.files, 2);
        let again = create(&home, &file, Workspaces::With, &manifest());
        assert!(matches!(again, Err(BackupError::Exists { .. })));
        let inside = create(&home, &home.join("b.tar"), Workspaces::With, &manifest());
        assert!(matches!(inside, Err(BackupError::Inside { .. })));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "no scraps: {left:?}");
    }

    #[tokio::test]
    async fn a_store_that_is_in_use_is_not_replaced() {
        let (dir, home, _store) = home().await;
        let file = dir.path().join("a.tar");
        create(&home, &file, Workspaces::With, &manifest()).unwrap();
        let refused = restore(&home, &file, None).await;
        assert!(
            matches!(refused, Err(BackupError::Store(OpenError::Locked(_)))),
            "{refused:?}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// An archive with these entries after a good first one.
    fn archive(path: &Path, entries: &[(&str, tar::EntryType)]) {
        let mut archive = Archive {
            tar: tar::Builder::new(File::create(path).unwrap()),
            at: Timestamp::default(),
            files: 0,
        };
        archive.manifest(&manifest(), path).unwrap();
        for (name, kind) in entries {
            let mut header = archive.header(1, 0o600);
            header.set_entry_type(*kind);
            // `set_path` refuses what a liar would write.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.tar.append(&header, b"x".as_slice()).unwrap();
        }
        archive.tar.finish().unwrap();
    }

    #[tokio::test]
    async fn an_archive_cannot_write_outside_or_bring_links() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let file = dir.path().join("a.tar");
        for (name, kind) in [
            ("../out", tar::EntryType::Regular),
            ("/tmp/out", tar::EntryType::Regular),
            ("a/../../out", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
            ("dev", tar::EntryType::Char),
        ] {
            archive(&file, &[(name, kind)]);
            let refused = restore(&home, &file, None).await;
            assert!(
                matches!(refused, Err(BackupError::Foreign { .. })),
                "{name}: {refused:?}"
            );
        }
        archive(&file, &[]);
        let empty = restore(&home, &file, None).await;
        assert!(
            matches!(empty, Err(BackupError::Foreign { .. })),
            "{empty:?}"
        );
        fs::write(&file, "not an archive").unwrap();
        let junk = restore(&home, &file, None).await;
        assert!(matches!(junk, Err(BackupError::Foreign { .. })), "{junk:?}");
        assert!(!home.exists() && fs::read_dir(dir.path()).unwrap().count() == 1);
    }

    #[tokio::test]
    async fn a_damaged_store_is_not_put_in_place() {
        let (dir, home, store) = home().await;
        drop(store);
        let file = dir.path().join("a.tar");
        fs::write(home.join("filler"), vec![0; 4096]).unwrap();
        create(&home, &file, Workspaces::With, &manifest()).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        // Within the pages of the store, behind its header.
        bytes[4_096..40_960].fill(0x5a);
        fs::write(&file, bytes).unwrap();
        assert!(restore(&home, &file, None).await.is_err());
        assert_eq!(fs::read_to_string(home.join("token")).unwrap(), "secret");
    }
}
