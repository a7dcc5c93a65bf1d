//! Runs, seen from outside.

use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::id::{OwnerId, RunId, SessionId};
use adjutant_domain::need::Needs;
use adjutant_domain::run::RunStatus;
use adjutant_ports::store::{RunIndex, RunInfo, Stored};

use super::{MemoryStore, RunRow};

fn info(row: &RunRow) -> RunInfo {
    RunInfo {
        run: row.run.clone(),
        status: row.status.clone(),
        worker: row.worker,
        accepted_at: row.accepted_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
    }
}

#[async_trait]
impl RunIndex for MemoryStore {
    async fn run(&self, owner: &OwnerId, name: &str) -> Stored<Option<RunInfo>> {
        let inner = self.lock();
        let id = name.parse::<RunId>().ok().or_else(|| {
            inner
                .names
                .get(&(owner.clone(), name.to_owned()))
                .map(|(id, ..)| *id)
        });
        Ok(id
            .and_then(|id| inner.runs.get(&id))
            .filter(|r| r.run.owner == *owner)
            .map(info))
    }

    async fn active_runs(
        &self,
        owner: &OwnerId,
        session: Option<SessionId>,
    ) -> Stored<Vec<RunInfo>> {
        let inner = self.lock();
        let wanted = |r: &&RunRow| {
            !r.is_over() && r.run.owner == *owner && session.is_none_or(|s| r.run.session == s)
        };
        Ok(inner.runs.values().filter(wanted).map(info).collect())
    }

    async fn recent_runs(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<RunInfo>> {
        let inner = self.lock();
        Ok(inner
            .runs
            .values()
            .rev()
            .filter(|r| r.run.owner == *owner)
            .take(limit as usize)
            .map(info)
            .collect())
    }

    async fn release_dead_claims(&self) -> Stored<u64> {
        let mut inner = self.lock();
        let now = inner.elapsed;
        let mut n = 0;
        for row in inner
            .runs
            .values_mut()
            .filter(|r| matches!(r.status, RunStatus::Running))
        {
            row.lease_until = Some(now);
            n += 1;
        }
        Ok(n)
    }

    async fn next_due(&self, offers: &Needs) -> Stored<Option<Duration>> {
        let inner = self.lock();
        let now = inner.elapsed;
        let fitting = inner.runs.values().filter(|r| r.run.needs.met_by(offers));
        let due = fitting.filter_map(|r| match r.status {
            RunStatus::Parked { .. } => Some(r.ready_at),
            RunStatus::Running => r.lease_until,
            RunStatus::Queued | RunStatus::Finished { .. } => None,
        });
        Ok(due.min().map(|at| at.saturating_sub(now)))
    }

    async fn queue_depth(&self) -> Stored<(u64, u64, u64)> {
        let inner = self.lock();
        let count = |word: &str| {
            inner
                .runs
                .values()
                .filter(|r| r.status.word() == word)
                .count() as u64
        };
        Ok((count("queued"), count("running"), count("parked")))
    }
}
