//! Remembered facts.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use adjutant_domain::id::{AgentId, MemoryId, OwnerId, SessionId};
use adjutant_domain::memory::{Memory, MemoryScope};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{MemoryStore, Stored};

use crate::error::Done;
use crate::sql::{Joined, Sql, col, json, text_query};
use crate::sqlite::Sqlite;
use crate::tx::Tx;

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
pub(crate) fn searched_text(memory: &Memory) -> String {
    match &memory.key {
        Some(key) => format!("{key} {}", memory.text),
        None => memory.text.clone(),
    }
}

fn put(tx: &Tx<'_>, memory: Memory) -> Done<Memory> {
    let scope = scope_text(&memory.scope);
    let replaced = tx.all(
        "select n, text from memories
          where owner = ?1 and (id = ?2 or (scope = ?3 and key = ?4 and key is not null))",
        params![
            memory.owner.as_str(),
            memory.id.to_string(),
            scope,
            memory.key
        ],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    for (n, text) in replaced {
        remove(tx, n, &text)?;
    }
    let text = searched_text(&memory);
    tx.exec(
        "insert into memories (id, owner, scope, key, body, text, created_at, expires_at)
         values (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            memory.id.to_string(),
            memory.owner.as_str(),
            scope,
            memory.key,
            json(&memory)?,
            text,
            memory.created_at.as_millis(),
            memory.expires_at.map(Timestamp::as_millis),
        ],
    )?;
    tx.exec(
        "insert into memories_text (rowid, text) values (?, ?)",
        params![tx.last_insert_rowid(), text],
    )?;
    Ok(memory)
}

fn remove(tx: &Tx<'_>, n: i64, text: &str) -> Done<()> {
    tx.exec(
        "insert into memories_text (memories_text, rowid, text) values ('delete', ?, ?)",
        params![n, text],
    )?;
    tx.exec("delete from memories where n = ?", [n])?;
    Ok(())
}

fn forget(tx: &mut Tx<'_>, owner: &OwnerId, ids: &[MemoryId]) -> Done<u64> {
    let mut n_removed = 0;
    for id in ids {
        let row = tx.one(
            "select n, text from memories where id = ? and owner = ?",
            params![id.to_string(), owner.as_str()],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
        )?;
        if let Some((n, text)) = row {
            remove(tx, n, &text)?;
            n_removed += 1;
        }
    }
    tx.scrub();
    Ok(n_removed)
}

/// Who asks. Everybody sees the owner's facts; an agent sees its own, a session its own; what is absent narrows nothing.
struct Reader {
    agent: Option<String>,
    session: Option<String>,
}

/// What the reader may see, with the parameters 1 to 4.
macro_rules! visible {
    () => {
        "m.owner = ?1
         and (m.scope = 'owner' or m.scope = ?2 or m.scope = ?3
              or ?2 is null and m.scope like 'agent:%' or ?3 is null and m.scope like 'session:%')
         and (m.expires_at is null or m.expires_at > ?4)"
    };
}

/// Among so few facts a search takes no longer than handing it to a thread.
const FEW: u32 = 200;

/// How many facts of everybody there are, since all of them are searched; more than a few are not counted.
fn count(db: &Connection) -> Done<u32> {
    let n = db.one(
        "select count(*) from (select 1 from memories limit ?)",
        [FEW + 1],
        |row| row.get(0),
    )?;
    Ok(n.unwrap_or_default())
}

fn recall(
    db: &Connection,
    owner: &OwnerId,
    reader: &Reader,
    words: &str,
    now: Timestamp,
    limit: u32,
) -> Done<Vec<Memory>> {
    let Some(query) = text_query(words, Joined::Any) else {
        if !words.trim().is_empty() {
            return Ok(vec![]);
        }
        return db.all(
            concat!(
                "select m.body from memories m where ",
                visible!(),
                " order by m.created_at desc, m.n desc limit ?5"
            ),
            params![
                owner.as_str(),
                reader.agent,
                reader.session,
                now.as_millis(),
                limit
            ],
            |row| col::json(row, 0),
        );
    };
    db.all(
        concat!(
            "select m.body from memories_text f join memories m on m.n = f.rowid
              where f.memories_text match ?6 and ",
            visible!(),
            " order by f.rank, m.created_at desc, m.n desc limit ?5"
        ),
        params![
            owner.as_str(),
            reader.agent,
            reader.session,
            now.as_millis(),
            limit,
            query
        ],
        |row| col::json(row, 0),
    )
}

#[async_trait]
impl MemoryStore for Sqlite {
    async fn put_memory(&self, memory: Memory) -> Stored<Memory> {
        self.flushed(move |tx| put(tx, memory)).await
    }

    async fn recall(
        &self,
        owner: &OwnerId,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Memory>> {
        let (owner, query) = (owner.clone(), query.to_owned());
        let reader = Reader {
            agent: agent.map(agent_scope),
            session: session.map(session_scope),
        };
        let now = self.steady.wall();
        let n = self.glance(count).await?;
        let recall = move |db: &Connection| recall(db, &owner, &reader, &query, now, limit);
        match n {
            0 => Ok(vec![]),
            n if n <= FEW => self.glance(recall).await,
            _ => self.read(recall).await,
        }
    }

    async fn memory(&self, owner: &OwnerId, id: MemoryId) -> Stored<Option<Memory>> {
        let owner = owner.clone();
        self.read(move |db| {
            db.one(
                "select body from memories where id = ? and owner = ?",
                params![id.to_string(), owner.as_str()],
                |row| col::json(row, 0),
            )
        })
        .await
    }

    async fn forget(&self, owner: &OwnerId, ids: &[MemoryId]) -> Stored<u64> {
        let (owner, ids) = (owner.clone(), ids.to_vec());
        self.flushed(move |tx| forget(tx, &owner, &ids)).await
    }
}
