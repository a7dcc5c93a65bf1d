//! Facts with scope, source and expiry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, MemoryId, OwnerId, RunId, SessionId};
use crate::label::Trust;
use crate::time::Timestamp;

/// What kind of fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// Something that is so.
    Fact,
    /// Something the owner likes.
    Preference,
    /// Something learned from a run.
    Reflection,
}

/// Who may recall it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MemoryScope {
    /// Every agent of the owner.
    Owner,
    /// One agent.
    Agent {
        /// Which.
        agent: AgentId,
    },
    /// One session.
    Session {
        /// Which.
        session: SessionId,
    },
}

/// One remembered fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Identifier.
    pub id: MemoryId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Who may recall it.
    pub scope: MemoryScope,
    /// What kind of fact.
    pub kind: MemoryKind,
    /// A name for key–value use; unique within the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The fact.
    pub text: String,
    /// How far it is trusted; text from outside stays outside (S21).
    pub trust: Trust,
    /// The run it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RunId>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// From when it is not recalled any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
