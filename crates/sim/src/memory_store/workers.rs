//! The register of workers.

use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::id::WorkerId;
use adjutant_domain::run::RunStatus;
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Duty, Stored, WorkerInfo, WorkerSeen, WorkerStore};

use super::MemoryStore;

/// A worker in the register.
#[derive(Debug, Clone)]
pub(crate) struct WorkerRow {
    info: WorkerInfo,
    seen_at: Timestamp,
    seen: Duration,
    orders: Duty,
}

#[async_trait]
impl WorkerStore for MemoryStore {
    async fn worker_seen(&self, worker: &WorkerInfo) -> Stored<Duty> {
        let (seen_at, seen) = (self.now(), self.monotonic());
        let mut inner = self.lock();
        let orders = inner.workers.get(&worker.id).map(|it| it.orders);
        let row = WorkerRow {
            info: worker.clone(),
            seen_at,
            seen,
            orders: orders.unwrap_or_default(),
        };
        inner.workers.insert(worker.id, row);
        Ok(orders.unwrap_or_default())
    }

    async fn workers(&self) -> Stored<Vec<WorkerSeen>> {
        let now = self.monotonic();
        let seen = |row: &WorkerRow| WorkerSeen {
            info: row.info.clone(),
            seen_at: row.seen_at,
            silent: now.saturating_sub(row.seen),
            orders: row.orders,
        };
        Ok(self.lock().workers.values().map(seen).collect())
    }

    async fn drain_worker(&self, worker: WorkerId) -> Stored<bool> {
        let known = match self.lock().workers.get_mut(&worker) {
            Some(row) => {
                row.orders = Duty::Draining;
                true
            }
            None => false,
        };
        if known {
            self.bus.order(worker);
        }
        Ok(known)
    }

    async fn worker_gone(&self, worker: WorkerId) -> Stored<u64> {
        let mut n = 0;
        {
            let mut inner = self.lock();
            inner.workers.remove(&worker);
            let now = inner.elapsed;
            let held = inner
                .runs
                .values_mut()
                .filter(|r| matches!(r.status, RunStatus::Running) && r.worker == Some(worker));
            for row in held {
                row.lease_until = Some(now);
                n += 1;
            }
        }
        if 0 < n {
            self.bus.work();
        }
        Ok(n)
    }
}
