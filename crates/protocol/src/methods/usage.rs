//! `usage.*`: what was spent, as older clients ask for it. `budget.*` says more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// Return what providers say about their quotas: nothing, none is asked.
    UsageStatus = "usage.status" (NoParams) -> UsageReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return tokens and cost per local day, from the ledger.
    UsageCost = "usage.cost" (UsageCostParams) -> UsageCosts
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Result of `usage.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// Now.
    pub updated_at: Timestamp,
    /// Always empty.
    pub providers: Vec<Value>,
}

/// Parameters of `usage.cost`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageCostParams {
    /// How many days up to today; 1 to 366, by default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// Result of `usage.cost`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageCosts {
    /// Now.
    pub updated_at: Timestamp,
    /// How many days were looked at.
    pub days: u32,
    /// Days on which something was spent, oldest first.
    pub daily: Vec<UsageDay>,
    /// The sum.
    pub totals: UsageFigures,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: UsageFigures,
}

/// Tokens and cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageFigures {
    /// Tokens read.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Tokens read from the provider's cache.
    pub cache_read: u64,
    /// Tokens written to it.
    pub cache_write: u64,
    /// All of them.
    pub total_tokens: u64,
    /// Known cost in dollars, for people; `budget.usage` has it exactly.
    pub total_cost: f64,
    /// Calls without a known price.
    pub missing_cost_entries: u64,
}
