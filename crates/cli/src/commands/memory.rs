//! `adjutant memory`: what agents remember.

use adjutant_domain::id::MemoryId;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_protocol::methods::memory::{
    MemoriesPage, MemoryAdd, MemoryAddParams, MemoryForget, MemoryForgetParams, MemoryList,
    MemoryListParams, MemorySearch, MemorySearchParams, ScopeWord,
};

use super::{agent_id_of, parse_id};
use crate::args::{KindArg, MemoryCommand};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::word_of;
use crate::render::{Table, ago, words};

pub(super) async fn memory(cx: &Cx<'_>, command: MemoryCommand) -> Result<Exit, Failure> {
    let gateway = Connection::for_data(cx).await?;
    match command {
        MemoryCommand::List { agent, limit } => {
            let params = MemoryListParams {
                agent_id: agent_id_of(agent.as_ref())?,
                session_key: None,
                limit: Some(limit),
            };
            let page = gateway.call::<MemoryList>(params).await?;
            cx.terminal.show(&page, || table(cx, &page))?;
        }
        MemoryCommand::Search {
            query,
            agent,
            limit,
        } => {
            let params = MemorySearchParams {
                query,
                agent_id: agent_id_of(agent.as_ref())?,
                session_key: None,
                limit: Some(limit),
            };
            let page = gateway.call::<MemorySearch>(params).await?;
            cx.terminal.show(&page, || table(cx, &page))?;
        }
        MemoryCommand::Add {
            text,
            kind,
            key,
            agent,
            expires,
        } => {
            let kind = match kind {
                KindArg::Fact => MemoryKind::Fact,
                KindArg::Preference => MemoryKind::Preference,
            };
            let agent_id = agent_id_of(agent.as_ref())?;
            let params = MemoryAddParams {
                text,
                key,
                kind: Some(kind),
                scope: if agent_id.is_some() {
                    ScopeWord::Agent
                } else {
                    ScopeWord::Owner
                },
                agent_id,
                session_key: None,
                expires_in_ms: expires
                    .map(|span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX)),
                idempotency_key: Some(fresh_key()?),
            };
            let stored = gateway.call::<MemoryAdd>(params).await?;
            cx.terminal
                .show(&stored, || format!("remembered as {}", stored.memory.id))?;
        }
        MemoryCommand::Forget { id, removal } => {
            let memory = parse_id::<MemoryId>("memory", &id)?;
            let what = [format!("the memory `{id}`, for good")];
            if confirm::removal(cx, removal, &id, &what).await? == Go::NoFurther {
                return Ok(Exit::Done);
            }
            let params = MemoryForgetParams {
                ids: vec![memory],
                idempotency_key: Some(fresh_key()?),
            };
            let forgotten = gateway.call::<MemoryForget>(params).await?;
            if forgotten.forgotten == 0 {
                return Err(
                    Failure::not_found("memory", &id).with_hint("see `adjutant memory list`")
                );
            }
            cx.terminal.show(&forgotten, || {
                format!(
                    "forgot {}",
                    words(forgotten.forgotten, "memory", "memories")
                )
            })?;
        }
    }
    Ok(Exit::Done)
}

fn table(cx: &Cx<'_>, page: &MemoriesPage) -> String {
    let mut table = Table::new(&["ID", "KIND", "FOR", "STORED", "TEXT"]);
    for it in &page.memories {
        table.row([
            it.id.to_string(),
            word_of(&it.kind),
            whose(&it.scope),
            ago(it.created_at, cx.now()),
            text(it),
        ]);
    }
    table.render(cx.terminal.paint(), cx.terminal.table_width())
}

fn text(memory: &Memory) -> String {
    match &memory.key {
        Some(key) => format!("{key}: {}", memory.text),
        None => memory.text.clone(),
    }
}

fn whose(scope: &MemoryScope) -> String {
    match scope {
        MemoryScope::Owner => "all agents".to_owned(),
        MemoryScope::Agent { agent } => agent.to_string(),
        MemoryScope::Session { .. } => "one session".to_owned(),
    }
}
