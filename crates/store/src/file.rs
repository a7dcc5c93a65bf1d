//! The file: private, in WAL mode, opened the same way every time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use adjutant_domain::time::Timestamp;

use crate::error::{OpenError, Outage, open_error};
use crate::lock::{Lock, open_private};

/// Name of the database within the state directory.
pub const FILE_NAME: &str = "adjutant.db";

/// A page: a turn touches some forty of them for a few rows each, and every one is written whole. Half of it writes a third
/// less and costs a tenth more time (more pages to find, two system calls for each); twice as much writes half as much again.
/// Measure with `examples/measure.rs`. A file that was made with other pages keeps them.
const PAGE_BYTES: u32 = 1_024;
/// Page cache per connection (goal 11: idle memory), in KiB.
const CACHE_KIB: i32 = 2_000;
/// Statements that stay prepared per connection.
const STATEMENTS_MAX: usize = 160;
/// WAL pages after which a commit also moves pages into the database: 8 MiB. A page that many turns touched is moved once.
const CHECKPOINT_PAGES: u32 = 8_000;
/// Longest wait for another program that holds the file, such as a backup.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// The WAL file is cut back to this after a checkpoint.
const WAL_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// What the files of its log are called behind its own name.
const LOG_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// Makes the file if there is none. A fresh directory entry is flushed before anything is acknowledged.
pub(crate) fn make(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let fresh = !path.exists();
    drop(open_private(path).map_err(io)?);
    if fresh {
        sync_dir(path).map_err(io)
    } else {
        Ok(())
    }
}

/// Flushes the directory that holds `path`.
pub(crate) fn sync_dir(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(dir) => std::fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No mutex: a connection belongs to one thread. No create: `make` did it, and a lost file must not become a new one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Partial indexes make the planner look at bound values, and then every new value prepares the statement again.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

/// The one connection that writes.
pub(crate) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    // Counts only for a file without tables.
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_row| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // What the owner deletes is overwritten (invariant 15). Daily use deletes next to nothing, so this costs nothing.
    db.pragma_update_and_check(None, "secure_delete", true, |_row| Ok(()))?;
    db.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_row| Ok(()))?;
    db.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MAX, |_row| Ok(()))?;
    Ok(db)
}

/// A connection that reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Moves what the WAL holds into the database and flushes it there.
///
/// When a flush fails, the kernel may count what it could not write as written, and says so once only. What relaxed commits
/// left in the log before would then be a hole in it, in front of everything that is acknowledged later.
pub(crate) fn rescue(db: &Connection) -> Result<(), Outage> {
    match db.query_row("pragma wal_checkpoint(full)", [], |row| row.get(0)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Outage::Disk(
            "somebody reads from the log that is to be moved".to_owned(),
        )),
        Err(error) => Err(Outage::of(&error)),
    }
}

/// Moves what the WAL holds into the database and cuts the WAL to nothing; `false`: somebody still reads from it.
pub(crate) fn empty_wal(db: &Connection) -> bool {
    // Writers must not be kept waiting for a reader that takes its time.
    let moved = db.busy_timeout(Duration::ZERO).and_then(|()| {
        db.query_row("pragma wal_checkpoint(truncate)", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    let restored = db.busy_timeout(BUSY);
    matches!((moved, restored), (Ok(0), Ok(())))
}

/// Writes the database of `dir` to `into`, as of one moment, also while another process uses it. `into` must not exist, and
/// does not exist before it is whole and on the disk.
///
/// # Errors
/// [`OpenError`]: the database cannot be read, or the file not be made. Nothing is left of it then.
pub fn snapshot(dir: &Path, into: &Path) -> Result<(), OpenError> {
    let path = dir.join(FILE_NAME);
    let wrong = |error: rusqlite::Error| open_error(&path, &error);
    let io = |source| OpenError::Io {
        path: into.to_owned(),
        source,
    };
    if into.exists() {
        return Err(io(std::io::ErrorKind::AlreadyExists.into()));
    }
    let db = connect(&path).map_err(wrong)?;
    let partial = Partial::at(with_suffix(into, ".partial"))?;
    // Made first, so that only its owner can ever read it; the statement fills an empty file.
    drop(open_private(partial.path()).map_err(io)?);
    let name = partial
        .path()
        .to_str()
        .ok_or_else(|| io(std::io::Error::other("the name is not UTF-8")))?;
    db.execute("vacuum into ?", [name]).map_err(wrong)?;
    partial.put_in_place(into).map_err(io)
}

/// A database that is written beside its place, and goes with its log unless it was put there.
pub(crate) struct Partial(PathBuf);

impl Partial {
    /// Removes what an earlier try left there.
    pub(crate) fn at(path: PathBuf) -> Result<Self, OpenError> {
        remove(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Flushes it, which SQLite does not always do, and gives it its name.
    pub(crate) fn put_in_place(&self, at: &Path) -> std::io::Result<()> {
        open_private(&self.0)?.sync_all()?;
        std::fs::rename(&self.0, at)?;
        sync_dir(at)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The next try removes what is left.
        drop(remove(&self.0));
    }
}

/// Removes a file with its log, if it is there.
fn remove(path: &Path) -> Result<(), OpenError> {
    remove_log(path)?;
    remove_one(path.to_owned())
}

/// Removes the log of a file, if there is one.
pub(crate) fn remove_log(path: &Path) -> Result<(), OpenError> {
    LOG_SUFFIXES
        .into_iter()
        .try_for_each(|suffix| remove_one(with_suffix(path, suffix)))
}

fn remove_one(path: PathBuf) -> Result<(), OpenError> {
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// Moves a damaged database aside, so that the next start begins empty. Only at the owner's explicit wish; nothing is
/// deleted (R21). Returns where the file is now.
///
/// # Errors
/// [`OpenError::Io`] when a file cannot be moved.
pub fn quarantine(lock: &Lock, at: Timestamp) -> Result<PathBuf, OpenError> {
    let path = lock.dir().join(FILE_NAME);
    let aside = lock
        .dir()
        .join(format!("{FILE_NAME}.damaged-{}", at.as_millis()));
    for suffix in LOG_SUFFIXES.into_iter().chain([""]) {
        let (from, to) = (with_suffix(&path, suffix), with_suffix(&aside, suffix));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|source| OpenError::Io {
                path: from.clone(),
                source,
            })?;
        }
    }
    sync_dir(&path).map_err(|source| OpenError::Io {
        path: path.clone(),
        source,
    })?;
    Ok(aside)
}

/// The path with more at its end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// Opens the writer and names the file in whatever goes wrong.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    make(path)?;
    open_writer(path).map_err(|error| open_error(path, &error))
}
