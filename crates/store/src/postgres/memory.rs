//! Remembered facts.

use async_trait::async_trait;

use adjutant_domain::id::{AgentId, MemoryId, OwnerId, SessionId};
use adjutant_domain::memory::{Memory, MemoryScope};
use adjutant_ports::store::{MemoryStore, Stored};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, indexed, params, text_query};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::sql::json;

fn scope_text(scope: &MemoryScope) -> String {
    match scope {
        MemoryScope::Owner => "owner".to_owned(),
        MemoryScope::Agent { agent } => agent_scope(agent),
        MemoryScope::Session { session } => session_scope(*session),
    }
}

fn agent_scope(agent: &AgentId) -> String {
    format!("agent:{agent}")
}

fn session_scope(session: SessionId) -> String {
    format!("session:{session}")
}

/// The words by which a fact is found: its name counts too.
fn searched_text(memory: &Memory) -> String {
    match &memory.key {
        Some(key) => format!("{key} {}", memory.text),
        None => memory.text.clone(),
    }
}

fn put(tx: &mut Tx<'_>, memory: &Memory) -> Done<Memory> {
    let scope = scope_text(&memory.scope);
    tx.later(
        "delete from memories where owner = $1 and (id = $2 or (scope = $3 and key = $4))",
        params![memory.owner, memory.id, scope, memory.key],
    );
    tx.later(
        "insert into memories (id, owner, scope, key, body, created_at, expires_at, words)
         values ($1, $2, $3, $4, $5, $6, $7, to_tsvector('words', $8))",
        params![
            memory.id,
            memory.owner,
            scope,
            memory.key,
            json(memory)?,
            memory.created_at,
            memory.expires_at,
            indexed(&searched_text(memory)),
        ],
    );
    Ok(memory.clone())
}

/// What the reader may see, with the parameters 1 to 4. Everybody sees the owner's facts; an agent sees its own, a session
/// its own; what is absent narrows nothing.
macro_rules! visible {
    () => {
        "m.owner = $1
         and (m.scope = 'owner' or m.scope = $2 or m.scope = $3
              or $2 is null and m.scope like 'agent:%' or $3 is null and m.scope like 'session:%')
         and (m.expires_at is null or m.expires_at > coalesce($4, clock_ms()))"
    };
}

#[async_trait]
impl MemoryStore for Postgres {
    async fn put_memory(&self, memory: Memory) -> Stored<Memory> {
        let who = Who::Owner(memory.owner.clone());
        self.write(who, memory, |tx, memory| {
            Box::pin(async move { put(tx, memory) })
        })
        .await
    }

    async fn recall(
        &self,
        owner: &OwnerId,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Memory>> {
        let mut params = params![
            owner,
            agent.map(agent_scope),
            session.map(session_scope),
            self.inner.times().rows(),
            limit
        ];
        let sql = if let Some(words) = text_query(query, " | ") {
            params.extend(params![words]);
            concat!(
                "select m.body from memories m, to_tsquery('words', $6) q where m.words @@ q and ",
                visible!(),
                " order by ts_rank(m.words, q) desc, m.created_at desc, m.n desc limit $5"
            )
        } else if query.trim().is_empty() {
            concat!(
                "select m.body from memories m where ",
                visible!(),
                " order by m.created_at desc, m.n desc limit $5"
            )
        } else {
            return Ok(vec![]);
        };
        let rows = self.read(Who::Owner(owner.clone()), sql, params).await?;
        let memories: Done<_> = rows.iter().map(|row| row.json(0)).collect();
        memories.map_err(Fault::into_store)
    }

    async fn memory(&self, owner: &OwnerId, id: MemoryId) -> Stored<Option<Memory>> {
        let sql = "select body from memories where id = $1 and owner = $2";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![id, owner])
            .await?;
        let memory: Done<_> = rows.first().map(|row| row.json(0)).transpose();
        memory.map_err(Fault::into_store)
    }

    async fn forget(&self, owner: &OwnerId, ids: &[MemoryId]) -> Stored<u64> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let rows = self
            .change(
                Who::Owner(owner.clone()),
                Durability::Flushed,
                "delete from memories where id = any($1) and owner = $2 returning 1",
                params![ids, owner],
            )
            .await?;
        Ok(rows.len() as u64)
    }
}
