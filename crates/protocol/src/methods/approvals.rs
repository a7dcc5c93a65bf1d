//! `approvals.*`: questions to a person, and lasting answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::approval::{Approval, Grant};
use adjutant_domain::id::{AgentId, ClientKey, GrantId};

use crate::method::{Order, methods};

methods! {
    /// List open questions, newest first.
    ApprovalsList = "approvals.list" (ApprovalsListParams) -> ApprovalsPage
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Return one question in full.
    ApprovalsGet = "approvals.get" (ApprovalIdParams) -> ApprovalShown
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Answer a question. The first valid answer counts; later ones get `CONFLICT`.
    ApprovalsResolve = "approvals.resolve" (ApprovalsResolveParams) -> ApprovalShown
        { access: Approvals, kind: Write, order: Order::Global("approvals"), reply: Once }

    /// List questions of all states with who answered what and when, newest first.
    ApprovalsHistory = "approvals.history" (ApprovalsListParams) -> ApprovalsPage
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// List lasting answers, newest first.
    ApprovalsRulesList = "approvals.rules.list" (RulesListParams) -> RulesPage
        { access: Approvals, kind: Read, order: Order::Free, reply: Once }

    /// Revoke a lasting answer.
    ApprovalsRulesRemove = "approvals.rules.remove" (RulesRemoveParams) -> RuleRemoved
        { access: Approvals, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `approvals.list` and `approvals.history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalsListParams {
    /// At most this many; 1 to 1,000, by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalsPage {
    /// The questions.
    pub approvals: Vec<Approval>,
}

/// Which question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalIdParams {
    /// Identifier, or the last six or more characters of an open question's.
    pub id: String,
}

/// One question in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalShown {
    /// The question.
    pub approval: Approval,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// This call only.
    #[serde(alias = "allow-once")]
    Once,
    /// The same thing again in this session without asking.
    Session,
    /// The same thing for `forMs`.
    For,
    /// The same thing until revoked.
    #[serde(alias = "allow-always")]
    Always,
    /// No.
    Deny,
}

/// Parameters of `approvals.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalsResolveParams {
    /// Identifier, or the last six or more characters of an open question's.
    pub id: String,
    /// The answer.
    pub decision: Decision,
    /// How long, with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `approvals.rules.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulesListParams {
    /// Only those of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// Result of `approvals.rules.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RulesPage {
    /// Lasting answers, newest first.
    pub rules: Vec<Grant>,
}

/// Parameters of `approvals.rules.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulesRemoveParams {
    /// Which one.
    pub id: GrantId,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `approvals.rules.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleRemoved {
    /// Whether there was one.
    pub removed: bool,
}
