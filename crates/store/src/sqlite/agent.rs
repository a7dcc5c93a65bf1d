//! Agents, kept parsed, and the tools that workers announced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::params;

use adjutant_domain::agent::Agent;
use adjutant_domain::id::{AgentId, OwnerId};
use adjutant_domain::tool::ToolSpec;
use adjutant_ports::store::{AgentStore, StoreError, Stored};

use crate::error::Done;
use crate::sql::{Sql, col, json};
use crate::sqlite::Sqlite;
use crate::tx::Tx;

/// Agents that stay parsed.
const CACHED_MAX: usize = 256;

type Key = (OwnerId, AgentId);

/// Agents as they were last read. A turn asks for its agent several times.
#[derive(Default)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    agents: BTreeMap<Key, Arc<Agent>>,
    /// Counts edits: what was read before an edit is not kept after it.
    edits: u64,
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agent(&self, key: &Key) -> Option<Arc<Agent>> {
        self.lock().agents.get(key).cloned()
    }

    fn edits(&self) -> u64 {
        self.lock().edits
    }

    fn keep(&self, key: Key, agent: &Arc<Agent>, edits_seen: u64) {
        let mut inner = self.lock();
        if inner.edits == edits_seen && inner.agents.len() < CACHED_MAX {
            inner.agents.insert(key, Arc::clone(agent));
        }
    }

    fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        inner.edits += 1;
        inner.agents.remove(key);
    }
}

fn put(tx: &Tx<'_>, agent: Agent, expected: Option<u64>) -> Done<Agent> {
    let agent = Agent {
        revision: expected.unwrap_or(0) + 1,
        updated_at: tx.now,
        ..agent
    };
    let body = json(&agent)?;
    let n = match expected {
        None => tx.exec(
            "insert into agents (owner, name, revision, body) values (?, ?, ?, ?) on conflict do nothing",
            params![agent.owner.as_str(), agent.name.as_str(), agent.revision, body],
        )?,
        Some(seen) => tx.exec(
            "update agents set revision = ?, body = ? where owner = ? and name = ? and revision = ?",
            params![agent.revision, body, agent.owner.as_str(), agent.name.as_str(), seen],
        )?,
    };
    if n == 1 {
        return Ok(agent);
    }
    let reason = match expected {
        None => format!("there is an agent `{}` already", agent.name),
        Some(_) => format!("the agent `{}` was changed or removed since", agent.name),
    };
    Err(StoreError::Conflict { reason }.into())
}

fn announce(tx: &Tx<'_>, tools: &[ToolSpec]) -> Done<()> {
    tx.exec("delete from tools", [])?;
    for tool in tools {
        tx.exec(
            "insert into tools (name, body) values (?, ?)",
            params![tool.name, json(tool)?],
        )?;
    }
    Ok(())
}

#[async_trait]
impl AgentStore for Sqlite {
    async fn agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<Option<Arc<Agent>>> {
        let key = (owner.clone(), name.clone());
        if let Some(agent) = self.agents.agent(&key) {
            return Ok(Some(agent));
        }
        let edits = self.agents.edits();
        let wanted = key.clone();
        let agent = self
            .read(move |db| {
                db.one(
                    "select body from agents where owner = ? and name = ?",
                    params![wanted.0.as_str(), wanted.1.as_str()],
                    |row| col::json::<Agent>(row, 0),
                )
            })
            .await?
            .map(Arc::new);
        if let Some(agent) = &agent {
            self.agents.keep(key, agent, edits);
        }
        Ok(agent)
    }

    async fn agents(&self, owner: &OwnerId) -> Stored<Vec<Arc<Agent>>> {
        let owner = owner.clone();
        self.read(move |db| {
            db.all(
                "select body from agents where owner = ? order by name",
                [owner.as_str()],
                |row| col::json::<Agent>(row, 0).map(Arc::new),
            )
        })
        .await
    }

    async fn put_agent(&self, agent: Agent, expected: Option<u64>) -> Stored<Agent> {
        let key = (agent.owner.clone(), agent.name.clone());
        let stored = self.flushed(move |tx| put(tx, agent, expected)).await;
        self.agents.forget(&key);
        stored
    }

    async fn delete_agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<bool> {
        let key = (owner.clone(), name.clone());
        let (owner, name) = key.clone();
        let deleted = self
            .flushed(move |tx| {
                let n = tx.exec(
                    "delete from agents where owner = ? and name = ?",
                    params![owner.as_str(), name.as_str()],
                )?;
                Ok(n == 1)
            })
            .await;
        self.agents.forget(&key);
        deleted
    }

    async fn announce_tools(&self, tools: &[ToolSpec]) -> Stored<()> {
        let tools = tools.to_vec();
        self.relaxed(move |tx| announce(tx, &tools)).await
    }

    async fn tools(&self) -> Stored<Vec<ToolSpec>> {
        self.read(|db| {
            db.all("select body from tools order by name", [], |row| {
                col::json(row, 0)
            })
        })
        .await
    }
}
