//! Settings, money, models, health, and text about the program itself.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use adjutant_domain::money::Micros;

use crate::host::SandboxDriver;

/// Settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the value of a key, or the whole configuration. Secrets are masked.
    #[command(after_help = "EXAMPLES:
  adjutant config get
  adjutant config get gateway.port")]
    Get {
        /// Dotted key.
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Set a key. The file is checked before it is replaced; comments survive.
    #[command(after_help = "EXAMPLES:
  adjutant config set gateway.port 18790
  adjutant config set providers.fallbacks '[\"groq/llama-3.3-70b-versatile\"]'")]
    Set {
        /// Dotted key.
        #[arg(value_name = "KEY")]
        key: String,
        /// Value: TOML or JSON; anything else is text.
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Remove a key, so that its default holds again.
    #[command(after_help = "EXAMPLES:
  adjutant config unset gateway.port")]
    Unset {
        /// Dotted key.
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        removal: super::Removal,
    },
    /// Open the file in your editor and check it before it counts.
    #[command(after_help = "EXAMPLES:
  EDITOR=nano adjutant config edit")]
    Edit,
    /// Say where a value comes from: layer, file, line, default, meaning.
    #[command(after_help = "EXAMPLES:
  adjutant config explain gateway.port")]
    Explain {
        /// Dotted key.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Print the JSON Schema of the configuration.
    #[command(after_help = "EXAMPLES:
  adjutant config schema > config.schema.json")]
    Schema,
    /// Print the path of the configuration file.
    #[command(after_help = "EXAMPLES:
  adjutant config path")]
    Path,
    /// Check a file without using it.
    #[command(after_help = "EXAMPLES:
  adjutant config validate
  adjutant config validate new.toml")]
    Validate {
        /// The file; the active one when left out.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Money.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Show the caps and how much of them is used.
    #[command(after_help = "EXAMPLES:
  adjutant budget status")]
    Status {
        /// The agent; the default one when left out.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Also what this session spent.
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
    },
    /// Show what was spent.
    #[command(after_help = "EXAMPLES:
  adjutant budget usage
  adjutant budget usage --from 2026-01-01 --by model")]
    Usage {
        /// First day; today when left out.
        #[arg(long, value_name = "YYYY-MM-DD")]
        from: Option<String>,
        /// Last day; today when left out.
        #[arg(long, value_name = "YYYY-MM-DD")]
        to: Option<String>,
        /// One row for each of these.
        #[arg(long, value_enum, default_value_t = GroupArg::Day)]
        by: GroupArg,
    },
    /// Set an agent's caps. A cap cannot be passed by parallel runs.
    #[command(after_help = "EXAMPLES:
  adjutant budget set --day '$2.50'
  adjutant budget set --run 0.10 --session 1
  adjutant budget set --day none")]
    Set {
        /// For all runs of a day together; `none` removes the cap.
        #[arg(long, value_name = "DOLLARS", value_parser = cap)]
        day: Option<Cap>,
        /// For one session; `none` removes the cap.
        #[arg(long, value_name = "DOLLARS", value_parser = cap)]
        session: Option<Cap>,
        /// For one run; `none` removes the cap.
        #[arg(long, value_name = "DOLLARS", value_parser = cap)]
        run: Option<Cap>,
        /// The agent; the default one when left out.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
    },
    /// Prices used to count.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant budget prices list"
    )]
    Prices(PricesCommand),
}

/// What a row of spending stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupArg {
    /// A day.
    Day,
    /// A provider and model.
    Model,
    /// A session.
    Session,
    /// An agent.
    Agent,
    /// A run.
    Run,
}

/// A cap, or its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cap {
    /// At most this much.
    At(Micros),
    /// None.
    Off,
}

fn cap(text: &str) -> Result<Cap, String> {
    if text == "none" {
        return Ok(Cap::Off);
    }
    Micros::parse_dollars(text)
        .map(Cap::At)
        .ok_or_else(|| format!("`{text}` is not an amount: write dollars, as in `2.50`, or `none`"))
}

/// Prices.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// List the price of every known model.
    #[command(after_help = "EXAMPLES:
  adjutant budget prices list")]
    List,
}

/// Models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List models.
    #[command(after_help = "EXAMPLES:
  adjutant models list
  adjutant models list --json")]
    List,
    /// Show which providers are ready and what is missing for the others.
    #[command(after_help = "EXAMPLES:
  adjutant models status")]
    Status,
}

/// Check the installation and say what to do.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant doctor
  adjutant doctor --fix
  adjutant doctor --json | jq '.checks[] | select(.severity!=\"ok\")'")]
pub(crate) struct DoctorArgs {
    /// Apply the fixes that are safe.
    #[arg(long)]
    pub(crate) fix: bool,
}

/// The sandbox.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Try to break out of the sandbox on this machine and print each attempt.
    #[command(after_help = "EXAMPLES:
  adjutant sandbox verify
  adjutant sandbox verify --driver native
  adjutant sandbox verify --json")]
    Verify {
        /// Try these walls instead of the configured ones.
        #[arg(long, value_enum, value_name = "DRIVER")]
        driver: Option<SandboxDriver>,
    },
}

/// Print a completion script.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant completions bash > ~/.local/share/bash-completion/completions/adjutant
  adjutant completions zsh > \"${fpath[1]}/_adjutant\"
  adjutant completions fish > ~/.config/fish/completions/adjutant.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Print the manual page, or write one page per command.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:
  adjutant man | man -l -
  adjutant man --dir ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write the pages into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_dollars_or_none() {
        assert_eq!(cap("$2.50"), Ok(Cap::At(Micros(2_500_000))));
        assert_eq!(cap("none"), Ok(Cap::Off));
        assert!(cap("-1").is_err());
        assert!(cap("much").is_err());
    }
}
