//! Mailboxes of nodes in memory.

use async_trait::async_trait;
use serde_json::json;

use adjutant_domain::device::{Device, NodeClaims};
use adjutant_domain::id::{DeviceId, InvokeId, OwnerId};
use adjutant_domain::node::{
    ANSWERS_KEPT, Invoke, InvokeAnswer, MAILBOX_BYTES_MAX, MAILBOX_ITEMS_MAX, OPEN_INVOKES_MAX,
};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{NewInvoke, NodeStore, Posted, StoreError, Stored};

use super::{Inner, MemoryStore};

impl Inner {
    fn forget_invokes(&mut self, owner: &OwnerId, node: &DeviceId, now: Timestamp) {
        self.invokes.retain(|_, it| {
            it.owner != *owner || now < it.created_at.plus(ANSWERS_KEPT) || now < it.deadline_at
        });
        let (mut place, mut bytes) = (0, 0);
        let of_node: Vec<InvokeId> = self
            .invokes
            .values()
            .rev()
            .filter(|it| it.owner == *owner && it.node == *node)
            .map(|it| it.id)
            .collect();
        for id in of_node {
            let Some(it) = self.invokes.get(&id) else {
                continue;
            };
            place += 1;
            bytes += it.answer.as_ref().map_or(0, InvokeAnswer::bytes) as u64;
            let too_much = MAILBOX_ITEMS_MAX <= place || MAILBOX_BYTES_MAX < bytes;
            if too_much && !it.is_open(now) {
                self.invokes.remove(&id);
            }
        }
    }

    fn open_of(&self, owner: &OwnerId, node: &DeviceId, now: Timestamp) -> Vec<Invoke> {
        self.invokes
            .values()
            .filter(|it| it.owner == *owner && it.node == *node && it.is_open(now))
            .cloned()
            .collect()
    }
}

#[async_trait]
impl NodeStore for MemoryStore {
    async fn post_invoke(&self, new: &NewInvoke) -> Stored<Posted> {
        let now = self.now();
        let id = InvokeId::mint(now, self.entropy());
        let mut inner = self.lock();
        let seen = inner
            .invokes
            .values()
            .find(|it| it.owner == new.owner && it.key == new.key);
        if let Some(seen) = seen {
            if seen.digest != new.digest {
                return Err(StoreError::KeyReused);
            }
            return Ok(Posted::Seen(seen.clone()));
        }
        inner.forget_invokes(&new.owner, &new.node, now);
        if inner.open_of(&new.owner, &new.node, now).len() >= OPEN_INVOKES_MAX as usize {
            return Err(StoreError::Full {
                what: "the mailbox of the node",
                max: OPEN_INVOKES_MAX.into(),
            });
        }
        let invoke = Invoke {
            owner: new.owner.clone(),
            id,
            node: new.node.clone(),
            command: new.command.clone(),
            params: new.params.clone(),
            key: new.key.clone(),
            digest: new.digest.clone(),
            asked_by: new.asked_by.clone(),
            created_at: now,
            deadline_at: new.deadline_at,
            answer: None,
        };
        inner.invokes.insert(id, invoke.clone());
        Ok(Posted::New(invoke))
    }

    async fn invoke_of_key(&self, owner: &OwnerId, key: &str) -> Stored<Option<Invoke>> {
        let inner = self.lock();
        let mut all = inner.invokes.values();
        Ok(all.find(|it| it.owner == *owner && it.key == key).cloned())
    }

    async fn invoke(&self, owner: &OwnerId, id: InvokeId) -> Stored<Option<Invoke>> {
        let inner = self.lock();
        Ok(inner
            .invokes
            .get(&id)
            .filter(|it| it.owner == *owner)
            .cloned())
    }

    async fn open_invokes(&self, owner: &OwnerId, node: &DeviceId) -> Stored<Vec<Invoke>> {
        Ok(self.lock().open_of(owner, node, self.now()))
    }

    async fn answer_invoke(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        id: InvokeId,
        answer: &InvokeAnswer,
    ) -> Stored<Option<Invoke>> {
        let now = self.now();
        let mut inner = self.lock();
        let found = inner
            .invokes
            .get_mut(&id)
            .filter(|it| it.owner == *owner && it.node == *node && it.is_open(now));
        Ok(found.map(|it| {
            it.answer = Some(answer.clone());
            it.clone()
        }))
    }

    async fn approve_claims(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        claims: &NodeClaims,
        by: &str,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let mut device = inner.device_of(owner, node)?;
        device.claims = claims.for_record();
        let detail = json!({ "caps": claims.caps, "commands": claims.commands });
        inner.note(owner, by, "node.pair.approve", node.as_str(), (now, detail));
        inner.keep(&device);
        Ok(device)
    }
}
