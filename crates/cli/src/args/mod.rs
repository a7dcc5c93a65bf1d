//! The command tree. What a person can type is written down here and nowhere else: help, completions, the man page and
//! the reference are made from it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use adjutant_domain::time::Span;

mod agents;
mod backup;
mod canvas;
mod db;
mod devices;
mod gateway;
mod node;
mod nodes;
mod settings;
mod talk;

pub(crate) use agents::*;
pub(crate) use backup::*;
pub(crate) use canvas::*;
pub(crate) use db::*;
pub(crate) use devices::*;
pub(crate) use gateway::*;
pub(crate) use node::*;
pub(crate) use nodes::*;
pub(crate) use settings::*;
pub(crate) use talk::*;

/// A personal AI agent that works under your policy, on your machine.
///
/// Without a command: sets itself up the first time, then opens a chat on a terminal and prints the status elsewhere.
#[derive(Debug, Parser)]
#[command(
    name = "adjutant",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "EXAMPLES:
  adjutant                                  set up, then chat
  adjutant run \"summarise notes/*.md\"       one task, the answer on stdout
  adjutant status --json                    for scripts

EXIT CODES:
  0 done · 1 failed · 2 usage · 3 not found · 4 denied or approval needed · 5 conflict
  6 gateway unreachable · 7 timeout · 8 partly done · 78 configuration · 130 interrupted"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use this configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ADJUTANT_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Talk to this gateway instead of the one of this state directory.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) gateway: Option<String>,
    /// SHA-256 of the TLS certificate of that gateway; no other is accepted.
    #[arg(long, global = true, value_name = "HEX", alias = "fingerprint")]
    pub(crate) tls_fingerprint: Option<String>,
    /// Read the gateway token from this file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print one JSON document (or JSON Lines for streams) on stdout, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Plain text: no colour, no formatting of Markdown.
    #[arg(long, global = true)]
    pub(crate) plain: bool,
    /// No colour (also `NO_COLOR`).
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Say only what was asked for.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for even more.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Give up after this time, as in `30s` or `10m`.
    #[arg(long, global = true, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// Do what was asked without asking back. Does not approve tool calls.
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
    /// Never ask, even on a terminal.
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Setup(SetupArgs),
    Demo(DemoArgs),
    Run(RunArgs),
    Chat(ChatArgs),
    /// Show whether a gateway runs, what it does, and what waits for you.
    #[command(after_help = "EXAMPLES:
  adjutant status
  adjutant status --json | jq .runs")]
    Status,
    /// Agents: who does the work, with which rights.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant agent list
  adjutant agent create --file researcher.yaml
  adjutant agent trust researcher 3"
    )]
    Agent(AgentCommand),
    /// Threads: conversations, kept until you delete them.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant thread list
  adjutant thread search \"invoice march\""
    )]
    Thread(ThreadCommand),
    /// Sessions: seats in conversations, one per surface.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant sessions list
  adjutant sessions reset agent:main:main"
    )]
    Sessions(SessionsCommand),
    /// Tools: what agents can do, and doing it yourself under the same policy.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant tool list
  adjutant tool call file_read path=notes.md"
    )]
    Tool(ToolCommand),
    /// Approvals: questions of agents, your answers, and lasting rules.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant approvals list
  adjutant approvals allow appr_01JD… --for 2h
  adjutant approvals rules test --json -- 'git status && rm -rf build'"
    )]
    Approvals(ApprovalsCommand),
    /// Memory: what agents remember.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant memory search \"coffee\"
  adjutant memory add \"The printer is on 192.168.1.20\""
    )]
    Memory(MemoryCommand),
    /// Devices: what may connect, as what.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant devices list
  adjutant devices approve pair_01JD…
  adjutant devices revoke 13db86a4b5da --role node"
    )]
    Devices(DevicesCommand),
    /// Pairing: requests of new devices, and codes for them.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant pairing list
  adjutant pairing approve 7K2M-9QXD
  adjutant pairing code"
    )]
    Pairing(PairingCommand),
    /// Budget: what was spent, and what may be spent.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant budget status
  adjutant budget set --day '$2.50'"
    )]
    Budget(BudgetCommand),
    /// Models: which ones there are and whether they can be reached.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant models list
  adjutant models status"
    )]
    Models(ModelsCommand),
    /// Gateway: the process that keeps conversations, queues work and enforces policy.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant gateway run                      in the foreground
  adjutant gateway start                    in the background
  adjutant gateway install                  at every login"
    )]
    Gateway(GatewayCommand),
    /// Workers: the loops that carry out runs.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant worker run
  adjutant worker status"
    )]
    Worker(WorkerCommand),
    /// Nodes: what other machines and phones lend to this gateway.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant nodes list
  adjutant nodes run studio -- uname -a
  adjutant nodes lease arm camera --node phone --for 5m"
    )]
    Nodes(NodesCommand),
    /// Canvases: what agents show.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant canvas open
  adjutant canvas push form.jsonl"
    )]
    Canvas(CanvasCommand),
    /// This machine as a node: lend its programs, camera and screen to a gateway.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant node run
  adjutant node install --gateway wss://home.example:18789 --token-file /etc/adjutant/token
  adjutant node status"
    )]
    Node(NodeCommand),
    /// Configuration: read, change, check and explain settings.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant config explain gateway.port
  adjutant config set providers.default openai/gpt-5-mini"
    )]
    Config(ConfigCommand),
    Doctor(DoctorArgs),
    /// Check that the stored data is whole: database, logs, projections, ledger.
    #[command(after_help = "EXAMPLES:
  adjutant verify
  adjutant verify --json")]
    Verify,
    Backup(BackupArgs),
    Restore(RestoreArgs),
    /// Database: which one, its schema, its rows elsewhere.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant db status
  adjutant db export --jsonl --out everything.jsonl
  adjutant db copy --to env:ADJUTANT_DB --dry-run"
    )]
    Db(DbCommand),
    /// Sandbox: where commands and code run.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant sandbox verify"
    )]
    Sandbox(SandboxCommand),
    /// Show the gateway's log (the same as `gateway logs`).
    Logs(LogsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    /// Print version, build and platform.
    #[command(after_help = "EXAMPLES:
  adjutant version
  adjutant version --json")]
    Version,
}

/// A command that removes something.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Removal {
    /// Show what would go, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_well_formed() {
        Cli::command().debug_assert();
    }
}
