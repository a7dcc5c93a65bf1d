//! `adjutant nodes`: what other machines lend.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use adjutant_domain::id::DeviceId;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::nodes::{
    LeaseArmParams, LeaseEndParams, LeasesPage, NodeDescribe, NodeInvoke, NodeInvokeParams,
    NodeInvoked, NodeLeaseArm, NodeLeaseEnd, NodeLeaseList, NodeList, NodePairApprove,
    NodePairList, NodePairParams, NodePairReject, NodeParams, NodeRename, NodeRenameParams,
    NodeRow,
};

use crate::args::{LeaseCommand, NodesCommand};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, ago, duration, facts, in_time, safe};

/// How long a node is given when nobody says.
const PATIENCE: Duration = Duration::from_secs(30);
/// On top of what a node is given: the way there and back.
const MARGIN: Duration = Duration::from_secs(10);

pub(super) async fn nodes(cx: &Cx<'_>, command: NodesCommand) -> Result<Exit, Failure> {
    match command {
        NodesCommand::List => list(cx).await?,
        NodesCommand::Show { node } => {
            let gateway = Connection::to_running(cx).await?;
            let shown = gateway
                .call::<NodeDescribe>(NodeParams { node_id: node })
                .await?;
            cx.terminal.show(&shown, || describe(cx, &shown.node))?;
        }
        NodesCommand::Pending => pending(cx).await?,
        NodesCommand::Approve { request } => {
            let gateway = Connection::to_running(cx).await?;
            let params = request_of(&gateway, request).await?;
            let done = gateway.call::<NodePairApprove>(params).await?;
            cx.terminal
                .show(&done, || format!("approved\n{}", describe(cx, &done.node)))?;
        }
        NodesCommand::Reject { request } => {
            let gateway = Connection::to_running(cx).await?;
            let params = request_of(&gateway, request).await?;
            let done = gateway.call::<NodePairReject>(params).await?;
            cx.terminal
                .show(&done, || format!("refused for {}", done.node_id))?;
        }
        NodesCommand::Rename { node, name } => {
            let params = NodeRenameParams {
                node_id: node,
                display_name: name,
                idempotency_key: Some(fresh_key()?),
            };
            let gateway = Connection::to_running(cx).await?;
            let done = gateway.call::<NodeRename>(params).await?;
            cx.terminal.show(&done, || {
                format!(
                    "{} is now called {}",
                    short(&done.node_id),
                    safe(&done.display_name)
                )
            })?;
        }
        NodesCommand::Invoke {
            node,
            command,
            params,
            output,
            queue,
        } => {
            let params = params
                .map(|text| {
                    serde_json::from_str(&text)
                        .map_err(|it| Failure::usage(format!("`--params` is no JSON: {it}")))
                })
                .transpose()?;
            return invoke(cx, &node, &command, params, output.as_deref(), queue).await;
        }
        NodesCommand::Run { node, cwd, argv } => return run(cx, &node, cwd, argv).await,
        NodesCommand::Lease(command) => lease(cx, command).await?,
    }
    Ok(Exit::Done)
}

async fn list(cx: &Cx<'_>) -> Result<(), Failure> {
    let gateway = Connection::to_running(cx).await?;
    let page = gateway.call::<NodeList>(NoParams {}).await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["NAME", "ID", "STATE", "PLATFORM", "OFFERS"]);
        for it in &page.nodes {
            let mut offers = it.commands.join(" ");
            if !it.unapproved.is_empty() {
                offers.push_str(&format!(" (+{} not approved)", it.unapproved.len()));
            }
            table.row([
                it.display_name.as_deref().map(safe).unwrap_or_default(),
                short(&it.node_id),
                if it.connected { "connected" } else { "away" }.to_owned(),
                it.platform.as_deref().map(safe).unwrap_or_default(),
                offers,
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

async fn pending(cx: &Cx<'_>) -> Result<(), Failure> {
    let gateway = Connection::to_running(cx).await?;
    let page = gateway.call::<NodePairList>(NoParams {}).await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["NODE", "SINCE", "NEW COMMANDS", "NEEDS"]);
        for it in &page.pending {
            let name = it.display_name.as_deref().map(safe);
            table.row([
                name.unwrap_or_else(|| short(&it.node_id)),
                ago(it.ts, cx.now()),
                it.new_commands.join(" "),
                it.required_approve_scopes.join(" "),
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

/// The open request that is meant: by its own id, or by its node.
async fn request_of(gateway: &Connection, text: String) -> Result<NodePairParams, Failure> {
    let page = gateway.call::<NodePairList>(NoParams {}).await?;
    let meant = page.pending.iter().find(|it| {
        let name = it.display_name.as_deref().unwrap_or_default();
        it.request_id == text
            || name.eq_ignore_ascii_case(&text)
            || 6 <= text.len() && it.node_id.as_str().starts_with(&text)
    });
    let request_id = match meant {
        Some(it) => it.request_id.clone(),
        None => {
            let failure = Failure::not_found("open request", &text);
            return Err(failure.with_hint("see `adjutant nodes pending`"));
        }
    };
    Ok(NodePairParams {
        request_id,
        idempotency_key: Some(fresh_key()?),
    })
}

fn patience(cx: &Cx<'_>) -> Duration {
    cx.global.timeout.map_or(PATIENCE, |it| it.duration())
}

async fn ask(
    cx: &Cx<'_>,
    gateway: &Connection,
    node: &str,
    command: &str,
    params: Option<Value>,
    queue: bool,
) -> Result<NodeInvoked, Failure> {
    let patience = patience(cx);
    let params = NodeInvokeParams {
        node_id: node.to_owned(),
        command: command.to_owned(),
        params,
        timeout_ms: u64::try_from(patience.as_millis()).ok(),
        queue: queue.then_some(true),
        idempotency_key: fresh_key()?,
    };
    Ok(gateway
        .call_within::<NodeInvoke>(patience + MARGIN, params)
        .await?)
}

async fn invoke(
    cx: &Cx<'_>,
    node: &str,
    command: &str,
    mut params: Option<Value>,
    output: Option<&Path>,
    queue: bool,
) -> Result<Exit, Failure> {
    let gateway = Connection::to_running(cx).await?;
    if output.is_some() {
        let object = params.get_or_insert_with(|| json!({}));
        if let Some(object) = object.as_object_mut() {
            object.entry("transfer").or_insert_with(|| json!("pieces"));
        }
    }
    let mut done = ask(cx, &gateway, node, command, params, queue).await?;
    if let Some(path) = output {
        let bytes = recording(cx, &gateway, node, &done.payload).await?;
        std::fs::write(path, &bytes).map_err(|error| Failure::io(path.display(), &error))?;
        // What is in the file need not be on the screen.
        if let Some(payload) = done.payload.as_object_mut() {
            payload.remove("base64");
            payload.remove("media");
            payload.insert("file".to_owned(), json!(path));
            payload.insert("bytes".to_owned(), json!(bytes.len()));
        }
        done.payload_json = None;
    }
    cx.terminal.show(&done, || {
        safe(&serde_json::to_string_pretty(&done.payload).unwrap_or_default())
    })?;
    Ok(Exit::Done)
}

/// The bytes of a picture or film: in the answer, or read piece by piece and compared with its digest.
async fn recording(
    cx: &Cx<'_>,
    gateway: &Connection,
    node: &str,
    payload: &Value,
) -> Result<Vec<u8>, Failure> {
    let odd = |what: &str| {
        Failure::new(
            Exit::Failed,
            "NODE_ERROR",
            format!("the node's answer {what}"),
        )
    };
    let decode = |it: &Value| {
        let text = it.get("base64").and_then(Value::as_str);
        text.and_then(|text| STANDARD.decode(text).ok())
    };
    if let Some(bytes) = decode(payload) {
        return Ok(bytes);
    }
    let media = payload
        .get("media")
        .ok_or_else(|| odd("carries no picture or film"))?;
    let total = media
        .get("bytes")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if 100 << 20 < total {
        return Err(odd("is larger than 100 MiB"));
    }
    let mut whole: Vec<u8> = Vec::new();
    while (whole.len() as u64) < total {
        let params = json!({ "id": media.get("id"), "offset": whole.len() });
        let piece = ask(cx, gateway, node, "media.read", Some(params), false).await?;
        let bytes = decode(&piece.payload).unwrap_or_default();
        if bytes.is_empty() || total < (whole.len() + bytes.len()) as u64 {
            return Err(odd("is not as long as it says"));
        }
        whole.extend(bytes);
    }
    Ok(whole)
}

async fn run(
    cx: &Cx<'_>,
    node: &str,
    cwd: Option<String>,
    argv: Vec<String>,
) -> Result<Exit, Failure> {
    let gateway = Connection::to_running(cx).await?;
    let time = patience(cx);
    let params = json!({
        "command": argv, "cwd": cwd, "timeoutMs": u64::try_from(time.as_millis()).ok(),
        "approved": true, "approvalDecision": "allow-once",
    });
    let done = ask(cx, &gateway, node, "system.run", Some(params), false).await?;
    cx.terminal.show(&done, || {
        let text = |name: &str| {
            done.payload
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        format!("{}{}", safe(text("stdout")), safe(text("stderr")))
            .trim_end()
            .to_owned()
    })?;
    Ok(match done.payload.get("exitCode").and_then(Value::as_i64) {
        Some(0) => Exit::Done,
        None if done.payload.get("timedOut") == Some(&Value::Bool(true)) => Exit::Timeout,
        _ => Exit::Failed,
    })
}

async fn lease(cx: &Cx<'_>, command: LeaseCommand) -> Result<(), Failure> {
    let gateway = Connection::to_running(cx).await?;
    let page = match command {
        LeaseCommand::List => gateway.call::<NodeLeaseList>(NoParams {}).await?,
        LeaseCommand::Arm {
            group,
            node,
            span,
            uses,
        } => {
            let params = LeaseArmParams {
                group: group.into(),
                node_id: node,
                duration_ms: u64::try_from(span.duration().as_millis()).ok(),
                uses,
                idempotency_key: Some(fresh_key()?),
            };
            let lease = gateway.call::<NodeLeaseArm>(params).await?;
            return cx.terminal.show(&lease, || {
                let where_ = lease
                    .node_id
                    .as_ref()
                    .map_or_else(|| "on every node".to_owned(), short);
                format!(
                    "{} is armed {where_} for {}",
                    lease.group,
                    duration(span.duration())
                )
            });
        }
        LeaseCommand::End { group } => {
            let params = LeaseEndParams {
                group: group.map(Into::into),
                idempotency_key: Some(fresh_key()?),
                ..LeaseEndParams::default()
            };
            gateway.call::<NodeLeaseEnd>(params).await?
        }
    };
    cx.terminal.show(&page, || leases(cx, &page))
}

fn leases(cx: &Cx<'_>, page: &LeasesPage) -> String {
    if page.leases.is_empty() {
        return "nothing is armed".to_owned();
    }
    let mut table = Table::new(&["GROUP", "NODE", "ENDS", "USES", "BY"]);
    for it in &page.leases {
        table.row([
            it.group.to_string(),
            it.node_id.as_ref().map_or_else(|| "all".to_owned(), short),
            in_time(it.expires_at, cx.now()),
            it.uses_left
                .map_or_else(|| "any".to_owned(), |it| it.to_string()),
            safe(&it.granted_by),
        ]);
    }
    table.render(cx.terminal.paint(), cx.terminal.table_width())
}

/// Enough of an id to name it.
fn short(id: &DeviceId) -> String {
    id.as_str().chars().take(12).collect()
}

fn describe(cx: &Cx<'_>, it: &NodeRow) -> String {
    let text = |it: &Option<String>| it.as_deref().map(safe).unwrap_or_default();
    facts(
        cx.terminal.paint(),
        &[
            ("name", text(&it.display_name)),
            ("id", it.node_id.to_string()),
            (
                "state",
                if it.connected { "connected" } else { "away" }.to_owned(),
            ),
            (
                "since",
                it.connected_at_ms
                    .map_or_else(String::new, |it| ago(it, cx.now())),
            ),
            ("platform", text(&it.platform)),
            ("version", text(&it.version)),
            ("from", text(&it.remote_ip)),
            ("families", it.caps.join(" ")),
            ("commands", it.commands.join(" ")),
            ("not approved", it.unapproved.join(" ")),
        ],
    )
}
