//! The way back: unpacked beside the state directory, checked, and only then put in its place.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::Clock as _;
use adjutant_ports::store::AuditStore as _;
use adjutant_store::{Config, LocalBus, Lock, OpenError, Sqlite};

use super::{
    BackupError, FORMAT_FILE, FORMAT_ROWS, MANIFEST, MANIFEST_BYTES_MAX, Manifest, ROWS_NAME,
    beside, io_error, private_file, rows,
};
use crate::doors::{OsEntropy, SystemClock};
use crate::platform;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    /// What the archive says of itself.
    pub(crate) manifest: Manifest,
    /// Files that were unpacked.
    pub(crate) files: u64,
    /// The server's database that was filled, if the archive holds the rows of one.
    pub(crate) database: Option<String>,
    /// Where the state directory of before is now; none if there was none.
    pub(crate) aside: Option<PathBuf>,
}

/// Puts what is in `file` in the place of `home`, which is moved aside. Nothing is deleted, and nothing changes unless the
/// store in the archive is whole. The rows of a server's database go into the empty one that `database` names, or else the
/// settings in the archive.
pub(crate) async fn restore(
    home: &Path,
    file: &Path,
    database: Option<&str>,
) -> Result<Restored, BackupError> {
    // Whoever uses it now must end first.
    let lock = match home.exists() {
        true => Some(Lock::acquire(home).map_err(OpenError::from)?),
        false => None,
    };
    let staging = Staging(beside(home, "restoring"));
    let (manifest, files) = unpack(file, &staging.0)?;
    let filled = if manifest.format == FORMAT_ROWS {
        Some(rows::fill(file, &staging.0, database).await?)
    } else if database.is_some() {
        return Err(BackupError::NoRows {
            path: file.to_owned(),
        });
    } else {
        check(file, &staging.0).await?;
        None
    };
    let now = SystemClock::new().now();
    let aside = match lock {
        Some(lock) => {
            let aside = free_name(home, now);
            // A directory that is open cannot be renamed everywhere.
            drop(lock);
            fs::rename(home, &aside).map_err(io_error(home))?;
            Some(aside)
        }
        None => None,
    };
    if let Err(source) = fs::rename(&staging.0, home) {
        if let Some(aside) = &aside {
            fs::rename(aside, home).map_err(io_error(aside))?;
        }
        return Err(io_error(home)(source));
    }
    if let Some(parent) = home.parent() {
        platform::flush_folder(parent).map_err(io_error(parent))?;
    }
    Ok(Restored {
        manifest,
        files,
        database: filled,
        aside,
    })
}

/// A folder that goes unless it was put in its place.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn free_name(home: &Path, now: Timestamp) -> PathBuf {
    let mut name = home.as_os_str().to_owned();
    name.push(format!(".before-restore-{}", now.as_millis()));
    PathBuf::from(name)
}

fn unpack(file: &Path, into: &Path) -> Result<(Manifest, u64), BackupError> {
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
    platform::folders(0o700)
        .create(into)
        .map_err(io_error(into))?;
    let (mut files, mut store) = (0, false);
    for entry in entries {
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
        let mut out = private_file(&path)?;
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
    match findings.split_first() {
        None => Ok(()),
        Some((finding, more)) => Err(BackupError::Broken {
            path: file.to_owned(),
            finding: finding.clone(),
            more: more.len(),
        }),
    }
}
