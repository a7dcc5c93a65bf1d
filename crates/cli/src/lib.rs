//! The terminal: one-shot commands and the line chat.
//!
//! It knows the protocol, through `adjutant-client`, and a [`Host`] for what is not the protocol: processes, files of the
//! state directory, checks of this machine. It never learns how a gateway works inside.

use std::ffi::OsString;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

mod agent_file;
mod args;
mod chat;
mod commands;
mod confirm;
mod connect;
mod cx;
mod failure;
mod follow;
mod host;
mod host_backup;
mod host_db;
mod host_node;
mod host_shape;
mod host_tls;
mod lines;
mod platform;
mod reference;
mod render;
mod terminal;
mod view;

pub use failure::{Exit, Failure};
pub use host::{
    Asking, BuildInfo, Check, ConfigChanged, ConfigExplained, ConfigValid, DemoDone, DemoFolder,
    DemoOptions, Ephemeral, EphemeralOptions, Fixing, Follow, GatewayOptions, GatewayState, Host,
    HostSettings, LogOptions, Progress, ProviderFound, Reachable, Removing, Report, RouteChoice,
    SandboxDriver, ServiceState, SetupAnswers, SetupDone, Severity, Stage, Verbosity, Wants,
    WorkerOptions, Workers,
};
pub use host_backup::{
    BackupDone, BackupOptions, Backups, RestoreDone, RestoreOptions, RestorePlan,
};
pub use host_db::{
    Databases, DbCopied, DbCopy, DbCopyPlan, DbExport, DbExported, DbKind, DbMigrated, DbPending,
    DbSchema, DbSchemaState, DbServer, DbStatus, Existing, KeepCopy, Rehearse, Seen,
};
pub use host_node::{NodeControl, NodeOptions, NodeState};
pub use host_tls::TlsState;
pub use reference::reference_markdown;

use args::{Cli, Command, GatewayCommand, Global, NodeCommand, WorkerCommand};
use cx::Cx;
use lines::Lines;
use terminal::{Streams, Terminal};

/// Runs the command line `args` (the program's name first) and says how it ended.
///
/// In a box, because a future is compiled where it is polled: all commands would be compiled by the caller, with the
/// caller's optimisation.
pub fn main(host: &dyn Host, args: Vec<OsString>) -> Pin<Box<dyn Future<Output = ExitCode> + '_>> {
    Box::pin(async move { run(host, args, Streams::of_process(), None).await.into() })
}

/// The command tree, for completions, the man page and the reference.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

async fn run(host: &dyn Host, args: Vec<OsString>, streams: Streams, lines: Option<Lines>) -> Exit {
    let parsed = Cli::command()
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args, &Terminal::new(streams, &flags_in(&args))),
    };
    let cx = Cx::new(host, cli.global, streams, lines);
    match carry_out(&cx, cli.command).await {
        Ok(exit) => exit,
        Err(failure) => {
            cx.terminal.fail(&failure);
            failure.exit
        }
    }
}

async fn carry_out(cx: &Cx<'_>, command: Option<Command>) -> Result<Exit, Failure> {
    cx.host.apply(&HostSettings {
        config: cx.global.config.clone(),
        verbosity: match (cx.global.quiet, cx.global.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Usual,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        },
    })?;
    // A node may have its gateway from the configuration; every other command means the one of this machine.
    let named = cx.global.gateway.is_some() || matches!(command, Some(Command::Node(_)));
    if cx.global.tls_fingerprint.is_some() && !named {
        let message = "`--tls-fingerprint` is for another gateway than the one of this machine";
        return Err(Failure::usage(message).with_hint("name it with `--gateway wss://…`"));
    }
    let limit = cx.global.timeout.map(|span| span.duration());
    match (limit, &command) {
        // These look at the clock themselves, or have no end by design.
        (None, _)
        | (
            Some(_),
            None
            | Some(
                Command::Run(_)
                | Command::Chat(_)
                | Command::Tool(_)
                | Command::Gateway(GatewayCommand::Run(_))
                | Command::Node(NodeCommand::Run(_))
                | Command::Nodes(_)
                | Command::Worker(WorkerCommand::Run { .. }),
            ),
        ) => commands::dispatch(cx, command).await,
        (Some(limit), Some(_)) => in_time(limit, commands::dispatch(cx, command)).await,
    }
}

async fn in_time(
    limit: Duration,
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_too_late) => {
            let message = format!("not done within {}", render::duration(limit));
            Err(Failure::timeout(message).with_hint("give it longer with `--timeout`"))
        }
    }
}

/// Help and version are results; anything else clap says is a usage error.
fn refuse(error: &clap::Error, args: &[OsString], terminal: &Terminal) -> Exit {
    let text = error.render();
    let text = match terminal.paint() {
        render::Paint::Ansi => text.ansi().to_string(),
        render::Paint::None => text.to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone needs no word.
            drop(terminal.raw(&text));
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            terminal.say(text.trim_end());
            Exit::Usage
        }
        _ => {
            let failure = usage(error, args);
            terminal.fail(&failure);
            failure.exit
        }
    }
}

/// What clap says, as a failure: one sentence and a hint.
fn usage(error: &clap::Error, args: &[OsString]) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The sentence ends where usage and tips begin; missing arguments are listed below it.
    let sentence: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.trim_start().starts_with("tip:"))
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let suggested = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(several) => several.first().cloned(),
        _ => None,
    });
    let wrong_command = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => Some(name.as_str()),
        _ => None,
    };
    let suggested = suggested.or_else(|| {
        let root = Cli::command();
        let names: Vec<String> = root
            .get_subcommands()
            .map(|it| it.get_name().to_owned())
            .collect();
        nearest(wrong_command?, names.iter().map(String::as_str)).map(str::to_owned)
    });
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let hint = match (suggested, usage) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(usage)) => format!("usage: `{usage}`"),
        (None, None) => format!("see `{} --help`", path_in(args)),
    };
    // Clap quotes names with apostrophes; here they stand in backticks.
    Failure::usage(sentence.join(" ").replace('\'', "`")).with_hint(hint)
}

/// The command that was meant, as far as its words are known: `adjutant agent trust`.
fn path_in(args: &[OsString]) -> String {
    let root = Cli::command();
    let mut command = &root;
    let mut path = vec![root.get_name()];
    for word in args
        .iter()
        .skip(1)
        .filter_map(|it| it.to_str())
        .filter(|it| !it.starts_with('-'))
    {
        let Some(sub) = command.find_subcommand(word) else {
            break;
        };
        path.push(sub.get_name());
        command = sub;
    }
    path.join(" ")
}

/// The flags that say how to fail, read from a line that could not be parsed.
fn flags_in(args: &[OsString]) -> Global {
    let before_rest = || args.iter().take_while(|arg| *arg != "--");
    let has = |flag: &str| before_rest().any(|arg| arg == flag);
    Global {
        json: has("--json"),
        plain: has("--plain"),
        no_color: has("--no-color"),
        ..Global::default()
    }
}

/// The name most like `word`, if one is like it at all.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| 0.75 < *likeness)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
