//! Runs: the queue and the logs.

use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::event::Event;
use adjutant_domain::id::{MessageId, OwnerId, RunId, SessionId};
use adjutant_domain::message::Message;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{
    ClaimedFrom, Entry, Fence, LedgerLine, Logged, Outcome, Row, Run, RunStatus, Seq, Signal, Wake,
    project,
};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{
    Accepted, Append, Appended, Cap, CapScope, Claim, Intake, Offer, RunStore, StoreError, Stored,
};

use super::{Inner, LedgerRow, MemoryStore, RunRow, Weakness};

const QUEUED_PER_SESSION_MAX: u64 = 32;
const QUEUED_PER_OWNER_MAX: u64 = 1_024;

/// The windows a run's money counts against.
fn windows(run: &Run, day: &str) -> Vec<(String, String)> {
    [
        CapScope::Run { run: run.id },
        CapScope::Session {
            session: run.session,
        },
        CapScope::Day {
            day: day.to_owned(),
        },
    ]
    .iter()
    .map(|scope| (scope.word().to_owned(), scope.key()))
    .collect()
}

impl Inner {
    pub(crate) fn write_entry(
        &mut self,
        id: RunId,
        fence: Fence,
        at: Timestamp,
        entry: Entry,
    ) -> Option<(Logged, Vec<Event>)> {
        let row = self.runs.get_mut(&id)?;
        let logged = Logged {
            seq: Seq(row.log.len() as u64 + 1),
            at,
            entry,
        };
        row.log.push(logged.clone());
        row.written_by.push(fence);
        let run = row.run.clone();
        let mut events = Vec::new();
        for consequence in project(&run, &logged) {
            if let Some(event) = self.write_row(&run, at, consequence) {
                events.push(event);
            }
        }
        Some((logged, events))
    }

    fn write_row(&mut self, run: &Run, at: Timestamp, row: Row) -> Option<Event> {
        match row {
            Row::Status(status) => self.set_status(run.id, at, status),
            Row::Message(message) => self.add_message(message, true),
            Row::Hide { through } => {
                self.hidden.insert(run.thread, through);
            }
            Row::Reserve(budget) => {
                let windows = windows(run, &budget.day);
                for (scope, key) in &windows {
                    let spend = self
                        .spends
                        .entry((run.owner.clone(), scope.clone(), key.clone()))
                        .or_default();
                    spend.reserved_micros += budget.reserve;
                }
                self.reservations.insert(
                    budget.reservation,
                    (run.owner.clone(), windows, budget.reserve),
                );
            }
            Row::Ledger(line) => self.settle(run, line),
            Row::Approval(approval) => {
                self.approvals.insert(approval.id, *approval);
            }
            Row::ApprovalResolved {
                id,
                state,
                choice,
                by,
            } => {
                if let Some(approval) = self.approvals.get_mut(&id) {
                    approval.state = state;
                    approval.choice = Some(choice);
                    approval.answered_by = Some(by);
                }
            }
            Row::ApprovalsLapse => {
                for approval in self.approvals.values_mut().filter(|a| a.run == run.id) {
                    if approval.state == adjutant_domain::approval::ApprovalState::Open {
                        approval.state = adjutant_domain::approval::ApprovalState::Cancelled;
                    }
                }
            }
            Row::Event(kind) => {
                return Some(MemoryStore::feed(
                    self,
                    &run.owner,
                    at,
                    Some(run),
                    None,
                    kind,
                ));
            }
        }
        None
    }

    fn set_status(&mut self, id: RunId, at: Timestamp, status: RunStatus) {
        let elapsed = self.elapsed;
        let mut over = false;
        let Some(row) = self.runs.get_mut(&id) else {
            return;
        };
        match &status {
            RunStatus::Queued | RunStatus::Running => {}
            RunStatus::Parked { until } => {
                let waiting = until.meant_for().is_none()
                    && row.signals.iter().any(|(_, delivered)| delivered.is_none());
                row.ready_at = if waiting {
                    elapsed
                } else {
                    elapsed.saturating_add(until.at().since(at))
                };
                row.lease_until = None;
                row.worker = None;
            }
            RunStatus::Finished { .. } => {
                over = true;
                row.finished_at = Some(at);
                row.lease_until = None;
                row.worker = None;
                row.signals.clear();
            }
        }
        row.status = status;
        let session = row.run.session;
        if over {
            self.release(id);
        }
        let active = self
            .runs
            .values()
            .filter(|r| r.run.session == session && r.is_active())
            .count();
        if 1 < active {
            self.broken
                .insert(format!("{active} runs of {session} are active at once"));
        }
    }

    /// A run that is over holds no money.
    fn release(&mut self, run: RunId) {
        let own = ("run".to_owned(), run.to_string());
        let held: Vec<_> = self
            .reservations
            .extract_if(.., |_, (_, windows, _)| windows.contains(&own))
            .collect();
        for (_, (owner, windows, amount)) in held {
            for (scope, key) in windows {
                let spend = self.spends.entry((owner.clone(), scope, key)).or_default();
                spend.reserved_micros = spend.reserved_micros.less(amount);
            }
        }
    }

    fn settle(&mut self, run: &Run, line: LedgerLine) {
        let held = self
            .reservations
            .remove(&line.reservation)
            .map_or(Micros::ZERO, |(_, _, held)| held);
        for (scope, key) in windows(run, &line.day) {
            let spend = self
                .spends
                .entry((run.owner.clone(), scope, key))
                .or_default();
            spend.reserved_micros = spend.reserved_micros.less(held);
            spend.calls += 1;
            spend.usage = spend.usage.plus(&line.usage);
            match line.cost.micros() {
                Some(micros) => spend.used_micros += micros,
                None => spend.unpriced += 1,
            }
        }
        self.ledger.push(LedgerRow { run: run.id, line });
    }

    fn check_caps(&self, owner: &OwnerId, caps: &[Cap], entries: &[Entry]) -> Stored<()> {
        for entry in entries {
            let Entry::ModelAsked { budget, .. } = entry else {
                continue;
            };
            for cap in caps {
                let key = (owner.clone(), cap.scope.word().to_owned(), cap.scope.key());
                let spend = self.spends.get(&key).copied().unwrap_or_default();
                let held = spend.used_micros + spend.reserved_micros;
                if cap.limit < held + budget.reserve {
                    return Err(StoreError::Budget {
                        scope: cap.scope.word().to_owned(),
                        limit: cap.limit,
                        left: cap.limit.less(held),
                    });
                }
            }
        }
        Ok(())
    }

    /// Ends a run that nobody has begun: it must not wait for its seat to be stopped (S26).
    fn stop_queued(&mut self, id: RunId, at: Timestamp, by: String) -> Vec<Event> {
        let input = match self
            .runs
            .get(&id)
            .and_then(|r| r.log.first())
            .map(|l| &l.entry)
        {
            Some(Entry::Accepted { input, .. }) => input.clone(),
            _ => Vec::new(),
        };
        for message in input {
            self.place_message(message);
        }
        let ended = Entry::Finished {
            outcome: Outcome::Cancelled { by: by.clone() },
            usage: Usage::default(),
            cost: Cost::Priced {
                micros: Micros::ZERO,
            },
        };
        [Entry::CancelAsked { by }, ended]
            .into_iter()
            .filter_map(|entry| self.write_entry(id, Fence(0), at, entry))
            .flat_map(|(_, events)| events)
            .collect()
    }

    /// Whether the queues of the session and of the owner are below their bounds.
    fn has_room(&self, run: &Run) -> Stored<()> {
        let queued = |wanted: &dyn Fn(&RunRow) -> bool| {
            self.runs
                .values()
                .filter(|r| matches!(r.status, RunStatus::Queued) && wanted(r))
                .count() as u64
        };
        if QUEUED_PER_SESSION_MAX <= queued(&|r| r.run.session == run.session) {
            return Err(StoreError::Full {
                what: "session queue",
                max: QUEUED_PER_SESSION_MAX,
            });
        }
        if QUEUED_PER_OWNER_MAX <= queued(&|r| r.run.owner == run.owner) {
            return Err(StoreError::Full {
                what: "owner queue",
                max: QUEUED_PER_OWNER_MAX,
            });
        }
        Ok(())
    }

    fn steer_target(&self, session: SessionId) -> Option<RunId> {
        self.runs
            .values()
            .find(|r| {
                r.run.session == session
                    && matches!(
                        &r.status,
                        RunStatus::Parked {
                            until: Wake::Owner { .. }
                        }
                    )
            })
            .map(|r| r.run.id)
    }

    /// Signals not yet given to this claim.
    fn fresh_signals(row: &mut RunRow, fence: Fence) -> Vec<Signal> {
        let mut out = Vec::new();
        for (signal, delivered) in &mut row.signals {
            if *delivered != Some(fence) {
                *delivered = Some(fence);
                out.push(signal.clone());
            }
        }
        out
    }

    /// Forgets signals whose entry is now in the log.
    fn consume_signals(row: &mut RunRow, entry: &Entry) {
        row.signals.retain(|(signal, _)| match (signal, entry) {
            (Signal::Cancel { .. }, Entry::CancelAsked { .. }) => false,
            (Signal::Answer { approval, .. }, Entry::ApprovalResolved { approval: done, .. }) => {
                approval != done
            }
            (Signal::Steer { message, .. }, Entry::Steered { message: done, .. }) => {
                message != done
            }
            (
                Signal::Move { .. },
                Entry::Parked {
                    until: Wake::Handover { to: Some(_), .. },
                },
            ) => false,
            _ => true,
        });
    }

    fn head(&self, now: Duration, offer: &Offer) -> Option<RunId> {
        let due = |r: &&RunRow| match &r.status {
            RunStatus::Queued => r.ready_at <= now,
            RunStatus::Parked { until } => {
                r.ready_at <= now || until.meant_for() == Some(offer.worker)
            }
            RunStatus::Running => r.lease_until.is_none_or(|until| until <= now),
            RunStatus::Finished { .. } => false,
        };
        let mut candidates: Vec<&RunRow> = self.runs.values().filter(due).collect();
        candidates.retain(|r| r.run.needs.met_by(&offer.offers));
        // A session keeps its order: nobody overtakes a run that needs another worker.
        candidates.retain(|r| {
            !matches!(r.status, RunStatus::Queued)
                || !self.runs.values().any(|o| {
                    o.run.session == r.run.session
                        && matches!(o.status, RunStatus::Queued)
                        && !o.run.needs.met_by(&offer.offers)
                        && o.place() < r.place()
                })
        });
        candidates.retain(|r| {
            // The seat is free, or it is this run's own.
            !self
                .runs
                .values()
                .any(|o| o.run.session == r.run.session && o.run.id != r.run.id && o.is_active())
        });
        candidates.sort_by_key(|r| r.place());
        // Within a session the older of two queued runs goes first.
        candidates.first().map(|r| r.run.id)
    }
}

impl MemoryStore {
    fn claim_one(&self, offer: &Offer, lease: Duration) -> Option<Claim> {
        let now = self.now();
        let mut inner = self.lock();
        let elapsed = inner.elapsed;
        let (id, worker) = (inner.head(elapsed, offer)?, offer.worker);
        let from;
        let (fence, first_input) = {
            let row = inner.runs.get_mut(&id)?;
            from = ClaimedFrom::status(row.status.word());
            row.fence = Fence(row.fence.0 + 1);
            row.worker = Some(worker);
            row.lease_until = Some(elapsed.saturating_add(lease));
            row.started_at.get_or_insert(now);
            let input = match row.log.first().map(|l| &l.entry) {
                Some(Entry::Accepted { input, .. }) if row.fence.0 == 1 => input.clone(),
                _ => Vec::new(),
            };
            (row.fence, input)
        };
        for message in first_input {
            inner.place_message(message);
        }
        let entry = Entry::Claimed {
            worker,
            fence,
            from,
        };
        let events = inner
            .write_entry(id, fence, now, entry)
            .map(|(_, e)| e)
            .unwrap_or_default();
        let row = inner.runs.get_mut(&id)?;
        let signals = Inner::fresh_signals(row, fence);
        let claim = Claim {
            run: row.run.clone(),
            fence,
            log: row.log.clone(),
            signals,
        };
        drop(inner);
        self.tell(events);
        Some(claim)
    }
}

#[async_trait]
impl RunStore for MemoryStore {
    async fn accept(&self, intake: Intake) -> Stored<Accepted> {
        let now = self.now();
        let elapsed = self.monotonic();
        let mut inner = self.lock();
        let owner = intake.run.owner.clone();
        if let Some(key) = &intake.run.client_key
            && let Some((run, method, digest)) =
                inner.names.get(&(owner.clone(), key.as_str().to_owned()))
        {
            return if *method == intake.method && *digest == intake.digest {
                Ok(Accepted::Repeat { run: *run })
            } else {
                Err(StoreError::KeyReused)
            };
        }
        inner.has_room(&intake.run)?;
        let steered = intake
            .message
            .as_ref()
            .and_then(|_| inner.steer_target(intake.run.session));
        let id = steered.unwrap_or(intake.run.id);
        if let Some(key) = &intake.run.client_key {
            inner.names.insert(
                (owner.clone(), key.as_str().to_owned()),
                (id, intake.method, intake.digest.clone()),
            );
        }
        if let (Some(target), Some(mut message)) = (steered, intake.message.clone()) {
            message.run = Some(target);
            let signal = Signal::Steer {
                message: message.id,
                text: message.text(),
            };
            inner.add_message(message, false);
            if let Some(row) = inner.runs.get_mut(&target) {
                row.signals.push((signal, None));
                row.ready_at = elapsed;
            }
            drop(inner);
            self.bus.signal(target);
            self.bus.work();
            return Ok(Accepted::Steered { run: target });
        }
        let input: Vec<MessageId> = intake.message.iter().map(|m| m.id).collect();
        if let Some(message) = intake.message {
            let message = Message {
                run: Some(id),
                seq: None,
                ..message
            };
            inner.add_message(message, false);
        }
        inner.touch(intake.run.thread, now);
        inner.runs.insert(
            id,
            RunRow {
                run: intake.run,
                status: RunStatus::Queued,
                fence: Fence(0),
                worker: None,
                ready_at: elapsed,
                lease_until: None,
                accepted_at: now,
                started_at: None,
                finished_at: None,
                log: Vec::new(),
                written_by: Vec::new(),
                signals: Vec::new(),
            },
        );
        let entry = Entry::Accepted {
            input,
            limits: Box::new(intake.limits),
            work: intake.work,
        };
        let events = inner
            .write_entry(id, Fence(0), now, entry)
            .map(|(_, e)| e)
            .unwrap_or_default();
        drop(inner);
        self.tell(events);
        self.bus.work();
        Ok(Accepted::New { run: id })
    }

    async fn claim(&self, offer: &Offer, lease: Duration) -> Stored<Vec<Claim>> {
        self.before_write().await?;
        let slots = offer.slots.max(1) as usize;
        let claims = std::iter::from_fn(|| self.claim_one(offer, lease));
        let claims: Vec<Claim> = claims.take(slots).collect();
        if !claims.is_empty() {
            self.after_write().await?;
        }
        Ok(claims)
    }

    async fn extend(&self, run: RunId, fence: Fence, lease: Duration) -> Stored<Vec<Signal>> {
        self.reachable()?;
        let mut inner = self.lock();
        let now = inner.elapsed;
        let weak = inner.weakness == Weakness::NoFence;
        let row = inner
            .runs
            .get_mut(&run)
            .ok_or(StoreError::NotFound { what: "run" })?;
        let is_held = row.fence == fence && matches!(row.status, RunStatus::Running);
        if !is_held && !weak {
            return Err(StoreError::Fenced);
        }
        row.lease_until = Some(now.saturating_add(lease));
        Ok(Inner::fresh_signals(row, fence))
    }

    async fn append(&self, append: Append<'_>) -> Stored<Appended> {
        self.before_write().await?;
        let now = self.now();
        let (appended, events) = {
            let mut inner = self.lock();
            let weak = inner.weakness;
            let row = inner
                .runs
                .get(&append.run.id)
                .ok_or(StoreError::NotFound { what: "run" })?;
            let holds = row.fence == append.fence
                && row.run.owner == append.run.owner
                && matches!(row.status, RunStatus::Running);
            if !holds && weak != Weakness::NoFence {
                return Err(StoreError::Fenced);
            }
            if weak != Weakness::NoCaps {
                inner.check_caps(&append.run.owner, &append.caps, &append.entries)?;
            }
            let mut logged = Vec::new();
            let mut events = Vec::new();
            for entry in append.entries {
                if let Some(row) = inner.runs.get_mut(&append.run.id) {
                    Inner::consume_signals(row, &entry);
                }
                if let Entry::Steered { message, .. } = &entry {
                    inner.place_message(*message);
                }
                if let Some((one, facts)) =
                    inner.write_entry(append.run.id, append.fence, now, entry)
                {
                    logged.push(one);
                    events.extend(facts);
                }
            }
            for grant in append.grants {
                inner.grants.insert(grant.id, grant);
            }
            let signals = inner
                .runs
                .get_mut(&append.run.id)
                .filter(|row| !row.is_over())
                .map(|row| Inner::fresh_signals(row, append.fence))
                .unwrap_or_default();
            (Appended { logged, signals }, events)
        };
        let over = events.iter().any(|e| {
            matches!(
                e.kind,
                adjutant_domain::EventKind::RunFinished { .. }
                    | adjutant_domain::EventKind::RunParked { .. }
            )
        });
        self.tell(events);
        if over {
            // The seat may be free for the next run of the session.
            self.bus.work();
        }
        self.after_write().await?;
        Ok(appended)
    }

    async fn log(&self, owner: &OwnerId, run: RunId, from: Seq) -> Stored<Vec<Logged>> {
        let inner = self.lock();
        let row = inner
            .runs
            .get(&run)
            .filter(|r| r.run.owner == *owner)
            .ok_or(StoreError::NotFound { what: "run" })?;
        Ok(row.log.iter().filter(|l| from <= l.seq).cloned().collect())
    }

    async fn signal(&self, owner: &OwnerId, run: RunId, signal: Signal) -> Stored<bool> {
        {
            let mut inner = self.lock();
            let now = inner.elapsed;
            let row = inner
                .runs
                .get_mut(&run)
                .filter(|r| r.run.owner == *owner)
                .ok_or(StoreError::NotFound { what: "run" })?;
            if row.is_over() {
                return Ok(false);
            }
            if let (RunStatus::Queued, Signal::Cancel { by }) = (&row.status, &signal) {
                let by = by.clone();
                let events = inner.stop_queued(run, self.clock.now(), by);
                drop(inner);
                self.tell(events);
                return Ok(true);
            }
            let words = match &signal {
                Signal::Steer { message, text } => Some(adjutant_domain::message::Message {
                    id: *message,
                    thread: row.run.thread,
                    seq: None,
                    role: adjutant_domain::message::Role::User,
                    parts: adjutant_ports::store::text_parts(text),
                    run: Some(run),
                    label: adjutant_domain::label::Label::of(adjutant_domain::label::Origin::Owner),
                    at: self.clock.now(),
                }),
                _ => None,
            };
            // Where the next step is to be says nothing about when.
            let wakes = !matches!(signal, Signal::Move { .. });
            row.signals.push((signal, None));
            if wakes && let RunStatus::Parked { .. } = row.status {
                row.ready_at = now;
            }
            // Words must not live in a signal only (invariant 15).
            if let Some(words) = words.filter(|m| !inner.messages.contains_key(&m.id)) {
                inner.add_message(words, false);
            }
        }
        self.bus.signal(run);
        self.bus.work();
        Ok(true)
    }
}
