//! Time for leases, wake-ups and buckets: starts at the wall clock and then follows the monotonic one, so that a wall
//! clock that jumps moves none of them (R37).

use std::sync::Arc;
use std::time::Duration;

use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::Clock;

pub(crate) struct Steady {
    clock: Arc<dyn Clock>,
    began_at: Timestamp,
    began: Duration,
}

impl Steady {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (began_at, began) = (clock.now(), clock.monotonic());
        Self {
            clock,
            began_at,
            began,
        }
    }

    /// The wall clock, for rows and people.
    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    /// The steady clock, for everything that waits.
    pub(crate) fn now(&self) -> Timestamp {
        self.began_at
            .plus(self.clock.monotonic().saturating_sub(self.began))
    }

    /// The steady moment that is as far from now as `at` is on the wall clock.
    pub(crate) fn at(&self, at: Timestamp) -> Timestamp {
        self.now().plus(at.since(self.wall()))
    }
}
