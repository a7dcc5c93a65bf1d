//! The feed, the audit trail, idempotency.

use async_trait::async_trait;
use serde_json::Value;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{ClientKey, OwnerId, SessionKey};
use adjutant_ports::store::{
    AuditRecord, AuditStore, EventStore, StoreError, Stored, VerifyReport,
};

use super::MemoryStore;

#[async_trait]
impl EventStore for MemoryStore {
    async fn events_since(&self, owner: &OwnerId, cursor: u64, limit: u32) -> Stored<Vec<Event>> {
        let inner = self.lock();
        let wanted = |e: &&Event| cursor < e.cursor && e.owner == *owner;
        Ok(inner
            .events
            .iter()
            .filter(wanted)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn cursor(&self, owner: &OwnerId) -> Stored<u64> {
        Ok(self
            .lock()
            .events
            .iter()
            .rev()
            .find(|e| e.owner == *owner)
            .map_or(0, |e| e.cursor))
    }

    async fn announce(
        &self,
        owner: &OwnerId,
        session: Option<&SessionKey>,
        kind: EventKind,
    ) -> Stored<()> {
        let now = self.now();
        let event = Self::feed(&mut self.lock(), owner, now, None, session, kind);
        self.tell(vec![event]);
        Ok(())
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn audit(
        &self,
        owner: &OwnerId,
        by: &str,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Stored<u64> {
        let at = self.now();
        let mut inner = self.lock();
        let seq = inner.audit.len() as u64 + 1;
        // The databases chain real hashes; here the position stands in, because nothing can edit this memory.
        let hash = format!("{seq:064x}");
        inner.audit.push(AuditRecord {
            seq,
            at,
            owner: owner.clone(),
            by: by.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
            hash,
        });
        Ok(seq)
    }

    async fn audit_records(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<AuditRecord>> {
        let inner = self.lock();
        Ok(inner
            .audit
            .iter()
            .rev()
            .filter(|r| r.owner == *owner)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn answered(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
    ) -> Stored<Option<Value>> {
        let inner = self.lock();
        let at = (owner.clone(), method.to_owned(), key.as_str().to_owned());
        match inner.answers.get(&at) {
            None => Ok(None),
            Some((seen, answer)) if seen == digest => Ok(Some(answer.clone())),
            Some(_) => Err(StoreError::KeyReused),
        }
    }

    async fn remember_answer(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
        answer: &Value,
    ) -> Stored<()> {
        let at = (owner.clone(), method.to_owned(), key.as_str().to_owned());
        self.lock()
            .answers
            .entry(at)
            .or_insert_with(|| (digest.to_owned(), answer.clone()));
        Ok(())
    }

    async fn verify(&self) -> Stored<VerifyReport> {
        let inner = self.lock();
        Ok(VerifyReport {
            checked: vec![("runs".to_owned(), inner.runs.len() as u64)],
            findings: inner.broken.iter().cloned().collect(),
        })
    }

    async fn writable(&self) -> Stored<()> {
        Ok(())
    }
}
