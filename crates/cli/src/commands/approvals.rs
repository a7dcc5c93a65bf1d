//! `adjutant approvals`: questions of agents, and lasting answers.

use adjutant_client::Client;
use adjutant_domain::approval::{Approval, Choice};
use adjutant_domain::id::GrantId;
use adjutant_protocol::methods::approvals::{
    ApprovalIdParams, ApprovalShown, ApprovalsGet, ApprovalsHistory, ApprovalsList,
    ApprovalsListParams, ApprovalsResolve, ApprovalsResolveParams, ApprovalsRulesList,
    ApprovalsRulesRemove, Decision, RulesListParams, RulesRemoveParams,
};
use serde_json::Value;

use super::parse_id;
use crate::args::{ApprovalsCommand, ReachArgs, Removal, RulesCommand};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::{shown, word_of};
use crate::render::{Table, ago, facts, in_time, question};

pub(super) async fn approvals(cx: &Cx<'_>, command: ApprovalsCommand) -> Result<Exit, Failure> {
    match command {
        ApprovalsCommand::List => {
            let page = Connection::for_data(cx)
                .await?
                .call::<ApprovalsList>(ApprovalsListParams::default())
                .await?;
            cx.terminal.show(&page, || {
                let mut table = Table::new(&["ID", "AGENT", "TOOL", "DENIED", "WHAT"]);
                for it in &page.approvals {
                    table.row([
                        it.id.to_string(),
                        it.agent.to_string(),
                        it.tool.clone(),
                        in_time(it.expires_at, cx.now()),
                        it.shown.clone(),
                    ]);
                }
                table.render(cx.terminal.paint(), cx.terminal.table_width())
            })?;
        }
        ApprovalsCommand::Show { id } => {
            let it = Connection::for_data(cx)
                .await?
                .call::<ApprovalsGet>(ApprovalIdParams { id })
                .await?;
            cx.terminal.show(&it, || describe(cx, &it.approval))?;
        }
        ApprovalsCommand::Allow { id, reach } => {
            let (decision, for_ms) = decision(reach);
            let gateway = Connection::for_data(cx).await?;
            let it = resolve(&gateway, &id, decision, for_ms).await?;
            cx.terminal
                .show(&it, || format!("allowed {}", it.approval.id))?;
        }
        ApprovalsCommand::Deny { id } => {
            let gateway = Connection::for_data(cx).await?;
            let it = resolve(&gateway, &id, Decision::Deny, None).await?;
            cx.terminal
                .show(&it, || format!("denied {}", it.approval.id))?;
        }
        ApprovalsCommand::History { limit } => history(cx, limit).await?,
        ApprovalsCommand::Rules(RulesCommand::List) => rules(cx).await?,
        ApprovalsCommand::Rules(RulesCommand::Rm { id, removal }) => {
            revoke(cx, &id, removal).await?
        }
        ApprovalsCommand::Rules(RulesCommand::Test { command }) => {
            let judged = cx.host.analyse_command(&command.join(" "))?;
            cx.terminal.show(&judged, || verdict(cx, &judged))?;
        }
    }
    Ok(Exit::Done)
}

/// Answers a question.
pub(crate) async fn resolve(
    client: &Client,
    id: &str,
    decision: Decision,
    for_ms: Option<u64>,
) -> Result<ApprovalShown, Failure> {
    let params = ApprovalsResolveParams {
        id: id.to_owned(),
        decision,
        for_ms,
        idempotency_key: Some(fresh_key()?),
    };
    Ok(client.call::<ApprovalsResolve>(params).await?)
}

fn decision(reach: ReachArgs) -> (Decision, Option<u64>) {
    match reach {
        ReachArgs { session: true, .. } => (Decision::Session, None),
        ReachArgs { always: true, .. } => (Decision::Always, None),
        ReachArgs {
            span: Some(span), ..
        } => (
            Decision::For,
            Some(u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX)),
        ),
        ReachArgs { .. } => (Decision::Once, None),
    }
}

async fn history(cx: &Cx<'_>, limit: u32) -> Result<(), Failure> {
    let params = ApprovalsListParams { limit: Some(limit) };
    let page = Connection::for_data(cx)
        .await?
        .call::<ApprovalsHistory>(params)
        .await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["ID", "ASKED", "AGENT", "TOOL", "STATE", "BY", "WHAT"]);
        for it in &page.approvals {
            table.row([
                it.id.to_string(),
                ago(it.created_at, cx.now()),
                it.agent.to_string(),
                it.tool.clone(),
                it.choice
                    .as_ref()
                    .map_or_else(|| word_of(&it.state), answer),
                it.answered_by.clone().unwrap_or_default(),
                it.shown.clone(),
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

async fn rules(cx: &Cx<'_>) -> Result<(), Failure> {
    let page = Connection::for_data(cx)
        .await?
        .call::<ApprovalsRulesList>(RulesListParams::default())
        .await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["ID", "AGENT", "TOOL", "EFFECT", "ENDS", "GIVEN", "COVERS"]);
        for it in &page.rules {
            let ends = match (it.session, it.expires_at) {
                (_, Some(at)) => in_time(at, cx.now()),
                (Some(_), None) => "with its session".to_owned(),
                (None, None) => "never".to_owned(),
            };
            table.row([
                it.id.to_string(),
                it.agent.to_string(),
                it.tool.clone(),
                word_of(&it.effect),
                ends,
                ago(it.created_at, cx.now()),
                it.key.clone(),
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

async fn revoke(cx: &Cx<'_>, id: &str, removal: Removal) -> Result<(), Failure> {
    let rule = parse_id::<GrantId>("rule", id)?;
    let gateway = Connection::for_data(cx).await?;
    let page = gateway
        .call::<ApprovalsRulesList>(RulesListParams::default())
        .await?;
    let Some(found) = page.rules.iter().find(|it| it.id == rule) else {
        return Err(Failure::not_found("rule", id).with_hint("see `adjutant approvals rules list`"));
    };
    let what = [format!(
        "the rule `{id}`: {} {} for {}",
        word_of(&found.effect),
        found.key,
        found.agent
    )];
    if confirm::removal(cx, removal, id, &what).await? == Go::NoFurther {
        return Ok(());
    }
    let params = RulesRemoveParams {
        id: rule,
        idempotency_key: Some(fresh_key()?),
    };
    let removed = gateway.call::<ApprovalsRulesRemove>(params).await?;
    cx.terminal.show(&removed, || format!("revoked rule {id}"))
}

fn describe(cx: &Cx<'_>, it: &Approval) -> String {
    let mut text = question(cx.terminal.paint(), &shown(it), cx.now());
    let answered = match (&it.choice, &it.answered_by) {
        (Some(choice), Some(by)) => format!("{} by {by}", answer(choice)),
        (Some(choice), None) => answer(choice),
        (None, _) => String::new(),
    };
    text.push('\n');
    text.push_str(&facts(
        cx.terminal.paint(),
        &[
            ("state", word_of(&it.state)),
            ("answer", answered),
            ("run", it.run.to_string()),
            ("digest", it.digest.clone()),
        ],
    ));
    text
}

fn answer(choice: &Choice) -> String {
    match choice {
        Choice::Once => "once".to_owned(),
        Choice::Session => "session".to_owned(),
        Choice::For { span } => format!("for {span}"),
        Choice::Always => "always".to_owned(),
        Choice::Deny => "deny".to_owned(),
    }
}

/// How a command was judged. The document is the analyser's own; strings are shown as lines, the rest as JSON.
fn verdict(cx: &Cx<'_>, judged: &Value) -> String {
    let paint = cx.terminal.paint();
    let class = judged
        .get("class")
        .and_then(Value::as_str)
        .unwrap_or("unknown");
    let class = match class {
        "safe-read" => paint.green(class),
        "needs-approval" => paint.yellow(class),
        _ => paint.red(class),
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let rows: Vec<(&str, String)> = judged
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.as_str() != "class" && !value.is_null())
        .map(|(key, value)| (key.as_str(), text(value)))
        .collect();
    format!("{class}\n{}", facts(paint, &rows))
}
