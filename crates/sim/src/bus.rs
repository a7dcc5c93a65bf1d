//! A bus that may lose what it is given.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use futures::stream::BoxStream;

use adjutant_domain::event::Event;
use adjutant_domain::id::{RunId, WorkerId};
use adjutant_ports::bus::{Bus, Notice, Pulse, Topics};

use crate::entropy::SimEntropy;

#[derive(Default)]
struct Queue {
    notices: VecDeque<Notice>,
    waker: Option<Waker>,
    closed: bool,
}

type Watcher = (Topics, Arc<Mutex<Queue>>);

/// A bus in memory. Loses `lost_percent` of its notices.
pub struct SimBus {
    watchers: Mutex<Vec<Watcher>>,
    entropy: Option<Arc<SimEntropy>>,
    lost_percent: u64,
}

impl SimBus {
    /// A bus that loses nothing.
    #[must_use]
    pub fn reliable() -> Arc<Self> {
        Arc::new(Self {
            watchers: Mutex::default(),
            entropy: None,
            lost_percent: 0,
        })
    }

    /// A bus that loses some notices.
    #[must_use]
    pub fn lossy(entropy: Arc<SimEntropy>, lost_percent: u64) -> Arc<Self> {
        Arc::new(Self {
            watchers: Mutex::default(),
            entropy: Some(entropy),
            lost_percent,
        })
    }

    fn send(&self, topics: Topics, notice: &Notice) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|(wanted, queue)| {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.closed {
                return false;
            }
            let lost = self
                .entropy
                .as_ref()
                .is_some_and(|e| e.chance(self.lost_percent));
            if *wanted == topics && !lost {
                queue.notices.push_back(notice.clone());
                if let Some(waker) = queue.waker.take() {
                    waker.wake();
                }
            }
            true
        });
    }
}

impl Bus for SimBus {
    fn events(&self, events: Arc<[Event]>) {
        self.send(Topics::Surfaces, &Notice::Events(events));
    }

    fn work(&self) {
        self.send(Topics::Work, &Notice::Work);
    }

    fn signal(&self, run: RunId) {
        self.send(Topics::Work, &Notice::Signal(run));
    }

    fn order(&self, worker: WorkerId) {
        self.send(Topics::Work, &Notice::Order(worker));
    }

    fn pulse(&self, pulse: Pulse) {
        self.send(Topics::Surfaces, &Notice::Pulse(Arc::new(pulse)));
    }

    fn watch(&self, topics: Topics) -> BoxStream<'static, Notice> {
        let queue = Arc::new(Mutex::new(Queue::default()));
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((topics, Arc::clone(&queue)));
        Box::pin(Watch { queue })
    }
}

struct Watch {
    queue: Arc<Mutex<Queue>>,
}

impl Stream for Watch {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.notices.pop_front() {
            Some(notice) => Poll::Ready(Some(notice)),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
    }
}
