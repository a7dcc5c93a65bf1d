//! `adjutant sessions`: seats in conversations.

use adjutant_protocol::methods::sessions::{
    SessionKeyParams, SessionRow, SessionsDelete, SessionsDeleteParams, SessionsDescribe,
    SessionsList, SessionsListParams, SessionsReset, SessionsResetParams,
};

use crate::args::{Removal, SessionsCommand};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, ago, facts, in_time};

pub(super) async fn sessions(cx: &Cx<'_>, command: SessionsCommand) -> Result<Exit, Failure> {
    let gateway = Connection::for_data(cx).await?;
    match command {
        SessionsCommand::List { limit } => {
            let page = gateway.call::<SessionsList>(recent(limit)).await?;
            cx.terminal.show(&page, || table(cx, &page.sessions))?;
        }
        SessionsCommand::Show { key } => {
            let row = load(&gateway, &key).await?;
            cx.terminal.show(&row, || describe(cx, &row))?;
        }
        SessionsCommand::Reset { key, removal } => reset(cx, &gateway, &key, removal).await?,
        SessionsCommand::Delete { key, removal } => delete(cx, &gateway, &key, removal).await?,
    }
    Ok(Exit::Done)
}

/// The last used sessions with what was said last.
pub(crate) fn recent(limit: u32) -> SessionsListParams {
    SessionsListParams {
        limit: Some(limit),
        include_derived_titles: Some(true),
        include_last_message: Some(true),
        ..SessionsListParams::default()
    }
}

/// Sessions one a line.
pub(crate) fn table(cx: &Cx<'_>, rows: &[SessionRow]) -> String {
    let mut table = Table::new(&["KEY", "USED", "MODEL", "LAST WORDS"]);
    for it in rows {
        let model = match (&it.model_provider, &it.model) {
            (Some(provider), Some(model)) => format!("{provider}/{model}"),
            (None, Some(model)) => model.clone(),
            _ => "(default)".to_owned(),
        };
        let last = it
            .last_message_preview
            .clone()
            .or_else(|| it.derived_title.clone())
            .unwrap_or_default();
        table.row([it.key.clone(), ago(it.updated_at, cx.now()), model, last]);
    }
    table.render(cx.terminal.paint(), cx.terminal.table_width())
}

async fn load(gateway: &Connection, key: &str) -> Result<SessionRow, Failure> {
    let params = SessionKeyParams {
        key: key.to_owned(),
        agent_id: None,
    };
    let found = gateway.call::<SessionsDescribe>(params).await?.session;
    found
        .ok_or_else(|| Failure::not_found("session", key).with_hint("see `adjutant sessions list`"))
}

fn describe(cx: &Cx<'_>, row: &SessionRow) -> String {
    let now = cx.now();
    let expiry = match row.expires_at {
        Some(_) if row.expired => "over".to_owned(),
        Some(at) => in_time(at, now),
        None => "never".to_owned(),
    };
    facts(
        cx.terminal.paint(),
        &[
            ("key", row.key.clone()),
            ("id", row.session_id.to_string()),
            ("agent", row.agent_id.clone()),
            ("thread", row.thread_id.to_string()),
            ("label", row.label.clone().unwrap_or_default()),
            ("title", row.derived_title.clone().unwrap_or_default()),
            (
                "model",
                row.model.clone().unwrap_or_else(|| "(default)".to_owned()),
            ),
            ("made", ago(row.created_at, now)),
            ("used", ago(row.updated_at, now)),
            ("ends", expiry),
        ],
    )
}

async fn reset(
    cx: &Cx<'_>,
    gateway: &Connection,
    key: &str,
    removal: Removal,
) -> Result<(), Failure> {
    let row = load(gateway, key).await?;
    let what = [format!(
        "the thread `{}` from the seat `{}`; the thread itself is kept",
        row.thread_id, row.key
    )];
    if confirm::removal(cx, removal, key, &what).await? == Go::NoFurther {
        return Ok(());
    }
    let params = SessionsResetParams {
        key: key.to_owned(),
        idempotency_key: Some(fresh_key()?),
        ..SessionsResetParams::default()
    };
    let entry = gateway.call::<SessionsReset>(params).await?;
    cx.terminal.show(&entry, || {
        format!(
            "{} begins anew in thread {}",
            entry.key, entry.entry.thread_id
        )
    })
}

async fn delete(
    cx: &Cx<'_>,
    gateway: &Connection,
    key: &str,
    removal: Removal,
) -> Result<(), Failure> {
    let row = load(gateway, key).await?;
    let what = [format!(
        "the session `{}`; its thread `{}` is kept",
        row.key, row.thread_id
    )];
    if confirm::removal(cx, removal, key, &what).await? == Go::NoFurther {
        return Ok(());
    }
    let params = SessionsDeleteParams {
        key: key.to_owned(),
        delete_transcript: None,
        idempotency_key: Some(fresh_key()?),
        ..SessionsDeleteParams::default()
    };
    let deleted = gateway.call::<SessionsDelete>(params).await?;
    cx.terminal
        .show(&deleted, || format!("deleted session {}", deleted.key))
}
