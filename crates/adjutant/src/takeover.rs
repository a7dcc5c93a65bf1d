//! Takes over from workers of this machine that are dead, without waiting for their leases (R36).
//!
//! Who shares a database cannot tell a worker that is dead from one that is cut off, so across machines leases decide. On one
//! machine there is no doubt: a process that is not there any more, or is another one under the same number, is dead.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use adjutant_ports::Store;
use adjutant_ports::store::{StoreError, WorkerInfo};

use crate::platform::process_mark;

/// Between two looks at the others.
const LOOK: Duration = Duration::from_secs(2);

/// Looks until `stop`.
pub(crate) async fn watch(store: Arc<dyn Store>, stop: CancellationToken) {
    if process_mark(None).is_none() {
        tracing::debug!("this system does not tell who lives; leases do");
        return;
    }
    loop {
        match bury(&*store).await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "took over the runs of workers that are dead"),
            Err(error) => tracing::debug!(%error, "could not look for workers that are dead"),
        }
        let rest = stop.run_until_cancelled(tokio::time::sleep(LOOK));
        if rest.await.is_none() {
            return;
        }
    }
}

async fn bury(store: &dyn Store) -> Result<u64, StoreError> {
    let mut runs = 0;
    for worker in store.workers().await? {
        if is_dead(&worker.info) {
            tracing::info!(worker = %worker.info.id, pid = worker.info.pid, "a worker is dead");
            runs += store.worker_gone(worker.info.id).await?;
        }
    }
    Ok(runs)
}

/// Whether it was a process of this machine and is none any more. In doubt it lives.
pub(crate) fn is_dead(worker: &WorkerInfo) -> bool {
    let (Some(mark), Some(own)) = (&worker.process, process_mark(None)) else {
        return false;
    };
    mark.space == own.space && process_mark(Some(worker.pid)).as_ref() != Some(mark)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use adjutant_domain::id::WorkerId;
    use adjutant_domain::need::Needs;
    use adjutant_domain::time::Timestamp;
    use adjutant_ports::store::{Duty, ProcessMark};

    use super::*;

    fn worker(pid: u32, process: Option<ProcessMark>) -> WorkerInfo {
        WorkerInfo {
            id: WorkerId::from_u128(1),
            host: "here".to_owned(),
            pid,
            process,
            version: String::new(),
            slots: 1,
            offers: Needs::default(),
            runs: vec![],
            duty: Duty::Working,
            started_at: Timestamp::default(),
        }
    }

    // covers: R36
    #[test]
    fn only_a_process_of_this_machine_that_ended_is_dead() {
        let own = process_mark(None).unwrap();
        assert!(!is_dead(&worker(std::process::id(), Some(own.clone()))));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id();
        let mark = process_mark(Some(pid)).unwrap();
        assert!(!is_dead(&worker(pid, Some(mark.clone()))));
        // The number went to somebody else.
        let other = ProcessMark {
            born: mark.born + 1,
            ..mark.clone()
        };
        assert!(is_dead(&worker(pid, Some(other))));
        // Another machine, or a container: nobody here can tell.
        let elsewhere = ProcessMark {
            space: "elsewhere".to_owned(),
            ..mark.clone()
        };
        assert!(!is_dead(&worker(pid, Some(elsewhere))));
        assert!(!is_dead(&worker(pid, None)));
        child.kill().unwrap();
        while process_mark(Some(pid)).is_some() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // It is a zombie as long as nobody has waited for it.
        assert!(is_dead(&worker(pid, Some(mark.clone()))));
        child.wait().unwrap();
        assert!(is_dead(&worker(pid, Some(mark))));
    }
}
