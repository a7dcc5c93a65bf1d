//! What is armed: permissions with an end, in memory only. A restart disarms everything.

use std::time::Duration;

use adjutant_domain::id::{DeviceId, LeaseId};
use adjutant_domain::node::{Group, LEASES_MAX, Lease};
use adjutant_domain::time::Timestamp;

use super::Nodes;

impl Nodes {
    /// The leases that have not ended, first to end first. Those that have are forgotten.
    pub(crate) fn live_leases(&self, now: Timestamp, mono: Duration) -> Vec<Lease> {
        let mut state = self.lock();
        // A used-up lease still covers what it let through and the node has not answered.
        state.leases.retain(|it| {
            let whole = Lease {
                uses_left: None,
                ..it.clone()
            };
            whole.is_live(now, mono)
        });
        let mut live: Vec<Lease> = state
            .leases
            .iter()
            .filter(|it| it.is_live(now, mono))
            .cloned()
            .collect();
        live.sort_by_key(|it| it.expires_at);
        live
    }

    /// Adds a lease in place of an older one of the same group and node. False: there are too many.
    pub(crate) fn arm(&self, lease: Lease) -> bool {
        let mut state = self.lock();
        state
            .leases
            .retain(|it| it.group != lease.group || it.node != lease.node);
        let room = state.leases.len() < LEASES_MAX;
        if room {
            state.leases.push(lease);
        }
        room
    }

    /// Ends what is named; how many.
    pub(crate) fn end_leases(&self, lease: Option<LeaseId>, group: Option<Group>) -> Vec<Lease> {
        let named = |it: &Lease| {
            lease.is_none_or(|id| id == it.id) && group.is_none_or(|group| group == it.group)
        };
        let mut state = self.lock();
        let (ended, left) = state.leases.drain(..).partition(named);
        state.leases = left;
        ended
    }

    /// Takes one use. False: there is none left, or the lease has ended.
    pub(super) fn take_use(&self, id: LeaseId) -> bool {
        let mut state = self.lock();
        let Some(lease) = state.leases.iter_mut().find(|it| it.id == id) else {
            return false;
        };
        match &mut lease.uses_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    pub(super) fn give_use_back(&self, id: LeaseId) {
        let mut state = self.lock();
        let lease = state.leases.iter_mut().find(|it| it.id == id);
        if let Some(left) = lease.and_then(|it| it.uses_left.as_mut()) {
            *left += 1;
        }
    }

    /// Whether a lease covers it in time and has no uses left.
    pub(super) fn is_spent(
        &self,
        group: Group,
        node: &DeviceId,
        now: Timestamp,
        mono: Duration,
    ) -> bool {
        let state = self.lock();
        state.leases.iter().any(|it| {
            let whole = Lease {
                uses_left: None,
                ..it.clone()
            };
            it.uses_left == Some(0) && whole.covers(group, node, now, mono)
        })
    }
}
