//! `health`, `status`, `events.*`, `rpc.discover`, `verify.run`, `audit.list`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::event::Event;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::{KeyOnly, NoParams};
use crate::methods::sessions::SessionRow;
use crate::written::Written;

methods! {
    /// Say that the gateway works, and how many agents and sessions there are.
    Health = "health" (HealthParams) -> HealthReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Sum up agents, sessions, runs and the version.
    Status = "status" (StatusParams) -> StatusReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List what is connected; the gateway itself comes first.
    SystemPresence = "system-presence" (NoParams) -> Vec<Presence>
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return durable events after a cursor, oldest first, without holes.
    EventsSince = "events.since" (EventsSinceParams) -> EventsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Choose which events this connection is sent: one session's or all. Starts after `cursor`, or now.
    EventsSubscribe = "events.subscribe" (EventsSubscribeParams) -> EventsSubscribed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the OpenRPC document of these methods.
    RpcDiscover = "rpc.discover" (NoParams) -> Value
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Check the whole store: logs legal, positions gapless, projections equal to logs, audit chain whole.
    VerifyRun = "verify.run" (KeyOnly) -> VerifyFound
        { access: Admin, kind: Read, order: Order::Global("verify"), reply: Once }

    /// List audit records, newest first.
    AuditList = "audit.list" (AuditListParams) -> AuditPage
        { access: Admin, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthParams {
    /// Accepted for older clients; there are no channels to probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
}

/// The heartbeat of an agent; there is none yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Whether it beats.
    pub enabled: bool,
    /// How often, for people.
    pub every: String,
    /// How often.
    pub every_ms: Option<u64>,
    /// What is said.
    pub prompt: String,
    /// To whom.
    pub target: String,
    /// Longest answer that counts as silence.
    pub ack_max_chars: u32,
}

impl Heartbeat {
    /// No heartbeat.
    #[must_use]
    pub fn off() -> Self {
        Self {
            enabled: false,
            every: "off".to_owned(),
            every_ms: None,
            prompt: String::new(),
            target: "none".to_owned(),
            ack_max_chars: 0,
        }
    }
}

/// A session that was used lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentSession {
    /// The key.
    pub key: String,
    /// Last use.
    pub updated_at: Timestamp,
    /// How long ago, in milliseconds.
    pub age: u64,
}

/// Sessions in a health report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthSessions {
    /// Where they are kept: a name, not a path.
    pub path: String,
    /// How many there are.
    pub count: u64,
    /// The last used ones.
    pub recent: Vec<RecentSession>,
}

/// An agent in a health report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthAgent {
    /// Name in keys.
    pub agent_id: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether short session keys mean it.
    pub is_default: bool,
    /// Its heartbeat.
    pub heartbeat: Heartbeat,
    /// Its sessions among the last used ones.
    pub sessions: HealthSessions,
}

/// Result of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// Always true: who cannot answer does not.
    pub ok: bool,
    /// When the report was made.
    pub ts: Timestamp,
    /// How long that took.
    pub duration_ms: u64,
    /// Chat networks; none.
    pub channels: BTreeMap<String, Value>,
    /// Their order.
    pub channel_order: Vec<String>,
    /// Their names.
    pub channel_labels: BTreeMap<String, String>,
    /// Heartbeat interval; 0 for none.
    pub heartbeat_seconds: u64,
    /// The agent that short session keys mean.
    pub default_agent_id: String,
    /// The agents.
    pub agents: Vec<HealthAgent>,
    /// The sessions.
    pub sessions: HealthSessions,
}

/// Parameters of `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusParams {
    /// Accepted for clients that send it; there are no channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_channel_summary: Option<bool>,
}

/// Heartbeats in a status report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusHeartbeat {
    /// The agent that short session keys mean.
    pub default_agent_id: String,
    /// One per agent.
    pub agents: Vec<StatusHeartbeatAgent>,
}

/// One agent's heartbeat in a status report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusHeartbeatAgent {
    /// Name in keys.
    pub agent_id: String,
    /// Whether it beats.
    pub enabled: bool,
    /// How often, for people.
    pub every: String,
    /// How often.
    pub every_ms: Option<u64>,
}

/// What sessions use unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusDefaults {
    /// Model name.
    pub model: Option<String>,
    /// Tokens of context.
    pub context_tokens: Option<u32>,
}

/// Sessions of one agent in a status report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusAgentSessions {
    /// Name in keys.
    pub agent_id: String,
    /// Where they are kept: a name, not a path.
    pub path: String,
    /// How many are among the last used ones.
    pub count: u64,
    /// The last used ones.
    pub recent: Vec<SessionRow>,
}

/// Sessions in a status report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusSessions {
    /// Where they are kept: names, not paths.
    pub paths: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// What they use unless they say otherwise.
    pub defaults: StatusDefaults,
    /// The last used ones.
    pub recent: Vec<SessionRow>,
    /// The same by agent.
    pub by_agent: Vec<StatusAgentSessions>,
}

/// Runs in a status report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusRuns {
    /// Wait for a worker.
    pub queued: u64,
    /// A worker has them.
    pub running: u64,
    /// Rest.
    pub parked: u64,
}

/// Result of `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Version of this program.
    pub runtime_version: String,
    /// When this process started.
    pub started_at: Timestamp,
    /// Since then.
    pub uptime_ms: u64,
    /// Heartbeats.
    pub heartbeat: Written<StatusHeartbeat>,
    /// Chat networks; none.
    pub channel_summary: Vec<String>,
    /// Waiting system events; none.
    pub queued_system_events: Vec<String>,
    /// Sessions.
    pub sessions: Written<StatusSessions>,
    /// Runs.
    pub runs: StatusRuns,
    /// Open questions.
    pub approvals: u64,
    /// Open connections.
    pub connections: u64,
}

/// Something that is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// When it was seen.
    pub ts: Timestamp,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Kind of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `gateway`, `ui`, `webchat`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `self`, `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Device, if proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Instance, as the client calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// Parameters of `events.since`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsSinceParams {
    /// The last cursor the caller has; 0 for the beginning.
    pub cursor: u64,
    /// At most this many; 1 to 1,000, by default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only events of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// Result of `events.since`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsPage {
    /// The events, oldest first.
    pub events: Vec<WireEvent>,
    /// Everything up to here was looked at: the next call's `cursor`.
    pub cursor: u64,
    /// Whether there are more.
    pub has_more: bool,
}

/// A durable event: what `event` notifications carry, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireEvent {
    /// Place in the feed.
    pub cursor: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The run, by its name on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The fact, with its kind in `type`.
    #[serde(flatten)]
    pub kind: adjutant_domain::event::EventKind,
}

impl From<Event> for WireEvent {
    fn from(event: Event) -> Self {
        Self {
            cursor: event.cursor,
            at: event.at,
            run_id: event
                .run_name
                .or_else(|| event.run.map(|run| run.to_string())),
            session_key: event.session.map(|key| key.as_str().to_owned()),
            kind: event.kind,
        }
    }
}

/// A live piece of a reply: what `delta` notifications carry. May be lost; the event that follows has all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireDelta {
    /// The run, by its name on the wire.
    pub run_id: String,
    /// The session.
    pub session_key: String,
    /// Counts from 1 per run and connection.
    pub seq: u64,
    /// What it is.
    pub kind: DeltaKind,
    /// The new words; empty for a reset.
    pub text: String,
    /// The tool call, for progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

/// What a live piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeltaKind {
    /// Words of the reply.
    Text,
    /// Reasoning.
    Thinking,
    /// The words so far are void: the attempt is made again.
    Reset,
    /// A tool says how far it is.
    Progress,
}

/// Parameters of `events.subscribe`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsSubscribeParams {
    /// Only this session; several calls add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Everything (also the default without a key); `false` ends all subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Events after this one come first; the newest by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
}

/// Result of `events.subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsSubscribed {
    /// Whether events will be sent.
    pub subscribed: bool,
    /// Events after this one will be sent.
    pub cursor: u64,
}

/// Result of `verify.run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyFound {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What was looked at.
    pub checked: Vec<VerifyCheck>,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyCheck {
    /// Its name.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// Parameters of `audit.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditListParams {
    /// At most this many; 1 to 1,000, by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One audit record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Position in the chain, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: surface and principal.
    pub by: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
    /// More.
    pub detail: Value,
    /// Hash over the record and the hash before.
    pub hash: String,
}

/// Result of `audit.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The records, newest first.
    pub records: Vec<AuditRow>,
}
