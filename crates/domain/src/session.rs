//! Conversations, and the seats in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, OwnerId, SessionId, SessionKey, ThreadId};
use crate::time::Timestamp;

/// A durable conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// Identifier.
    pub id: ThreadId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Its agent.
    pub agent: AgentId,
    /// A title, if anyone gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// First message.
    pub created_at: Timestamp,
    /// Last message.
    pub updated_at: Timestamp,
    /// How many messages it has.
    pub messages: u64,
}

/// The seat a surface or channel peer has in a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Identifier; renewed by reset, unlike the key.
    pub id: SessionId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The stable key.
    pub key: SessionKey,
    /// Its agent.
    pub agent: AgentId,
    /// The thread it looks at now.
    pub thread: ThreadId,
    /// A label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Model for this session, `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// From when it counts as expired; a resume then needs a new thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last use.
    pub updated_at: Timestamp,
}
