//! `workers.*`: who does the work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{ClientKey, RunId, WorkerId};
use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List the workers and what they have.
    WorkersList = "workers.list" (NoParams) -> WorkersPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Ask a worker to take no more runs, to hand over what it has before the next step, and to end.
    WorkersDrain = "workers.drain" (WorkersDrainParams) -> WorkerRow
        { access: Admin, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `workers.drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkersDrainParams {
    /// The worker: its identifier, the beginning or the end of it (at least six characters), or the name of its host where
    /// that has only one.
    pub worker: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Whether a worker takes runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It takes runs.
    Working,
    /// It takes no more, hands over what it has, and ends.
    Draining,
    /// It was not heard of for longer than a lease.
    Silent,
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
    /// Of the program.
    pub version: String,
    /// Whether it takes runs.
    pub state: WorkerState,
    /// Runs at once.
    pub slots: u32,
    /// What it has for runs that need it.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub offers: Needs,
    /// Runs it has now.
    pub runs: Vec<RunId>,
    /// Start.
    pub started_at: Timestamp,
    /// Last sign of life, by the clock of the store.
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
