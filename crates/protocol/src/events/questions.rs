//! What surfaces hear of questions to a person, and of settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::time::Timestamp;

use crate::access::Scope;
use crate::events::{Audience, events};
use crate::methods::exec_approvals::ExecApprovalRow;

events! {
    /// A person is asked whether a call may run.
    ExecApprovalRequested = "exec.approval.requested" (ExecApprovalRow)
        { to: Audience::Operators(Scope::Approvals), loss: WhenFull }

    /// Such a question was answered, by a person or by time.
    ExecApprovalResolved = "exec.approval.resolved" (ExecApprovalResolvedEvent)
        { to: Audience::Operators(Scope::Approvals), loss: WhenFull }

    /// The question of an agent, for terminals that show only questions of plugins.
    PluginApprovalRequested = "plugin.approval.requested" (ExecApprovalRow)
        { to: Audience::Operators(Scope::Approvals), loss: WhenFull }

    /// Such a question was answered, for the same terminals.
    PluginApprovalResolved = "plugin.approval.resolved" (ExecApprovalResolvedEvent)
        { to: Audience::Operators(Scope::Approvals), loss: WhenFull }

    /// A setting was changed.
    ConfigChanged = "config.changed" (ConfigChangedEvent)
        { to: Audience::Operators(Scope::Read), loss: WhenFull }
}

/// Payload of `exec.approval.resolved` and `plugin.approval.resolved`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalResolvedEvent {
    /// Name of the question.
    pub id: String,
    /// `allow-once`, `allow-always` or `deny`.
    pub decision: String,
    /// Who answered.
    pub resolved_by: String,
    /// When.
    pub ts: Timestamp,
    /// What was asked, for questions of clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
}

/// Payload of `config.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigChangedEvent {
    /// When.
    pub ts: Timestamp,
    /// Which settings.
    pub keys: Vec<String>,
    /// Hash of the file now.
    pub hash: String,
}
