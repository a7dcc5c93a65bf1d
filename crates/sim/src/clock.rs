//! A clock that jumps to the next timer when everything else is idle.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;

use adjutant_domain::time::Timestamp;
use adjutant_ports::Clock;

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    /// Difference between the wall clock and the monotonic one, in milliseconds.
    skew_ms: i64,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

/// A simulated clock.
#[derive(Debug, Default)]
pub struct SimClock {
    state: Arc<Mutex<State>>,
}

/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimClock {
    /// A clock at the start of 2026.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Moves to the next timer and wakes it. `false`: there is none.
    pub fn advance(&self) -> bool {
        let waker = {
            let mut state = lock(&self.state);
            let Some(((at, _), waker)) = state.timers.pop_first() else {
                return false;
            };
            state.elapsed = state.elapsed.max(at);
            waker
        };
        waker.wake();
        true
    }

    /// Lets time pass without waking anybody: for tests without a scheduler.
    pub fn pass(&self, span: Duration) {
        lock(&self.state).elapsed += span;
    }

    /// Makes the wall clock jump; the monotonic clock does not notice (R37).
    pub fn jump(&self, ms: i64) {
        lock(&self.state).skew_ms += ms;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let state = lock(&self.state);
        let ms = i64::try_from(state.elapsed.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(START_MS + ms + state.skew_ms)
    }

    fn monotonic(&self) -> Duration {
        lock(&self.state).elapsed
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let until = lock(&self.state).elapsed.saturating_add(span);
        Box::pin(Sleep {
            state: Arc::clone(&self.state),
            until,
            key: None,
        })
    }

    fn local_day(&self) -> String {
        self.now().rfc3339().chars().take(10).collect()
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    until: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        if self.until <= state.elapsed {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            state.next_timer += 1;
            (self.until, state.next_timer)
        });
        state.timers.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.state).timers.remove(&key);
        }
    }
}
