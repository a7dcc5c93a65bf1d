//! Leases of claims, in memory: who holds one dies with the process that keeps the store, so none outlives it (R14, R36).
//!
//! A lease only says when others may *try*; what keeps two workers apart is the fence in the run's row. So a lease that is
//! longer or shorter than it should be costs time, never safety.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use adjutant_domain::id::RunId;
use adjutant_domain::run::Fence;
use adjutant_domain::time::Timestamp;

use crate::error::Done;
use crate::sql::{Sql, col};

#[derive(Debug, Clone, Copy)]
struct Lease {
    fence: Fence,
    until: Timestamp,
}

/// What a transaction says about a lease; it counts from the commit on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeaseChange {
    /// Somebody has the run until then.
    Held {
        run: RunId,
        fence: Fence,
        until: Timestamp,
    },
    /// Nobody has it.
    Free { run: RunId },
}

/// The leases of all runs that are claimed.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<RunId, Lease>>);

impl Leases {
    /// Those of a process before this one are over.
    pub(crate) fn load(db: &Connection, now: Timestamp) -> Done<Self> {
        let running = db.all(
            "select id, fence from runs where status in ('running', 'parked') and status = 'running'",
            [],
            |row| Ok((col::id::<RunId>(row, 0)?, Fence(row.get(1)?))),
        )?;
        let leases = running
            .into_iter()
            .map(|(run, fence)| (run, Lease { fence, until: now }));
        Ok(Self(Mutex::new(leases.collect())))
    }

    fn map(&self) -> MutexGuard<'_, HashMap<RunId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After the commit.
    pub(crate) fn apply(&self, changes: Vec<LeaseChange>) {
        if changes.is_empty() {
            return;
        }
        let mut map = self.map();
        for change in changes {
            match change {
                LeaseChange::Held { run, fence, until } => {
                    map.insert(run, Lease { fence, until });
                }
                LeaseChange::Free { run } => {
                    map.remove(&run);
                }
            }
        }
    }

    /// Ends all of them now.
    pub(crate) fn end_all(&self, now: Timestamp) {
        for lease in self.map().values_mut() {
            lease.until = now;
        }
    }

    /// The runs whose lease is over, with the fence of the claim that had it.
    pub(crate) fn lapsed(&self, now: Timestamp) -> Vec<(RunId, Fence)> {
        let map = self.map();
        let over = map.iter().filter(|(_, lease)| lease.until <= now);
        over.map(|(run, lease)| (*run, lease.fence)).collect()
    }

    /// When the next one ends, these left out.
    pub(crate) fn next(&self, without: &[RunId]) -> Option<Timestamp> {
        let map = self.map();
        let counted = map.iter().filter(|(run, _)| !without.contains(run));
        counted.map(|(_, lease)| lease.until).min()
    }
}
