//! What nodes hear, and what approvers hear of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{DeviceId, InvokeId};
use adjutant_domain::time::Timestamp;

use crate::access::Scope;
use crate::events::{Audience, events};
use crate::methods::nodes::PendingSurface;

events! {
    /// A node is asked to do something; it answers with `node.invoke.result`.
    NodeInvokeRequest = "node.invoke.request" (NodeInvokeAsked)
        { to: Audience::OneSocket, loss: Never }

    /// A node offers more than was approved.
    NodePairRequested = "node.pair.requested" (PendingSurface)
        { to: Audience::Operators(Scope::Pairing), loss: WhenFull }

    /// What a node offers was approved or refused; the node hears it, too.
    NodePairResolved = "node.pair.resolved" (NodePairDecision)
        { to: Audience::Operators(Scope::Pairing), loss: WhenFull }
}

/// Payload of `node.invoke.request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeInvokeAsked {
    /// The request.
    pub id: InvokeId,
    /// The node itself.
    pub node_id: DeviceId,
    /// What it should do.
    pub command: String,
    /// With what, as JSON text; null when there is nothing to say.
    #[serde(rename = "paramsJSON")]
    pub params_json: Option<String>,
    /// How long an answer still counts.
    pub timeout_ms: u64,
    /// The same key is the same request.
    pub idempotency_key: String,
}

/// Payload of `node.pair.resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePairDecision {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node_id: DeviceId,
    /// `approved` or `rejected`.
    pub decision: String,
    /// When.
    pub ts: Timestamp,
}
