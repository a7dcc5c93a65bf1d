//! `agent`, `agent.wait`: one run, from its start to its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::{ApprovalId, ClientKey};
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};

methods! {
    /// Run an agent once. In Frames the answer comes twice: accepted, then the end. In JSON-RPC it is the first of the
    /// two; wait for the end with `agent.wait`.
    AgentRun = "agent" (AgentParams) -> AgentReply
        { access: Write, kind: Write, order: Order::BySession, reply: AckThenFinal }

    /// Wait until a run is over, at most `timeoutMs`. `status` is `timeout` while it is not; `state` says where it stands.
    AgentWait = "agent.wait" (AgentWaitParams) -> AgentWaited
        { access: Write, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `agent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentParams {
    /// The words.
    pub message: String,
    /// Makes a repeat harmless; also the run's id.
    pub idempotency_key: ClientKey,
    /// Which agent; must agree with the key when both are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Which session; the agent's main one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// A session by identifier; one that is not known here gets a session of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `provider/model` for this session from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Accepted for older clients; models decide by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Whether to deliver the answer to a chat network; refused when true, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<bool>,
    /// Refused when not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
    /// Wall time in seconds, below the agent's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// What a worker must offer to take this run, besides what the agent needs.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// A name for the session, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_channel: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Counts only with `deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Accepted for older clients; runs of a session always queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Refused when not empty: instructions belong to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_system_prompt: Option<String>,
    /// Refused when not empty: runs do not start each other here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
}

/// Which of the two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// The first answer: queued.
    Accepted,
    /// It ended well.
    Ok,
    /// It did not.
    Error,
}

/// Result of `agent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentReply {
    /// The run's name.
    pub run_id: String,
    /// Which of the two answers this is.
    pub status: AgentStatus,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What the run needs of a worker, when none that is heard of offers it: the run waits for one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Needs>,
    /// One word or sentence about the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<AgentResult>,
}

/// What a run said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentResult {
    /// The answer.
    pub payloads: Vec<AgentPayload>,
    /// About the run.
    pub meta: AgentMeta,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPayload {
    /// The words.
    pub text: String,
    /// Always null.
    #[serde(default)]
    pub media_url: Option<String>,
}

/// About a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMeta {
    /// From the first claim to the end.
    pub duration_ms: u64,
    /// About the agent.
    pub agent_meta: AgentMetaInner,
}

/// Which session, model and tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMetaInner {
    /// The session's identifier.
    pub session_id: String,
    /// Provider name.
    pub provider: String,
    /// Model name.
    pub model: String,
    /// Token counts.
    pub usage: Usage,
    /// What it cost; null when a price is not known.
    pub cost_micros: Option<Micros>,
}

/// Parameters of `agent.wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentWaitParams {
    /// The run's name or identifier.
    pub run_id: String,
    /// How long to wait; 30,000 by default, at most 600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitStatus {
    /// The run ended well.
    Ok,
    /// It did not.
    Error,
    /// It is not over, or not known.
    Timeout,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Waits for a worker, or for a retry that is due later.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person: an approval, or the owner's words.
    WaitingApproval,
    /// No such run.
    Unknown,
    /// Ended with an answer.
    Done,
    /// Ended without one.
    Failed,
    /// Was stopped.
    Cancelled,
}

impl RunPhase {
    /// Whether the run is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Done | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::WaitingApproval | Self::Unknown => false,
        }
    }
}

/// Result of `agent.wait`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentWaited {
    /// The run as it was asked for.
    pub run_id: String,
    /// How the wait ended.
    pub status: WaitStatus,
    /// Where the run stands.
    pub state: RunPhase,
    /// First claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// A sentence, when it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `max_steps`, `budget`, `cancelled`, …; or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Token counts so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Known cost so far, in millionths of a dollar; null when nothing is known.
    #[serde(default)]
    pub cost_micros: Option<Micros>,
    /// Whether some call had no known price.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpriced: bool,
    /// Open questions, while it waits for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalId>,
}
