//! Picks the next ready task with a seeded generator; moves the clock when nothing is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

use crate::clock::SimClock;
use crate::entropy::SimEntropy;

/// A switch inside a task's world: once thrown, the task is dropped where it stands, as by `kill -9`.
#[derive(Debug, Clone, Default)]
pub struct Crash(Arc<AtomicBool>);

impl Crash {
    /// Throws the switch.
    pub fn now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_thrown(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct TaskWaker {
    id: u64,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.id);
    }
}

struct Task {
    future: BoxFuture<'static, ()>,
    crash: Crash,
    /// Endless services do not keep the world busy.
    service: bool,
}

/// A seeded, single-threaded executor.
pub struct Scheduler {
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    ready: Ready,
    tasks: BTreeMap<u64, Task>,
    next_id: u64,
    /// How many polls there were.
    pub polls: u64,
}

/// Polls after which a simulation counts as stuck.
const POLLS_MAX: u64 = 200_000;

impl Scheduler {
    /// An empty world.
    #[must_use]
    pub fn new(clock: Arc<SimClock>, entropy: Arc<SimEntropy>) -> Self {
        Self {
            clock,
            entropy,
            ready: Ready::default(),
            tasks: BTreeMap::new(),
            next_id: 0,
            polls: 0,
        }
    }

    /// Adds a task that ends.
    pub fn spawn(&mut self, future: BoxFuture<'static, ()>) {
        self.add(future, Crash::default(), false);
    }

    /// Adds a task that may run for ever and may crash.
    pub fn spawn_service(&mut self, future: BoxFuture<'static, ()>, crash: Crash) {
        self.add(future, crash, true);
    }

    fn add(&mut self, future: BoxFuture<'static, ()>, crash: Crash, service: bool) {
        self.next_id += 1;
        self.tasks.insert(
            self.next_id,
            Task {
                future,
                crash,
                service,
            },
        );
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.next_id);
    }

    /// Runs until `done` says so. `on_crash` may add a replacement for a service that crashed.
    ///
    /// # Errors
    /// A sentence when the world is stuck: nothing is ready, no timer is left, or it goes round in circles.
    pub fn run(
        &mut self,
        mut done: impl FnMut() -> bool,
        mut on_crash: impl FnMut() -> Option<(BoxFuture<'static, ()>, Crash)>,
    ) -> Result<(), String> {
        loop {
            if self.tasks.values().all(|t| t.service) && done() {
                return Ok(());
            }
            self.polls += 1;
            if POLLS_MAX < self.polls {
                return Err("the world goes round in circles".to_owned());
            }
            let Some(id) = self.pick() else {
                if self.clock.advance() {
                    continue;
                }
                return Err("nothing is ready and no timer is left".to_owned());
            };
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            let waker = Waker::from(Arc::new(TaskWaker {
                id,
                ready: Arc::clone(&self.ready),
            }));
            let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
            if task.crash.is_thrown() {
                self.tasks.remove(&id);
                if let Some((future, crash)) = on_crash() {
                    self.spawn_service(future, crash);
                }
            } else if let Poll::Ready(()) = polled {
                self.tasks.remove(&id);
            }
        }
    }

    fn pick(&self) -> Option<u64> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let n = ready.len();
        if n == 0 {
            return None;
        }
        let index = usize::try_from(self.entropy.below(n as u64)).unwrap_or(0);
        let id = ready.iter().nth(index).copied()?;
        ready.remove(&id);
        Some(id)
    }
}
