//! `adjutant node`: lending this machine. The host does it; here is how it looks.

use crate::args::{NodeCommand, NodeRunArgs};
use crate::confirm::{self, Go};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::Removing;
use crate::host_node::{NodeOptions, NodeState};
use crate::render::{ago, facts, safe};

use super::gateway::installed;

pub(super) async fn node(cx: &Cx<'_>, command: NodeCommand) -> Result<Exit, Failure> {
    match command {
        NodeCommand::Run(args) => cx.host.node_run(options(cx, args)).await?,
        NodeCommand::Install(args) => {
            let service = cx.host.node_install(options(cx, args)).await?;
            cx.terminal
                .show(&service, || installed(cx, "installed", &service))?;
        }
        NodeCommand::Status => {
            let state = cx.host.node_state().await?;
            cx.terminal.show(&state, || describe(cx, &state))?;
            return Ok(match state.phase.as_deref() {
                Some("connected") => Exit::Done,
                Some("pairing") => Exit::Denied,
                _ => Exit::Unreachable,
            });
        }
        NodeCommand::Uninstall { removal } => {
            let planned = cx.host.node_uninstall(Removing::DryRun).await?;
            if !planned.installed {
                cx.terminal
                    .show(&planned, || "nothing is installed".to_owned())?;
                return Ok(Exit::Done);
            }
            let what: Vec<String> = planned
                .files
                .iter()
                .map(|it| format!("`{}`", it.display()))
                .collect();
            if confirm::removal(cx, removal, "node", &what).await? == Go::NoFurther {
                return Ok(Exit::Done);
            }
            let service = cx.host.node_uninstall(Removing::Really).await?;
            cx.terminal
                .show(&service, || installed(cx, "removed", &service))?;
        }
    }
    Ok(Exit::Done)
}

fn options(cx: &Cx<'_>, args: NodeRunArgs) -> NodeOptions {
    NodeOptions {
        gateway: cx.global.gateway.clone(),
        token_file: cx.global.token_file.clone(),
        name: args.name,
        fingerprint: cx.global.tls_fingerprint.clone(),
        without: args.without,
    }
}

fn describe(cx: &Cx<'_>, state: &NodeState) -> String {
    let head = match state.phase.as_deref() {
        Some("connected") => "the node is connected",
        Some("pairing") => "the node waits to be admitted at the gateway",
        Some("connecting") => "the node runs and is not connected",
        _ => "the node does not run",
    };
    let text = |it: &Option<String>| it.as_deref().map(safe).unwrap_or_default();
    let facts = facts(
        cx.terminal.paint(),
        &[
            ("note", text(&state.note)),
            (
                "since",
                state.since.map_or_else(String::new, |it| ago(it, cx.now())),
            ),
            ("gateway", text(&state.gateway)),
            ("name", text(&state.name)),
            ("id", text(&state.node_id)),
            (
                "process",
                state.pid.map_or_else(String::new, |it| it.to_string()),
            ),
            ("offers", state.commands.join(", ")),
            ("folder", state.folder.display().to_string()),
            (
                "at login",
                if state.installed {
                    "started"
                } else {
                    "not started"
                }
                .to_owned(),
            ),
        ],
    );
    format!("{head}\n{facts}")
}
