//! The mailboxes of nodes: requests that wait for an answer, and answers that are remembered.

use async_trait::async_trait;

use adjutant_domain::device::{Device, NodeClaims};
use adjutant_domain::id::{DeviceId, InvokeId, OwnerId};
use adjutant_domain::node::{Invoke, InvokeAnswer};
use adjutant_domain::time::Timestamp;

use super::Stored;

/// A request to be put into a node's mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvoke {
    /// Whose it is.
    pub owner: OwnerId,
    /// Who is asked.
    pub node: DeviceId,
    /// `system.which`.
    pub command: String,
    /// The text of the parameters as the node gets them.
    pub params: Option<String>,
    /// The caller's key.
    pub key: String,
    /// Of node, command and parameters as the caller sent them.
    pub digest: String,
    /// Surface and principal, or the run.
    pub asked_by: String,
    /// Until when an answer counts.
    pub deadline_at: Timestamp,
}

/// What became of a request that was put into a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// It waits for the node.
    New(Invoke),
    /// The key was seen: this is what came of it so far.
    Seen(Invoke),
}

impl Posted {
    /// The request.
    #[must_use]
    pub const fn invoke(&self) -> &Invoke {
        match self {
            Self::New(invoke) | Self::Seen(invoke) => invoke,
        }
    }
}

/// Mailboxes. Positive answers are durable.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Puts a request into a node's mailbox, or gives the one with the same key. What is too old or too much to remember
    /// goes first.
    ///
    /// # Errors
    /// [`super::StoreError::KeyReused`] when the key was used for something else; [`super::StoreError::Full`] when the
    /// node has too many requests it has not answered.
    async fn post_invoke(&self, invoke: &NewInvoke) -> Stored<Posted>;
    /// The request of a key.
    async fn invoke_of_key(&self, owner: &OwnerId, key: &str) -> Stored<Option<Invoke>>;
    /// One request.
    async fn invoke(&self, owner: &OwnerId, id: InvokeId) -> Stored<Option<Invoke>>;
    /// What a node has not answered and still may, oldest first.
    async fn open_invokes(&self, owner: &OwnerId, node: &DeviceId) -> Stored<Vec<Invoke>>;
    /// Keeps the answer of a node to a request of its own mailbox. None: the request is unknown, another node's, over, or
    /// was answered before.
    async fn answer_invoke(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        id: InvokeId,
        answer: &InvokeAnswer,
    ) -> Stored<Option<Invoke>>;
    /// Approves what a node offers: from now on exactly this may be asked of it. With an audit record.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`] when there is no such device.
    async fn approve_claims(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        claims: &NodeClaims,
        by: &str,
    ) -> Stored<Device>;
}
