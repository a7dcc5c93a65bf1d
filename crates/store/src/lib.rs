//! The store contract in two databases. SQLite: one file, one writer thread. PostgreSQL: many processes, one database.
//! Every word kept in either.
//!
//! Never learns: what an entry means beyond [`adjutant_domain::run::project`], who may do what, or any network but the way to its database.
//!
//! Begin reading at [`Sqlite`] or [`Postgres`]; the writer's promises are in `writer.rs`, those of a transaction in
//! `postgres/tx.rs`, the runs in `sqlite/run.rs` and `postgres/run.rs`.

mod buckets;
mod bus;
mod config;
pub mod copy;
mod database;
mod error;
mod file;
mod health;
mod job;
mod leases;
mod lock;
mod migrate;
mod platform;
mod postgres;
mod reader;
mod sql;
mod sqlite;
mod steady;
mod tx;
mod work;
mod writer;

pub use bus::LocalBus;
pub use config::{Config, ConfigError};
pub use database::{database, url_of};
pub use error::OpenError;
pub use file::{FILE_NAME, quarantine, snapshot};
pub use lock::{Lock, LockError};
pub use postgres::{Postgres, PostgresBus, PostgresError, PostgresOptions};
pub use sqlite::Sqlite;

/// Version of the SQLite that is built in.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
