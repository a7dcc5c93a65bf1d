//! `sessions.*`: seats in conversations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{ClientKey, SessionId, ThreadId};
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::{WireMessage, nullable};

methods! {
    /// List sessions, last used first.
    SessionsList = "sessions.list" (SessionsListParams) -> SessionsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Make a session, with a thread of its own or at an existing one.
    SessionsCreate = "sessions.create" (SessionsCreateParams) -> SessionEntry
        { access: Write, kind: Write, order: Order::Global("sessions"), reply: Once }

    /// Find a session's key by key, identifier or label.
    SessionsResolve = "sessions.resolve" (SessionsResolveParams) -> SessionKeyFound
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Describe one session.
    SessionsDescribe = "sessions.describe" (SessionKeyParams) -> SessionDescription
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Change a session's label, model or expiry; null clears. Settings of other gateways may be cleared, which changes
    /// nothing, and are refused otherwise.
    SessionsPatch = "sessions.patch" (SessionsPatchParams) -> SessionEntry
        { access: Admin, kind: Write, order: Order::BySession, reply: Once }

    /// Point a session at a new, empty thread; the old thread stays. A session that never was begins.
    SessionsReset = "sessions.reset" (SessionsResetParams) -> SessionEntry
        { access: Admin, kind: Write, order: Order::BySession, reply: Once }

    /// Remove a session; its thread stays unless `deleteTranscript` is set.
    SessionsDelete = "sessions.delete" (SessionsDeleteParams) -> SessionDeleted
        { access: Admin, kind: Write, order: Order::BySession, reply: Once }

    /// Continue a session: its thread and newest messages, or `EXPIRED`. History of an expired one stays readable.
    SessionsResume = "sessions.resume" (SessionsResumeParams) -> SessionResumed
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `sessions.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsListParams {
    /// At most this many; 1 to 1,000, by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Skip this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Only those used within so many minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_minutes: Option<u64>,
    /// Only those of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Only the one with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only those whose key or label contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Whether to add the thread's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_derived_titles: Option<bool>,
    /// Whether to add the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_last_message: Option<bool>,
    /// Accepted for clients that send it; there is no such session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_global: Option<bool>,
    /// Accepted for clients that send it; there is no such session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_unknown: Option<bool>,
    /// Sessions started by another; there are none, so the list is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
    /// Whether archived sessions are wanted; there are none, so `true` gives an empty list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Accepted for newer clients; the order is always last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
    /// Accepted for newer clients; the order is always last use, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_dir: Option<String>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_agents_only: Option<bool>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_first: Option<bool>,
}

/// What kind of peer a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// One person.
    Direct,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    /// The stable key.
    pub key: String,
    /// What kind of peer it has.
    pub kind: SessionKind,
    /// The same, as surfaces group by it.
    pub chat_type: SessionKind,
    /// `on`: steps with tools are always told.
    pub verbose_level: String,
    /// Identifier; renewed by reset.
    pub session_id: SessionId,
    /// The thread it looks at.
    pub thread_id: ThreadId,
    /// Last use.
    pub updated_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// The agent.
    pub agent_id: String,
    /// Label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Name for people: the label, else the end of the key.
    pub display_name: String,
    /// Title of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived_title: Option<String>,
    /// The beginning of the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message_preview: Option<String>,
    /// Provider, when the session has a model of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    /// Model, when the session has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether a run is under way; only where one session is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_active_run: Option<bool>,
    /// Runs under way, by name; only where one session is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_run_ids: Option<Vec<String>>,
    /// Tokens read so far; only where one session is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written so far; only where one session is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Both; only where one session is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// What sessions use unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDefaults {
    /// Provider name.
    pub model_provider: String,
    /// Model name.
    pub model: String,
    /// Tokens of context, if known.
    pub context_tokens: Option<u32>,
}

/// Result of `sessions.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsPage {
    /// Now.
    pub ts: Timestamp,
    /// Where they are kept: a name, not a path.
    pub path: String,
    /// How many are in this answer.
    pub count: u32,
    /// The page size that counted.
    pub limit_applied: u32,
    /// How many there are.
    pub total_count: u64,
    /// Whether there are more.
    pub has_more: bool,
    /// Where the next page begins.
    pub next_offset: Option<u32>,
    /// What they use unless they say otherwise.
    pub defaults: SessionDefaults,
    /// The sessions.
    pub sessions: Vec<SessionRow>,
}

/// Parameters of `sessions.create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsCreateParams {
    /// The key; made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The agent, when there is no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Attach it to this thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    /// Label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// One session after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// Always true.
    pub ok: bool,
    /// The key.
    pub key: String,
    /// Identifier; renewed by reset.
    pub session_id: SessionId,
    /// Where it is kept: a name, not a path.
    pub path: String,
    /// The session.
    pub entry: SessionRow,
}

/// Parameters of `sessions.resolve`: one of key, identifier and label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsResolveParams {
    /// Accepted for clients that send it; there is no such session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_global: Option<bool>,
    /// Accepted for clients that send it; there is no such session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_unknown: Option<bool>,
    /// Only one started by another; there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
    /// Key, long or short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Result of `sessions.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionKeyFound {
    /// Always true.
    pub ok: bool,
    /// The full key.
    pub key: String,
}

/// A session by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionKeyParams {
    /// The key, long or short.
    pub key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Result of `sessions.describe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDescription {
    /// The session, or null.
    pub session: Option<SessionRow>,
}

/// Parameters of `sessions.patch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsPatchParams {
    /// The key, long or short.
    pub key: String,
    /// Label for people.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("x-null" = "clears"))]
    pub label: Option<Option<String>>,
    /// `provider/model`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("x-null" = "clears"))]
    pub model: Option<Option<String>>,
    /// From now.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("x-null" = "clears"))]
    pub expires_in_ms: Option<Option<u64>>,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `on`: steps with tools are always told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    /// Models decide by themselves: `off` or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    /// Models decide by themselves: `off` or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_level: Option<String>,
    /// `off` or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_usage: Option<String>,
    /// Policy decides: `off` or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevated_level: Option<String>,
    /// Policy decides: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_host: Option<String>,
    /// Policy decides: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_security: Option<String>,
    /// Policy decides: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_ask: Option<String>,
    /// Policy decides: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_node: Option<String>,
    /// There are no chat networks: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_policy: Option<String>,
    /// There are no groups: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_activation: Option<String>,
    /// Sessions are not marked as unread: `false` or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    /// Accepted for newer clients, which send it with `unread`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_marked_unread_at: Option<Timestamp>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `sessions.reset`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsResetParams {
    /// The key, long or short.
    pub key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Why; not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `sessions.delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsDeleteParams {
    /// The key, long or short.
    pub key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Whether to remove the thread and its messages for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_transcript: Option<bool>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `sessions.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDeleted {
    /// Always true.
    pub ok: bool,
    /// The key.
    pub key: String,
    /// Whether there was one.
    pub deleted: bool,
    /// Threads that stay without a seat.
    pub archived: Vec<String>,
}

/// Parameters of `sessions.resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsResumeParams {
    /// The key, long or short.
    pub key: String,
    /// How many messages to return; 0 to 1,000, by default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Result of `sessions.resume`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionResumed {
    /// The session.
    pub session: SessionRow,
    /// Its newest messages, oldest first.
    pub messages: Vec<WireMessage>,
    /// Runs that are not over, by name.
    pub active_runs: Vec<String>,
    /// Everything up to here is in the answer; go on with `events.since`.
    pub cursor: u64,
}
