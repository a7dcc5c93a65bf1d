//! What a worker's writes may suffer.

use std::sync::Arc;
use std::time::Duration;

use adjutant_ports::Clock;
use adjutant_ports::store::{StoreError, Stored};

use crate::entropy::SimEntropy;
use crate::scheduler::Crash;

/// Chances in percent, per durable write.
#[derive(Debug)]
pub struct Faults {
    /// Where the dice come from.
    pub entropy: Arc<SimEntropy>,
    /// Thrown when the worker dies.
    pub crash: Crash,
    /// Dies before the write happens.
    pub crash_before: u64,
    /// Dies after the write happened, before it hears of it.
    pub crash_after: u64,
    /// Sleeps past its lease, then writes.
    pub stall: u64,
    /// The write fails and did not happen.
    pub fail_before: u64,
    /// The write happened, and the answer is lost.
    pub fail_after: u64,
    /// Longer than a lease.
    pub stall_for: Duration,
}

impl Faults {
    pub(super) fn failed() -> StoreError {
        StoreError::Failed {
            reason: "injected fault".to_owned(),
            source: None,
        }
    }

    pub(crate) async fn before_write(&self, clock: &dyn Clock) -> Stored<()> {
        if self.entropy.chance(self.crash_before) {
            self.crash.now();
            futures::future::pending::<()>().await;
        }
        if self.entropy.chance(self.stall) {
            clock.sleep(self.stall_for).await;
        }
        if self.entropy.chance(self.fail_before) {
            return Err(Self::failed());
        }
        Ok(())
    }

    pub(crate) async fn after_write(&self) -> Stored<()> {
        if self.entropy.chance(self.crash_after) {
            self.crash.now();
            futures::future::pending::<()>().await;
        }
        if self.entropy.chance(self.fail_after) {
            return Err(Self::failed());
        }
        Ok(())
    }
}
