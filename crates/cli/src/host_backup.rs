//! What the terminal needs from the program around it to keep copies of everything.

use std::path::PathBuf;

use adjutant_domain::time::Timestamp;
use async_trait::async_trait;
use serde::Serialize;

use crate::failure::Failure;

/// Copies of the state directory.
#[async_trait]
pub trait Backups: Send + Sync {
    /// Writes everything of the state directory to one file, also while a gateway runs.
    ///
    /// # Errors
    /// [`Exit::NotFound`](crate::Exit::NotFound) when there is nothing yet, `Conflict` when the file exists.
    async fn backup(&self, options: BackupOptions) -> Result<BackupDone, Failure>;

    /// What a restore would do, after everything of it was done that changes nothing.
    ///
    /// # Errors
    /// As [`Backups::restore`].
    async fn restore_plan(&self, options: &RestoreOptions) -> Result<RestorePlan, Failure>;

    /// What a restore would put aside: the state directory, if there is one.
    ///
    /// # Errors
    /// When there is no place for a state directory.
    fn in_the_way(&self) -> Result<Option<PathBuf>, Failure>;

    /// Puts what is in a backup in the place of the state directory, which is moved aside.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) while a gateway runs; when the file is no backup, or not whole.
    async fn restore(&self, options: RestoreOptions) -> Result<RestoreDone, Failure>;
}

/// What is restored, and where its database goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The backup.
    pub file: PathBuf,
    /// The empty PostgreSQL database for a backup that was made of one, as a person typed it. None: what the settings in
    /// the backup say.
    pub database: Option<String>,
}

/// What to back up, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOptions {
    /// The file to write. None: a name with the date, in the current folder.
    pub file: Option<PathBuf>,
    /// Whether the folders in which agents work stay behind.
    pub without_workspaces: bool,
}

/// A backup that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupDone {
    /// The file.
    pub file: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Its size.
    pub bytes: u64,
    /// The PostgreSQL database whose rows are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// A backup that could be put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestorePlan {
    /// The state directory.
    pub home: PathBuf,
    /// Files that would come back.
    pub files: u64,
    /// When the backup was made.
    pub made_at: Timestamp,
    /// The version that made it.
    pub made_by: String,
    /// The PostgreSQL database that would be filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Settings in the backup that would be changed, so that they name it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<&'static str>,
    /// Whether there is a state directory that would be moved aside.
    pub replaces: bool,
}

/// A backup that was put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDone {
    /// The state directory.
    pub home: PathBuf,
    /// Files that came back.
    pub files: u64,
    /// When the backup was made.
    pub made_at: Timestamp,
    /// The version that made it.
    pub made_by: String,
    /// The PostgreSQL database that was filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Settings that were changed, so that they name it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<&'static str>,
    /// The database that is used all the same, because the environment or another settings file names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled_by: Option<String>,
    /// Where the state directory of before is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<PathBuf>,
}
