//! `workers.*`.

use std::time::Duration;

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::workers::{WorkerRow, WorkersList, WorkersPage};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

/// A worker that was silent longer than a lease is presumed dead.
const ALIVE: Duration = Duration::from_secs(30);

impl Handle<WorkersList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<WorkersPage, Fault> {
        let now = self.now();
        let (queued, running, parked) = self.deps.store.queue_depth().await?;
        let workers = self
            .deps
            .store
            .workers()
            .await?
            .into_iter()
            .map(|worker| WorkerRow {
                id: worker.id,
                host: worker.host,
                pid: worker.pid,
                slots: worker.slots,
                runs: worker.runs,
                started_at: worker.started_at,
                seen_at: worker.seen_at,
                alive: now.since(worker.seen_at) <= ALIVE,
            });
        Ok(WorkersPage {
            workers: workers.collect(),
            queued,
            running,
            parked,
        })
    }
}
