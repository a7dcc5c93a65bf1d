//! `adjutant agent`: who does the work.

use std::io::Read as _;
use std::path::Path;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::money::Micros;
use adjutant_protocol::methods::agents::{
    AgentIdParams, AgentShown, AgentSpec, AgentsCreate, AgentsCreateParams, AgentsDelete,
    AgentsDeleteParams, AgentsGet, AgentsList, AgentsTrust, AgentsTrustParams, AgentsUpdate,
    AgentsUpdateParams,
};
use adjutant_protocol::methods::common::NoParams;
use serde_json::json;

use super::agent_id;
use crate::agent_file;
use crate::args::{AgentCommand, Removal};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::word_of;
use crate::render::{Paint, Table, ago, facts};

pub(super) async fn agent(cx: &Cx<'_>, command: AgentCommand) -> Result<Exit, Failure> {
    match command {
        AgentCommand::List => list(cx).await?,
        AgentCommand::Show { name } => {
            let gateway = Connection::for_data(cx).await?;
            let shown = load(&gateway, &name).await?;
            cx.terminal
                .show(&document(&shown), || describe(cx, &shown))?;
        }
        AgentCommand::Create { file } => {
            // The file is read before anything is started: a mistake in it costs nothing.
            let agent = agent_file::parse(&file, &read(&file)?)?;
            let params = AgentsCreateParams {
                agent,
                idempotency_key: Some(fresh_key()?),
            };
            let shown = Connection::for_data(cx)
                .await?
                .call::<AgentsCreate>(params)
                .await?;
            cx.terminal.show(&document(&shown), || {
                format!("created agent {}", shown.agent.name)
            })?;
        }
        AgentCommand::Edit { name, file, set } => edit(cx, &name, file.as_deref(), &set).await?,
        AgentCommand::Delete { name, removal } => delete(cx, &name, removal).await?,
        AgentCommand::Trust { name, level } => trust(cx, &name, level).await?,
    }
    Ok(Exit::Done)
}

async fn list(cx: &Cx<'_>) -> Result<(), Failure> {
    let page = Connection::for_data(cx)
        .await?
        .call::<AgentsList>(NoParams {})
        .await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["NAME", "TRUST", "MODEL", "WHAT"]);
        for it in &page.agents {
            let mark = if it.id.as_str() == page.default_id {
                " (default)"
            } else {
                ""
            };
            let what = match (&it.name, it.description.as_str()) {
                (Some(name), "") => name.clone(),
                (_, description) => description.to_owned(),
            };
            table.row([
                format!("{}{mark}", it.id),
                it.trust_level.number().to_string(),
                it.model.primary.clone(),
                what,
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

async fn edit(cx: &Cx<'_>, name: &str, file: Option<&Path>, set: &[String]) -> Result<(), Failure> {
    let given = match file {
        Some(file) => Some(agent_file::parse(file, &read(file)?)?),
        None => None,
    };
    let gateway = Connection::for_data(cx).await?;
    let seen = load(&gateway, name).await?;
    let changed = match given {
        Some(spec) => spec,
        None if !set.is_empty() => agent_file::change(&seen.agent, set)?,
        None => match in_editor(cx, &seen.agent)? {
            Some(spec) => spec,
            None => {
                cx.terminal.note("nothing was changed");
                return Ok(());
            }
        },
    };
    if changed.name != seen.agent.name {
        return Err(Failure::usage(format!(
            "an agent cannot be renamed: `{name}` stays `{name}`"
        ))
        .with_hint("make a new one with `adjutant agent create`"));
    }
    let level = changed
        .trust_level
        .filter(|level| Some(*level) != seen.agent.trust_level);
    let mut agent = changed;
    // The level has a door of its own.
    agent.trust_level = seen.agent.trust_level;
    let params = AgentsUpdateParams {
        agent,
        revision: Some(seen.revision),
        idempotency_key: Some(fresh_key()?),
    };
    let mut shown = gateway.call::<AgentsUpdate>(params).await?;
    if let Some(level) = level {
        let params = AgentsTrustParams {
            agent_id: agent_id(name)?,
            level,
            idempotency_key: Some(fresh_key()?),
        };
        shown = gateway.call::<AgentsTrust>(params).await?;
    }
    cx.terminal
        .show(&document(&shown), || format!("changed agent {name}"))
}

async fn delete(cx: &Cx<'_>, name: &str, removal: Removal) -> Result<(), Failure> {
    let gateway = Connection::for_data(cx).await?;
    load(&gateway, name).await?;
    let what = [format!("the agent `{name}`; its threads stay")];
    if confirm::removal(cx, removal, name, &what).await? == Go::NoFurther {
        return Ok(());
    }
    let params = AgentsDeleteParams {
        agent_id: agent_id(name)?,
        idempotency_key: Some(fresh_key()?),
    };
    let deleted = gateway.call::<AgentsDelete>(params).await?;
    cx.terminal
        .show(&deleted, || format!("deleted agent {name}"))
}

async fn trust(cx: &Cx<'_>, name: &str, level: Option<u8>) -> Result<(), Failure> {
    let gateway = Connection::for_data(cx).await?;
    let shown = match level.map(TrustLevel::from_number) {
        None => load(&gateway, name).await?,
        Some(None) => return Err(Failure::usage("the level must be between 1 and 5")),
        Some(Some(level)) => {
            let params = AgentsTrustParams {
                agent_id: agent_id(name)?,
                level,
                idempotency_key: Some(fresh_key()?),
            };
            gateway.call::<AgentsTrust>(params).await?
        }
    };
    let level = shown.agent.trust_level.map_or(1, TrustLevel::number);
    let document =
        json!({ "name": shown.agent.name, "trust_level": level, "revision": shown.revision });
    cx.terminal.show(&document, || {
        format!("{name}: level {level}, {}", meaning(level))
    })
}

async fn load(gateway: &Connection, name: &str) -> Result<AgentShown, Failure> {
    let params = AgentIdParams {
        agent_id: agent_id(name)?,
    };
    match gateway.call::<AgentsGet>(params).await {
        Ok(shown) => Ok(shown),
        Err(error) if error.code() == Some("NOT_FOUND") => {
            let page = gateway.call::<AgentsList>(NoParams {}).await?;
            let failure = Failure::not_found("agent", name);
            Err(
                match crate::nearest(name, page.agents.iter().map(|it| it.id.as_str())) {
                    Some(near) => failure.with_hint(format!("did you mean `{near}`?")),
                    None => failure.with_hint("see `adjutant agent list`"),
                },
            )
        }
        Err(error) => Err(error.into()),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(1024 * 1024)
            .read_to_string(&mut text)
            .map_err(|error| Failure::io("cannot read stdin", &error))?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .map_err(|error| Failure::io(format!("cannot read `{}`", file.display()), &error))
}

/// The definition after the person changed it; none when nothing changed.
fn in_editor(cx: &Cx<'_>, spec: &AgentSpec) -> Result<Option<AgentSpec>, Failure> {
    if !cx.terminal.can_ask() {
        return Err(Failure::usage("an editor needs a terminal")
            .with_hint("use `--file <FILE>` or `--set <KEY=VALUE>`"));
    }
    let before = agent_file::to_yaml(spec)?;
    let after = super::config::edit_text(&before, "yaml")?;
    if after == before {
        return Ok(None);
    }
    agent_file::parse(Path::new("agent.yaml"), &after).map(Some)
}

/// The agent with the keys people write in files.
fn document(shown: &AgentShown) -> serde_json::Value {
    let mut tree = agent_file::to_value(&shown.agent);
    if let Some(map) = tree.as_object_mut() {
        map.insert("revision".to_owned(), shown.revision.into());
        map.insert("updated_at".to_owned(), shown.updated_at.to_string().into());
    }
    tree
}

fn describe(cx: &Cx<'_>, shown: &AgentShown) -> String {
    let it = &shown.agent;
    let level = it.trust_level.map_or(1, TrustLevel::number);
    let cap = |name: &str, amount: Option<Micros>| amount.map(|it| format!("{it} per {name}"));
    let caps: Vec<String> = [
        cap("run", it.budget.run_micros),
        cap("session", it.budget.session_micros),
        cap("day", it.budget.day_micros),
    ]
    .into_iter()
    .flatten()
    .collect();
    let paint: Paint = cx.terminal.paint();
    facts(
        paint,
        &[
            ("name", it.name.to_string()),
            ("display name", it.display_name.clone().unwrap_or_default()),
            ("what", it.description.clone()),
            (
                "provider",
                it.provider
                    .clone()
                    .unwrap_or_else(|| "(configured default)".to_owned()),
            ),
            (
                "model",
                it.model
                    .clone()
                    .unwrap_or_else(|| "(configured default)".to_owned()),
            ),
            ("fallbacks", it.fallbacks.join(", ")),
            ("trust level", format!("{level}, {}", meaning(level))),
            ("asks", word_of(&it.approval_policy)),
            (
                "tools",
                it.tools
                    .as_ref()
                    .map_or_else(|| "all its level allows".to_owned(), |it| it.join(", ")),
            ),
            ("workspace", it.workspace.clone().unwrap_or_default()),
            ("also sees", it.allowed_dirs.join(", ")),
            ("needs", it.needs.to_string()),
            ("caps", caps.join(", ")),
            (
                "changed",
                format!(
                    "{} (revision {})",
                    ago(shown.updated_at, cx.now()),
                    shown.revision
                ),
            ),
            ("instructions", it.system_prompt.trim().to_owned()),
        ],
    )
}

fn meaning(level: u8) -> &'static str {
    match level {
        1 => "talks only",
        2 => "reads",
        3 => "reads and writes",
        4 => "runs commands in the sandbox",
        _ => "may also act without asking (`auto`)",
    }
}
