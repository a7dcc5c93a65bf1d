//! The store contract in memory, with faults and, for tests of the checkers, weaknesses.

mod audit;
mod devices;
mod faults;
mod index;
mod nodes;
mod policy;
mod runs;
mod threads;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adjutant_domain::agent::Agent;
use adjutant_domain::approval::{Approval, Grant};
use adjutant_domain::device::{Device, PairingRequest, SetupCode};
use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{
    AgentId, ApprovalId, CallId, DeviceId, GrantId, InvokeId, MemoryId, MessageId, OwnerId,
    PairingId, ReservationId, RunId, SessionId, SessionKey, ThreadId, WorkerId,
};
use adjutant_domain::memory::Memory;
use adjutant_domain::message::Message;
use adjutant_domain::money::Micros;
use adjutant_domain::node::Invoke;
use adjutant_domain::run::{Fence, LedgerLine, Logged, Run, RunStatus, Signal};
use adjutant_domain::session::{Session, Thread};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::ToolSpec;
use adjutant_ports::store::{AuditRecord, Spend, Stored};
use adjutant_ports::{Bus, Clock, Entropy};
use serde_json::Value;

pub use faults::Faults;

/// A guard that was taken out, to show that a checker notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weakness {
    /// Nothing is wrong.
    #[default]
    None,
    /// Writes do not compare the fence.
    NoFence,
    /// Reservations are not checked against caps.
    NoCaps,
}

#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    pub(crate) run: Run,
    pub(crate) status: RunStatus,
    pub(crate) fence: Fence,
    pub(crate) worker: Option<WorkerId>,
    /// On the monotonic clock, like the lease: a wall clock that jumps moves neither (R37).
    pub(crate) ready_at: Duration,
    pub(crate) lease_until: Option<Duration>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) log: Vec<Logged>,
    /// Under which claim each entry was written: for the checkers.
    pub(crate) written_by: Vec<Fence>,
    pub(crate) signals: Vec<(Signal, Option<Fence>)>,
}

impl RunRow {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status, RunStatus::Finished { .. })
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(self.status, RunStatus::Running | RunStatus::Parked { .. })
    }

    /// Place in the line: higher priority first, then who waits longer, then who was born first.
    pub(crate) fn place(&self) -> (std::cmp::Reverse<i32>, Duration, RunId) {
        let priority = std::cmp::Reverse(self.run.priority);
        (priority, self.ready_at, self.run.id)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LedgerRow {
    pub(crate) run: RunId,
    pub(crate) line: LedgerLine,
}

/// Whose, in which windows, how much.
pub(crate) type Reservation = (OwnerId, Vec<(String, String)>, Micros);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) weakness: Weakness,
    /// The monotonic clock at the last write.
    pub(crate) elapsed: Duration,
    pub(crate) runs: BTreeMap<RunId, RunRow>,
    pub(crate) names: BTreeMap<(OwnerId, String), (RunId, &'static str, String)>,
    pub(crate) threads: BTreeMap<ThreadId, Thread>,
    pub(crate) messages: BTreeMap<MessageId, Message>,
    pub(crate) by_thread: BTreeMap<ThreadId, Vec<MessageId>>,
    pub(crate) hidden: BTreeMap<ThreadId, u64>,
    pub(crate) sessions: BTreeMap<(OwnerId, SessionKey), Session>,
    pub(crate) agents: BTreeMap<(OwnerId, AgentId), Arc<Agent>>,
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) approvals: BTreeMap<ApprovalId, Approval>,
    pub(crate) grants: BTreeMap<GrantId, Grant>,
    pub(crate) reservations: BTreeMap<ReservationId, Reservation>,
    pub(crate) ledger: Vec<LedgerRow>,
    pub(crate) spends: BTreeMap<(OwnerId, String, String), Spend>,
    pub(crate) memories: BTreeMap<MemoryId, Memory>,
    pub(crate) events: Vec<Event>,
    pub(crate) audit: Vec<AuditRecord>,
    pub(crate) answers: BTreeMap<(OwnerId, String, String), (String, Value)>,
    pub(crate) buckets: BTreeMap<String, (u128, Timestamp)>,
    pub(crate) workers: BTreeMap<WorkerId, workers::WorkerRow>,
    pub(crate) devices: BTreeMap<(OwnerId, DeviceId), Device>,
    pub(crate) pairings: BTreeMap<PairingId, PairingRequest>,
    pub(crate) setup_codes: BTreeMap<(OwnerId, String), SetupCode>,
    pub(crate) invokes: BTreeMap<InvokeId, Invoke>,
    /// What went wrong with the contract itself, noticed at once.
    pub(crate) broken: BTreeSet<String>,
}

/// A handle to a store in memory. Handles share the data; each has its own faults.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    bus: Arc<dyn Bus>,
    faults: Option<Arc<Faults>>,
    /// Whether nobody with faults can reach it now.
    is_away: Arc<AtomicBool>,
}

/// What a checker looks at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Every run: what it is, where it stands, its log, and under which claim each entry was written.
    pub runs: Vec<(Run, RunStatus, Vec<Logged>, Vec<Fence>)>,
    /// Every message.
    pub messages: Vec<Message>,
    /// Every approval.
    pub approvals: Vec<Approval>,
    /// Settled calls by run.
    pub ledger: Vec<(RunId, LedgerLine)>,
    /// What is spent and held, by owner, scope word and key.
    pub spends: Vec<((OwnerId, String, String), Spend)>,
    /// How many reservations are open.
    pub open_reservations: usize,
    /// Every event.
    pub events: Vec<Event>,
    /// Breaches that the store noticed by itself.
    pub broken: Vec<String>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, bus: Arc<dyn Bus>) -> Self {
        Self {
            inner: Arc::default(),
            clock,
            entropy,
            bus,
            faults: None,
            is_away: Arc::default(),
        }
    }

    /// The same store with a guard taken out.
    #[must_use]
    pub fn weakened(self, weakness: Weakness) -> Self {
        self.lock().weakness = weakness;
        self
    }

    /// A handle with faults of its own.
    #[must_use]
    pub fn with_faults(&self, faults: Arc<Faults>) -> Self {
        Self {
            faults: Some(faults),
            ..self.clone()
        }
    }

    /// Takes the store away from every handle with faults, or brings it back.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// What a checker looks at.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            runs: inner
                .runs
                .values()
                .map(|r| {
                    (
                        r.run.clone(),
                        r.status.clone(),
                        r.log.clone(),
                        r.written_by.clone(),
                    )
                })
                .collect(),
            messages: inner.messages.values().cloned().collect(),
            approvals: inner.approvals.values().cloned().collect(),
            ledger: inner
                .ledger
                .iter()
                .map(|l| (l.run, l.line.clone()))
                .collect(),
            spends: inner.spends.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            open_reservations: inner.reservations.len(),
            events: inner.events.clone(),
            broken: inner.broken.iter().cloned().collect(),
        }
    }

    /// Whether the intent of this call is in its run's log: asked by scripted tools (invariant 2).
    #[must_use]
    pub fn intent_is_logged(&self, run: RunId, call: CallId) -> bool {
        self.lock().runs.get(&run).is_some_and(|row| {
            row.log.iter().any(|l| {
                matches!(&l.entry, adjutant_domain::run::Entry::CallStarted { call: started, .. } if *started == call)
            })
        })
    }

    /// Whether every run is over.
    #[must_use]
    pub fn all_over(&self) -> bool {
        self.lock().runs.values().all(RunRow::is_over)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.elapsed = self.clock.monotonic();
        inner
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(crate) fn entropy(&self) -> u128 {
        self.entropy.next_u128()
    }

    /// Appends to the feed; returns what to send once the lock is free.
    pub(crate) fn feed(
        inner: &mut Inner,
        owner: &OwnerId,
        at: Timestamp,
        run: Option<&Run>,
        session: Option<&SessionKey>,
        kind: EventKind,
    ) -> Event {
        let event = Event {
            cursor: inner.events.len() as u64 + 1,
            owner: owner.clone(),
            at,
            run: run.map(|r| r.id),
            run_name: run.map(Run::name),
            session: session.or(run.map(|r| &r.session_key)).cloned(),
            kind,
        };
        inner.events.push(event.clone());
        event
    }

    pub(crate) fn tell(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.bus.events(events.into());
        }
    }

    pub(crate) fn session_of(inner: &Inner, owner: &OwnerId, id: SessionId) -> Option<Session> {
        inner
            .sessions
            .values()
            .find(|s| s.owner == *owner && s.id == id)
            .cloned()
    }

    /// As a database that is stopped: nothing happens, and whoever asks hears so.
    pub(crate) fn reachable(&self) -> Stored<()> {
        if self.faults.is_some() && self.is_away.load(Ordering::SeqCst) {
            return Err(Faults::failed());
        }
        Ok(())
    }

    /// Passes what a durable write of this handle has to suffer before it happens.
    pub(crate) async fn before_write(&self) -> Stored<()> {
        self.reachable()?;
        match &self.faults {
            Some(faults) => faults.before_write(&*self.clock).await,
            None => Ok(()),
        }
    }

    /// … and after it happened.
    pub(crate) async fn after_write(&self) -> Stored<()> {
        match &self.faults {
            Some(faults) => faults.after_write().await,
            None => Ok(()),
        }
    }
}
