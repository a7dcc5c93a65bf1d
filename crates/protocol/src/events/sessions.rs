//! What surfaces hear of sessions that they asked for with `sessions.subscribe` or `sessions.messages.subscribe`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{MessageId, SessionId};
use adjutant_domain::time::Timestamp;

use crate::events::{Audience, events};
use crate::methods::common::WireMessage;
use crate::methods::sessions::SessionRow;

events! {
    /// A session was made, changed or removed, or its run began or ended.
    SessionsChanged = "sessions.changed" (SessionsChangedEvent)
        { to: Audience::Subscribers, loss: WhenFull }

    /// A message was added to a session.
    SessionMessage = "session.message" (SessionMessageEvent)
        { to: Audience::Subscribers, loss: WhenFull }
}

/// Payload of `sessions.changed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsChangedEvent {
    /// The key.
    pub session_key: String,
    /// The agent.
    pub agent_id: String,
    /// When.
    pub ts: Timestamp,
    /// `create`, `patch`, `delete`, `send`, `message`; none when a run began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a run did: `start`, `end`, `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Identifier; renewed by reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// The session as it is now; none when it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRow>,
}

/// Payload of `session.message`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionMessageEvent {
    /// The key.
    pub session_key: String,
    /// The agent.
    pub agent_id: String,
    /// When.
    pub ts: Timestamp,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Identifier of the message.
    pub message_id: MessageId,
    /// Position in the thread; none while its run waits in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<u64>,
    /// The message.
    pub message: WireMessage,
    /// The session as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRow>,
}
