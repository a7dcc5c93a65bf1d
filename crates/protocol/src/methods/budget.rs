//! `budget.*`: what was spent, and the caps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{AgentId, ClientKey};
use adjutant_domain::money::{Micros, Usage};

use crate::method::{Order, methods};
use crate::methods::agents::BudgetSpec;
use crate::methods::common::Spent;

methods! {
    /// Say what is spent and held against each cap.
    BudgetStatus = "budget.status" (BudgetStatusParams) -> BudgetReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Group costs by day, model, session, agent or run.
    BudgetUsage = "budget.usage" (BudgetUsageParams) -> BudgetUsed
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return an agent's caps: its own, and those in force.
    BudgetLimitsGet = "budget.limits.get" (LimitsGetParams) -> LimitsShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Set or clear one cap of an agent. Counts for runs accepted from now on.
    BudgetLimitsSet = "budget.limits.set" (LimitsSetParams) -> LimitsShown
        { access: Admin, kind: Write, order: Order::Global("agents"), reply: Once }
}

/// Parameters of `budget.status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetStatusParams {
    /// Also this session's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Also this run's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Whose caps; the default agent's, or the one in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// How full a window is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BudgetLevel {
    /// Below four fifths, or without a cap.
    Ok,
    /// Four fifths or more.
    Warn,
    /// Nothing left.
    Spent,
}

/// What a cap covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// One run.
    Run,
    /// One session.
    Session,
    /// One local day.
    Day,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetWindow {
    /// What it covers.
    pub scope: BudgetScope,
    /// Which one: a run, a session key, a day.
    pub key: String,
    /// How full it is.
    pub level: BudgetLevel,
    /// The cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_micros: Option<Micros>,
    /// Used and held, as a share of the cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What was spent and what is held.
    #[serde(flatten)]
    pub spent: Spent,
}

/// Result of `budget.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetReport {
    /// The fullest window's level.
    pub overall: BudgetLevel,
    /// The windows.
    pub scopes: Vec<BudgetWindow>,
    /// Model calls today.
    pub calls: u64,
    /// Calls today without a known price.
    pub unpriced: u64,
    /// Token counts today.
    pub tokens: Usage,
}

/// Which column to group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageGroup {
    /// Local day.
    #[default]
    Day,
    /// `provider/model`.
    Model,
    /// Session key.
    Session,
    /// Agent.
    Agent,
    /// Run.
    Run,
}

/// Parameters of `budget.usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetUsageParams {
    /// First local day, `YYYY-MM-DD`; today by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Last local day; today by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Which column to group by.
    #[serde(default)]
    pub group_by: UsageGroup,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// The group's name.
    pub group: String,
    /// What it came to.
    #[serde(flatten)]
    pub spent: Spent,
}

/// Result of `budget.usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetUsed {
    /// First day.
    pub from: String,
    /// Last day.
    pub to: String,
    /// Which column it is grouped by.
    pub group_by: UsageGroup,
    /// The groups, by name.
    pub rows: Vec<UsageRow>,
    /// All together.
    pub total: Spent,
}

/// Parameters of `budget.limits.get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsGetParams {
    /// Whose caps; the default agent's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// Parameters of `budget.limits.set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSetParams {
    /// Which cap.
    pub scope: BudgetScope,
    /// The amount in millionths of a dollar; null removes the cap.
    pub limit_micros: Option<Micros>,
    /// Whose caps; the default agent's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// An agent's caps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsShown {
    /// Whose.
    pub agent_id: AgentId,
    /// Its own.
    pub own: BudgetSpec,
    /// Those in force: its own, and the installation's where it has none.
    pub in_force: BudgetSpec,
}
