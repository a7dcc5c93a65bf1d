//! `sessions.*` for surfaces: what changed, previews, and lists that this gateway has nothing for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::ClientKey;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::{NoParams, WireRole};
use crate::methods::sessions::{SessionsListParams, SessionsPage};

methods! {
    /// Send this connection `sessions.changed` and `session.message` events from now on. With parameters of a list, the
    /// list comes with the answer.
    SessionsSubscribe = "sessions.subscribe" (SessionsListParams) -> SessionsSubscribed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Send this connection no more of them.
    SessionsUnsubscribe = "sessions.unsubscribe" (NoParams) -> SessionsSubscribed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Send this connection changes and messages of one session.
    SessionsMessagesSubscribe = "sessions.messages.subscribe" (MessagesSubscribeParams) -> MessagesSubscribed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Send this connection no more of them.
    SessionsMessagesUnsubscribe = "sessions.messages.unsubscribe" (MessagesSubscribeParams) -> MessagesSubscribed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the newest words of several sessions.
    SessionsPreview = "sessions.preview" (SessionsPreviewParams) -> SessionsPreviewed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Say that a session is not compacted by hand: runs do so themselves when the context is full.
    SessionsCompact = "sessions.compact" (SessionsCompactParams) -> SessionCompacted
        { access: Admin, kind: Write, order: Order::BySession, reply: Once }
}

/// Result of `sessions.subscribe` and `sessions.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsSubscribed {
    /// Whether events will be sent.
    pub subscribed: bool,
    /// The sessions, when a list was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<SessionsPage>,
}

/// Parameters of `sessions.messages.subscribe` and `sessions.messages.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessagesSubscribeParams {
    /// The key, long or short.
    pub key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for newer clients: questions reach whoever may answer them, subscribed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_approvals: Option<bool>,
}

/// Result of `sessions.messages.subscribe` and `sessions.messages.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessagesSubscribed {
    /// Whether events will be sent.
    pub subscribed: bool,
    /// The full key.
    pub key: String,
}

/// Parameters of `sessions.preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsPreviewParams {
    /// The keys, long or short; at most 64.
    pub keys: Vec<String>,
    /// At most this many messages of each; 1 to 50, by default 12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// At most this many characters of each message; 20 to 2,000, by default 240.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u32>,
}

/// Result of `sessions.preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsPreviewed {
    /// Now.
    pub ts: Timestamp,
    /// One per key, in the order of the keys.
    pub previews: Vec<SessionPreview>,
}

/// The newest words of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPreview {
    /// The key as it was asked for.
    pub key: String,
    /// What was found.
    pub status: PreviewStatus,
    /// The words, oldest first.
    pub items: Vec<PreviewItem>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreviewStatus {
    /// Words.
    Ok,
    /// A session in which nothing was said.
    Empty,
    /// No such session.
    Missing,
}

/// Words of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewItem {
    /// Who speaks.
    pub role: WireRole,
    /// The beginning of what is said.
    pub text: String,
}

/// Parameters of `sessions.compact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsCompactParams {
    /// The key, long or short.
    pub key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for older clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `sessions.compact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCompacted {
    /// Always true.
    pub ok: bool,
    /// The full key.
    pub key: String,
    /// Always false.
    pub compacted: bool,
    /// Why not.
    pub reason: String,
}
