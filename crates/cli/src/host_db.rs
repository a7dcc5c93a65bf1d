//! What the terminal needs from the program around it to look after its database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Serialize;

use crate::failure::Failure;

/// Told after every batch: the table, and the rows of all tables until then.
pub type Seen<'a> = &'a (dyn Fn(&str, u64) + Send + Sync);

/// Databases of this installation. `which` is what a person typed: `sqlite`, `env:NAME`, `file:/path`, a URL; none: what the
/// settings say.
#[async_trait]
pub trait Databases: Send + Sync {
    /// What a database is, and what is in it.
    ///
    /// # Errors
    /// [`Exit::NotFound`](crate::Exit::NotFound) when there is none yet; when it cannot be reached or read.
    async fn db_status(&self, which: Option<String>) -> Result<DbStatus, Failure>;

    /// The migrations that wait, after everything was checked that can be without applying them.
    ///
    /// # Errors
    /// As [`Databases::db_migrate`]; when its schema is newer or of another program.
    async fn db_pending(&self, which: Option<String>) -> Result<DbPending, Failure>;

    /// Applies the migrations that wait.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) while a gateway uses the file; when the login may not.
    async fn db_migrate(
        &self,
        which: Option<String>,
        keeping: KeepCopy,
    ) -> Result<DbMigrated, Failure>;

    /// Writes rows as lines.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) when the file is there already.
    async fn db_export(&self, options: DbExport, seen: Seen<'_>) -> Result<DbExported, Failure>;

    /// What a copy would move.
    ///
    /// # Errors
    /// As [`Databases::db_copy`], as far as that can be told without it, or by rehearsing it.
    async fn db_copy_plan(
        &self,
        options: &DbCopy,
        rehearse: Rehearse,
        seen: Seen<'_>,
    ) -> Result<DbCopyPlan, Failure>;

    /// Copies everything, and checks the copy.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) while somebody uses the source, or when the target is not empty.
    async fn db_copy(&self, options: &DbCopy, seen: Seen<'_>) -> Result<DbCopied, Failure>;
}

/// Whether a SQLite file is copied before it is migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepCopy {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Whether a copy is tried out before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearse {
    /// Everything is moved, and taken back: what the copy would refuse is refused.
    Yes,
    /// It is not: the copy follows.
    No,
}

/// What a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DbKind {
    /// The file of the state directory.
    Sqlite,
    /// A database of a server.
    Postgresql,
}

impl DbKind {
    /// Its name for people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
        }
    }
}

/// A database as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbStatus {
    /// What it is.
    pub kind: DbKind,
    /// A path, or host and database; never user and password.
    pub at: String,
    /// Its schema.
    pub schema: DbSchema,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Rows by table.
    pub tables: BTreeMap<String, u64>,
    /// Who holds the state directory, if somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use_by: Option<String>,
    /// What a server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<DbServer>,
}

/// How the schema compares with this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DbSchemaState {
    /// There is none yet.
    None,
    /// The same.
    Current,
    /// Older: migrations wait.
    Behind,
    /// Of a newer program.
    Newer,
    /// Of another program.
    Foreign,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbSchema {
    /// How it compares.
    pub state: DbSchemaState,
    /// Its version.
    pub version: u32,
    /// The version of this program.
    pub known: u32,
    /// Names of the migrations that wait.
    pub pending: Vec<String>,
}

/// What a server says of itself and of the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbServer {
    /// Its version.
    pub version: String,
    /// The login's role.
    pub role: String,
    /// Whether row security does not bind that role.
    pub bypasses_row_security: bool,
    /// Whether that role may migrate the schema.
    pub owns_schema: bool,
    /// Roles of the program that it may not take.
    pub roles_missing: Vec<String>,
    /// Tables in the schema.
    pub tables: u64,
    /// Of those, tables with row security enabled and forced.
    pub tables_with_row_security: u64,
    /// Protocol and cipher; none: not encrypted.
    pub tls: Option<String>,
    /// Other connections to the database.
    pub connections: u64,
    /// One question and its answer, in microseconds.
    pub round_trip_micros: u64,
}

/// Migrations that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbPending {
    /// Where.
    pub at: String,
    /// What it is.
    pub kind: DbKind,
    /// The version of the schema; 0: there is none yet.
    pub version: u32,
    /// Their names, in order.
    pub pending: Vec<String>,
}

/// Migrations that were applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbMigrated {
    /// Where.
    pub at: String,
    /// Their names, in order.
    pub applied: Vec<String>,
    /// The copy of the file as it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<PathBuf>,
}

/// What is exported, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbExport {
    /// Which database.
    pub which: Option<String>,
    /// The file; none: stdout.
    pub out: Option<PathBuf>,
    /// These tables only; none: all.
    pub tables: Vec<String>,
    /// What becomes of a file that is there.
    pub existing: Existing,
}

/// What becomes of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and nothing is written.
    Keep,
    /// It is replaced, when the new one is complete.
    Replace,
}

/// An export that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbExported {
    /// The file; none: stdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Size in bytes.
    pub bytes: u64,
}

/// What is copied where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbCopy {
    /// Where from; none: the settings' database.
    pub from: Option<String>,
    /// Where to.
    pub to: String,
}

/// What a copy would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbCopyPlan {
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Rows by table, those that are copied.
    pub rows: BTreeMap<String, u64>,
}

/// A copy that was made and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbCopied {
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// What the check of the copy looked at, and how much of it.
    pub checked: BTreeMap<String, u64>,
    /// The command that makes the copy the one that counts.
    pub next: String,
}
