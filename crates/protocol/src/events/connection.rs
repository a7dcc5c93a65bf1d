//! What a connection hears about itself and the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::time::Timestamp;

use crate::access::Scope;
use crate::events::{Audience, events};
use crate::frames::Challenge;
use crate::methods::system::{HealthReport, Presence};

events! {
    /// The first frame on every socket: what the device signs.
    ConnectChallenge = "connect.challenge" (Challenge)
        { to: Audience::OneSocket, loss: Never }

    /// The gateway lives. Two intervals of silence mean that the connection is dead.
    Tick = "tick" (TickEvent)
        { to: Audience::Everyone, loss: WhenFull }

    /// A health report that is newer than the last one.
    Health = "health" (HealthReport)
        { to: Audience::Operators(Scope::Read), loss: WhenFull }

    /// Everybody who is connected, after somebody came or left.
    PresenceChanged = "presence" (PresenceEvent)
        { to: Audience::Operators(Scope::Read), loss: WhenFull }

    /// The gateway stops; the socket is closed after it.
    Shutdown = "shutdown" (ShutdownEvent)
        { to: Audience::Everyone, loss: Never }
}

/// Payload of `tick`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TickEvent {
    /// Now.
    pub ts: Timestamp,
}

/// Payload of `presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceEvent {
    /// The gateway first, then who is connected, the newest last.
    pub presence: Vec<Presence>,
}

/// Payload of `shutdown`, and of the JSON-RPC notification of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownEvent {
    /// Why, for people.
    pub reason: String,
    /// When it is expected back, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_expected_ms: Option<u64>,
}
