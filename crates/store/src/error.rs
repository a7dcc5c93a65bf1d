//! What went wrong in SQLite, in the words of the store contract.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use adjutant_ports::store::StoreError;

use crate::config::ConfigError;
use crate::lock::LockError;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory, or the lock file is unusable.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A setting is outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file system said no.
    #[error("cannot use `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is damaged, or is no database (R21). It was not touched.
    #[error(
        "`{path}` is damaged: {reason}. Restore a backup, or move the file aside to start empty; it is kept either way"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A newer program has written the file (R38). It was not touched.
    #[error(
        "`{path}` has schema version {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A migration in the file is not the one that this program has under the same number.
    #[error(
        "migration {number} of `{path}` is not the one this program has: the file comes from another program"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Which one.
        number: u32,
    },
    /// The disk is full or read-only, or SQLite failed in another way.
    #[error("cannot open `{path}`: {reason}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}

/// A failure inside a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// The contract says no.
    Store(StoreError),
}

pub(crate) type Done<T> = Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// Whether the connection may not be trusted any more: the disk, the file or the transaction is in doubt (R18).
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Sql(error) => outage(error).is_some(),
            Self::Store(_) => false,
        }
    }

    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(error) => match outage(&error) {
                Some(outage) => outage.into_store(),
                None => StoreError::Failed {
                    reason: error.to_string(),
                    source: Some(Box::new(error)),
                },
            },
        }
    }
}

/// A failure of the disk or the file, which everyone in the same transaction shares.
#[derive(Debug, Clone)]
pub(crate) enum Outage {
    /// Full, read-only, unplugged.
    Disk(String),
    /// Damaged.
    Damage(String),
    /// Held by another program for too long, out of memory, a bug.
    Other(String),
}

impl Outage {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        outage(error).unwrap_or_else(|| Self::Other(error.to_string()))
    }

    /// Whether the disk or the file is the reason, and not what was asked for.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::Damage(_))
    }

    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Disk(reason) => StoreError::Degraded { reason },
            Self::Damage(reason) => StoreError::Corrupt { reason },
            Self::Other(reason) => StoreError::Failed {
                reason,
                source: None,
            },
        }
    }
}

fn outage(error: &rusqlite::Error) -> Option<Outage> {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed => Some(Outage::Disk(error.to_string())),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Some(Outage::Damage(error.to_string()))
            }
            ErrorCode::OutOfMemory => Some(Outage::Other(error.to_string())),
            _ => None,
        },
        // Rows that we wrote and cannot read.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => Some(Outage::Damage(error.to_string())),
        _ => None,
    }
}

/// What SQLite said when the file was opened.
pub(crate) fn open_error(path: &std::path::Path, error: &rusqlite::Error) -> OpenError {
    match outage(error) {
        Some(Outage::Damage(reason)) => OpenError::Corrupt {
            path: path.to_owned(),
            reason,
        },
        _ => OpenError::Sqlite {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}
