//! A worker: claims runs and drives them, holds nothing, and may be killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, Fuse, FusedFuture as _, FutureExt as _, Shared, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{pin_mut, select_biased};

use adjutant_domain::id::{Need, RunId, WorkerId};
use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;
use adjutant_ports::bus::{Notice, Topics};
use adjutant_ports::store::{Claim, Duty, Offer, ProcessMark, WorkerInfo};

use crate::bell::Bell;
use crate::config::Config;
use crate::deps::Deps;
use crate::drive::{Caches, Halt, drive};

/// Resolves when the worker should stop claiming and let go.
pub type Stop = Shared<BoxFuture<'static, ()>>;

/// How long a worker rests after the store failed, so that a broken disk is not asked in a tight loop.
const STORE_REST: Duration = Duration::from_millis(500);

/// The least time between two looks for work that only time can bring.
const REST_MIN: Duration = Duration::from_millis(5);

/// Longest wait for the store to hear that a worker ends. If it does not, leases tell.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Where a worker lives, for `workers.list` and for those who take over what it leaves.
#[derive(Debug, Clone)]
pub struct Home {
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// The process for others on the machine, where that can be told.
    pub process: Option<ProcessMark>,
    /// Of the program.
    pub version: String,
}

/// A worker.
pub struct Worker {
    id: WorkerId,
    home: Home,
    deps: Deps,
    config: Arc<Config>,
    offers: Needs,
    caches: Caches,
    started_at: Timestamp,
}

impl Worker {
    /// A worker with a name of its own.
    #[must_use]
    pub fn new(id: WorkerId, home: Home, deps: Deps, config: Config) -> Self {
        let started_at = deps.clock.now();
        let mut offers = config.offers.clone();
        offers.insert(Need::machine(&home.host));
        Self {
            id,
            home,
            deps,
            offers,
            config: Arc::new(config),
            caches: Caches::default(),
            started_at,
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Claims and drives runs until `stop`, or until somebody asks the worker to drain; then lets go.
    ///
    /// Letting go means: no more claims, and every run goes to others before its next step. After a `stop` there is only so
    /// much time for the step under way (`worker.drain`); what is not done by then is dropped, and the next owner of the
    /// claim goes on from the log: a stop at any moment has the same end result (R35).
    ///
    /// Asking the store for work goes on beside the runs that are driven: none of them waits for a claim.
    ///
    /// In a box, because a future is compiled where it is polled: the engine would be compiled by the caller, with the
    /// caller's optimisation.
    pub fn run(self, stop: Stop) -> BoxFuture<'static, ()> {
        Box::pin(self.work_until(stop))
    }

    async fn work_until(self, stop: Stop) {
        let mut notices = self.deps.bus.watch(Topics::Work).fuse();
        let mut driven = Driven::new();
        let mut bells = Bells::new();
        let mut stop = stop.fuse();
        let mut early = Early::default();
        let mut duty = Duty::Working;
        let mut seen = self.say_alive(&bells, &mut duty).await;
        let mut wanted = true;
        let claiming = Fuse::terminated();
        let timer = Fuse::terminated();
        let patience = Fuse::terminated();
        pin_mut!(claiming, timer, patience);
        loop {
            let heartbeat = self.config.heartbeat.duration();
            if heartbeat <= self.deps.clock.monotonic().saturating_sub(seen) {
                seen = self.say_alive(&bells, &mut duty).await;
            }
            if duty == Duty::Draining {
                // Withdraws the offer: what was claimed for it at this moment is released at the end.
                claiming.set(Fuse::terminated());
                if bells.is_empty() {
                    break;
                }
                for bell in bells.values() {
                    bell.ask_to_leave();
                }
            }
            if wanted
                && duty == Duty::Working
                && claiming.is_terminated()
                && self.has_room(bells.len())
            {
                wanted = false;
                claiming.set(
                    self.ask_for_work(bells.len(), self.config.poll.duration())
                        .fuse(),
                );
            }
            if timer.is_terminated() {
                timer.set(self.deps.clock.sleep(self.config.poll.duration()).fuse());
            }
            select_biased! {
                () = stop => {
                    duty = Duty::Draining;
                    patience.set(self.deps.clock.sleep(self.config.drain.duration()).fuse());
                }
                () = patience => {
                    tracing::warn!(runs = bells.len(), "dropped what was under way; its runs go on elsewhere");
                    break;
                }
                (run, bell, result) = driven.select_next_some() => {
                    forget(&mut bells, run, &bell);
                    report(run, &result);
                    wanted = true;
                }
                offered = claiming => {
                    match offered {
                        Offered::Claims(claims) => {
                            for claim in claims {
                                let run = claim.run.id;
                                let bell = self.start(claim, &mut driven, &mut bells);
                                if early.was_for(run) { bell.ring() }
                            }
                            wanted = true;
                        }
                        Offered::Nothing(rest) => {
                            let rest = rest.min(self.config.poll.duration());
                            timer.set(self.deps.clock.sleep(rest).fuse());
                        }
                    }
                    early = Early::default();
                }
                notice = notices.select_next_some() => match notice {
                    Notice::Signal(run) => match bells.get(&run) {
                        Some(bell) => bell.ring(),
                        None => {
                            early.note(run);
                            wanted = true;
                        }
                    },
                    Notice::Lagged => {
                        for bell in bells.values() { bell.ring() }
                        wanted = true;
                    }
                    Notice::Work => wanted = true,
                    Notice::Order(worker) if worker == self.id => {
                        seen = self.say_alive(&bells, &mut duty).await;
                    }
                    Notice::Order(_) | Notice::Events(_) | Notice::Pulse(_) => {}
                },
                () = timer => wanted = true,
            }
        }
        drop(driven);
        self.say_goodbye().await;
    }

    /// Drives whatever can be driven now, then returns: for one-shot use and for tests.
    pub fn run_until_idle(self) -> BoxFuture<'static, ()> {
        Box::pin(self.work_until_idle())
    }

    async fn work_until_idle(self) {
        let mut driven = Driven::new();
        let mut bells = Bells::new();
        loop {
            while self.has_room(bells.len()) {
                match self.ask_for_work(bells.len(), Duration::ZERO).await {
                    Offered::Claims(claims) => {
                        for claim in claims {
                            self.start(claim, &mut driven, &mut bells);
                        }
                    }
                    Offered::Nothing(_) => break,
                }
            }
            let Some((run, bell, result)) = driven.next().await else {
                return;
            };
            forget(&mut bells, run, &bell);
            report(run, &result);
        }
    }

    fn has_room(&self, driving: usize) -> bool {
        driving < self.config.runs_at_once as usize
    }

    /// Asks the store for as many runs as there is room for. When there are none, says how long until one becomes claimable
    /// by time alone; a store that waited has nothing to say about that.
    async fn ask_for_work(&self, driving: usize, patience: Duration) -> Offered {
        let driving = u32::try_from(driving).unwrap_or(u32::MAX);
        let offer = Offer {
            worker: self.id,
            slots: self.config.runs_at_once.saturating_sub(driving),
            patience,
            offers: self.offers.clone(),
        };
        let asked = self.deps.clock.monotonic();
        match self
            .deps
            .store
            .claim(&offer, self.config.lease.duration())
            .await
        {
            Ok(claims) if !claims.is_empty() => Offered::Claims(claims),
            Ok(_) if patience <= self.deps.clock.monotonic().saturating_sub(asked) => {
                Offered::Nothing(REST_MIN)
            }
            Ok(_) => {
                let due = self.deps.store.next_due(&self.offers).await.ok().flatten();
                let rest = due.unwrap_or_else(|| self.config.poll.duration());
                Offered::Nothing(rest.max(REST_MIN))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim");
                Offered::Nothing(STORE_REST)
            }
        }
    }

    fn start(&self, claim: Claim, driven: &mut Driven, bells: &mut Bells) -> Arc<Bell> {
        let run = claim.run.id;
        let bell = Arc::new(Bell::default());
        // A lapsed lease may have brought one of our own runs back to us: the earlier claim of it ends by itself at its
        // next write, and its bell must not go with it.
        bells.insert(run, Arc::clone(&bell));
        let future = drive(
            self.deps.clone(),
            Arc::clone(&self.config),
            self.caches.clone(),
            Arc::clone(&bell),
            self.id,
            claim,
        );
        // A panic in one run harms nothing else (R34): the lease lapses and the log tells the next worker.
        let guarded = AssertUnwindSafe(future).catch_unwind();
        let own = Arc::clone(&bell);
        driven.push(Box::pin(async move {
            let result = guarded.await.unwrap_or_else(|_panic| {
                tracing::error!(run = %run, "a run panicked");
                Ok(())
            });
            (run, own, result)
        }));
        bell
    }

    /// Says that the worker lives, and hears what it is asked to do. Returns when that was.
    async fn say_alive(&self, bells: &Bells, duty: &mut Duty) -> Duration {
        let info = WorkerInfo {
            id: self.id,
            host: self.home.host.clone(),
            pid: self.home.pid,
            process: self.home.process.clone(),
            version: self.home.version.clone(),
            slots: self.config.runs_at_once,
            offers: self.offers.clone(),
            runs: bells.keys().copied().collect(),
            duty: *duty,
            started_at: self.started_at,
        };
        match self.deps.store.worker_seen(&info).await {
            Ok(Duty::Working) => {}
            Ok(Duty::Draining) => {
                if *duty == Duty::Working {
                    tracing::info!(worker = %self.id, runs = bells.len(), "asked to drain");
                }
                *duty = Duty::Draining;
            }
            Err(error) => tracing::debug!(%error, "could not say that the worker lives"),
        }
        let now = self.deps.clock.monotonic();
        self.caches.tidy(now);
        now
    }

    /// Leaves the register, and gives up whatever the worker still has.
    async fn say_goodbye(&self) {
        let gone = pin!(self.deps.store.worker_gone(self.id));
        let limit = self.deps.clock.sleep(FAREWELL_MAX);
        match select(gone, limit).await {
            Either::Left((Ok(0), _)) => {}
            Either::Left((Ok(runs), _)) => tracing::info!(runs, "gave up what was not done"),
            Either::Left((Err(error), _)) => {
                tracing::debug!(%error, "could not say that the worker ends");
            }
            Either::Right(_) => tracing::debug!("the store did not hear that the worker ends"),
        }
    }
}

/// What a request for work gave.
enum Offered {
    Claims(Vec<Claim>),
    Nothing(Duration),
}

/// Signals for runs whose claim may be on its way to us.
#[derive(Default)]
struct Early {
    runs: BTreeSet<RunId>,
    /// Some were not kept: it may have been anybody.
    overflown: bool,
}

impl Early {
    const RUNS_MAX: usize = 256;

    fn note(&mut self, run: RunId) {
        if self.runs.len() < Self::RUNS_MAX {
            self.runs.insert(run);
        } else {
            self.overflown = true;
        }
    }

    fn was_for(&self, run: RunId) -> bool {
        self.overflown || self.runs.contains(&run)
    }
}

type Driven = FuturesUnordered<BoxFuture<'static, (RunId, Arc<Bell>, Result<(), Halt>)>>;
type Bells = BTreeMap<RunId, Arc<Bell>>;

/// Removes the bell of a claim that ended, unless it is a newer claim's by now.
fn forget(bells: &mut Bells, run: RunId, bell: &Arc<Bell>) {
    if bells
        .get(&run)
        .is_some_and(|newest| Arc::ptr_eq(newest, bell))
    {
        bells.remove(&run);
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
