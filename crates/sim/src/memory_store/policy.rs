//! Approvals, grants, money, rates, memories.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use adjutant_domain::approval::{Approval, ApprovalState, Choice, Grant};
use adjutant_domain::id::{AgentId, ApprovalId, GrantId, MemoryId, OwnerId, SessionId};
use adjutant_domain::memory::{Memory, MemoryScope};
use adjutant_domain::run::Signal;
use adjutant_ports::store::{
    AuditStore as _, CapScope, GroupBy, MemoryStore as Memories, PolicyStore, Rate, RunStore as _,
    Spend, StoreError, Stored, Take,
};

use super::MemoryStore;

#[async_trait]
impl PolicyStore for MemoryStore {
    async fn approval(&self, owner: &OwnerId, id: ApprovalId) -> Stored<Option<Approval>> {
        Ok(self
            .lock()
            .approvals
            .get(&id)
            .filter(|a| a.owner == *owner)
            .cloned())
    }

    async fn approvals(
        &self,
        owner: &OwnerId,
        open_only: bool,
        limit: u32,
    ) -> Stored<Vec<Approval>> {
        let inner = self.lock();
        let wanted =
            |a: &&Approval| a.owner == *owner && (!open_only || a.state == ApprovalState::Open);
        Ok(inner
            .approvals
            .values()
            .rev()
            .filter(wanted)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn resolve_approval(
        &self,
        owner: &OwnerId,
        id: ApprovalId,
        choice: Choice,
        by: &str,
    ) -> Stored<Approval> {
        let now = self.now();
        let approval = {
            let mut inner = self.lock();
            let approval = inner
                .approvals
                .get_mut(&id)
                .filter(|a| a.owner == *owner)
                .ok_or(StoreError::NotFound { what: "approval" })?;
            if approval.state != ApprovalState::Open {
                return Err(StoreError::Conflict {
                    reason: "this question was answered already".to_owned(),
                });
            }
            if approval.expires_at <= now {
                return Err(StoreError::Conflict {
                    reason: "this question has expired".to_owned(),
                });
            }
            approval.state = if choice.allows() {
                ApprovalState::Allowed
            } else {
                ApprovalState::Denied
            };
            approval.choice = Some(choice.clone());
            approval.answered_by = Some(by.to_owned());
            approval.clone()
        };
        self.audit(
            owner,
            by,
            "approval.resolve",
            &id.to_string(),
            json!({ "choice": choice }),
        )
        .await?;
        let signal = Signal::Answer {
            approval: id,
            choice,
            by: by.to_owned(),
        };
        self.signal(owner, approval.run, signal).await?;
        Ok(approval)
    }

    async fn grants(&self, owner: &OwnerId, agent: Option<&AgentId>) -> Stored<Vec<Grant>> {
        let inner = self.lock();
        let wanted = |g: &&Grant| g.owner == *owner && agent.is_none_or(|a| g.agent == *a);
        Ok(inner
            .grants
            .values()
            .rev()
            .filter(wanted)
            .cloned()
            .collect())
    }

    async fn put_grant(&self, grant: Grant) -> Stored<()> {
        self.lock().grants.insert(grant.id, grant);
        Ok(())
    }

    async fn revoke_grant(&self, owner: &OwnerId, id: GrantId) -> Stored<bool> {
        let mut inner = self.lock();
        let found = inner.grants.get(&id).is_some_and(|g| g.owner == *owner);
        if found {
            inner.grants.remove(&id);
        }
        Ok(found)
    }

    async fn spend(&self, owner: &OwnerId, scope: &CapScope) -> Stored<Spend> {
        let key = (owner.clone(), scope.word().to_owned(), scope.key());
        Ok(self.lock().spends.get(&key).copied().unwrap_or_default())
    }

    async fn costs(
        &self,
        owner: &OwnerId,
        by: GroupBy,
        from: &str,
        to: &str,
    ) -> Stored<Vec<(String, Spend)>> {
        let inner = self.lock();
        let mut out: BTreeMap<String, Spend> = BTreeMap::new();
        for row in &inner.ledger {
            let Some(run) = inner
                .runs
                .get(&row.run)
                .map(|r| &r.run)
                .filter(|r| r.owner == *owner)
            else {
                continue;
            };
            let day = row.line.day.as_str();
            if day < from || to < day {
                continue;
            }
            let group = match by {
                GroupBy::Day => row.line.day.clone(),
                GroupBy::Model => row.line.route.clone(),
                GroupBy::Session => run.session_key.to_string(),
                GroupBy::Agent => run.agent.to_string(),
                GroupBy::Run => run.name(),
            };
            let spend = out.entry(group).or_default();
            spend.calls += 1;
            spend.usage = spend.usage.plus(&row.line.usage);
            match row.line.cost.micros() {
                Some(micros) => spend.used_micros += micros,
                None => spend.unpriced += 1,
            }
        }
        Ok(out.into_iter().collect())
    }

    async fn take(&self, bucket: &str, amount: u64, rate: Rate) -> Stored<Take> {
        // Levels are kept in token-milliseconds per minute, so that refills are exact.
        const MINUTE_MS: u128 = 60_000;
        let now = self.now();
        let mut inner = self.lock();
        let full = u128::from(rate.burst) * MINUTE_MS;
        let (level, at) = inner.buckets.get(bucket).copied().unwrap_or((full, now));
        let refill = now.since(at).as_millis() * u128::from(rate.per_minute);
        let level = full.min(level + refill);
        let wanted = u128::from(amount) * MINUTE_MS;
        if wanted <= level {
            inner
                .buckets
                .insert(bucket.to_owned(), (level - wanted, now));
            return Ok(Take::Taken);
        }
        inner.buckets.insert(bucket.to_owned(), (level, now));
        let missing = (wanted - level).div_ceil(u128::from(rate.per_minute.max(1)));
        Ok(Take::Wait(Duration::from_millis(
            u64::try_from(missing).unwrap_or(u64::MAX),
        )))
    }
}

#[async_trait]
impl Memories for MemoryStore {
    async fn put_memory(&self, memory: Memory) -> Stored<Memory> {
        let mut inner = self.lock();
        if memory.key.is_some() {
            inner.memories.retain(|id, m| {
                *id == memory.id
                    || m.owner != memory.owner
                    || m.scope != memory.scope
                    || m.key != memory.key
            });
        }
        inner.memories.insert(memory.id, memory.clone());
        Ok(memory)
    }

    async fn recall(
        &self,
        owner: &OwnerId,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Memory>> {
        let now = self.now();
        let inner = self.lock();
        let words: Vec<String> = query
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| 2 < w.len())
            .map(str::to_lowercase)
            .collect();
        let visible = |m: &&Memory| {
            m.owner == *owner
                && m.expires_at.is_none_or(|end| now < end)
                && match &m.scope {
                    MemoryScope::Owner => true,
                    MemoryScope::Agent { agent: a } => agent.is_none_or(|wanted| wanted == a),
                    MemoryScope::Session { session: s } => {
                        session.is_none_or(|wanted| wanted == *s)
                    }
                }
        };
        let mut found: Vec<(usize, &Memory)> = inner
            .memories
            .values()
            .filter(visible)
            .map(|m| {
                (
                    words
                        .iter()
                        .filter(|w| m.text.to_lowercase().contains(w.as_str()))
                        .count(),
                    m,
                )
            })
            .filter(|(hits, _)| words.is_empty() || 0 < *hits)
            .collect();
        found.sort_by_key(|(hits, m)| std::cmp::Reverse((*hits, m.created_at, m.id)));
        Ok(found
            .into_iter()
            .take(limit as usize)
            .map(|(_, m)| m.clone())
            .collect())
    }

    async fn memory(&self, owner: &OwnerId, id: MemoryId) -> Stored<Option<Memory>> {
        Ok(self
            .lock()
            .memories
            .get(&id)
            .filter(|m| m.owner == *owner)
            .cloned())
    }

    async fn forget(&self, owner: &OwnerId, ids: &[MemoryId]) -> Stored<u64> {
        let mut inner = self.lock();
        let before = inner.memories.len();
        inner
            .memories
            .retain(|id, m| m.owner != *owner || !ids.contains(id));
        Ok((before - inner.memories.len()) as u64)
    }
}
