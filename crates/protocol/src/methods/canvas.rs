//! `canvas.*`, `a2ui.*`: what an agent shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::ClientKey;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// Open a session's canvas: an address that shows it until fifteen minutes after the last look.
    CanvasOpen = "canvas.open" (CanvasOpenParams) -> CanvasOpened
        { access: Write, kind: Read, order: Order::Free, reply: Once }

    /// List the files of a session's canvas.
    CanvasList = "canvas.list" (CanvasOfParams) -> CanvasFiles
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Open the main session's canvas for the node that calls.
    NodeCanvasRefresh = "node.canvas.capability.refresh" (NoParams) -> NodeCanvasOpened
        { access: Node, kind: Read, order: Order::Free, reply: Once }

    /// Give messages of A2UI to the surfaces of a session.
    A2uiPush = "a2ui.push" (A2uiPushParams) -> A2uiPushed
        { access: Write, kind: Write, order: Order::BySession, reply: Once }

    /// Take away one surface of a session, or all.
    A2uiReset = "a2ui.reset" (A2uiResetParams) -> A2uiRemoved
        { access: Write, kind: Write, order: Order::BySession, reply: Once }

    /// Return the surfaces of a session, as messages that build them.
    A2uiSnapshot = "a2ui.snapshot" (CanvasOfParams) -> A2uiSurfaces
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the versions and catalogues of A2UI that are drawn.
    A2uiCapabilities = "a2ui.capabilities" (NoParams) -> A2uiVersions
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Which page of a canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanvasBoard {
    /// Pages the agent wrote.
    #[default]
    Canvas,
    /// Surfaces of A2UI.
    A2ui,
}

/// Parameters of `canvas.open`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanvasOpenParams {
    /// Whose canvas; the main session by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Which page.
    #[serde(default)]
    pub board: CanvasBoard,
}

/// Result of `canvas.open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanvasOpened {
    /// The address at this gateway, to be put behind the name by which it was reached. Whoever has it sees the canvas.
    pub path: String,
    /// The same on this machine.
    pub url: String,
    /// How long it lives after each look.
    pub life_ms: u64,
}

/// Result of `node.canvas.capability.refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCanvasOpened {
    /// The ticket: what stands in the address.
    pub canvas_capability: String,
    /// Until when, if nobody looks in between.
    pub canvas_capability_expires_at_ms: i64,
    /// Where programs of the family find it, on this machine.
    pub canvas_host_url: String,
}

/// Parameters of `canvas.list` and `a2ui.snapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanvasOfParams {
    /// Whose canvas; the main session by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// Result of `canvas.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanvasFiles {
    /// The files, by path.
    pub files: Vec<CanvasFileRow>,
    /// The page that is shown.
    pub page: String,
    /// Views that are open.
    pub views: u64,
}

/// A file of a canvas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanvasFileRow {
    /// Its path within the canvas.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// Parameters of `a2ui.push`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2uiPushParams {
    /// Whose surfaces; the main session by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The messages, at most 200 at once. Either these or `jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Value>>,
    /// The messages, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jsonl: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `a2ui.push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiPushed {
    /// How many messages were taken.
    pub accepted: u64,
    /// Those that were not; they changed nothing.
    pub rejected: Vec<A2uiRejected>,
    /// Views that are open.
    pub views: u64,
}

/// A message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiRejected {
    /// Which of the messages, from 0.
    pub index: u64,
    /// Where in it, as a JSON pointer.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// Parameters of `a2ui.reset`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2uiResetParams {
    /// Whose surfaces; the main session by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Which surface; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface_id: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `a2ui.reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiRemoved {
    /// How many there were.
    pub removed: u64,
}

/// Result of `a2ui.snapshot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiSurfaces {
    /// The messages, by version.
    pub versions: Vec<A2uiOfVersion>,
}

/// Surfaces of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiOfVersion {
    /// `v0.9`.
    pub version: String,
    /// What builds the surfaces.
    pub messages: Vec<Value>,
}

/// Result of `a2ui.capabilities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiVersions {
    /// Whether this build has the renderer.
    pub renderer: bool,
    /// The versions.
    pub versions: Vec<A2uiVersion>,
}

/// A version that is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2uiVersion {
    /// `v0.9`.
    pub version: String,
    /// Its catalogues.
    pub catalogs: Vec<String>,
}
