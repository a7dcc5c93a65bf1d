//! One file per noun; `dispatch` is the way in.

use adjutant_domain::id::AgentId;

use crate::args::{ChatArgs, Command};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::Progress;

mod about;
mod agent;
mod approvals;
mod backup;
mod budget;
mod canvas;
mod config;
mod db;
mod devices;
mod gateway;
mod health;
mod memory;
mod models;
mod node;
mod nodes;
mod run;
pub(crate) mod sessions;
mod setup;
mod status;
pub(crate) mod thread;
mod tool;
mod worker;

pub(crate) use approvals::resolve;
pub(crate) use budget::windows;

pub(crate) async fn dispatch(cx: &Cx<'_>, command: Option<Command>) -> Result<Exit, Failure> {
    match command {
        None => without_command(cx).await,
        Some(Command::Setup(args)) => setup::setup(cx, args).await,
        Some(Command::Demo(args)) => setup::demo(cx, &args).await,
        Some(Command::Run(args)) => run::run(cx, args).await,
        Some(Command::Chat(args)) => crate::chat::chat(cx, &args).await,
        Some(Command::Status) => status::status(cx).await,
        Some(Command::Agent(command)) => agent::agent(cx, command).await,
        Some(Command::Thread(command)) => thread::thread(cx, command).await,
        Some(Command::Sessions(command)) => sessions::sessions(cx, command).await,
        Some(Command::Tool(command)) => tool::tool(cx, command).await,
        Some(Command::Approvals(command)) => approvals::approvals(cx, command).await,
        Some(Command::Memory(command)) => memory::memory(cx, command).await,
        Some(Command::Devices(command)) => devices::devices(cx, command).await,
        Some(Command::Pairing(command)) => devices::pairing(cx, command).await,
        Some(Command::Budget(command)) => budget::budget(cx, command).await,
        Some(Command::Models(command)) => models::models(cx, &command).await,
        Some(Command::Gateway(command)) => gateway::gateway(cx, command).await,
        Some(Command::Worker(command)) => worker::worker(cx, command).await,
        Some(Command::Node(command)) => node::node(cx, command).await,
        Some(Command::Canvas(command)) => canvas::canvas(cx, command).await,
        Some(Command::Nodes(command)) => nodes::nodes(cx, command).await,
        Some(Command::Config(command)) => config::config(cx, command).await,
        Some(Command::Doctor(args)) => health::doctor(cx, &args).await,
        Some(Command::Verify) => health::verify(cx).await,
        Some(Command::Backup(args)) => backup::backup(cx, args).await,
        Some(Command::Restore(args)) => backup::restore(cx, args).await,
        Some(Command::Db(command)) => db::db(cx, command).await,
        Some(Command::Sandbox(command)) => health::sandbox(cx, &command).await,
        Some(Command::Logs(args)) => gateway::logs(cx, &args).await,
        Some(Command::Completions(args)) => about::completions(cx, &args),
        Some(Command::Man(args)) => about::man(cx, &args),
        Some(Command::Version) => about::version(cx),
    }
}

/// First run: set up. Later: chat on a terminal, status elsewhere.
async fn without_command(cx: &Cx<'_>) -> Result<Exit, Failure> {
    if cx.global.gateway.is_none() && cx.host.progress()? == Progress::Fresh {
        if !cx.terminal.is_interactive() {
            return Err(Failure::usage("adjutant is not set up yet, and nobody can be asked here")
                .with_hint("run `adjutant setup --non-interactive --provider offline`, or name another provider"));
        }
        let exit = setup::guided(cx).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    if cx.terminal.is_interactive() {
        crate::chat::chat(cx, &ChatArgs::default()).await
    } else {
        status::status(cx).await
    }
}

/// An agent's name as it was typed.
fn agent_id(name: &str) -> Result<AgentId, Failure> {
    AgentId::parse(name).map_err(|error| Failure::usage(error.to_string()))
}

fn agent_id_of(name: Option<&String>) -> Result<Option<AgentId>, Failure> {
    name.map(|it| agent_id(it)).transpose()
}

/// An identifier as it was typed.
fn parse_id<T>(what: &str, text: &str) -> Result<T, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        Failure::usage(format!("`{text}` is not the id of a {what}: {error}"))
    })
}
