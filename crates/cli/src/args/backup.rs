//! Copies of everything.

use std::path::PathBuf;

use clap::Args;

use super::Removal;

/// Write everything of the state directory to one file, also while a gateway runs.
///
/// Conversations, memories, runs, settings, devices, the token and the folders in which agents work. Logs stay behind.
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
/// It is checked first. What is there now is moved aside, not deleted. Stop the gateway before.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant restore adjutant-2026-11-28.tar
  ADJUTANT_HOME=~/elsewhere adjutant restore adjutant-2026-11-28.tar")]
pub(crate) struct RestoreArgs {
    /// File that `adjutant backup` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) removal: Removal,
}
