//! Workers: who works, who was asked to stop, and whose runs nobody has any more.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;

use super::Stored;

/// A process as others on its machine can recognise it, so that they can tell that it is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessMark {
    /// What its process id counts in: one boot of one machine, one namespace.
    pub space: String,
    /// When it was born, in the units of that machine: a process id comes again, this does not.
    pub born: u64,
}

/// Whether a worker takes runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It takes runs.
    #[default]
    Working,
    /// It takes no more, hands over what it has, and ends.
    Draining,
}

/// What a worker says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Which.
    pub id: WorkerId,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// The process for others on the machine, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessMark>,
    /// Of the program.
    #[serde(default)]
    pub version: String,
    /// Runs at once.
    pub slots: u32,
    /// What it has for runs that need something.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub offers: Needs,
    /// Runs it has now.
    pub runs: Vec<RunId>,
    /// Whether it takes more.
    #[serde(default)]
    pub duty: Duty,
    /// Start, by its own clock.
    pub started_at: Timestamp,
}

/// A worker as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// What it said last.
    pub info: WorkerInfo,
    /// When, by the clock of the store.
    pub seen_at: Timestamp,
    /// How long that is ago, by the clock of the store.
    pub silent: Duration,
    /// What it is asked to do.
    pub orders: Duty,
}

impl WorkerSeen {
    /// What it does, or will as soon as it hears its orders.
    #[must_use]
    pub fn duty(&self) -> Duty {
        match (self.info.duty, self.orders) {
            (Duty::Working, Duty::Working) => Duty::Working,
            (Duty::Draining, _) | (_, Duty::Draining) => Duty::Draining,
        }
    }
}

/// The register of workers. Nothing correct depends on it: a worker that is not in it has its runs all the same, and who
/// has what is decided by leases and fences.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// Says that a worker lives; returns what it is asked to do.
    async fn worker_seen(&self, worker: &WorkerInfo) -> Stored<Duty>;
    /// The workers and what they have, by identifier.
    async fn workers(&self) -> Stored<Vec<WorkerSeen>>;
    /// Asks a worker to take no more runs, to hand over what it has and to end; says so with `Bus::order`. Durable.
    /// `false`: there is no such worker.
    async fn drain_worker(&self, worker: WorkerId) -> Stored<bool>;
    /// Takes a worker that has ended out of the register and makes what it held claimable at once, without waiting for
    /// leases (R36). If it lives all the same, its next write is fenced off as soon as somebody has taken the run. Returns
    /// how many runs that were.
    async fn worker_gone(&self, worker: WorkerId) -> Stored<u64>;
}
