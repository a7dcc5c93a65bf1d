//! `memory.*`: remembered facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{AgentId, ClientKey, MemoryId};
use adjutant_domain::memory::{Memory, MemoryKind};

use crate::method::{Order, methods};

methods! {
    /// Search remembered facts, best first.
    MemorySearch = "memory.search" (MemorySearchParams) -> MemoriesPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List remembered facts, newest first.
    MemoryList = "memory.list" (MemoryListParams) -> MemoriesPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Remember a fact; one with the same scope and key is replaced.
    MemoryAdd = "memory.add" (MemoryAddParams) -> MemoryStored
        { access: Write, kind: Write, order: Order::Free, reply: Once }

    /// Forget facts for good.
    MemoryForget = "memory.forget" (MemoryForgetParams) -> MemoryForgotten
        { access: Write, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `memory.search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySearchParams {
    /// Words.
    pub query: String,
    /// As this agent recalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// As recalled in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// At most this many; 1 to 200, by default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Parameters of `memory.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryListParams {
    /// As this agent recalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// As recalled in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// At most this many; 1 to 1,000, by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoriesPage {
    /// The facts.
    pub memories: Vec<Memory>,
}

/// Who may recall a new fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeWord {
    /// Every agent.
    #[default]
    Owner,
    /// The agent in `agentId`.
    Agent,
    /// The session in `sessionKey`.
    Session,
}

/// Parameters of `memory.add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryAddParams {
    /// The fact, at most 8 KiB.
    pub text: String,
    /// A name, unique within the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What kind of fact; `fact` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemoryKind>,
    /// Who may recall it.
    #[serde(default)]
    pub scope: ScopeWord,
    /// For the scope `agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// For the scope `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// How long it is recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `memory.add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStored {
    /// The fact.
    pub memory: Memory,
}

/// Parameters of `memory.forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryForgetParams {
    /// Which ones; at most 1,000.
    pub ids: Vec<MemoryId>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `memory.forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryForgotten {
    /// How many there were.
    pub forgotten: u64,
}
