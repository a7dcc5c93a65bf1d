//! `adjutant status`: what runs, and what waits for you.

use adjutant_protocol::methods::runs::{RunsList, RunsListParams};
use adjutant_protocol::methods::system::{Status, StatusParams};
use serde_json::json;

use crate::connect::{Connection, reach};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, ago, facts, words};
use crate::view::phase_word;

pub(super) async fn status(cx: &Cx<'_>) -> Result<Exit, Failure> {
    let found = match &cx.global.gateway {
        Some(_) => None,
        None => cx.host.local_gateway().await?,
    };
    if cx.global.gateway.is_none() && found.is_none() {
        let state = cx.host.gateway_state().await?;
        let document = json!({ "gateway": state });
        cx.terminal.show(&document, || {
            format!(
                "no gateway is running\nstate directory: {}",
                state.state_dir.display()
            )
        })?;
        cx.terminal
            .note("hint: start one with `adjutant gateway start`, or just `adjutant run \"…\"`");
        return Ok(Exit::Unreachable);
    }
    let (connection, client);
    let gateway = match found {
        Some(found) => {
            client = reach(cx, found).await?;
            &client
        }
        None => {
            connection = Connection::to_running(cx).await?;
            &*connection
        }
    };
    let report = gateway.call::<Status>(StatusParams::default()).await?;
    let active = gateway
        .call::<RunsList>(RunsListParams {
            limit: Some(20),
            active: Some(true),
            session_key: None,
        })
        .await?;
    let mut document = serde_json::to_value(&report).unwrap_or_default();
    if let Some(map) = document.as_object_mut() {
        map.insert("activeRuns".to_owned(), json!(active.runs));
        map.insert(
            "gateway".to_owned(),
            json!({ "running": true, "endpoint": gateway.endpoint().to_string() }),
        );
    }
    cx.terminal.show(&document, || {
        let now = cx.now();
        let mut text = facts(
            cx.terminal.paint(),
            &[
                (
                    "gateway",
                    format!("{} at {}", report.runtime_version, gateway.endpoint()),
                ),
                ("started", ago(report.started_at, now)),
                (
                    "runs",
                    format!(
                        "{} running, {} queued, {} waiting",
                        report.runs.running, report.runs.queued, report.runs.parked
                    ),
                ),
                (
                    "approvals",
                    match report.approvals {
                        0 => "none open".to_owned(),
                        n => format!(
                            "{}: see `adjutant approvals list`",
                            words(n, "open question", "open questions")
                        ),
                    },
                ),
                ("sessions", report.sessions.count.to_string()),
                (
                    "model",
                    report.sessions.defaults.model.clone().unwrap_or_default(),
                ),
                ("connections", report.connections.to_string()),
            ],
        );
        if !active.runs.is_empty() {
            let mut table = Table::new(&["RUN", "AGENT", "STATE", "SINCE", "SESSION"]);
            for it in &active.runs {
                table.row([
                    it.run_id.clone(),
                    it.agent_id.clone(),
                    phase_word(it.state).to_owned(),
                    ago(it.started_at.unwrap_or(it.accepted_at), now),
                    it.session_key.clone(),
                ]);
            }
            text.push_str("\n\n");
            text.push_str(&table.render(cx.terminal.paint(), cx.terminal.table_width()));
        }
        text
    })?;
    Ok(Exit::Done)
}
