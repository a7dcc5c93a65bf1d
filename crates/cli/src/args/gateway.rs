//! The processes: first steps, gateway, workers, logs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RouteArgs;

/// Set up: choose a provider, make the token, write the configuration.
///
/// The key is taken from the provider's usual environment variable and never written into the configuration. Can be run
/// again; what exists is kept.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant setup
  adjutant setup --non-interactive --provider offline
  ANTHROPIC_API_KEY=… adjutant setup --non-interactive --provider anthropic --model claude-sonnet-4-5")]
pub(crate) struct SetupArgs {
    /// Ask nothing; every answer is a flag or a default.
    #[arg(long)]
    pub(crate) non_interactive: bool,
    /// The folder the agent works in.
    #[arg(long, value_name = "DIR")]
    pub(crate) agent_workspace: Option<PathBuf>,
    /// How much the agent may do, 1 to 5.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) trust_level: Option<u8>,
    #[command(flatten)]
    pub(crate) route: RouteArgs,
}

/// See it work: a guided minute in a throwaway folder, without key or network.
///
/// Reads real files, asks before it writes, runs a sandboxed command, remembers, is killed in the middle of a tool call
/// and resumes; then shows the run's log, cost and decisions.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant demo
  adjutant demo --yes                       without a terminal")]
pub(crate) struct DemoArgs {
    /// Keep the folder afterwards and say where it is.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// The gateway process.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Run in the foreground, log to stdout.
    #[command(after_help = "EXAMPLES:
  adjutant gateway run
  adjutant gateway run --port 18790 --workers 4")]
    Run(GatewayRunArgs),
    /// Start in the background and wait until it is ready.
    #[command(after_help = "EXAMPLES:
  adjutant gateway start")]
    Start(GatewayRunArgs),
    /// Stop the running gateway; runs go on after the next start.
    #[command(after_help = "EXAMPLES:
  adjutant gateway stop")]
    Stop,
    /// Stop and start again.
    #[command(after_help = "EXAMPLES:
  adjutant gateway restart")]
    Restart(GatewayRunArgs),
    /// Show whether a gateway runs, where and since when.
    #[command(after_help = "EXAMPLES:
  adjutant gateway status
  adjutant gateway status --json")]
    Status,
    /// Show the fingerprint of the gateway's TLS certificate, for `--tls-fingerprint` on other machines.
    #[command(after_help = "EXAMPLES:
  adjutant gateway fingerprint")]
    Fingerprint,
    /// Show the gateway's log.
    Logs(LogsArgs),
    /// Start the gateway at every login (systemd user unit, launchd agent).
    #[command(after_help = "EXAMPLES:
  adjutant gateway install")]
    Install,
    /// Undo `gateway install`.
    #[command(after_help = "EXAMPLES:
  adjutant gateway uninstall --dry-run
  adjutant gateway uninstall --yes")]
    Uninstall {
        #[command(flatten)]
        removal: super::Removal,
    },
}

/// Where a gateway listens and how many workers it has.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GatewayRunArgs {
    /// Port to listen on.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<String>,
    /// Workers in this process; 0 leaves the work to `worker run`.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u16>,
}

/// Show the gateway's log.
#[derive(Debug, Clone, Args)]
#[command(after_help = "EXAMPLES:
  adjutant logs --follow
  adjutant gateway logs --lines 200")]
pub(crate) struct LogsArgs {
    /// Go on printing what is added.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with this many lines.
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
    pub(crate) lines: u32,
}

/// Workers.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Run a worker in the foreground, against the store of this state directory.
    #[command(after_help = "EXAMPLES:
  adjutant worker run
  adjutant worker run --parallel 4")]
    Run {
        /// Runs at the same time.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        parallel: Option<u16>,
    },
    /// Show workers and what they do.
    #[command(after_help = "EXAMPLES:
  adjutant worker status")]
    Status,
}
