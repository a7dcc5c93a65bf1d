//! `workers.*`: who does the work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List the workers and what they have.
    WorkersList = "workers.list" (NoParams) -> WorkersPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRow {
    /// Identifier, new at every start.
    pub id: WorkerId,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Runs at once.
    pub slots: u32,
    /// Runs it has now.
    pub runs: Vec<RunId>,
    /// Start.
    pub started_at: Timestamp,
    /// Last sign of life.
    pub seen_at: Timestamp,
    /// Whether that was less than half a minute ago.
    pub alive: bool,
}

/// Result of `workers.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkersPage {
    /// The workers.
    pub workers: Vec<WorkerRow>,
    /// Runs that wait for a worker.
    pub queued: u64,
    /// Runs that a worker has.
    pub running: u64,
    /// Runs that rest.
    pub parked: u64,
}
