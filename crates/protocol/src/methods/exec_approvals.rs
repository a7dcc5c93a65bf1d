//! `exec.approval.*`, `exec.approvals.*`, `approval.*`: questions to a person, as clients of the protocol know them.
//!
//! Two kinds of question meet here: those of agents, which are durable and also answered with `approvals.resolve`, and
//! those that a client asks before it runs a command on a node, which live as long as somebody waits for the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::ClientKey;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;
use crate::methods::nodes::NodeParams;

methods! {
    /// Ask a person whether a command may run, and answer when somebody decided or nobody did in time. With `twoPhase`,
    /// the answer in Frames comes twice: accepted, then the decision; in JSON-RPC it is the first of the two.
    ExecApprovalRequest = "exec.approval.request" (ExecApprovalRequestParams) -> ExecApprovalReply
        { access: Approvals, kind: Write, order: Order::Free, reply: AckThenFinal }

    /// Wait for the decision of a question that was asked with `twoPhase`.
    ExecApprovalWait = "exec.approval.waitDecision" (ExecApprovalIdParams) -> ExecApprovalReply
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Answer a question. The first answer counts.
    ExecApprovalResolve = "exec.approval.resolve" (ExecApprovalResolveParams) -> ExecApprovalSettled
        { access: Approvals, kind: Write, order: Order::Global("approvals"), reply: Once }

    /// Return one open question.
    ExecApprovalGet = "exec.approval.get" (ExecApprovalIdParams) -> ExecApprovalRow
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// List open questions, newest first.
    ExecApprovalList = "exec.approval.list" (NoParams) -> Vec<ExecApprovalRow>
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// List open questions of agents for a terminal that shows only questions of plugins (its capability is
    /// `plugin-approvals`); none for others, which have `exec.approval.list`.
    PluginApprovalList = "plugin.approval.list" (NoParams) -> Vec<ExecApprovalRow>
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Answer a question in such a terminal.
    PluginApprovalResolve = "plugin.approval.resolve" (ExecApprovalResolveParams) -> ExecApprovalSettled
        { access: Approvals, kind: Write, order: Order::Global("approvals"), reply: Once }

    /// Return one question, open or answered lately, as newer clients show it.
    ApprovalGet = "approval.get" (ApprovalGetParams) -> ApprovalFound
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Answer a question, as newer clients do.
    ApprovalResolve = "approval.resolve" (ApprovalResolveParams) -> ApprovalApplied
        { access: Approvals, kind: Write, order: Order::Global("approvals"), reply: Once }

    /// Return the file on a node that lists the commands it runs without asking.
    ExecApprovalsNodeGet = "exec.approvals.node.get" (NodeParams) -> Value
        { access: Admin, kind: Read, order: Order::Free, reply: Once }

    /// Return the file of older gateways that lists allowed commands: there is none, policy and `approvals.rules.list`
    /// take its place.
    ExecApprovalsGet = "exec.approvals.get" (NoParams) -> ExecApprovalsFile
        { access: Admin, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `exec.approval.request`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecApprovalRequestParams {
    /// Name of the question; made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The command line that a person reads.
    pub command: String,
    /// The command, word by word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_argv: Option<Vec<String>>,
    /// What exactly will run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_run_plan: Option<Value>,
    /// The same, as other releases call it.
    #[serde(
        default,
        rename = "systemRunPlanV2",
        skip_serializing_if = "Option::is_none"
    )]
    pub system_run_plan_v2: Option<Value>,
    /// Names of environment variables that will be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Value>,
    /// Folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// `node` or `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// On which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// What the client knows of the rules there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// When it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// A warning for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_text: Option<String>,
    /// For which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The program that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_path: Option<String>,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// From which network the wish came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_source_channel: Option<String>,
    /// From whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_source_to: Option<String>,
    /// Over which account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_source_account_id: Option<String>,
    /// In which thread there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_source_thread_id: Option<Value>,
    /// How long it may wait, 1 to 600,000; 120,000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether to answer at once and again with the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two_phase: Option<bool>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// The first of two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accepted {
    /// Somebody will be asked.
    Accepted,
}

/// Result of `exec.approval.request` and `exec.approval.waitDecision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalReply {
    /// Name of the question.
    pub id: String,
    /// Only in the first of two answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Accepted>,
    /// The answer; null when nobody gave one.
    pub decision: Option<ExecDecision>,
    /// When it was asked.
    pub created_at_ms: Timestamp,
    /// When silence becomes no.
    pub expires_at_ms: Timestamp,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecDecision {
    /// This command only.
    AllowOnce,
    /// The same thing again without asking.
    AllowAlways,
    /// No.
    Deny,
}

impl ExecDecision {
    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// The answer that is written so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::AllowOnce, Self::AllowAlways, Self::Deny]
            .into_iter()
            .find(|decision| decision.word() == word)
    }
}

/// Parameters of `exec.approval.waitDecision` and `exec.approval.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecApprovalIdParams {
    /// Name of the question.
    pub id: String,
    /// How long to wait; until the question lapses by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Parameters of `exec.approval.resolve` and `plugin.approval.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecApprovalResolveParams {
    /// Name of the question.
    pub id: String,
    /// `allow-once`, `allow-always` or `deny`.
    pub decision: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `exec.approval.resolve` and `plugin.approval.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalSettled {
    /// Always true.
    pub ok: bool,
}

/// An open question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalRow {
    /// Name of the question.
    pub id: String,
    /// What is asked: command, folder, host, agent, session.
    pub request: Value,
    /// When it was asked.
    pub created_at_ms: Timestamp,
    /// When silence becomes no.
    pub expires_at_ms: Timestamp,
}

/// Parameters of `approval.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalGetParams {
    /// Name of the question.
    pub id: String,
    /// `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Parameters of `approval.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalResolveParams {
    /// Name of the question.
    pub id: String,
    /// `allow-once`, `allow-always` or `deny`.
    pub decision: String,
    /// `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `approval.get`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalFound {
    /// The question.
    pub approval: ApprovalView,
}

/// Result of `approval.resolve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalApplied {
    /// Whether this answer counted.
    pub applied: bool,
    /// The question.
    pub approval: ApprovalView,
}

/// A question as newer clients show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// Name of the question.
    pub id: String,
    /// `pending`, `allowed`, `denied`, `expired`, `cancelled`.
    pub status: String,
    /// What a person reads.
    pub presentation: ApprovalPresentation,
    /// When it was asked.
    pub created_at_ms: Timestamp,
    /// When silence becomes no.
    pub expires_at_ms: Timestamp,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<ExecDecision>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
}

/// What a person reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPresentation {
    /// `exec`.
    pub kind: String,
    /// The whole text.
    pub command_text: String,
    /// A part of it; none, the whole text counts.
    pub command_preview: Option<String>,
    /// Why it asks.
    pub warning_text: Option<String>,
    /// `gateway` or `node`.
    pub host: Option<String>,
    /// On which node.
    pub node_id: Option<String>,
    /// For which agent.
    pub agent_id: Option<String>,
    /// Answers that can be given.
    pub allowed_decisions: Vec<String>,
}

/// Result of `exec.approvals.get`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalsFile {
    /// Always empty.
    pub path: String,
    /// Always false.
    pub exists: bool,
    /// Always empty.
    pub hash: String,
    /// The empty file.
    pub file: ExecApprovalsRules,
}

/// The rules of such a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalsRules {
    /// 1.
    pub version: u32,
    /// Always empty.
    pub defaults: serde_json::Map<String, Value>,
    /// Always empty.
    pub agents: serde_json::Map<String, Value>,
}
