//! Why there is no copy.

use crate::error::{Fault as SqliteFault, OpenError};
use crate::postgres::{Fault as PostgresFault, PostgresError};

/// Why a database was not copied, exported or looked at. What is said names no password.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The SQLite file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The PostgreSQL database cannot be used.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// There is no store at all.
    #[error("there is no store in `{at}`")]
    Missing {
        /// Where.
        at: String,
    },
    /// Its schema is not this program's.
    #[error("the schema of `{at}` has version {found}, this program has {known}")]
    Schema {
        /// Where.
        at: String,
        /// Its version.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// There is something in the target.
    #[error("`{at}` is not empty: {}", listed(.tables))]
    NotEmpty {
        /// Where.
        at: String,
        /// Rows by table.
        tables: Vec<(String, u64)>,
    },
    /// Somebody works with it.
    #[error("`{at}` is in use: {who}")]
    InUse {
        /// Where.
        at: String,
        /// By whom.
        who: String,
    },
    /// A database has a table that the copier does not know.
    #[error("`{at}` has a table `{table}` that this program does not know how to copy")]
    UnknownTable {
        /// Where.
        at: String,
        /// Which.
        table: String,
    },
    /// The target has no place for something.
    #[error("`{at}` has no place for {what} of `{table}`")]
    NoPlace {
        /// Where.
        at: String,
        /// The table.
        table: String,
        /// Columns, or all of its rows.
        what: String,
    },
    /// The target needs columns that do not come.
    #[error("`{at}` needs columns of `{table}` that the source does not have: {columns}")]
    Incomplete {
        /// Where.
        at: String,
        /// The table.
        table: String,
        /// Which.
        columns: String,
    },
    /// A value that cannot be copied.
    #[error("`{table}`.`{column}` cannot be copied: {reason}")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why.
        reason: String,
    },
    /// Fewer or more rows arrived than were sent.
    #[error(
        "{sent} rows of `{table}` were sent and {found} are there: somebody else writes to the target"
    )]
    Counts {
        /// The table.
        table: String,
        /// Sent.
        sent: u64,
        /// Found.
        found: u64,
    },
    /// The database stopped answering, or said no.
    #[error("`{at}`: {reason}")]
    Failed {
        /// Where.
        at: String,
        /// What it said.
        reason: String,
    },
    /// The target did not answer the commit, or did not say that it is on the disk. Everything is there, or nothing.
    #[error("`{at}`: {reason}; what was sent is all there, or nothing of it")]
    Unsure {
        /// Where.
        at: String,
        /// What it said.
        reason: String,
    },
    /// It was stopped before the target was asked to keep anything.
    #[error("interrupted")]
    Interrupted,
    /// No such table can be exported.
    #[error("there is no table `{table}` to export; there are {known}")]
    NoSuchTable {
        /// What was asked for.
        table: String,
        /// What there is.
        known: String,
    },
    /// A line of an export cannot be used.
    #[error("line {line} cannot be used: {reason}")]
    Lines {
        /// Which, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The lines end before their last line.
    #[error("the lines end too early: they were cut")]
    Cut,
    /// The lines cannot be read.
    #[error("the lines cannot be read: {0}")]
    Input(#[source] std::io::Error),
    /// The lines cannot be written.
    #[error("the lines cannot be written: {0}")]
    Output(#[source] std::io::Error),
    /// The one who took the batches has gone, or the one who sent them panicked.
    #[error("the copy was stopped")]
    Stopped,
}

fn listed(tables: &[(String, u64)]) -> String {
    let shown: Vec<String> = tables
        .iter()
        .take(6)
        .map(|(table, n)| format!("{table} {n}"))
        .collect();
    let more = tables.len().saturating_sub(shown.len());
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{}, and {more} more tables", shown.join(", "))
    }
}

impl CopyError {
    pub(super) fn sqlite(at: &str) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let at = at.to_owned();
        move |error| Self::Failed {
            at: at.clone(),
            reason: SqliteFault::Sql(error).into_store().to_string(),
        }
    }

    pub(super) fn postgres(at: &str) -> impl Fn(tokio_postgres::Error) -> Self + use<> {
        let at = at.to_owned();
        move |error| Self::Failed {
            at: at.clone(),
            reason: PostgresFault::Sql(error).into_store().to_string(),
        }
    }
}
