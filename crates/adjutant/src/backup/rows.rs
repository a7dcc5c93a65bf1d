//! The store of an installation over PostgreSQL in an archive: its rows as lines, as of one moment, and the way back into
//! an empty database.

use std::fs::{self, File};
use std::future::Future;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use adjutant_domain::time::Timestamp;
use adjutant_ports::config::ConfigDoor as _;
use adjutant_store::PostgresOptions;
use adjutant_store::copy::{self, Database, Purpose, Selection};

use super::error::{BackupError, io_error, must_be_whole};
use super::{ROWS_NAME, check};
use crate::config::{Settings, Sources};
use crate::db;
use crate::scrap::Scrap;

/// The setting that names the database.
const SETTING: &str = "store.database_url";
/// The setting that names it for the connection that listens.
const LISTEN_SETTING: &str = "store.database_listen_url";

/// Writes everything of the database beside the archive that is to be. It holds salts and digests of tokens, as the archive
/// does.
pub(super) async fn save(
    home: &Path,
    file: &Path,
    options: PostgresOptions,
    now: Timestamp,
) -> Result<(String, Scrap), BackupError> {
    let file = check(home, file)?;
    let database = Database::Postgres(options);
    let rows = Scrap::beside(&file, "rows");
    let mut out = BufWriter::new(rows.create().map_err(io_error(rows.path()))?);
    copy::export(&database, &Selection::Everything, now, &mut out, &|_| {}).await?;
    out.flush().map_err(io_error(rows.path()))?;
    Ok((database.shown()?, rows))
}

/// The rows of an archive, and the database they go to.
pub(super) struct Rows {
    lines: Scrap,
    to: PostgresOptions,
    at: String,
    /// The settings that were changed, so that they name the database.
    pub(super) settings: Vec<&'static str>,
}

/// Takes the rows out of what was unpacked to `home`, finds the database they go to, and makes the settings in `home` name
/// it. The database has to be empty, and nobody may use it.
pub(super) async fn prepare(
    file: &Path,
    home: &Path,
    named: Option<&str>,
) -> Result<Rows, BackupError> {
    let unusable = |reason: String| BackupError::Settings {
        path: file.to_owned(),
        reason,
    };
    let mut sources = Sources::usual(home, Sources::process_variables());
    sources.file = home.join("config.toml");
    let settings = Settings::open(sources, home).map_err(|error| unusable(error.to_string()))?;
    let store = settings.current().tree.store.clone();
    let said = adjutant_store::database(&store, &db::variable);
    let (to, is_said) = match named {
        Some(text) => {
            let to = db::typed(text).map_err(|error| unusable(error.to_string()))?;
            let shown = |it: &PostgresOptions| it.shown().ok();
            let is_said = said.ok().flatten().as_ref().and_then(shown) == shown(&to);
            (to, is_said)
        }
        None => {
            let said = said.map_err(|error| unusable(error.to_string()))?;
            let to = said.ok_or_else(|| BackupError::NoDatabase {
                path: file.to_owned(),
            })?;
            (to, true)
        }
    };
    let lines = Scrap::beside(home, "rows");
    let unpacked = home.join(ROWS_NAME);
    fs::rename(&unpacked, lines.path()).map_err(io_error(&unpacked))?;
    let database = Database::Postgres(to.clone());
    db::must_be_unused(&database).await?;
    copy::check_target(&database).await?;
    let mut changed = Vec::new();
    if let Some(text) = named.filter(|_| !is_said) {
        let set = |key: &str, value| {
            let set = settings.set(key, value, None);
            set.map(drop).map_err(|error| unusable(error.to_string()))
        };
        set(SETTING, Some(text.into()))?;
        changed.push(SETTING);
        // It would go on listening at the database of before.
        if store.database_listen_url.is_some() {
            set(LISTEN_SETTING, None)?;
            changed.push(LISTEN_SETTING);
        }
    }
    Ok(Rows {
        lines,
        at: database.shown()?,
        to,
        settings: changed,
    })
}

impl Rows {
    /// The database, for people.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    fn lines(&self) -> Result<BufReader<File>, BackupError> {
        let path = self.lines.path();
        Ok(BufReader::new(File::open(path).map_err(io_error(path))?))
    }

    /// Puts the rows into the database.
    pub(super) async fn fill(
        &self,
        purpose: Purpose,
        stop: impl Future<Output = ()>,
    ) -> Result<(), BackupError> {
        let to = Database::Postgres(self.to.clone());
        copy::import(self.lines()?, &to, purpose, &|_| {}, stop).await?;
        Ok(())
    }

    /// Checks the database that was filled from `file`.
    pub(super) async fn check(&self, file: &Path) -> Result<(), BackupError> {
        let found = db::check_server(self.to.clone()).await;
        let found = found.map_err(|failure| BackupError::Unchecked {
            reason: failure.message,
        })?;
        must_be_whole(file, &found.findings)
    }

    /// What went wrong after the rows were there. `ready` is the state directory that goes with them.
    pub(super) fn filled(
        &self,
        home: &Path,
        ready: Option<PathBuf>,
        source: BackupError,
    ) -> BackupError {
        BackupError::Filled {
            at: self.at.clone(),
            ready,
            home: home.to_owned(),
            source: Box::new(source),
        }
    }
}
