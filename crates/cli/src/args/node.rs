//! This machine as a node.

use clap::{Args, Subcommand};

/// Lending this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Lend this machine to a gateway, in the foreground, until it is stopped.
    ///
    /// Without `--gateway` it is the gateway of this state directory. The first time, somebody has to admit the node at
    /// the gateway; it waits and says what to run there.
    #[command(after_help = "EXAMPLES:
  adjutant node run
  adjutant node run --gateway wss://home.example:18789 --token-file token --name studio
  adjutant node run --without system.run --without camera")]
    Run(NodeRunArgs),
    /// Lend this machine at every login (systemd user unit, launchd agent).
    #[command(after_help = "EXAMPLES:
  adjutant node install --gateway wss://home.example:18789 --token-file /etc/adjutant/token")]
    Install(NodeRunArgs),
    /// Show whether the node runs, where it is connected and what it offers.
    #[command(after_help = "EXAMPLES:
  adjutant node status
  adjutant node status --json")]
    Status,
    /// Undo `node install`. The device key stays.
    #[command(after_help = "EXAMPLES:
  adjutant node uninstall --dry-run
  adjutant node uninstall --yes")]
    Uninstall {
        #[command(flatten)]
        removal: super::Removal,
    },
}

/// What is lent, and under which name.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NodeRunArgs {
    /// The name people see; the machine's name if it is left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A command or family that is not offered, such as `system.run` or `camera`. Can be repeated.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) without: Vec<String>,
}
