//! `chat.*`: talk to an agent in a session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::{ClientKey, MessageId, SessionId, ThreadId};
use adjutant_domain::need::Needs;

use crate::method::{Order, methods};
use crate::methods::agents::AgentsPage;
use crate::methods::common::WireMessage;
use crate::methods::sessions::SessionRow;

methods! {
    /// Queue a message for the session's agent and answer at once with the run's id, which is the idempotency key.
    /// A message that is `/stop` cancels the session's runs instead; so does `stop`, `abort`, `esc`, `exit`, `wait` or
    /// `interrupt` alone while one is under way.
    ChatSend = "chat.send" (ChatSendParams) -> ChatSent
        { access: Write, kind: Write, order: Order::BySession, reply: Once }

    /// Return the newest messages of the session's thread, oldest first, as a surface should show them.
    ChatHistory = "chat.history" (ChatHistoryParams) -> ChatHistoryPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return what a surface shows first: the history, the session, the agents.
    ChatStartup = "chat.startup" (ChatHistoryParams) -> ChatStartupPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Cancel one run of the session, or all of them.
    ChatAbort = "chat.abort" (ChatAbortParams) -> ChatAborted
        { access: Write, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `chat.send`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatSendParams {
    /// `agent:<agent>:<anything>`; `main` and other short forms belong to the default agent.
    pub session_key: String,
    /// The words.
    pub message: String,
    /// Makes a repeat harmless; also the run's id.
    pub idempotency_key: ClientKey,
    /// `provider/model` for this session from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Accepted for older clients; models decide by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Whether to deliver the answer to a chat network too; refused when true, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<bool>,
    /// Refused when not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
    /// Wall time for the run, below the agent's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What a worker must offer to take this run, besides what the agent needs.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Attach a new session to this thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    /// The session's identifier as the client knows it; not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for newer clients; runs of a session always queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<String>,
    /// Accepted for newer clients; threads have no branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_leaf_entry_id: Option<String>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChatSendStatus {
    /// A run was queued, or the words went to the run that waits for them.
    Started,
    /// The key was seen before and its run is not over.
    InFlight,
    /// The key was seen before and its run ended well.
    Ok,
    /// The key was seen before and its run did not end well.
    Error,
    /// The message was `/stop`.
    Aborted,
}

/// Result of `chat.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatSent {
    /// The run's name.
    pub run_id: String,
    /// What became of the message.
    pub status: ChatSendStatus,
    /// Why the run did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the run needs of a worker, when none that is heard of offers it: the run waits for one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Needs>,
    /// For `/stop`, as in `chat.abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// For `/stop`: whether something was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<bool>,
    /// For `/stop`: what was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ids: Option<Vec<String>>,
}

/// Parameters of `chat.history`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatHistoryParams {
    /// Which session.
    pub session_key: String,
    /// At most this many messages; 1 to 1,000, by default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Skip this many of the newest messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for newer clients: there are no deltas, the answer is always whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Runs that the caller began, at most 64: the answer says which messages began them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_run_ids: Option<Vec<String>>,
    /// Accepted for newer clients: the page is the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Accepted for newer clients: texts are whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u32>,
    /// Only messages before this position of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Also messages that are hidden behind a summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_hidden: Option<bool>,
    /// At most about this many bytes of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// That what a client sent was kept. A newer control surface holds back what is typed next until it hears so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputReceipt {
    /// The run that it began, by the client's name.
    pub run_id: String,
    /// `consumed`.
    pub state: InputState,
    /// The message.
    pub consumed_by_event_id: MessageId,
}

/// What became of something a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputState {
    /// It is a message of the conversation.
    Consumed,
}

/// Result of `chat.history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistoryPage {
    /// The key as it was asked for.
    pub session_key: String,
    /// The session's identifier; none while nothing was ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The thread it looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    /// The messages, oldest first.
    pub messages: Vec<WireMessage>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// For the runs that were asked about: the messages that began them, as far as they are among these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_receipts: Vec<InputReceipt>,
    /// `on`: steps with tools are always told.
    pub verbose_level: String,
    /// The session, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_info: Option<SessionRow>,
}

/// Result of `chat.startup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatStartupPage {
    /// As in `chat.history`.
    #[serde(flatten)]
    pub history: ChatHistoryPage,
    /// As in `agents.list`.
    pub agents_list: AgentsPage,
}

/// Parameters of `chat.abort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatAbortParams {
    /// Which session.
    pub session_key: String,
    /// Only this run of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Accepted for newer clients; there are no side runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_side_runs: Option<bool>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `chat.abort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatAborted {
    /// Always true.
    pub ok: bool,
    /// Whether something was cancelled.
    pub aborted: bool,
    /// What was cancelled.
    pub run_ids: Vec<String>,
}
