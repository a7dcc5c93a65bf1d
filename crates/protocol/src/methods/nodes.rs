//! `node.*`: machines that lend their abilities.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::{ClientKey, DeviceId, InvokeId, LeaseId};
use adjutant_domain::node::Group;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List nodes, connected ones first, then by name; nodes that are away are among them.
    NodeList = "node.list" (NoParams) -> NodesPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return one node.
    NodeDescribe = "node.describe" (NodeParams) -> NodeShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Give a node another name for people.
    NodeRename = "node.rename" (NodeRenameParams) -> NodeRenamed
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Ask a node to do something and wait for its answer. The request survives a lost connection and a restart until its
    /// deadline; the same key gets the same answer. What is private needs a lease (`node.lease.arm`) or the owner's list,
    /// and a program runs only if a person approved it.
    NodeInvoke = "node.invoke" (NodeInvokeParams) -> NodeInvoked
        { access: Write, kind: Write, order: Order::Free, reply: Once }

    /// Answer a request. A late answer, and one to a request that is not this node's, is ignored.
    NodeInvokeResult = "node.invoke.result" (NodeInvokeResultParams) -> NodeInvokeTaken
        { access: Node, kind: Write, order: Order::Free, reply: Once }

    /// Say that something happened on the node.
    NodeEvent = "node.event" (NodeEventParams) -> NodeEventTaken
        { access: Node, kind: Write, order: Order::Free, reply: Once }

    /// List what nodes offer beyond what was approved, and the nodes.
    NodePairList = "node.pair.list" (NoParams) -> NodePairPage
        { access: Pairing, kind: Read, order: Order::Free, reply: Once }

    /// Approve what a node offers. Needs `operator.admin` as soon as a program, a camera, a screen or the like is offered.
    NodePairApprove = "node.pair.approve" (NodePairParams) -> NodePairApproved
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Refuse what a node offers; what was approved before stays.
    NodePairReject = "node.pair.reject" (NodePairParams) -> NodePairRejected
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Say what the node's runner can do.
    NodeRunnerInventoryUpdate = "node.runnerInventory.update" (RunnerInventoryParams) -> NodeParams
        { access: Node, kind: Write, order: Order::Free, reply: Once }

    /// Say which skills the node has. None of them is used yet.
    NodeSkillsUpdate = "node.skills.update" (NodeSkillsParams) -> NodeSkills
        { access: Node, kind: Write, order: Order::Free, reply: Once }

    /// Say which tools plugins of the node bring. None of them is used yet.
    NodePluginToolsUpdate = "node.pluginTools.update" (NodePluginToolsParams) -> NodePluginTools
        { access: Node, kind: Write, order: Order::Free, reply: Once }

    /// The programs that skills want to find on a node; none yet.
    SkillsBins = "skills.bins" (NoParams) -> Bins
        { access: Node, kind: Read, order: Order::Free, reply: Once }

    /// Give out what the node has not answered.
    NodePendingPull = "node.pending.pull" (NoParams) -> PendingActions
        { access: Node, kind: Read, order: Order::Free, reply: Once }

    /// Say that requests were seen. They wait for their answer all the same.
    NodePendingAck = "node.pending.ack" (PendingAckParams) -> PendingAcked
        { access: Node, kind: Read, order: Order::Free, reply: Once }

    /// List what is armed.
    NodeLeaseList = "node.lease.list" (NoParams) -> LeasesPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Let a group of private commands through for a while. It ends by itself, at the latest with the gateway.
    NodeLeaseArm = "node.lease.arm" (LeaseArmParams) -> LeaseShown
        { access: Admin, kind: Write, order: Order::Global("leases"), reply: Once }

    /// End a lease, or all of a group, or all.
    NodeLeaseEnd = "node.lease.end" (LeaseEndParams) -> LeasesPage
        { access: Write, kind: Write, order: Order::Global("leases"), reply: Once }
}

/// Which node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeParams {
    /// The device; also the node's id. Operators may write its beginning or its name.
    pub node_id: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// The device; also the node's id.
    pub node_id: DeviceId,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// As it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The program's version, while it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kind of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Model of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Families, sorted; only approved ones.
    pub caps: Vec<String>,
    /// Commands, sorted; only those that were approved and that it offers now.
    pub commands: Vec<String>,
    /// What it offers beyond that, and nobody has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unapproved: Vec<String>,
    /// Its PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// What its system allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Since when it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at_ms: Option<Timestamp>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<Timestamp>,
    /// What it last said of its load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_stats: Option<Value>,
    /// Whether it was let in.
    pub paired: bool,
    /// Whether it is connected.
    pub connected: bool,
}

/// Result of `node.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodesPage {
    /// Now.
    pub ts: Timestamp,
    /// The nodes.
    pub nodes: Vec<NodeRow>,
}

/// Result of `node.describe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeShown {
    /// Now.
    pub ts: Timestamp,
    /// The node.
    #[serde(flatten)]
    pub node: NodeRow,
}

/// Parameters of `node.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRenameParams {
    /// The node.
    pub node_id: String,
    /// Its new name.
    pub display_name: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `node.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRenamed {
    /// The node.
    pub node_id: DeviceId,
    /// Its name.
    pub display_name: String,
}

/// Parameters of `node.invoke`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeInvokeParams {
    /// The node.
    pub node_id: String,
    /// What it should do.
    pub command: String,
    /// With what; an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// How long to wait, 1 s to 35 min; by default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether to wait for a node that is away, until the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<bool>,
    /// The same key is the same request.
    pub idempotency_key: ClientKey,
}

/// Result of `node.invoke`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInvoked {
    /// Always true.
    pub ok: bool,
    /// The node.
    #[serde(rename = "nodeId")]
    pub node_id: DeviceId,
    /// What it did.
    pub command: String,
    /// What came of it.
    pub payload: Value,
    /// The same as the node wrote it.
    #[serde(rename = "payloadJSON")]
    pub payload_json: Option<String>,
}

/// Parameters of `node.invoke.result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeInvokeResultParams {
    /// The request.
    pub id: String,
    /// The node itself.
    #[serde(rename = "nodeId")]
    pub node_id: String,
    /// Whether it worked.
    pub ok: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The same as text; counts if both are there.
    #[serde(
        default,
        rename = "payloadJSON",
        skip_serializing_if = "Option::is_none"
    )]
    pub payload_json: Option<String>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeSaid>,
}

/// A node's fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSaid {
    /// Its word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Result of `node.invoke.result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInvokeTaken {
    /// Always true.
    pub ok: bool,
    /// Whether nobody waited for it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<bool>,
}

/// Parameters of `node.event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeEventParams {
    /// What happened.
    pub event: String,
    /// More.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The same as text.
    #[serde(
        default,
        rename = "payloadJSON",
        skip_serializing_if = "Option::is_none"
    )]
    pub payload_json: Option<String>,
}

/// Result of `node.event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEventTaken {
    /// Always true.
    pub ok: bool,
    /// What happened.
    pub event: String,
    /// Whether anything was done with it.
    pub handled: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Result of `node.pair.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodePairPage {
    /// What nodes offer beyond what was approved.
    pub pending: Vec<PendingSurface>,
    /// The nodes.
    pub paired: Vec<NodeRow>,
}

/// What a node offers, and nobody has approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingSurface {
    /// Its name.
    pub request_id: String,
    /// The node.
    pub node_id: DeviceId,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// As it says now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The program's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Families it offers, all of them.
    pub caps: Vec<String>,
    /// Commands it offers, all of them.
    pub commands: Vec<String>,
    /// Commands among them that are new.
    pub new_commands: Vec<String>,
    /// What an approver needs.
    pub required_approve_scopes: Vec<String>,
    /// Since when.
    pub ts: Timestamp,
}

/// Which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePairParams {
    /// Its name.
    pub request_id: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `node.pair.approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePairApproved {
    /// The request.
    pub request_id: String,
    /// The node as it is now.
    pub node: NodeRow,
}

/// Result of `node.pair.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePairRejected {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node_id: DeviceId,
}

/// Parameters of `node.runnerInventory.update`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunnerInventoryParams {
    /// Features of the runner's own protocol.
    pub protocol_features: Vec<String>,
    /// Whether it hosts workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_host: Option<Value>,
    /// Its runners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runners: Option<Value>,
}

/// Parameters of `node.skills.update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSkillsParams {
    /// The skills.
    pub skills: Vec<Value>,
}

/// Result of `node.skills.update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSkills {
    /// The node.
    pub node_id: DeviceId,
    /// Skills that are used.
    pub skills: Vec<Value>,
}

/// Parameters of `node.pluginTools.update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePluginToolsParams {
    /// The tools.
    pub tools: Vec<Value>,
}

/// Result of `node.pluginTools.update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePluginTools {
    /// The node.
    pub node_id: DeviceId,
    /// Tools that are used.
    pub tools: Vec<Value>,
}

/// Result of `skills.bins`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bins {
    /// Names of programs.
    pub bins: Vec<String>,
}

/// Result of `node.pending.pull`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingActions {
    /// The node.
    pub node_id: DeviceId,
    /// What waits, oldest first.
    pub actions: Vec<PendingAction>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingAction {
    /// Its name.
    pub id: InvokeId,
    /// What the node should do.
    pub command: String,
    /// With what, as text.
    #[serde(rename = "paramsJSON")]
    pub params_json: Option<String>,
    /// Since when it waits.
    #[serde(rename = "enqueuedAtMs")]
    pub enqueued_at_ms: Timestamp,
}

/// Parameters of `node.pending.ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PendingAckParams {
    /// Requests that were seen.
    pub ids: Vec<String>,
}

/// Result of `node.pending.ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingAcked {
    /// The node.
    pub node_id: DeviceId,
    /// Those of them that wait.
    pub acked_ids: Vec<InvokeId>,
    /// How many wait besides.
    pub remaining_count: u64,
}

/// Parameters of `node.lease.arm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseArmParams {
    /// What to let through.
    pub group: Group,
    /// On which node; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// For how long, 10 s to 4 h; by default 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How often, 1 to 100; as often as wanted if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `node.lease.end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaseEndParams {
    /// This one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// All of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// Makes a repeat harmless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// What is armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeasesPage {
    /// The leases, first to end first.
    pub leases: Vec<LeaseShown>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseShown {
    /// Its name.
    pub lease_id: LeaseId,
    /// What it lets through.
    pub group: Group,
    /// On which node; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<DeviceId>,
    /// Surface and principal.
    pub granted_by: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// How long it still lasts.
    pub expires_in_ms: u64,
    /// How often it may still be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
}
