//! Talking to agents, and what is kept of it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use adjutant_domain::id::Need;

use super::Removal;

/// Which provider answers, for one command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct RouteArgs {
    /// Provider: offline, openai, anthropic, gemini, groq, openrouter, ollama.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Model name.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Base URL of the provider's interface.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
}

/// What happens when an agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnApproval {
    /// Ask here on a terminal, deny elsewhere.
    Ask,
    /// Allow each call once, unseen.
    Once,
    /// Deny.
    Deny,
}

/// Do one task and print the answer.
///
/// The answer goes to stdout, streamed on a terminal; tool activity, questions and cost go to stderr. Without a running
/// gateway one is started in this process for the occasion.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant run \"list the files in notes\"
  adjutant run --needs machine:studio \"sort the scans in ~/inbox\"
  git diff | adjutant run --stdin \"review this change\"
  OPENAI_API_KEY=… adjutant run --provider openai --model gpt-5-mini \"what is new in todo.md\"
  adjutant run --json \"count the words in *.md\" | jq -r 'select(.type==\"result\").text'")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RunCommand>,
    /// What to do.
    #[arg(value_name = "TASK", required_unless_present = "stdin")]
    pub(crate) task: Option<String>,
    /// Read more of the task from stdin.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// The agent that does it.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Continue this session instead of a fresh one.
    #[arg(long, value_name = "KEY")]
    pub(crate) session: Option<String>,
    /// What the worker must offer that does it, with commas: `gpu`, or `machine:<host name>`.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) needs: Vec<Need>,
    /// What to do when the agent asks for approval.
    #[arg(long, value_enum, default_value_t = OnApproval::Ask, value_name = "ANSWER")]
    pub(crate) approve: OnApproval,
    #[command(flatten)]
    pub(crate) route: RouteArgs,
}

/// What can be done with a run.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Let another worker take a run's next step.
    ///
    /// What is under way ends where it began, then the run goes on there; whoever follows it notices nothing. A run that waits
    /// for an answer goes there when it has one.
    #[command(after_help = "EXAMPLES:
  adjutant run move run_01JD… --to studio
  adjutant run move run_01JD… --to wrk_01JD… --wait")]
    Move {
        /// The run.
        #[arg(value_name = "RUN")]
        run: String,
        /// The worker: its id, the beginning or the end of it, or the name of a host that has only one.
        #[arg(long, value_name = "WORKER")]
        to: String,
        /// Wait until it has the run.
        #[arg(long)]
        wait: bool,
    },
}

/// Talk to an agent, line by line.
///
/// Answers are streamed; approvals are asked in place; Ctrl-C stops the run, twice leaves. `/help` lists the commands.
#[derive(Debug, Default, Args)]
#[command(after_help = "EXAMPLES:
  adjutant chat
  adjutant chat --agent researcher
  adjutant chat --session agent:main:main   go on where another surface stopped")]
pub(crate) struct ChatArgs {
    /// The agent to talk to.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// The session to take a seat in.
    #[arg(long, value_name = "KEY")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) route: RouteArgs,
}

/// Conversations.
#[derive(Debug, Subcommand)]
pub(crate) enum ThreadCommand {
    /// List threads, newest first.
    #[command(after_help = "EXAMPLES:
  adjutant thread list
  adjutant thread list --limit 5")]
    List {
        /// At most this many.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Print a thread's messages.
    #[command(after_help = "EXAMPLES:
  adjutant thread show thr_01JD…
  adjutant thread show thr_01JD… --limit 10")]
    Show {
        /// The thread.
        #[arg(value_name = "THREAD")]
        thread: String,
        /// At most this many messages, the newest.
        #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Search messages by their words.
    #[command(after_help = "EXAMPLES:
  adjutant thread search \"invoice march\"")]
    Search {
        /// Words to look for.
        #[arg(value_name = "WORDS")]
        query: String,
        /// At most this many hits.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Write a whole thread as Markdown or JSON Lines.
    #[command(after_help = "EXAMPLES:
  adjutant thread export thr_01JD… --output talk.md
  adjutant thread export thr_01JD… --format jsonl")]
    Export {
        /// The thread.
        #[arg(value_name = "THREAD")]
        thread: String,
        /// Form of the text.
        #[arg(long, value_enum, default_value_t = ExportFormat::Markdown)]
        format: ExportFormat,
        /// Write to this file instead of stdout. An existing file is not replaced.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete a thread and its messages for good.
    #[command(after_help = "EXAMPLES:
  adjutant thread delete thr_01JD… --dry-run
  adjutant thread delete thr_01JD… --yes")]
    Delete {
        /// The thread.
        #[arg(value_name = "THREAD")]
        thread: String,
        #[command(flatten)]
        removal: Removal,
    },
}

/// Form of an exported thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// For people.
    Markdown,
    /// One JSON message per line.
    Jsonl,
}

/// Seats in conversations.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions, last used first.
    #[command(after_help = "EXAMPLES:
  adjutant sessions list
  adjutant sessions list --limit 5 --json")]
    List {
        /// At most this many.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one session.
    #[command(after_help = "EXAMPLES:
  adjutant sessions show agent:main:main")]
    Show {
        /// The session's key.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Begin a new thread in a session; the old one is kept.
    #[command(after_help = "EXAMPLES:
  adjutant sessions reset agent:main:main --yes")]
    Reset {
        /// The session's key.
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Delete a session; its threads are kept.
    #[command(after_help = "EXAMPLES:
  adjutant sessions delete agent:main:old --dry-run")]
    Delete {
        /// The session's key.
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        removal: Removal,
    },
}
