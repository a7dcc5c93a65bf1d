//! Everything of one database in another, or as lines: a consistent snapshot, in batches, all or nothing.
//!
//! Begin reading at `plan.rs`, which says what is copied. A source reads within one snapshot and hands on batches
//! (`flow.rs`); a target takes them in one transaction, which is committed only after the last batch and a comparison of
//! the number of rows. So whatever is interrupted leaves a target as empty as it was.

mod error;
mod flow;
mod lines;
pub(crate) mod plan;
mod postgres;
mod sqlite;
mod status;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use adjutant_domain::time::Timestamp;

pub use error::CopyError;
pub use lines::{Header, LINES_FORMAT, Shape};
pub use status::{
    Schema, SchemaState, Server, Status, check_unused, migrate, migrations_pending, status,
};

use crate::postgres::PostgresOptions;
use flow::Source;

/// Rows by table.
pub type Counts = BTreeMap<String, u64>;

/// A database that can be looked at, copied from and copied to.
#[derive(Debug, Clone)]
pub enum Database {
    /// The file of that state directory. Who copies from or to it holds the directory's lock.
    Sqlite(PathBuf),
    /// A database of a server.
    Postgres(PostgresOptions),
}

impl Database {
    /// What it is: `sqlite` or `postgresql`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Where it is, for people: a path, or host and database without user and password.
    ///
    /// # Errors
    /// [`CopyError::Database`] when the URL cannot be read.
    pub fn shown(&self) -> Result<String, CopyError> {
        match self {
            Self::Sqlite(dir) => Ok(dir.join(crate::FILE_NAME).display().to_string()),
            Self::Postgres(options) => {
                let address = crate::postgres::Address::parse(&options.url)?;
                Ok(address.shown())
            }
        }
    }
}

/// Which rows are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// What an owner may carry away: no salts and digests of tokens, nothing of the installation.
    Data,
    /// Of that, these tables only.
    Tables(Vec<String>),
    /// All that another database needs to go on: as secret as the database itself.
    Everything,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<'a> {
    /// The table that is being read.
    pub table: &'a str,
    /// Rows of all tables until now.
    pub rows: u64,
}

/// Tables that can be asked for in an export.
#[must_use]
pub fn exported_tables() -> Vec<&'static str> {
    plan::TABLES
        .iter()
        .filter(|table| table.kind == plan::Kind::Owned)
        .map(|table| table.name)
        .collect()
}

/// Tables that a copy moves.
#[must_use]
pub fn copied_tables() -> Vec<&'static str> {
    plan::TABLES.iter().map(|table| table.name).collect()
}

/// Writes the rows of `from` as lines, as of one moment, also while others write to it.
///
/// # Errors
/// [`CopyError`]: the database cannot be read, has another schema than this program's, or the lines cannot be written.
pub async fn export(
    from: &Database,
    selection: &Selection,
    at: Timestamp,
    out: &mut (dyn Write + Send),
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
) -> Result<Counts, CopyError> {
    if let Selection::Tables(wanted) = selection {
        let known = exported_tables();
        if let Some(table) = wanted.iter().find(|it| !known.contains(&it.as_str())) {
            return Err(CopyError::NoSuchTable {
                table: table.clone(),
                known: known.join(", "),
            });
        }
    }
    let source = Source::start(from.clone(), selection.clone(), at);
    flow::run(source, flow::Target::Lines(lines::Writer(out)), seen).await
}

/// Copies everything of `from` into `to`, which must be empty; its schema is made or brought up to date first.
///
/// # Errors
/// [`CopyError`]: nothing is in `to` then but its schema.
pub async fn copy(
    from: &Database,
    to: &Database,
    at: Timestamp,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
) -> Result<Counts, CopyError> {
    let target = flow::Target::open(to).await?;
    let source = Source::start(from.clone(), Selection::Everything, at);
    flow::run(source, target, seen).await
}

/// Puts exported lines into `to`, which must be empty; its schema is made or brought up to date first.
///
/// # Errors
/// [`CopyError`]: nothing is in `to` then but its schema.
pub async fn import(
    lines: impl BufRead + Send + 'static,
    to: &Database,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
) -> Result<Counts, CopyError> {
    let target = flow::Target::open(to).await?;
    flow::run(Source::lines(lines), target, seen).await
}

/// Whether a copy could be put into `to`: it can be used, and nothing is in it. Changes nothing.
///
/// # Errors
/// [`CopyError::NotEmpty`], and all that keeps it from being looked at.
pub async fn check_target(to: &Database) -> Result<(), CopyError> {
    let found = status(to).await?;
    match found.schema.state {
        SchemaState::None => return Ok(()),
        SchemaState::Current | SchemaState::Behind => {}
        SchemaState::Newer | SchemaState::Foreign => {
            return Err(CopyError::Schema {
                at: found.at,
                found: found.schema.found,
                known: found.schema.known,
            });
        }
    }
    let left = match to {
        Database::Sqlite(_) => plan::LEFT_IN_SQLITE,
        Database::Postgres(_) => plan::LEFT_IN_POSTGRES,
    };
    let rows: Vec<(String, u64)> = found
        .tables
        .into_iter()
        .filter(|(table, n)| *n > 0 && !left.contains(&table.as_str()))
        .collect();
    if rows.is_empty() {
        Ok(())
    } else {
        Err(CopyError::NotEmpty {
            at: found.at,
            tables: rows,
        })
    }
}
