//! The processes: first steps, gateway, workers, logs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use adjutant_domain::id::Need;

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
  adjutant gateway run --port 18790 --workers 4
  adjutant gateway run --workers 0 --database-url env:DATABASE_URL")]
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
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// The database that several processes share.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseArgs {
    /// A PostgreSQL database instead of the SQLite file: `env:NAME` or `file:/path`, where its URL is, or a URL without a
    /// password.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
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
    /// Run a worker in the foreground, against the store of this state directory or a database that several share.
    ///
    /// SIGTERM or Ctrl-C: it takes no more runs, hands over what it has before the next step, and ends; whatever is under way
    /// after `worker.drain` (10 s) is dropped and goes on elsewhere from its log.
    #[command(after_help = "EXAMPLES:
  adjutant worker run
  adjutant worker run --parallel 4 --offers gpu,computer-use
  DATABASE_URL=postgresql://… adjutant worker run --database-url env:DATABASE_URL")]
    Run {
        /// Runs at the same time.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        parallel: Option<u16>,
        /// What it has for runs that need it, with commas; `machine:<host name>` it offers by itself.
        #[arg(long, value_name = "WHAT", value_delimiter = ',')]
        offers: Vec<Need>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Show workers and what they do.
    #[command(
        visible_alias = "status",
        after_help = "EXAMPLES:
  adjutant worker list
  adjutant worker list --json"
    )]
    List,
    /// Ask a worker to take no more runs, to hand over what it has, and to end.
    ///
    /// Nothing is lost or done twice: each run goes to another worker before its next step. To undo it, start the worker again.
    #[command(after_help = "EXAMPLES:
  adjutant worker drain wrk_01JD…
  adjutant worker drain studio              the only worker on that host
  adjutant worker drain studio --wait       until it is gone")]
    Drain {
        /// The worker: its id, the beginning or the end of it, or the name of a host that has only one.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// Wait until it has handed over everything and is gone.
        #[arg(long)]
        wait: bool,
    },
}
