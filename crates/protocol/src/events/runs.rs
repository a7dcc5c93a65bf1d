//! What surfaces hear of a run while it goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use adjutant_domain::time::Timestamp;

use crate::access::Scope;
use crate::events::{Audience, events};
use crate::methods::common::WireMessage;

events! {
    /// A step of a run: it starts, speaks, uses a tool, ends. Numbered per run from 1 without holes.
    Agent = "agent" (AgentEvent)
        { to: Audience::Operators(Scope::Read), loss: Never }

    /// The reply as a chat surface shows it: pieces while it grows, then the whole.
    Chat = "chat" (ChatEvent)
        { to: Audience::Operators(Scope::Read), loss: Pieces }
}

/// Payload of `agent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// The run's name.
    pub run_id: String,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What kind of step: `lifecycle`, `assistant`, `thinking`, `tool`, `compaction`. Newer gateways have more.
    pub stream: String,
    /// The step; its members depend on `stream`.
    pub data: Map<String, Value>,
    /// Counts from 1 per run.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
}

/// Payload of `chat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatEvent {
    /// The run's name.
    pub run_id: String,
    /// Its session.
    pub session_key: String,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Number of the `agent` event before it.
    pub seq: u64,
    /// How far the reply is.
    pub state: ChatState,
    /// The reply: so far, or whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<WireMessage>,
    /// With `delta`: the new part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_text: Option<String>,
    /// With `delta`: true when `deltaText` is the whole text and what was there is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// Why it was stopped: `rpc`, `stop`, `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// With `error`: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// How far a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChatState {
    /// A piece.
    Delta,
    /// The whole. Without a message nothing was said.
    Final,
    /// It was stopped.
    Aborted,
    /// It failed.
    Error,
    /// Only from newer gateways than this one: a note on progress.
    Status,
}
