//! The way back: unpacked beside the state directory, checked, and only then put in its place.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::Clock as _;
use adjutant_ports::store::AuditStore as _;
use adjutant_store::copy::Purpose;
use adjutant_store::{Config, LocalBus, Lock, OpenError, Sqlite};

use super::error::{BackupError, io_error, must_be_whole};
use super::rows::{self, Rows};
use super::{
    FORMAT_FILE, FORMAT_ROWS, MANIFEST, MANIFEST_BYTES_MAX, Manifest, ROWS_NAME, until_stopped,
};
use crate::doors::{OsEntropy, SystemClock};
use crate::scrap::{beside, private_file, with_suffix};
use crate::{daemon, platform};

/// What a restore did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restored {
    /// What the archive says of itself.
    pub(super) manifest: Manifest,
    /// Files that were unpacked.
    pub(super) files: u64,
    /// The server's database that was filled, if the archive holds the rows of one.
    pub(super) database: Option<String>,
    /// The settings that were changed, so that they name it.
    pub(super) settings: Vec<&'static str>,
    /// Where the state directory of before is now; none if there was none.
    pub(super) aside: Option<PathBuf>,
}

/// Puts what is in `file` in the place of `home`, which is moved aside. Nothing is deleted, and nothing changes unless the
/// store in the archive is whole. The rows of a server's database go into the empty one that `database` names, or else the
/// settings in the archive.
///
/// The order is the point. Everything that can fail is done before the rows count, the settings among it; then only the
/// check of the database and a rename are left. `stop` is asked for whenever something takes its time.
///
/// # Errors
/// [`BackupError`], which says what was changed if something was.
pub(super) async fn restore<S: Future<Output = ()>>(
    home: &Path,
    file: &Path,
    database: Option<&str>,
    stop: impl Fn() -> S,
) -> Result<Restored, BackupError> {
    // Whoever uses it now must end first.
    let lock = match home.exists() {
        true => Some(Lock::acquire(home).map_err(OpenError::from)?),
        false => None,
    };
    let ready = prepare(home, file, database, &stop).await?;
    let done = ready.would(home, SystemClock::new().now());
    let Ready { staging, rows, .. } = ready;
    if let Some(rows) = &rows {
        rows.fill(Purpose::Keep, stop()).await?;
        let checked = tokio::select! {
            biased;
            () = stop() => Err(BackupError::Interrupted),
            checked = rows.check(file) => checked,
        };
        if let Err(source) = checked {
            let is_of_use = !matches!(source, BackupError::Broken { .. });
            return Err(rows.filled(home, is_of_use.then(|| staging.keep()), source));
        }
    }
    // A directory that is open cannot be renamed everywhere.
    drop(lock);
    match (put_in_place(home, &staging, done.aside.as_deref()), &rows) {
        (Ok(()), _) => Ok(done),
        (Err(error @ BackupError::Unflushed { .. }), _) | (Err(error), None) => Err(error),
        (Err(error), Some(rows)) => Err(rows.filled(home, Some(staging.keep()), error)),
    }
}

/// Does everything of a [`restore`] that changes nothing, so that whatever it would refuse is refused.
///
/// # Errors
/// As [`restore`].
pub(super) async fn rehearse<S: Future<Output = ()>>(
    home: &Path,
    file: &Path,
    database: Option<&str>,
    stop: impl Fn() -> S,
) -> Result<Restored, BackupError> {
    daemon::must_be_free(home)?;
    let ready = prepare(home, file, database, &stop).await?;
    if let Some(rows) = &ready.rows {
        rows.fill(Purpose::Rehearse, stop()).await?;
    }
    Ok(ready.would(home, SystemClock::new().now()))
}

/// What was unpacked and found good.
struct Ready {
    manifest: Manifest,
    files: u64,
    staging: Staging,
    /// Those of a server's database, and where they go.
    rows: Option<Rows>,
}

impl Ready {
    fn would(&self, home: &Path, now: Timestamp) -> Restored {
        let aside = with_suffix(home, &format!(".before-restore-{}", now.as_millis()));
        Restored {
            manifest: self.manifest.clone(),
            files: self.files,
            database: self.rows.as_ref().map(|it| it.at().to_owned()),
            settings: self.rows.as_ref().map_or(vec![], |it| it.settings.clone()),
            aside: home.exists().then_some(aside),
        }
    }
}

/// Unpacks the archive beside `home`, and checks what can be checked of it and of where it goes.
async fn prepare<S: Future<Output = ()>>(
    home: &Path,
    file: &Path,
    database: Option<&str>,
    stop: &impl Fn() -> S,
) -> Result<Ready, BackupError> {
    let staging = Staging::make(beside(home, "restoring"))?;
    let (from, into) = (file.to_owned(), staging.0.clone());
    let work = move |is_stopped: &AtomicBool| unpack(&from, &into, is_stopped);
    let (unpacked, is_stopped) = until_stopped(stop(), work).await;
    if is_stopped {
        return Err(BackupError::Interrupted);
    }
    let (manifest, files) = unpacked?;
    let checked = async {
        if manifest.format == FORMAT_ROWS {
            return rows::prepare(file, &staging.0, database).await.map(Some);
        }
        if database.is_some() {
            return Err(BackupError::NoRows {
                path: file.to_owned(),
            });
        }
        check(file, &staging.0).await.map(|()| None)
    };
    let rows = tokio::select! {
        biased;
        () = stop() => return Err(BackupError::Interrupted),
        rows = checked => rows?,
    };
    Ok(Ready {
        manifest,
        files,
        staging,
        rows,
    })
}

/// Moves `home` to `aside`, if there is something, and what was unpacked to `home`.
pub(super) fn put_in_place(
    home: &Path,
    staging: &Staging,
    aside: Option<&Path>,
) -> Result<(), BackupError> {
    if let Some(aside) = aside {
        fs::rename(home, aside).map_err(io_error(home))?;
    }
    if let Err(source) = fs::rename(&staging.0, home) {
        if let Some(aside) = aside {
            fs::rename(aside, home).map_err(|source| BackupError::Aside {
                home: home.to_owned(),
                aside: aside.to_owned(),
                source,
            })?;
        }
        return Err(io_error(home)(source));
    }
    let flushed = home.parent().map_or(Ok(()), platform::flush_folder);
    flushed.map_err(|source| BackupError::Unflushed {
        home: home.to_owned(),
        source,
    })
}

/// A folder that goes unless it was put in its place.
pub(super) struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // It may have been renamed.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Staging {
    /// A new folder: one that is there already is nobody's to remove.
    pub(super) fn make(path: PathBuf) -> Result<Self, BackupError> {
        let made = platform::folders(0o700).create(&path);
        made.map_err(io_error(&path))?;
        Ok(Self(path))
    }

    /// It stays where it is.
    fn keep(mut self) -> PathBuf {
        // What is dropped then is no folder of anybody.
        std::mem::take(&mut self.0)
    }
}

fn unpack(
    file: &Path,
    into: &Path,
    is_stopped: &AtomicBool,
) -> Result<(Manifest, u64), BackupError> {
    let foreign = |reason: String| BackupError::Foreign {
        path: file.to_owned(),
        reason,
    };
    let source = File::open(file).map_err(io_error(file))?;
    let mut archive = tar::Archive::new(io::BufReader::new(source));
    let mut entries = archive.entries().map_err(io_error(file))?;
    let first = entries.next();
    let Some(Ok(first)) = first else {
        return Err(foreign("it is no tar archive".to_owned()));
    };
    let manifest = manifest_of(first).map_err(foreign)?;
    let (mut files, mut store) = (0, false);
    for entry in entries {
        if is_stopped.load(Ordering::Relaxed) {
            return Err(BackupError::Interrupted);
        }
        let mut entry = entry.map_err(|error| foreign(error.to_string()))?;
        let kind = entry.header().entry_type();
        let name = entry
            .path()
            .map_err(|error| foreign(error.to_string()))?
            .into_owned();
        let plain = name
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !kind.is_file() || !plain {
            return Err(foreign(format!(
                "`{}` does not belong there",
                name.display()
            )));
        }
        let wanted = match manifest.format {
            FORMAT_ROWS => ROWS_NAME,
            _ => adjutant_store::FILE_NAME,
        };
        store |= name == Path::new(wanted);
        let path = into.join(&name);
        if let Some(folder) = path.parent() {
            platform::folders(0o700)
                .recursive(true)
                .create(folder)
                .map_err(io_error(folder))?;
        }
        let mut out = private_file(&path).map_err(io_error(&path))?;
        io::copy(&mut entry, &mut out).map_err(|error| foreign(error.to_string()))?;
        let mode = entry.header().mode().unwrap_or(0o600);
        platform::set_file_mode(&out, mode & 0o700 | 0o600).map_err(io_error(&path))?;
        out.sync_all().map_err(io_error(&path))?;
        files += 1;
    }
    if store {
        Ok((manifest, files))
    } else {
        Err(foreign("there is no store in it".to_owned()))
    }
}

fn manifest_of(entry: tar::Entry<'_, impl io::Read>) -> Result<Manifest, String> {
    let named = entry.path().is_ok_and(|path| path == Path::new(MANIFEST));
    if !named {
        return Err(format!("it does not begin with `{MANIFEST}`"));
    }
    let mut text = String::new();
    entry
        .take(MANIFEST_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if [FORMAT_FILE, FORMAT_ROWS].contains(&manifest.format) {
        Ok(manifest)
    } else {
        Err(format!(
            "its format is {}, this program knows {FORMAT_ROWS}; version {} wrote it",
            manifest.format, manifest.version
        ))
    }
}

/// Opens the store where it was unpacked, brings it to this program's schema, and checks everything.
async fn check(file: &Path, home: &Path) -> Result<(), BackupError> {
    let clock = Arc::new(SystemClock::new());
    let bus = Arc::new(LocalBus::new());
    let store = Sqlite::open(home, clock, bus, Arc::new(OsEntropy), Config::default())?;
    let report = store.verify().await;
    drop(store);
    let findings = match report {
        Ok(report) => report.findings,
        Err(error) => vec![error.to_string()],
    };
    must_be_whole(file, &findings)
}
