//! The handshake of the frame protocol: challenge, `connect`, `hello-ok`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::time::Timestamp;

use crate::methods::system::{HealthReport, Presence};

/// Bytes of a frame before `connect` was accepted.
pub const FIRST_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a frame after that.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// January to May 2026.
    V3,
    /// Since.
    V4,
}

impl Protocol {
    /// 3 or 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// The highest version in the client's range.
    #[must_use]
    pub const fn negotiate(min: u32, max: u32) -> Option<Self> {
        if min <= 4 && 4 <= max {
            Some(Self::V4)
        } else if min <= 3 && 3 <= max {
            Some(Self::V3)
        } else {
            None
        }
    }
}

/// Payload of `connect.challenge`, the first frame on every socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Challenge {
    /// Fresh for this socket.
    pub nonce: String,
    /// Now.
    pub ts: Timestamp,
}

/// Parameters of `connect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectParams {
    /// Lowest version the client speaks.
    pub min_protocol: u32,
    /// Highest version the client speaks.
    pub max_protocol: u32,
    /// The client.
    pub client: ClientInfo,
    /// `operator` (default) or `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Scopes it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// What it can show or do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// Node only: commands it will run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Node only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Node only: its PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ConnectAuth>,
    /// Proof of a device key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceProof>,
    /// Language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computer_use: Option<Value>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_runs: Option<Value>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_catalog: Option<Value>,
}

/// The client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientInfo {
    /// One of a known set.
    pub id: String,
    /// Its version; may be `dev`.
    pub version: String,
    /// Operating system or browser.
    pub platform: String,
    /// What it is.
    pub mode: ClientMode,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Kind of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Model of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// One installation of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Its build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Its time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientMode {
    /// A command.
    Cli,
    /// A terminal interface.
    Ui,
    /// A browser.
    Webchat,
    /// A program.
    Backend,
    /// A machine that lends its abilities.
    Node,
    /// A look from outside.
    Probe,
    /// A test.
    Test,
    /// A worker of the newer protocol.
    Worker,
}

impl ClientMode {
    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Ui => "ui",
            Self::Webchat => "webchat",
            Self::Backend => "backend",
            Self::Node => "node",
            Self::Probe => "probe",
            Self::Test => "test",
            Self::Worker => "worker",
        }
    }
}

const CLIENT_IDS: [&str; 12] = [
    "cli",
    "gateway-client",
    "webchat-ui",
    "webchat",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-tui",
    "openclaw-browser-copilot",
    "openclaw-linux",
    "openclaw-watchos",
    "openclaw-worker",
];
const CLIENT_BRANDS: [&str; 4] = ["adjutant", "clawdbot", "openclaw", "mayros"];
const CLIENT_KINDS: [&str; 5] = ["control-ui", "macos", "ios", "android", "probe"];

impl ClientInfo {
    /// Whether the id is one of the known set.
    #[must_use]
    pub fn is_known(&self) -> bool {
        CLIENT_IDS.contains(&self.id.as_str())
            || self.id.split_once('-').is_some_and(|(brand, kind)| {
                CLIENT_BRANDS.contains(&brand) && CLIENT_KINDS.contains(&kind)
            })
    }

    /// Whether it runs in a browser and must name its origin.
    #[must_use]
    pub fn is_browser(&self) -> bool {
        self.id.ends_with("-control-ui")
            || self.id.starts_with("webchat")
            || self.mode == ClientMode::Webchat
    }
}

/// Credentials of `connect`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectAuth {
    /// The shared token, or a device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The shared token as a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A device's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// A token for a first pairing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_token: Option<String>,
}

impl std::fmt::Debug for ConnectAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectAuth(…)")
    }
}

/// Proof of a device key over the socket's nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceProof {
    /// Hex SHA-256 of the raw public key.
    pub id: String,
    /// Unpadded base64url of the raw public key.
    pub public_key: String,
    /// Unpadded base64url.
    pub signature: String,
    /// When it was signed, in milliseconds.
    pub signed_at: i64,
    /// This socket's nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// Payload of the answer to `connect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk {
    /// `hello-ok`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version that was negotiated.
    pub protocol: u8,
    /// The server.
    pub server: HelloServer,
    /// What it can do.
    pub features: HelloFeatures,
    /// How things stand.
    pub snapshot: HelloSnapshot,
    /// What the client may do.
    pub auth: HelloAuth,
    /// Bounds.
    pub policy: HelloPolicy,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloServer {
    /// Its version.
    pub version: String,
    /// This connection.
    pub conn_id: String,
}

/// What the server can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloFeatures {
    /// Methods.
    pub methods: Vec<String>,
    /// Events.
    pub events: Vec<String>,
    /// Newer abilities; none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloSnapshot {
    /// What is connected.
    pub presence: Vec<Presence>,
    /// The health report.
    pub health: HealthReport,
    /// Counters of the two.
    pub state_version: StateVersion,
    /// Since the start.
    pub uptime_ms: u64,
    /// What sessions use unless they say otherwise.
    pub session_defaults: HelloSessionDefaults,
    /// `token`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub auth_mode: String,
}

/// Counters of the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateVersion {
    /// Of presence.
    pub presence: u64,
    /// Of health.
    pub health: u64,
}

/// What sessions use unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloSessionDefaults {
    /// The agent that short keys mean.
    pub default_agent_id: String,
    /// The rest of an agent's main session key.
    pub main_key: String,
    /// The default agent's main session key.
    pub main_session_key: String,
    /// `per-sender`.
    pub scope: String,
    /// Whether a model is configured; absent when none is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub model_configured: bool,
}

/// What the client may do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloAuth {
    /// Its role.
    pub role: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The device's token for this role; without a device there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// Since when that token is the one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<Timestamp>,
    /// Tokens for further roles that a setup code gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_tokens: Vec<HelloDeviceToken>,
}

/// A token for another role of the same device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloDeviceToken {
    /// The token.
    pub device_token: String,
    /// Its role.
    pub role: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Since when it is the one.
    pub issued_at_ms: Timestamp,
}

impl std::fmt::Debug for HelloDeviceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelloDeviceToken")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for HelloAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelloAuth")
            .field("role", &self.role)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloPolicy {
    /// Bytes of a frame.
    pub max_payload: u64,
    /// Bytes that may wait for a slow client.
    pub max_buffered_bytes: u64,
    /// Between two ticks.
    pub tick_interval_ms: u64,
}
