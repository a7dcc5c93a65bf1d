//! `last-heartbeat`, `set-heartbeats`, `wake`, `system-event`: agents that wake by themselves. There are none yet, and
//! these methods say so in the shapes that clients know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::ClientKey;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// Return the last heartbeat: null, there was none.
    LastHeartbeat = "last-heartbeat" (NoParams) -> Option<Value>
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Turn heartbeats off, which they are; on is refused.
    SetHeartbeats = "set-heartbeats" (SetHeartbeatsParams) -> HeartbeatsSet
        { access: Admin, kind: Write, order: Order::Free, reply: Once }

    /// Wake the default agent with a text: refused, there is no heartbeat to wake.
    Wake = "wake" (WakeParams) -> Done
        { access: Write, kind: Write, order: Order::Free, reply: Once }

    /// Note something for the next heartbeat: refused, there is none.
    SystemEvent = "system-event" (SystemEventParams) -> Done
        { access: Admin, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `set-heartbeats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetHeartbeatsParams {
    /// Whether agents wake by themselves.
    pub enabled: bool,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `set-heartbeats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatsSet {
    /// Always true.
    pub ok: bool,
    /// Whether agents wake by themselves now.
    pub enabled: bool,
}

/// When to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WakeMode {
    /// At once.
    #[serde(rename = "now")]
    Now,
    /// With the next heartbeat.
    #[serde(rename = "next-heartbeat")]
    NextHeartbeat,
}

/// Parameters of `wake`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WakeParams {
    /// When.
    pub mode: WakeMode,
    /// The words.
    pub text: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `system-event`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemEventParams {
    /// The words.
    pub text: String,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// One installation of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Kind of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Model of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// Since somebody used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_input_seconds: Option<u64>,
    /// Why it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// It was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Always true.
    pub ok: bool,
}
