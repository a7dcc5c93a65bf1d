//! Agents and the tools that workers announced. Nothing is kept in memory: another process may have changed it.

use std::sync::Arc;

use async_trait::async_trait;

use adjutant_domain::agent::Agent;
use adjutant_domain::id::{AgentId, OwnerId};
use adjutant_domain::tool::ToolSpec;
use adjutant_ports::store::{AgentStore, StoreError, Stored};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::sql::json;

async fn put(tx: &mut Tx<'_>, agent: &Agent, expected: Option<u64>) -> Done<Agent> {
    let agent = Agent {
        revision: expected.unwrap_or(0) + 1,
        updated_at: tx.now().await?,
        ..agent.clone()
    };
    let body = json(&agent)?;
    let (sql, params) = match expected {
        None => (
            "insert into agents (owner, name, revision, body) values ($1, $2, $3, $4)
             on conflict do nothing returning 1",
            params![agent.owner, agent.name, agent.revision, body],
        ),
        Some(seen) => (
            "update agents set revision = $3, body = $4 where owner = $1 and name = $2 and revision = $5 returning 1",
            params![agent.owner, agent.name, agent.revision, body, seen],
        ),
    };
    if tx.one(sql, params).await?.is_some() {
        return Ok(agent);
    }
    let reason = match expected {
        None => format!("there is an agent `{}` already", agent.name),
        Some(_) => format!("the agent `{}` was changed or removed since", agent.name),
    };
    Err(StoreError::Conflict { reason }.into())
}

fn announce(tx: &mut Tx<'_>, tools: &[ToolSpec]) -> Done<()> {
    tx.later("delete from tools", vec![]);
    for tool in tools {
        tx.later(
            "insert into tools (name, body) values ($1, $2)",
            params![tool.name, json(tool)?],
        );
    }
    Ok(())
}

#[async_trait]
impl AgentStore for Postgres {
    async fn agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<Option<Arc<Agent>>> {
        let sql = "select body from agents where owner = $1 and name = $2";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, name])
            .await?;
        let agent: Done<Option<Agent>> = rows.first().map(|row| row.json(0)).transpose();
        Ok(agent.map_err(Fault::into_store)?.map(Arc::new))
    }

    async fn agents(&self, owner: &OwnerId) -> Stored<Vec<Arc<Agent>>> {
        let sql = "select body from agents where owner = $1 order by name";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner])
            .await?;
        let agents: Done<_> = rows.iter().map(|row| row.json(0).map(Arc::new)).collect();
        agents.map_err(Fault::into_store)
    }

    async fn put_agent(&self, agent: Agent, expected: Option<u64>) -> Stored<Agent> {
        let who = Who::Owner(agent.owner.clone());
        self.write(who, (agent, expected), |tx, (agent, expected)| {
            Box::pin(put(tx, agent, *expected))
        })
        .await
    }

    async fn delete_agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<bool> {
        let rows = self
            .change(
                Who::Owner(owner.clone()),
                Durability::Flushed,
                "delete from agents where owner = $1 and name = $2 returning 1",
                params![owner, name],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    async fn announce_tools(&self, tools: &[ToolSpec]) -> Stored<()> {
        self.write(Who::Queue, tools.to_vec(), |tx, tools| {
            Box::pin(async move { announce(tx, tools) })
        })
        .await
    }

    async fn tools(&self) -> Stored<Vec<ToolSpec>> {
        let sql = "select body from tools order by name";
        let rows = self.read(Who::Queue, sql, vec![]).await?;
        let tools: Done<_> = rows.iter().map(|row| row.json(0)).collect();
        tools.map_err(Fault::into_store)
    }
}
