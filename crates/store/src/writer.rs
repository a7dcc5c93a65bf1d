//! The one thread that writes.
//!
//! It takes everything that waits, runs each job inside a savepoint of one transaction, commits once, and only then answers
//! all of them: one flush serves everybody who came while the last one was under way (group commit).
//!
//! *Durable* jobs commit with `synchronous = full`: the answer follows the flush (R1). A batch that has only relaxed jobs
//! (claims, extensions, signs of life, buckets) commits without one. That loses nothing that matters. A process that dies
//! loses nothing at all, since the pages are with the kernel. When the power fails, every process dies with it: a claim that is
//! lost had no effect yet, because effects follow a durable append, and an append to the same log flushes everything in front
//! of it, the claim included.
//!
//! A worker's request for work may *wait*: it stays here, and the batch that brings work answers it in the same transaction.
//! So a message and the claim of its run are one commit when a worker is free. When such a request took all there was and the
//! worker asks again, nobody looks until somebody brings work, or a moment has passed: the look would only be in the way of
//! the run that has just begun.
//!
//! A commit or statement that fails on the disk ends that connection: everyone in the batch is told, nothing is
//! acknowledged, and a new connection is opened before the next batch (R18), which first moves what the log holds into the
//! database. So service resumes by itself when there is space again (R19, R20).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use adjutant_ports::bus::Bus;
use adjutant_ports::clock::Entropy;
use adjutant_ports::store::Stored;

use crate::error::{Done, Fault, Outage};
use crate::file;
use crate::health::Health;
use crate::job::{Found, Job, Patient, Ran, Task, gone, shared};
use crate::leases::Leases;
use crate::sql::Sql;
use crate::steady::Steady;
use crate::tx::{Durability, Said, Tx};

/// Writes that may wait.
const QUEUE_MAX: usize = 1_024;
/// Writes in one transaction.
const BATCH_MAX: usize = 128;
/// Longest wait for work.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Quiet after which the writer tidies up.
const IDLE: Duration = Duration::from_millis(500);
/// How long a request for work waits for somebody who brings some, when there was none a moment ago.
const LATER: Duration = Duration::from_millis(5);

/// What the writer does when nobody waits.
pub(crate) trait Chores: Send {
    /// Runs a bounded piece of work inside a relaxed transaction; `true`: there is more.
    fn tidy(&mut self, tx: &mut Tx<'_>) -> Done<bool>;
}

/// The door to the writing thread, which ends when this is dropped.
pub(crate) struct Writer {
    queue: Option<Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    health: Arc<Health>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the thread is made with.
pub(crate) struct Parts {
    pub(crate) path: PathBuf,
    pub(crate) db: Connection,
    pub(crate) steady: Arc<Steady>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) cursor: u64,
    pub(crate) chores: Box<dyn Chores>,
}

impl Writer {
    pub(crate) fn start(parts: Parts) -> std::io::Result<Self> {
        let (queue, jobs) = channel();
        let health = Arc::new(Health::default());
        let mut thread = Thread {
            path: parts.path,
            db: Some(parts.db),
            mode: Durability::Flushed,
            steady: parts.steady,
            entropy: parts.entropy,
            bus: parts.bus,
            leases: parts.leases,
            cursor: parts.cursor,
            chores: parts.chores,
            // Who knows what the process before this one removed last.
            scrub: true,
            health: Arc::clone(&health),
            rescue: false,
            waiting: Vec::new(),
            settled: false,
        };
        let thread = std::thread::Builder::new()
            .name("store-write".to_owned())
            .spawn(move || thread.serve(&jobs))?;
        Ok(Self {
            queue: Some(queue),
            room: Arc::new(Semaphore::new(QUEUE_MAX)),
            health,
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction; the answer comes after the commit. Dropping the future does not stop the work.
    pub(crate) async fn write<T, F>(&self, durability: Durability, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Done<T> + Send + 'static,
    {
        let permit = self.permit().await?;
        let (task, answer) = Task::new(durability, work, permit);
        self.send(Box::new(task))?;
        answer.await.map_err(|_canceled| gone())?
    }

    /// Runs `work` in a relaxed transaction, and again with every transaction that brings work, until it finds something or
    /// `patience` is over. Dropping the future withdraws it.
    pub(crate) async fn wait_for<T, F>(&self, patience: Duration, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Done<Found<T>> + Send + 'static,
    {
        let permit = self.permit().await?;
        let deadline = Instant::now() + patience.min(PATIENCE_MAX);
        let (job, answer) = Patient::new(deadline, work, permit);
        self.send(Box::new(job))?;
        answer.await.map_err(|_canceled| gone())?
    }

    /// Whether writes get through.
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    async fn permit(&self) -> Stored<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room);
        room.acquire_owned().await.map_err(|_closed| gone())
    }

    fn send(&self, job: Box<dyn Job>) -> Stored<()> {
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(job).map_err(|_closed| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the writer panicked");
        }
    }
}

struct Thread {
    path: PathBuf,
    db: Option<Connection>,
    mode: Durability,
    steady: Arc<Steady>,
    entropy: Arc<dyn Entropy>,
    bus: Arc<dyn Bus>,
    leases: Arc<Leases>,
    cursor: u64,
    chores: Box<dyn Chores>,
    /// Whether the WAL holds words that were removed.
    scrub: bool,
    health: Arc<Health>,
    /// Whether the disk refused a transaction, and what the log holds was not moved since.
    rescue: bool,
    /// Jobs that found nothing yet, oldest first, and when they look again by themselves.
    waiting: Vec<(Instant, Box<dyn Job>)>,
    /// Whether the last look for work left none, and nobody brought any since.
    settled: bool,
}

impl Thread {
    fn serve(&mut self, jobs: &Receiver<Box<dyn Job>>) {
        let mut tidy = true;
        loop {
            // Nothing to tidy and nobody waits: no wake-ups until somebody writes.
            let look = self.waiting.iter().map(|(at, _)| *at).min();
            let look = look.map(|at| at.saturating_duration_since(Instant::now()));
            let idle = tidy.then_some(IDLE);
            let first = match look.into_iter().chain(idle).min() {
                Some(patience) => jobs.recv_timeout(patience),
                None => jobs
                    .recv()
                    .map_err(|_closed| RecvTimeoutError::Disconnected),
            };
            let first = match first {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    if look.is_some_and(|look| look <= IDLE || !tidy) {
                        self.commit(Vec::new());
                    } else {
                        tidy = self.tidy();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            self.commit(batch);
            tidy = true;
        }
        // What is only written down in quiet moments must not wait for the next start.
        self.tidy();
        if let Some(db) = self.db.take()
            && !file::empty_wal(&db)
        {
            tracing::debug!("the WAL stays until the next start");
        }
    }

    /// One transaction for everybody. An empty batch only looks after those who wait.
    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        batch.retain(|job| !job.is_withdrawn());
        self.waiting.retain(|(_, job)| !job.is_withdrawn());
        if self.settled && batch.iter().all(|job| job.may_wait_until().is_some()) {
            for job in batch.drain(..) {
                self.wait(job);
            }
        }
        let now = Instant::now();
        if batch.is_empty() && self.waiting.iter().all(|(at, _)| now < *at) {
            return;
        }
        let flushed = batch
            .iter()
            .any(|job| job.durability() == Durability::Flushed);
        let durability = if flushed {
            Durability::Flushed
        } else {
            Durability::Relaxed
        };
        let mut fed = Vec::new();
        let done = self.transaction(durability, |thread, db| {
            thread.run(db, &mut batch, &mut fed)
        });
        let outage = match &done {
            Ok(_) => None,
            Err(outage) => {
                let n_writes = batch.len();
                if self.health.is_news(outage) {
                    tracing::error!(?outage, n_writes, "the store could not commit");
                } else {
                    tracing::debug!(?outage, n_writes, "the store could not commit");
                }
                Some(outage.clone())
            }
        };
        let mut said = done.unwrap_or_default();
        if outage.is_some() {
            self.settled = false;
            // Whose time has come tries again in a moment, not at once and again and again.
            let rest = Instant::now() + IDLE;
            for (at, _) in &mut self.waiting {
                *at = rest.max(*at);
            }
        }
        // Before anybody hears of it and asks again.
        self.leases.apply(std::mem::take(&mut said.leases));
        for job in batch.into_iter().chain(fed) {
            job.answer(outage.clone());
        }
        self.scrub |= said.scrub;
        self.tell(said);
    }

    fn tell(&self, said: Said) {
        for run in said.signalled {
            self.bus.signal(run);
        }
        for worker in said.orders {
            self.bus.order(worker);
        }
        if said.work {
            self.bus.work();
        }
        if !said.events.is_empty() {
            self.bus.events(said.events.into());
        }
    }

    /// Runs `work` between `begin` and `commit`. On any failure the connection is given up.
    fn transaction<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Self, &Connection) -> Result<T, Outage>,
    ) -> Result<T, Outage> {
        self.health.begin();
        let done = self.try_transaction(durability, work);
        let outage = done.as_ref().err();
        self.rescue |= outage.is_some_and(Outage::is_of_the_disk);
        self.health.end(outage);
        done
    }

    fn try_transaction<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Self, &Connection) -> Result<T, Outage>,
    ) -> Result<T, Outage> {
        let outage = |error: rusqlite::Error| Outage::of(&error);
        let fault = |fault: Fault| shared(&fault.into_store());
        let db = match self.db.take() {
            Some(db) => db,
            None => {
                self.mode = Durability::Flushed;
                let db = file::open_writer(&self.path).map_err(outage)?;
                if self.rescue {
                    file::rescue(&db)?;
                    self.rescue = false;
                }
                db
            }
        };
        if self.mode != durability {
            let level = if durability == Durability::Flushed {
                "full"
            } else {
                "normal"
            };
            db.pragma_update(None, "synchronous", level)
                .map_err(outage)?;
            self.mode = durability;
        }
        db.exec("begin immediate", []).map_err(fault)?;
        let value = work(self, &db)?;
        db.exec("commit", []).map_err(fault)?;
        // Only a connection that has committed is used again; every `?` above drops it.
        self.db = Some(db);
        Ok(value)
    }

    /// Runs the batch, then those who wait if there is work or their time has come. Whoever has an answer ends in `batch` or
    /// `fed`; whoever has to wait ends in `waiting`.
    fn run(
        &mut self,
        db: &Connection,
        batch: &mut Vec<Box<dyn Job>>,
        fed: &mut Vec<Box<dyn Job>>,
    ) -> Result<Said, Outage> {
        let mut said = Said::default();
        let mut jobs = std::mem::take(batch).into_iter();
        while let Some(mut job) = jobs.next() {
            if self.settled && job.may_wait_until().is_some() {
                self.wait(job);
                continue;
            }
            match self.run_job(db, &mut *job, &mut said) {
                Ok(None) => batch.push(job),
                Ok(Some(at)) => self.waiting.push((at, job)),
                Err(outage) => {
                    batch.push(job);
                    batch.extend(jobs);
                    return Err(outage);
                }
            }
        }
        let now = Instant::now();
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        while let Some((at, mut job)) = waiting.next() {
            if job.is_withdrawn() {
                continue;
            }
            if !said.work && now < at {
                self.waiting.push((at, job));
                continue;
            }
            match self.run_job(db, &mut *job, &mut said) {
                Ok(None) => fed.push(job),
                Ok(Some(at)) => self.waiting.push((at, job)),
                Err(outage) => {
                    fed.push(job);
                    self.waiting.extend(waiting);
                    return Err(outage);
                }
            }
        }
        Ok(said)
    }

    /// Lets a request for work wait, since there is none.
    fn wait(&mut self, job: Box<dyn Job>) {
        let later = Instant::now() + LATER;
        let at = job.may_wait_until().map_or(later, |it| it.min(later));
        self.waiting.push((at, job));
    }

    /// Runs one job in a savepoint; some: it waits, and looks again at this moment.
    fn run_job(
        &mut self,
        db: &Connection,
        job: &mut dyn Job,
        said: &mut Said,
    ) -> Result<Option<Instant>, Outage> {
        let outage = |fault: Fault| shared(&fault.into_store());
        db.exec("savepoint job", []).map_err(outage)?;
        let mut tx = self.tx(db);
        let before = tx.cursor();
        let ran = job.run(&mut tx);
        let own = std::mem::take(&mut tx.said);
        self.settled = own.settled || (self.settled && !own.work);
        let waits = match ran {
            Ran::Kept => {
                said.events.extend(own.events);
                said.signalled.extend(own.signalled);
                said.orders.extend(own.orders);
                said.leases.extend(own.leases);
                said.work |= own.work;
                said.scrub |= own.scrub;
                None
            }
            Ran::Undone => {
                self.cursor = before;
                db.exec("rollback to job", []).map_err(outage)?;
                None
            }
            Ran::Waits(at) => Some(at),
            Ran::Broken(outage) => return Err(outage),
        };
        db.exec("release job", []).map_err(outage)?;
        Ok(waits)
    }

    fn tx<'a>(&'a mut self, db: &'a Connection) -> Tx<'a> {
        Tx {
            db,
            now: self.steady.wall(),
            steady: &self.steady,
            entropy: &*self.entropy,
            leases: &self.leases,
            cursor: &mut self.cursor,
            said: Said::default(),
        }
    }

    /// A bounded piece of housekeeping; `true`: call again after the next quiet moment.
    fn tidy(&mut self) -> bool {
        let done = self.transaction(Durability::Relaxed, |thread, db| {
            let mut chores = std::mem::replace(&mut thread.chores, Box::new(NoChores));
            let more = chores
                .tidy(&mut thread.tx(db))
                .map_err(|fault| shared(&fault.into_store()));
            thread.chores = chores;
            more
        });
        match done {
            Ok(true) => true,
            Ok(false) => {
                // A WAL that stays as long as it is makes the next commits cheaper, so it is emptied for a reason only.
                if self.scrub {
                    self.scrub = !self.db.as_ref().is_some_and(file::empty_wal);
                }
                self.scrub
            }
            Err(outage) => {
                tracing::warn!(?outage, "housekeeping failed; the next write tries again");
                false
            }
        }
    }
}

struct NoChores;

impl Chores for NoChores {
    fn tidy(&mut self, _: &mut Tx<'_>) -> Done<bool> {
        Ok(false)
    }
}

/// The highest cursor that may have been given out, read once at the start.
///
/// Events of relaxed commits may have been seen and then lost with the power; the jump keeps their cursors from being
/// given out again.
pub(crate) fn first_cursor(db: &Connection) -> Done<u64> {
    const JUMP: u64 = 1_000;
    let highest: u64 = db
        .one(
            "select max(f.cursor, coalesce((select max(cursor) from events), 0)) from feed f where f.id = 1",
            [],
            |row| row.get(0),
        )?
        .unwrap_or_default();
    Ok(if highest == 0 { 0 } else { highest + JUMP })
}
