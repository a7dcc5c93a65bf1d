//! The real clock and the real dice.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, FutureExt as _};

use adjutant_domain::time::Timestamp;
use adjutant_ports::{Clock, Entropy};

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    begun: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 counts as 1970.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        // Longer than tokio's timer wheel can hold is as good as for ever.
        tokio::time::sleep(span.min(Duration::from_secs(365 * 86_400))).boxed()
    }

    fn local_day(&self) -> String {
        chrono::Local::now().format("%Y-%m-%d").to_string()
    }
}

/// The operating system's random bits.
#[derive(Debug, Default)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u128(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).expect(
            "the operating system gives random bits: without them nothing can be named or secured",
        );
        u128::from_le_bytes(bytes)
    }
}
