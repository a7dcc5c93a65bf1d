//! `adjutant tool`: what agents can do.

use adjutant_protocol::methods::agent::AgentWaited;
use adjutant_protocol::methods::chat::{ChatHistory, ChatHistoryParams};
use adjutant_protocol::methods::common::WireRole;
use adjutant_protocol::methods::tools::{
    ToolsCall, ToolsCallParams, ToolsList, ToolsListParams, ToolsShow, ToolsShowParams,
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::run::conclude;
use crate::agent_file::plain_value;
use crate::args::{OnApproval, RouteArgs, ToolCommand};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::{Answering, Following, word_of};
use crate::render::{Table, facts};
use crate::view::View;

pub(super) async fn tool(cx: &Cx<'_>, command: ToolCommand) -> Result<Exit, Failure> {
    match command {
        ToolCommand::List => {
            let page = Connection::for_data(cx)
                .await?
                .call::<ToolsList>(ToolsListParams::default())
                .await?;
            cx.terminal.show(&page, || {
                let mut table = Table::new(&["NAME", "LEVEL", "EFFECT", "CLASS", "WHAT"]);
                for it in &page.tools {
                    table.row([
                        it.name.clone(),
                        it.level.number().to_string(),
                        word_of(&it.effect),
                        word_of(&it.class),
                        it.description.clone(),
                    ]);
                }
                table.render(cx.terminal.paint(), cx.terminal.table_width())
            })?;
        }
        ToolCommand::Show { name } => {
            let shown = Connection::for_data(cx)
                .await?
                .call::<ToolsShow>(ToolsShowParams { name })
                .await
                .map_err(|error| Failure::from(error).or_hint("see `adjutant tool list`"))?;
            cx.terminal.show(&shown, || {
                let it = &shown.tool;
                facts(
                    cx.terminal.paint(),
                    &[
                        ("name", it.name.clone()),
                        ("what", it.description.clone()),
                        ("trust level", it.level.number().to_string()),
                        ("effect", word_of(&it.effect)),
                        ("class", word_of(&it.class)),
                        (
                            "arguments",
                            serde_json::to_string_pretty(&it.schema).unwrap_or_default(),
                        ),
                    ],
                )
            })?;
        }
        ToolCommand::Call {
            name,
            pairs,
            args,
            agent,
            approve,
        } => {
            let args = arguments(&pairs, args.as_deref())?;
            return call(cx, name, args, agent, approve).await;
        }
    }
    Ok(Exit::Done)
}

async fn call(
    cx: &Cx<'_>,
    name: String,
    args: Value,
    agent: Option<String>,
    approve: OnApproval,
) -> Result<Exit, Failure> {
    let deadline = cx
        .global
        .timeout
        .map(|span| Instant::now() + span.duration());
    let gateway = Connection::for_runs(cx, &RouteArgs::default()).await?;
    let mut notices = gateway.events().await?;
    let params = ToolsCallParams {
        name,
        args,
        idempotency_key: fresh_key()?,
        agent_id: agent,
        session_key: None,
    };
    let called = gateway
        .call::<ToolsCall>(params)
        .await
        .map_err(|error| Failure::from(error).or_hint("see `adjutant tool list`"))?;
    let mut view = View::new(&cx.terminal);
    view.started(&called.run_id, &called.session_key)?;
    let following = Following {
        cx,
        client: &gateway,
        notices: &mut notices,
        session: called.session_key.clone(),
        run: called.run_id,
        answering: Answering::of(cx, approve),
        deadline,
    };
    let mut ended = following.until_over(&mut view).await?;
    if ended.waited.text.is_none() {
        ended.waited.text = match result_of(&gateway, &called.session_key, &ended.waited).await? {
            Some(text) => Some(text),
            None => view.tool_result().map(str::to_owned),
        };
    }
    ended.told = match view.tool_outcome() {
        None | Some("done") => Exit::Done,
        Some("denied") => Exit::Denied,
        Some(_failed_or_unknown) => Exit::Failed,
    };
    conclude(cx, &mut view, &ended, &called.session_key)
}

/// The whole text of the call's result, as the thread keeps it.
async fn result_of(
    gateway: &Connection,
    session: &str,
    run: &AgentWaited,
) -> Result<Option<String>, Failure> {
    let params = ChatHistoryParams {
        session_key: session.to_owned(),
        limit: Some(20),
        ..ChatHistoryParams::default()
    };
    let page = gateway.call::<ChatHistory>(params).await?;
    Ok(page
        .messages
        .iter()
        .rev()
        .find(|it| {
            it.role == WireRole::ToolResult && it.run_id.as_deref() == Some(run.run_id.as_str())
        })
        .map(adjutant_protocol::methods::common::WireMessage::text))
}

fn arguments(pairs: &[String], json: Option<&str>) -> Result<Value, Failure> {
    if let Some(json) = json {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| Failure::usage(format!("`--args` is not JSON: {error}")))?;
        return if value.is_object() {
            Ok(value)
        } else {
            Err(Failure::usage("`--args` must be a JSON object")
                .with_hint("write it like `--args '{\"path\":\"a.md\"}'`"))
        };
    }
    let mut map = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("`{pair}` is not `KEY=VALUE`"))
                .with_hint("write it like `path=notes.md`, or use `--args`"));
        };
        if map.insert(key.to_owned(), plain_value(value)).is_some() {
            return Err(Failure::usage(format!("`{key}` is given twice")));
        }
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn pairs(pairs: &[&str]) -> Result<Value, Failure> {
        arguments(
            &pairs.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(),
            None,
        )
    }

    #[test]
    fn pairs_become_an_object_and_json_values_keep_their_type() {
        let expected = json!({ "path": "a=b.md", "limit": 5, "deep": { "x": true } });
        assert_eq!(
            pairs(&["path=a=b.md", "limit=5", "deep={\"x\":true}"]).unwrap(),
            expected
        );
    }

    #[test]
    fn what_is_no_pair_or_no_object_is_a_usage_error() {
        for wrong in [
            pairs(&["path"]),
            pairs(&["=x"]),
            pairs(&["a=1", "a=2"]),
            arguments(&[], Some("[1]")),
        ] {
            assert_eq!(wrong.unwrap_err().exit, Exit::Usage);
        }
    }
}
