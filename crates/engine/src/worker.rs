//! A worker: claims runs and drives them, holds nothing, and may be killed at any moment.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{pin_mut, select_biased};

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::time::Timestamp;
use adjutant_ports::bus::{Notice, Topics};
use adjutant_ports::store::{Offer, WorkerInfo};

use crate::config::Config;
use crate::context::Prefixes;
use crate::deps::Deps;
use crate::drive::{Bell, Halt, drive};

/// Resolves when the worker should stop claiming and let go.
pub type Stop = Shared<BoxFuture<'static, ()>>;

/// How long a worker rests after the store failed, so that a broken disk is not asked in a tight loop.
const STORE_REST: Duration = Duration::from_millis(500);

/// A worker.
pub struct Worker {
    id: WorkerId,
    host: String,
    pid: u32,
    deps: Deps,
    config: Arc<Config>,
    prefixes: Arc<Prefixes>,
    started_at: Timestamp,
}

impl Worker {
    /// A worker with a name of its own. `host` and `pid` are what `workers.list` shows.
    #[must_use]
    pub fn new(id: WorkerId, host: String, pid: u32, deps: Deps, config: Config) -> Self {
        let started_at = deps.clock.now();
        Self {
            id,
            host,
            pid,
            deps,
            config: Arc::new(config),
            prefixes: Arc::default(),
            started_at,
        }
    }

    /// Claims and drives runs until `stop`; then drops what it drives. The next owner of the claims goes on from the logs:
    /// a stop at any moment has the same end result (R35).
    pub async fn run(self, stop: Stop) {
        let mut notices = self.deps.bus.watch(Topics::Work).fuse();
        let mut driven: FuturesUnordered<BoxFuture<'static, (RunId, Result<(), Halt>)>> =
            FuturesUnordered::new();
        let mut bells: BTreeMap<RunId, Arc<Bell>> = BTreeMap::new();
        let mut stop = stop.fuse();
        let mut seen = self.say_alive(&bells).await;
        loop {
            let mut rest = self.claim_all(&mut driven, &mut bells).await;
            if self.config.heartbeat.duration() <= self.deps.clock.monotonic().saturating_sub(seen)
            {
                seen = self.say_alive(&bells).await;
            }
            rest = rest.min(self.config.poll.duration());
            let timer = self.deps.clock.sleep(rest).fuse();
            pin_mut!(timer);
            // The inner loop listens without asking the store again until something may be claimable.
            loop {
                select_biased! {
                    () = stop => return,
                    done = driven.select_next_some() => {
                        let (run, result) = done;
                        bells.remove(&run);
                        report(run, &result);
                        break;
                    }
                    notice = notices.select_next_some() => match notice {
                        Notice::Signal(run) => if let Some(bell) = bells.get(&run) { bell.ring() } else { break },
                        Notice::Lagged => {
                            for bell in bells.values() { bell.ring() }
                            break;
                        }
                        Notice::Work => if self.has_room(bells.len()) { break },
                        Notice::Events(_) | Notice::Pulse(_) => {}
                    },
                    () = timer => break,
                }
            }
        }
    }

    /// Drives whatever can be driven now, then returns: for one-shot use and for tests.
    pub async fn run_until_idle(self) {
        let mut driven: FuturesUnordered<BoxFuture<'static, (RunId, Result<(), Halt>)>> =
            FuturesUnordered::new();
        let mut bells: BTreeMap<RunId, Arc<Bell>> = BTreeMap::new();
        loop {
            self.claim_all(&mut driven, &mut bells).await;
            let Some((run, result)) = driven.next().await else {
                return;
            };
            bells.remove(&run);
            report(run, &result);
        }
    }

    fn has_room(&self, driving: usize) -> bool {
        driving < self.config.runs_at_once as usize
    }

    /// Claims as many runs as there is room for. Returns how long until one becomes claimable by time alone.
    async fn claim_all(
        &self,
        driven: &mut FuturesUnordered<BoxFuture<'static, (RunId, Result<(), Halt>)>>,
        bells: &mut BTreeMap<RunId, Arc<Bell>>,
    ) -> Duration {
        let offer = Offer { worker: self.id };
        while self.has_room(bells.len()) {
            match self
                .deps
                .store
                .claim(&offer, self.config.lease.duration())
                .await
            {
                Ok(Some(claim)) => {
                    let run = claim.run.id;
                    let bell = Arc::new(Bell::default());
                    bells.insert(run, Arc::clone(&bell));
                    let future = drive(
                        self.deps.clone(),
                        Arc::clone(&self.config),
                        Arc::clone(&self.prefixes),
                        bell,
                        claim,
                    );
                    // A panic in one run harms nothing else (R34): the lease lapses and the log tells the next worker.
                    let guarded = AssertUnwindSafe(future).catch_unwind();
                    driven.push(Box::pin(async move {
                        let result = guarded.await.unwrap_or_else(|_panic| {
                            tracing::error!(run = %run, "a run panicked");
                            Ok(())
                        });
                        (run, result)
                    }));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot claim");
                    return STORE_REST;
                }
            }
        }
        let due = self.deps.store.next_due().await.ok().flatten();
        due.unwrap_or_else(|| self.config.poll.duration())
            .max(Duration::from_millis(1))
    }

    async fn say_alive(&self, bells: &BTreeMap<RunId, Arc<Bell>>) -> Duration {
        let info = WorkerInfo {
            id: self.id,
            host: self.host.clone(),
            pid: self.pid,
            slots: self.config.runs_at_once,
            runs: bells.keys().copied().collect(),
            started_at: self.started_at,
            seen_at: self.deps.clock.now(),
        };
        if let Err(error) = self.deps.store.worker_seen(&info).await {
            tracing::debug!(%error, "could not say that the worker lives");
        }
        self.deps.clock.monotonic()
    }
}

fn report(run: RunId, result: &Result<(), Halt>) {
    match result {
        Ok(()) => {}
        Err(Halt::Fenced) => tracing::info!(%run, "the claim went to another worker"),
        Err(error @ Halt::Store(source)) => {
            tracing::warn!(%run, %error, %source, "let the claim go")
        }
    }
}
