//! The store of an installation over PostgreSQL in an archive: its rows as lines, as of one moment, and the way back into
//! an empty database.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use adjutant_domain::time::Timestamp;
use adjutant_ports::config::ConfigDoor as _;
use adjutant_store::PostgresOptions;
use adjutant_store::copy::{self, Database, Selection};

use super::{BackupError, ROWS_NAME, Scrap, beside, check, io_error, private_file};
use crate::config::{Settings, Sources};
use crate::db;

/// The setting that names the database.
const SETTING: &str = "store.database_url";

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
    let rows = Scrap(beside(&file, "rows"));
    let mut out = BufWriter::new(private_file(&rows.0)?);
    copy::export(&database, &Selection::Everything, now, &mut out, &|_| {}).await?;
    out.flush().map_err(io_error(&rows.0))?;
    Ok((database.shown()?, rows))
}

/// Puts the rows that were unpacked into an empty database, checks it, and makes the settings beside them name it. Returns
/// which one it was.
pub(super) async fn fill(
    file: &Path,
    home: &Path,
    named: Option<&str>,
) -> Result<String, BackupError> {
    let unusable = |reason: String| BackupError::Settings {
        path: file.to_owned(),
        reason,
    };
    let mut sources = Sources::usual(home, Sources::process_variables());
    sources.file = home.join("config.toml");
    let settings = Settings::open(sources, home).map_err(|error| unusable(error.to_string()))?;
    let store = settings.current().tree.store.clone();
    let options = match named {
        Some(text) => db::typed(text).map_err(|error| unusable(error.to_string()))?,
        None => adjutant_store::database(&store, &db::variable)
            .map_err(|error| unusable(error.to_string()))?
            .ok_or_else(|| BackupError::NoDatabase {
                path: file.to_owned(),
            })?,
    };
    let to = Database::Postgres(options.clone());
    let at = to.shown()?;
    let rows = home.join(ROWS_NAME);
    let lines = BufReader::new(File::open(&rows).map_err(io_error(&rows))?);
    copy::import(lines, &to, &|_| {}).await?;
    let found = db::check_server(options)
        .await
        .map_err(|error| unusable(error.to_string()))?;
    if let Some((finding, more)) = found.findings.split_first() {
        return Err(BackupError::Broken {
            path: file.to_owned(),
            finding: format!("{finding}, now in {at}"),
            more: more.len(),
        });
    }
    if let Some(text) = named.filter(|text| store.database_url.as_deref() != Some(*text)) {
        settings
            .set(SETTING, Some(text.into()), None)
            .map_err(|error| unusable(error.to_string()))?;
    }
    fs::remove_file(&rows).map_err(io_error(&rows))?;
    Ok(at)
}
