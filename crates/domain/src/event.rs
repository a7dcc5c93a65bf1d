//! Durable, ordered facts for surfaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::approval::Choice;
use crate::id::{AgentId, ApprovalId, CallId, MessageId, OwnerId, RunId, SessionKey, ThreadId};
use crate::message::Role;
use crate::money::{Cost, Usage};
use crate::time::Timestamp;

/// One fact with its place in the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Place in the feed; exact: everything below was committed before.
    pub cursor: u64,
    /// Whose it is.
    pub owner: OwnerId,
    /// When it was written.
    pub at: Timestamp,
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run's name on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionKey>,
    /// The fact.
    pub kind: EventKind,
}

/// The fact itself, in the past tense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    tag = "type"
)]
pub enum EventKind {
    /// A session was made.
    SessionCreated {
        /// Its thread.
        thread: ThreadId,
    },
    /// A session got a new thread, or its settings changed.
    SessionChanged {
        /// Its thread.
        thread: ThreadId,
    },
    /// A session was removed.
    SessionDeleted,
    /// A message was accepted and its run queued.
    RunQueued {
        /// The agent.
        agent: AgentId,
        /// The message.
        message: MessageId,
    },
    /// A worker claimed the run for the first time.
    RunStarted,
    /// A worker took the run up again after a wait.
    RunWoken,
    /// A worker took the run over after a crash or a lapsed lease.
    RunResumed {
        /// How many claims there were before.
        claims: u64,
    },
    /// The run waits.
    RunParked {
        /// `approval`, `retry`, `time`, `owner`.
        reason: String,
    },
    /// The model said something, possibly with calls.
    ModelReplied {
        /// The message.
        message: MessageId,
        /// `provider/model`.
        route: String,
        /// Token counts.
        usage: Usage,
        /// What it cost.
        cost: Cost,
    },
    /// A model call failed.
    ModelFailed {
        /// `provider/model`.
        route: String,
        /// What happened.
        reason: String,
        /// Whether it is tried again.
        retries: bool,
    },
    /// A tool call was admitted and is about to start.
    CallStarted {
        /// The call.
        call: CallId,
        /// Tool name.
        name: String,
        /// Arguments.
        args: Value,
    },
    /// A tool call ended.
    CallFinished {
        /// The call.
        call: CallId,
        /// Tool name.
        name: String,
        /// `done`, `failed`, `denied`, `unknown`.
        outcome: String,
        /// The beginning of the text for the model.
        preview: String,
    },
    /// A person is asked.
    ApprovalRequested {
        /// The question.
        approval: ApprovalId,
        /// The call.
        call: CallId,
    },
    /// A person (or time) answered.
    ApprovalResolved {
        /// The question.
        approval: ApprovalId,
        /// The answer.
        choice: Choice,
        /// Who answered.
        by: String,
    },
    /// Messages were hidden behind a summary.
    Compacted {
        /// The last hidden position.
        through: u64,
    },
    /// The run ended.
    RunFinished {
        /// `done`, `failed`, `cancelled`.
        outcome: String,
        /// Why, when it did not end well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The final message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageId>,
        /// Token counts of the whole run.
        usage: Usage,
        /// What the run cost; unpriced when any of its calls was.
        cost: Cost,
    },
    /// A message was added outside a run.
    MessageAdded {
        /// The message.
        message: MessageId,
        /// Who speaks.
        role: Role,
    },
    /// A setting, an agent, a grant, a limit or a memory changed.
    Changed {
        /// `agent`, `grant`, `budget`, `memory`, `config`.
        what: String,
        /// Which one.
        name: String,
    },
}
