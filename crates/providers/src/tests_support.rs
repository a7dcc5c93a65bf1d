//! A clock that tests turn by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;

use adjutant_domain::time::Timestamp;
use adjutant_ports::Clock;

pub(crate) struct HandClock(Mutex<Duration>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Duration::from_secs(1))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self
            .0
            .lock()
            .expect("no test panics while it turns the clock") += by;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self
            .0
            .lock()
            .expect("no test panics while it turns the clock")
    }

    fn sleep(&self, _span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn local_day(&self) -> String {
        "2023-11-14".to_owned()
    }
}
