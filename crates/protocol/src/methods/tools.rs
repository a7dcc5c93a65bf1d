//! `tools.*`: what agents can do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::{AgentId, ClientKey};
use adjutant_domain::tool::ToolSpec;

use crate::method::{Order, methods};

methods! {
    /// List the tools of this installation, or those an agent may have.
    ToolsList = "tools.list" (ToolsListParams) -> ToolsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return one tool.
    ToolsShow = "tools.show" (ToolsShowParams) -> ToolShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Run one tool call without a model, under the agent's policy like any other call. Wait with `agent.wait`.
    ToolsCall = "tools.call" (ToolsCallParams) -> ToolCalled
        { access: Write, kind: Write, order: Order::BySession, reply: Once }
}

/// Parameters of `tools.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsListParams {
    /// Only those this agent may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// Result of `tools.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolsPage {
    /// The tools, by name.
    pub tools: Vec<ToolSpec>,
}

/// Parameters of `tools.show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsShowParams {
    /// Tool name.
    pub name: String,
}

/// Result of `tools.show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolShown {
    /// The tool.
    pub tool: ToolSpec,
}

/// Parameters of `tools.call`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsCallParams {
    /// Tool name.
    pub name: String,
    /// Arguments, as the tool's schema says.
    #[serde(default)]
    pub args: Value,
    /// Makes a repeat harmless; also the run's id.
    pub idempotency_key: ClientKey,
    /// As which agent; must agree with the key when both are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// In which session; `agent:<agent>:tools` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// Result of `tools.call`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCalled {
    /// The run's name.
    pub run_id: String,
    /// The session it belongs to.
    pub session_key: String,
}
