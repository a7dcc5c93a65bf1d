//! `cron.list`, `cron.status`: jobs that run by the clock. There is no scheduler yet; these say so in the shapes that
//! clients check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List jobs: none.
    CronList = "cron.list" (CronListParams) -> CronPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Say whether jobs run by the clock: they do not.
    CronStatus = "cron.status" (NoParams) -> CronReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `cron.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronListParams {
    /// Whether jobs that are off are listed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_disabled: Option<bool>,
    /// At most this many; 1 to 1,000, by default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Skip this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Only those of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `all`, `enabled` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<String>,
    /// Only those whose name contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
    /// `asc` or `desc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_dir: Option<String>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<bool>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_delivery_previews: Option<bool>,
}

/// Result of `cron.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronPage {
    /// Always empty.
    pub jobs: Vec<Value>,
    /// Changes when a job does.
    pub snapshot_revision: String,
    /// How many there are.
    pub total: u64,
    /// As it was asked for.
    pub offset: u32,
    /// As it was asked for, within bounds.
    pub limit: u32,
    /// Whether there are more.
    pub has_more: bool,
    /// Where the next page begins.
    pub next_offset: Option<u32>,
}

/// Result of `cron.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronReport {
    /// Always false.
    pub enabled: bool,
    /// Where jobs are kept: a name, not a path.
    pub store_path: String,
    /// How many there are.
    pub jobs: u64,
    /// When the next one is due.
    pub next_wake_at_ms: Option<Timestamp>,
}
