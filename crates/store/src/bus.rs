//! The bus within one process.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use adjutant_domain::event::Event;
use adjutant_domain::id::{RunId, WorkerId};
use adjutant_ports::bus::{Bus, Notice, Pulse, Topics};

/// Notices a slow watcher may be behind before it misses some.
const NOTICES_MAX: usize = 1_024;

/// Two bounded broadcasts. Nobody waits for a slow watcher; it hears [`Notice::Lagged`] and reads the feed.
#[derive(Debug, Clone)]
pub struct LocalBus {
    work: broadcast::Sender<Notice>,
    surfaces: broadcast::Sender<Notice>,
}

impl LocalBus {
    /// A bus without watchers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            work: broadcast::Sender::new(NOTICES_MAX),
            surfaces: broadcast::Sender::new(NOTICES_MAX),
        }
    }
}

impl LocalBus {
    /// Says that something may have been missed.
    pub(crate) fn lag(&self) {
        send(&self.work, Notice::Lagged);
        send(&self.surfaces, Notice::Lagged);
    }
}

fn send(to: &broadcast::Sender<Notice>, notice: Notice) {
    // An error only says that nobody watches.
    drop(to.send(notice));
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for LocalBus {
    fn events(&self, events: Arc<[Event]>) {
        send(&self.surfaces, Notice::Events(events));
    }

    fn work(&self) {
        send(&self.work, Notice::Work);
    }

    fn signal(&self, run: RunId) {
        send(&self.work, Notice::Signal(run));
    }

    fn order(&self, worker: WorkerId) {
        send(&self.work, Notice::Order(worker));
    }

    fn pulse(&self, pulse: Pulse) {
        send(&self.surfaces, Notice::Pulse(Arc::new(pulse)));
    }

    fn watch(&self, topics: Topics) -> BoxStream<'static, Notice> {
        let from = match topics {
            Topics::Work => &self.work,
            Topics::Surfaces => &self.surfaces,
        };
        stream::unfold(from.subscribe(), |mut receiver| async move {
            match receiver.recv().await {
                Ok(notice) => Some((notice, receiver)),
                Err(RecvError::Lagged(_)) => Some((Notice::Lagged, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_watcher_hears_what_comes_after_it_began() {
        let bus = LocalBus::new();
        bus.work();
        let mut watch = bus.watch(Topics::Surfaces);
        bus.events(Arc::from([]));
        let notice = futures::executor::block_on(watch.next()).unwrap();
        assert!(matches!(notice, Notice::Events(_)));
    }

    #[test]
    fn workers_are_not_woken_by_words() {
        let bus = LocalBus::new();
        let mut watch = bus.watch(Topics::Work);
        bus.events(Arc::from([]));
        bus.work();
        let notice = futures::executor::block_on(watch.next()).unwrap();
        assert!(matches!(notice, Notice::Work));
    }

    #[test]
    fn a_slow_watcher_is_told_that_it_missed_something_and_goes_on() {
        let bus = LocalBus::new();
        let mut watch = bus.watch(Topics::Work);
        for _ in 0..NOTICES_MAX + 10 {
            bus.work();
        }
        let first = futures::executor::block_on(watch.next()).unwrap();
        let second = futures::executor::block_on(watch.next()).unwrap();
        assert!(matches!((first, second), (Notice::Lagged, Notice::Work)));
    }
}
