//! What went wrong in PostgreSQL, in the words of the store contract.

use tokio_postgres::error::SqlState;

use adjutant_ports::store::StoreError;

/// A failure inside a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database said no, or nothing.
    Sql(tokio_postgres::Error),
    /// The pool has no connection to give.
    Pool(deadpool_postgres::PoolError),
    /// No answer in time.
    Late,
    /// The commit was sent and no answer came: it may have been done.
    Unknown,
    /// Somebody was first; the same work on what is there now may do.
    Again,
    /// A row that we wrote and cannot read.
    Unreadable(String),
    /// The contract says no.
    Store(StoreError),
}

pub(crate) type Done<T> = Result<T, Fault>;

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<deadpool_postgres::PoolError> for Fault {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    pub(crate) fn unreadable(index: usize, error: &dyn std::error::Error) -> Self {
        Self::Unreadable(format!("column {index} of a row cannot be read: {error}"))
    }

    /// Whether the same work may be done again: it was undone whole, and who was in the way is gone.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Again => true,
            Self::Sql(error) => match error.code() {
                Some(code) => {
                    [
                        SqlState::T_R_DEADLOCK_DETECTED,
                        SqlState::T_R_SERIALIZATION_FAILURE,
                        SqlState::UNIQUE_VIOLATION,
                        SqlState::ADMIN_SHUTDOWN,
                        SqlState::CRASH_SHUTDOWN,
                        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                        SqlState::CANNOT_CONNECT_NOW,
                    ]
                    .contains(code)
                        || is_connection(code)
                }
                None => true,
            },
            Self::Pool(deadpool_postgres::PoolError::Backend(error)) => {
                error.code().is_none_or(|code| {
                    is_connection(code)
                        || [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS]
                            .contains(code)
                })
            }
            Self::Pool(_) => false,
            Self::Late | Self::Unknown | Self::Unreadable(_) | Self::Store(_) => false,
        }
    }

    /// Whether the connection itself broke.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Self::Sql(error) => {
                error.is_closed() || error.code().is_none() || error.code().is_some_and(is_over)
            }
            Self::Late => true,
            _ => false,
        }
    }

    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Unreadable(reason) => StoreError::Corrupt { reason },
            Self::Late => failed("the database did not answer in time"),
            Self::Again => failed("somebody else was first, again and again"),
            Self::Unknown => {
                failed("the database went away during a commit; it may have been done")
            }
            Self::Pool(error) => match error {
                deadpool_postgres::PoolError::Backend(error) => of_sql(error),
                deadpool_postgres::PoolError::Timeout(_) => {
                    failed("no connection to the database was free in time")
                }
                _ => failed("the store is closed"),
            },
            Self::Sql(error) => of_sql(error),
        }
    }
}

fn failed(reason: &str) -> StoreError {
    StoreError::Failed {
        reason: reason.to_owned(),
        source: None,
    }
}

/// Class 08.
fn is_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
}

/// The server ended this connection.
fn is_over(code: &SqlState) -> bool {
    is_connection(code)
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::IDLE_SESSION_TIMEOUT,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(code)
}

/// The server's own words hold no parameters, so they may be shown; its details may hold some, so they stay out.
fn of_sql(error: tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        if error.is_closed() {
            return failed("the connection to the database was lost");
        }
        // The kinds that carry a value of ours are not among those that come this far, and the address is no secret.
        let reason = format!("the database cannot be used: {}", chain(&error));
        return StoreError::Failed {
            reason,
            source: None,
        };
    };
    let reason = format!("{} ({})", db.message(), db.code().code());
    match db.code().code() {
        // Disk full, out of memory, too many connections; read-only transaction.
        "53100" | "25006" => StoreError::Degraded { reason },
        "XX001" | "XX002" => StoreError::Corrupt { reason },
        _ => StoreError::Failed {
            reason: format!("the database said no: {reason}"),
            source: None,
        },
    }
}

/// An error and what is behind it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// Why the database cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The address is wrong. It is not repeated here: it may hold a password.
    #[error("the database URL cannot be used: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates cannot be used.
    #[error("TLS to the database cannot be set up: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
    /// The server cannot be reached, or said no.
    #[error("the database `{at}` cannot be used: {reason}")]
    Connect {
        /// Host and database, no user and no password.
        at: String,
        /// What it said.
        reason: String,
    },
    /// PostgreSQL 15 is the oldest that will do.
    #[error("the database `{at}` is version {found}; 15 or newer is needed")]
    TooOld {
        /// Host and database.
        at: String,
        /// What was found.
        found: String,
    },
    /// The role of the URL may not set up the schema.
    #[error(
        "the schema of `{at}` is missing or older than this program, and its role may not change it ({reason}): \
         run once with a role that may create a schema and roles, see docs/guide/postgresql.md"
    )]
    MayNotMigrate {
        /// Host and database.
        at: String,
        /// What it said.
        reason: String,
    },
    /// The role of the URL may not become the roles that the policies know.
    #[error(
        "the role of the URL may not become `{role}` in `{at}` ({reason}): grant it, see docs/guide/postgresql.md"
    )]
    Role {
        /// Host and database.
        at: String,
        /// Which.
        role: &'static str,
        /// What it said.
        reason: String,
    },
    /// A newer program has set up the schema (R38). It was not touched.
    #[error(
        "the schema of `{at}` has version {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// Host and database.
        at: String,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A migration there is not the one that this program has under the same number.
    #[error(
        "migration {number} of `{at}` is not the one this program has: the schema comes from another program"
    )]
    Foreign {
        /// Host and database.
        at: String,
        /// Which one.
        number: u32,
    },
    /// A setting is outside its range.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
}
