//! What approvers hear about devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::DeviceId;
use adjutant_domain::time::Timestamp;

use crate::access::Scope;
use crate::events::{Audience, events};
use crate::methods::devices::PendingPairing;

events! {
    /// A device asks to be let in.
    DevicePairRequested = "device.pair.requested" (PendingPairing)
        { to: Audience::Operators(Scope::Pairing), loss: WhenFull }

    /// A device was let in or refused, by a person or by a stated rule.
    DevicePairResolved = "device.pair.resolved" (PairResolvedEvent)
        { to: Audience::Operators(Scope::Pairing), loss: WhenFull }
}

/// Payload of `device.pair.resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairResolvedEvent {
    /// The request; a name of its own when nobody was asked.
    pub request_id: String,
    /// The device.
    pub device_id: DeviceId,
    /// How it was answered.
    pub decision: PairDecision,
    /// When.
    pub ts: Timestamp,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairDecision {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}
