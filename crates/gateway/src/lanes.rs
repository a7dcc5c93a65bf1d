//! Order among calls: a lane is a queue in which each call waits for the one before it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Lanes kept before finished ones are swept.
const LANES_SWEEP: usize = 512;

/// All lanes of this gateway. A convenience for clients: correctness comes from the store.
#[derive(Default)]
pub(crate) struct Lanes {
    last: Mutex<HashMap<String, CancellationToken>>,
}

/// A place in a lane. Taken at once, so that the order is the order of arrival; given back on drop.
pub(crate) struct Ticket {
    before: Option<CancellationToken>,
    done: CancellationToken,
}

impl Lanes {
    pub(crate) fn ticket(&self, lane: String) -> Ticket {
        let done = CancellationToken::new();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= LANES_SWEEP {
            last.retain(|_, token| !token.is_cancelled());
        }
        let before = last.insert(lane, done.clone());
        Ticket { before, done }
    }
}

impl Ticket {
    /// Resolves when everything before is done.
    pub(crate) async fn turn(&self) {
        if let Some(before) = &self.before {
            before.cancelled().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let done = self.done.clone();
        match self.before.take() {
            // Left before its turn: whoever waits for it must still wait for those before.
            Some(before) if !before.is_cancelled() => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        before.cancelled().await;
                        done.cancel();
                    });
                } else {
                    done.cancel();
                }
            }
            _ => done.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn calls_of_a_lane_run_in_the_order_they_came_and_lanes_do_not_mind_each_other() {
        let lanes = Lanes::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tickets: Vec<_> = (0..20).map(|n| (n, lanes.ticket("a".to_owned()))).collect();
        let other = lanes.ticket("b".to_owned());
        other.turn().await;
        let tasks = tickets.into_iter().rev().map(|(n, ticket)| {
            let order = Arc::clone(&order);
            async move {
                ticket.turn().await;
                order.lock().unwrap_or_else(PoisonError::into_inner).push(n);
            }
        });
        futures::future::join_all(tasks).await;
        let order = order.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_call_that_gives_up_does_not_let_the_next_one_overtake() {
        let lanes = Lanes::default();
        let first = lanes.ticket("a".to_owned());
        let second = lanes.ticket("a".to_owned());
        let third = lanes.ticket("a".to_owned());
        drop(second);
        tokio::task::yield_now().await;
        assert!(futures::FutureExt::now_or_never(third.turn()).is_none());
        drop(first);
        third.turn().await;
    }
}
