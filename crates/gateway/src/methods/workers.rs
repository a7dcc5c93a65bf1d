//! `workers.*`.

use std::time::Duration;

use adjutant_domain::code::Code;
use adjutant_domain::need::Needs;
use adjutant_domain::run::RunStatus;
use adjutant_ports::store::{Duty, RunInfo, StoreError, WorkerSeen};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::runs::RunRow;
use adjutant_protocol::methods::workers::{
    WorkerRow, WorkerState, WorkersDrain, WorkersDrainParams, WorkersList, WorkersPage,
};
use adjutant_protocol::{Caller, Fault, Handle};
use adjutant_telemetry::Load;

use crate::core::Core;
use crate::wire;

/// A worker that was silent longer than a lease is presumed dead.
const ALIVE: Duration = Duration::from_secs(30);
/// Characters of an identifier that stand for all of it.
const PART_MIN: usize = 6;

impl Handle<WorkersList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<WorkersPage, Fault> {
        let (queued, running, parked) = self.deps.store.queue_depth().await?;
        let workers = self.deps.store.workers().await?;
        Ok(WorkersPage {
            workers: workers.into_iter().map(row).collect(),
            queued,
            running,
            parked,
        })
    }
}

impl Handle<WorkersDrain> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: WorkersDrainParams,
    ) -> Result<WorkerRow, Fault> {
        let mut worker = self.worker_named(&params.worker).await?;
        let id = worker.info.id;
        let detail = serde_json::json!({ "host": worker.info.host });
        self.audit(caller, "worker.drain", &id.to_string(), detail)
            .await?;
        if !self.deps.store.drain_worker(id).await? {
            return Err(nobody(&params.worker, &[]));
        }
        worker.orders = Duty::Draining;
        Ok(row(worker))
    }
}

impl Core {
    /// How much there is to do, and who does it.
    pub(crate) async fn load(&self) -> Result<Load, StoreError> {
        let (queued, running, parked) = self.deps.store.queue_depth().await?;
        let workers = self.deps.store.workers().await?;
        let alive = || workers.iter().filter(|it| is_heard_of(it));
        let takes_some = |it: &&WorkerSeen| it.duty() == Duty::Working;
        let slots = alive()
            .filter(takes_some)
            .map(|it| u64::from(it.info.slots));
        Ok(Load {
            queued,
            running,
            parked,
            workers: alive().count() as u64,
            slots: slots.sum(),
        })
    }

    /// These needs, if no worker that is heard of and takes runs offers them all.
    pub(crate) async fn offered_by_none(&self, needs: &Needs) -> Result<Option<Needs>, StoreError> {
        if needs.is_empty() {
            return Ok(None);
        }
        let workers = self.deps.store.workers().await?;
        Ok((!is_offered(needs, &workers)).then(|| needs.clone()))
    }

    /// Runs as rows. One that is queued for want of a worker says so.
    pub(crate) async fn run_rows(&self, runs: &[RunInfo]) -> Result<Vec<RunRow>, StoreError> {
        let is_choosy =
            |it: &RunInfo| matches!(it.status, RunStatus::Queued) && !it.run.needs.is_empty();
        let workers = if runs.iter().any(is_choosy) {
            self.deps.store.workers().await?
        } else {
            Vec::new()
        };
        let row = |info: &RunInfo| {
            let mut row = wire::run_row(info);
            if is_choosy(info) && !is_offered(&info.run.needs, &workers) {
                row.reason = Some(format!("waits for a worker that offers {}", row.needs));
            }
            row
        };
        Ok(runs.iter().map(row).collect())
    }

    /// The worker that somebody means, among those that are heard of.
    pub(crate) async fn worker_named(&self, name: &str) -> Result<WorkerSeen, Fault> {
        let all = self.deps.store.workers().await?;
        let (mut fits, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(is_heard_of)
            .partition(|it| is_meant(it, name));
        match (fits.pop(), fits.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(Fault::new(
                Code::InvalidRequest,
                format!(
                    "`{name}` may mean several workers; name one by its identifier, as `workers.list` shows it"
                ),
            )),
            (None, _) => Err(nobody(name, &others)),
        }
    }
}

fn is_heard_of(worker: &WorkerSeen) -> bool {
    worker.silent <= ALIVE
}

fn is_offered(needs: &Needs, workers: &[WorkerSeen]) -> bool {
    workers
        .iter()
        .filter(|it| is_heard_of(it) && it.duty() == Duty::Working)
        .any(|it| needs.met_by(&it.info.offers))
}

fn is_meant(worker: &WorkerSeen, name: &str) -> bool {
    let id = worker.info.id.to_string();
    let bare = id.split_once('_').map_or(id.as_str(), |(_, bare)| bare);
    let part = name.len() >= PART_MIN
        && (id.starts_with(name) || bare.starts_with(name) || id.ends_with(name));
    id == name || part || worker.info.host == name
}

fn nobody(name: &str, others: &[WorkerSeen]) -> Fault {
    let others: Vec<String> = others
        .iter()
        .map(|it| format!("{} on {}", it.info.id, it.info.host))
        .collect();
    let known = if others.is_empty() {
        "none is heard of".to_owned()
    } else {
        format!("there are {}", others.join(", "))
    };
    Fault::new(
        Code::NotFound,
        format!("no worker is called `{name}`; {known}"),
    )
}

fn row(worker: WorkerSeen) -> WorkerRow {
    let alive = is_heard_of(&worker);
    let state = match (alive, worker.duty()) {
        (false, _) => WorkerState::Silent,
        (true, Duty::Working) => WorkerState::Working,
        (true, Duty::Draining) => WorkerState::Draining,
    };
    let WorkerSeen { info, seen_at, .. } = worker;
    WorkerRow {
        id: info.id,
        host: info.host,
        pid: info.pid,
        version: info.version,
        state,
        slots: info.slots,
        offers: info.offers,
        runs: info.runs,
        started_at: info.started_at,
        seen_at,
        alive,
    }
}
