//! Copies of everything.

use std::path::PathBuf;

use clap::Args;

use super::Removal;

/// Write everything of the state directory to one file, also while a gateway runs.
///
/// Conversations, memories, runs, settings, devices, the token and the folders in which agents work; over PostgreSQL with
/// all rows of the database. Logs stay behind.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant backup
  adjutant backup /mnt/disk/adjutant.tar
  adjutant backup --without-workspaces --json")]
pub(crate) struct BackupArgs {
    /// File to write; `adjutant-<date>.tar` here without it.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Leave the folders in which agents work behind.
    #[arg(long)]
    pub(crate) without_workspaces: bool,
}

/// Put what is in a backup in the place of the state directory.
///
/// It is checked first. What is there now is moved aside, not deleted. Stop the gateway before. The rows of a backup that was
/// made over PostgreSQL go into an empty database.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant restore adjutant-2026-11-28.tar --dry-run
  adjutant restore adjutant-2026-11-28.tar
  ADJUTANT_HOME=~/elsewhere adjutant restore adjutant-2026-11-28.tar
  adjutant restore adjutant-2026-11-28.tar --database env:ADJUTANT_NEW_DB")]
pub(crate) struct RestoreArgs {
    /// File that `adjutant backup` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Empty PostgreSQL database for the rows of the backup, instead of the one its settings name: `env:NAME` or
    /// `file:/path` where its URL is, or a URL without a password. The restored settings are made to name it, unless they
    /// lead there anyhow.
    #[arg(long, value_name = "WHERE")]
    pub(crate) database: Option<String>,
    #[command(flatten)]
    pub(crate) removal: Removal,
}
