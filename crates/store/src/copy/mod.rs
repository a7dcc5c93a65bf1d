//! Everything of one database in another, or as lines: a consistent snapshot, in batches, all or nothing.
//!
//! Begin reading at `plan.rs`, which says what is copied. A source reads within one snapshot and hands on batches
//! (`flow.rs`); a target takes them in one transaction, which is committed only after the last batch and a comparison of
//! the number of rows. So whatever is interrupted before the commit leaves a target as empty as it was, and the commit
//! itself is waited for.

mod error;
mod flow;
mod lines;
mod plan;
mod postgres;
mod side;
mod sqlite;
mod status;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use adjutant_domain::time::Timestamp;

pub use error::CopyError;
pub use lines::{Header, LINES_FORMAT, Shape};
pub use status::{
    Schema, SchemaState, Server, Status, check_target, check_unused, migrate, schema, status,
};

use crate::postgres::PostgresOptions;
pub use flow::Purpose;
use flow::{Source, Target};
use plan::Dialect;

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
        self.dialect().word()
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
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
    let mut lines = Target::Lines(lines::Writer(out));
    let counts = flow::fill(source, &mut lines, Purpose::Keep, seen).await?;
    lines.end(&counts).await?;
    Ok(counts)
}

/// Copies everything of `from` into `to`, which must be empty; its schema is made or brought up to date first. `stop` counts
/// until the target is asked to keep it.
///
/// # Errors
/// [`CopyError`]: nothing is in `to` then but its schema, except for [`CopyError::Unsure`].
pub async fn copy(
    from: &Database,
    to: &Database,
    at: Timestamp,
    purpose: Purpose,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
    stop: impl Future<Output = ()>,
) -> Result<Counts, CopyError> {
    let source = || Source::start(from.clone(), Selection::Everything, at);
    put(source, to, purpose, seen, stop).await
}

/// Puts exported lines into `to`, as [`copy`] does with what is in a database.
///
/// # Errors
/// [`CopyError`], as [`copy`].
pub async fn import(
    lines: impl BufRead + Send + 'static,
    to: &Database,
    purpose: Purpose,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
    stop: impl Future<Output = ()>,
) -> Result<Counts, CopyError> {
    put(|| Source::lines(lines), to, purpose, seen, stop).await
}

async fn put(
    source: impl FnOnce() -> Source,
    to: &Database,
    purpose: Purpose,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
    stop: impl Future<Output = ()>,
) -> Result<Counts, CopyError> {
    let moved = async {
        let state = check_target(to).await?;
        let mut target = match purpose {
            Purpose::Rehearse if !can_be_tried(state, to) => Target::Nowhere,
            Purpose::Keep | Purpose::Rehearse => Target::open(to).await?,
        };
        let counts = flow::fill(source(), &mut target, purpose, seen).await?;
        Ok((target, counts))
    };
    let (target, counts) = flow::unless(stop, moved).await?;
    if purpose == Purpose::Keep {
        // Not stopped from here on: of a commit that was sent and not waited for, nobody knows what became.
        target.end(&counts).await?;
    }
    Ok(counts)
}

/// Whether rows have a place in `to` without making a schema there: a file is filled beside its place.
fn can_be_tried(state: SchemaState, to: &Database) -> bool {
    match to {
        Database::Postgres(_) => state == SchemaState::Current,
        Database::Sqlite(dir) => dir.exists(),
    }
}
