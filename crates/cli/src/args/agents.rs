//! Agents, their tools, their questions, their memory.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use adjutant_domain::time::Span;

use super::Removal;

/// Agents.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List agents.
    #[command(after_help = "EXAMPLES:
  adjutant agent list
  adjutant agent list --json")]
    List,
    /// Show one agent.
    #[command(after_help = "EXAMPLES:
  adjutant agent show main")]
    Show {
        /// The agent.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make an agent from a file.
    ///
    /// Keys: name, display_name, description, provider, model, fallbacks, trust_level (1 to 5), system_prompt, tools,
    /// allowed_dirs, workspace, approval_policy, vault_grants, budget, limits, reflect. An unknown key is refused.
    #[command(after_help = "EXAMPLES:
  adjutant agent create --file researcher.yaml
  cat agent.json | adjutant agent create --file -")]
    Create {
        /// YAML, JSON or TOML; `-` reads stdin.
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Change an agent: from a file, key by key, or in your editor.
    #[command(after_help = "EXAMPLES:
  adjutant agent edit main --set model=gpt-5-mini --set provider=openai
  adjutant agent edit main --file main.yaml
  adjutant agent edit main                  opens $EDITOR")]
    Edit {
        /// The agent.
        #[arg(value_name = "NAME")]
        name: String,
        /// Take every key of this file.
        #[arg(long, short, value_name = "FILE", conflicts_with = "set")]
        file: Option<PathBuf>,
        /// Change one key; lists and maps are written as JSON, an empty value removes the key.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Delete an agent. Its threads are kept.
    #[command(after_help = "EXAMPLES:
  adjutant agent delete researcher --dry-run
  adjutant agent delete researcher --yes")]
    Delete {
        /// The agent.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Show or set how much an agent may do, 1 to 5.
    ///
    /// 1 talks only; 2 reads; 3 writes; 4 runs commands in the sandbox; 5 may also act without asking (`auto`).
    #[command(after_help = "EXAMPLES:
  adjutant agent trust main
  adjutant agent trust main 4")]
    Trust {
        /// The agent.
        #[arg(value_name = "NAME")]
        name: String,
        /// The new level.
        #[arg(value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=5))]
        level: Option<u8>,
    },
}

/// Tools.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// List tools with their trust level and effect.
    #[command(after_help = "EXAMPLES:
  adjutant tool list")]
    List,
    /// Show one tool and the schema of its arguments.
    #[command(after_help = "EXAMPLES:
  adjutant tool show file_read")]
    Show {
        /// The tool.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Call a tool as an agent would, under the same policy.
    #[command(after_help = "EXAMPLES:
  adjutant tool call file_read path=notes.md
  adjutant tool call shell_run --agent main --args '{\"command\":\"wc -l *.md\"}'")]
    Call {
        /// The tool.
        #[arg(value_name = "NAME")]
        name: String,
        /// Arguments, one by one; a value that is JSON is taken as such.
        #[arg(value_name = "KEY=VALUE", conflicts_with = "args")]
        pairs: Vec<String>,
        /// Arguments as one JSON object.
        #[arg(long, value_name = "JSON")]
        args: Option<String>,
        /// As which agent.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// What to do when the call needs approval.
        #[arg(long, value_enum, default_value_t = super::OnApproval::Ask, value_name = "ANSWER")]
        approve: super::OnApproval,
    },
}

/// Approvals.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List open questions.
    #[command(after_help = "EXAMPLES:
  adjutant approvals list
  adjutant approvals list --json")]
    List,
    /// Show one question in full.
    #[command(after_help = "EXAMPLES:
  adjutant approvals show appr_01JD…")]
    Show {
        /// The question.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Answer yes.
    #[command(after_help = "EXAMPLES:
  adjutant approvals allow appr_01JD…            this call only
  adjutant approvals allow appr_01JD… --for 2h   the same thing for two hours")]
    Allow {
        /// The question.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Answer no.
    #[command(after_help = "EXAMPLES:
  adjutant approvals deny appr_01JD…")]
    Deny {
        /// The question.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Show past questions and who answered what.
    #[command(after_help = "EXAMPLES:
  adjutant approvals history --limit 50")]
    History {
        /// At most this many.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Lasting answers, and trying out commands.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant approvals rules list
  adjutant approvals rules test --json -- 'git log | head'"
    )]
    Rules(RulesCommand),
}

/// How far an answer reaches. Without a flag: this call only.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ReachArgs {
    /// The same thing again in this session.
    #[arg(long)]
    pub(crate) session: bool,
    /// The same thing for a while, as in `2h`.
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) span: Option<Span>,
    /// The same thing until revoked.
    #[arg(long)]
    pub(crate) always: bool,
}

/// Lasting answers.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List lasting answers.
    #[command(after_help = "EXAMPLES:
  adjutant approvals rules list")]
    List,
    /// Revoke a lasting answer.
    #[command(after_help = "EXAMPLES:
  adjutant approvals rules rm grant_01JD… --yes")]
    Rm {
        /// The rule.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Say how a shell command would be judged, without running it.
    #[command(after_help = "EXAMPLES:
  adjutant approvals rules test -- 'ls -la'
  adjutant approvals rules test --json -- 'curl https://example.com | sh'")]
    Test {
        /// The command, after `--`.
        #[arg(value_name = "COMMAND", last = true, required = true)]
        command: Vec<String>,
    },
}

/// Kind of a remembered fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// Something that is so.
    Fact,
    /// Something you like.
    Preference,
}

/// Memory.
#[derive(Debug, Subcommand)]
pub(crate) enum MemoryCommand {
    /// List what is remembered, newest first.
    #[command(after_help = "EXAMPLES:
  adjutant memory list
  adjutant memory list --agent main --limit 5")]
    List {
        /// As this agent would recall it.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Search memory by words.
    #[command(after_help = "EXAMPLES:
  adjutant memory search \"coffee\"")]
    Search {
        /// Words to look for.
        #[arg(value_name = "WORDS")]
        query: String,
        /// As this agent would recall it.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// At most this many hits.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Remember something.
    #[command(after_help = "EXAMPLES:
  adjutant memory add \"The printer is on 192.168.1.20\"
  adjutant memory add --kind preference --agent main \"Answers in German\"
  adjutant memory add --key parking --expires 1d \"Level 3, row F\"")]
    Add {
        /// What to remember.
        #[arg(value_name = "TEXT")]
        text: String,
        /// What kind of thing it is.
        #[arg(long, value_enum, default_value_t = KindArg::Fact)]
        kind: KindArg,
        /// A name; the same name later replaces the text.
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Only this agent recalls it.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Forget it by itself after this time, as in `7d`.
        #[arg(long, value_name = "TIME")]
        expires: Option<Span>,
    },
    /// Forget something for good.
    #[command(after_help = "EXAMPLES:
  adjutant memory forget mem_01JD… --yes")]
    Forget {
        /// The memory.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        removal: Removal,
    },
}
