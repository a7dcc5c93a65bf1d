//! One of the stores that are compared, and what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use adjutant_domain::approval::{Approval, ApprovalState, Choice};
use adjutant_domain::code::Coded;
use adjutant_domain::id::{
    AgentId, ApprovalId, CallId, MemoryId, MessageId, Need, OwnerId, ReservationId, RunId,
    SessionKey, WorkerId,
};
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{AskedBudget, Entry, Signal, StopReason, Wake};
use adjutant_domain::session::Session;
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::ActionClass;
use adjutant_ports::Clock;
use adjutant_ports::store::{
    Accepted, Append, Cap, CapScope, Claim, Offer, Rate, SessionPatch, Store, StoreError,
};
use adjutant_sim::SimClock;

use crate::random::Op;
use crate::talk::{LEASE, finished, intake_at};

/// What lines begin with that only the databases are compared by: memory has no events of seats but the first, and its costs
/// leave out what is only reserved.
pub(crate) const DATABASES: &str = "databases:";

const WORDS: [&str; 4] = ["kettle", "harbour", "violet", "tunnel"];

fn owner(n: u8) -> OwnerId {
    OwnerId::parse(["local", "stranger"][usize::from(n % 2)]).unwrap()
}

fn key(n: u8) -> SessionKey {
    SessionKey::parse(format!("agent:main:seat-{n}")).unwrap()
}

/// A worker that comes back.
/// What some runs need and most workers offer.
pub(crate) fn gpu() -> Needs {
    std::iter::once(Need::parse("gpu").unwrap()).collect()
}

fn named(n: u8) -> WorkerId {
    WorkerId::from_u128(1_000 + u128::from(n))
}

/// One store, and what it has given out.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn Store>,
    clock: Arc<SimClock>,
    /// Seats as they were opened last; they may be gone.
    seats: BTreeMap<(u8, u8), Session>,
    runs: Vec<RunId>,
    claims: Vec<Claim>,
    questions: Vec<ApprovalId>,
    open: BTreeMap<RunId, AskedBudget>,
    number: u128,
}

fn kind(error: &StoreError) -> String {
    match error {
        StoreError::Budget { scope, limit, left } => format!("budget {scope} {limit} {left}"),
        StoreError::NotFound { what } => format!("no {what}"),
        StoreError::Full { what, max } => format!("full {what} {max}"),
        StoreError::Fenced => "fenced".to_owned(),
        other => format!("{:?}", other.code()),
    }
}

fn told<T>(result: Result<T, StoreError>, say: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => say(value),
        Err(error) => format!("error: {}", kind(&error)),
    }
}

impl Side {
    pub(crate) fn new(name: &'static str, store: Arc<dyn Store>, clock: Arc<SimClock>) -> Self {
        Self {
            name,
            store,
            clock,
            seats: BTreeMap::new(),
            runs: Vec::new(),
            claims: Vec::new(),
            questions: Vec::new(),
            open: BTreeMap::new(),
            number: 1,
        }
    }

    fn next(&mut self) -> u128 {
        self.number += 1;
        self.number
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn place(&self, run: RunId) -> String {
        let place = self.runs.iter().position(|it| *it == run);
        place.map_or_else(|| "?".to_owned(), |n| format!("run {n}"))
    }

    fn claim(&self, n: u8) -> Option<Claim> {
        let n_claims = self.claims.len();
        (n_claims > 0).then(|| self.claims[usize::from(n) % n_claims].clone())
    }

    fn run(&self, n: u8) -> Option<RunId> {
        let n_runs = self.runs.len();
        (n_runs > 0).then(|| self.runs[usize::from(n) % n_runs])
    }

    fn signal(&self, signal: &Signal) -> String {
        match signal {
            Signal::Cancel { by } => format!("cancel by {by}"),
            Signal::Answer { choice, .. } => format!("answer {choice:?}"),
            Signal::Steer { text, .. } => format!("steer {text}"),
            Signal::Move { to, .. } => format!("move to {to}"),
        }
    }

    fn append(
        &self,
        claim: &Claim,
        entries: Vec<Entry>,
        caps: Vec<Cap>,
    ) -> Result<String, StoreError> {
        let append = Append {
            run: &claim.run,
            fence: claim.fence,
            entries,
            caps,
            grants: vec![],
        };
        let done = block_on(self.store.append(append))?;
        let seqs: Vec<u64> = done.logged.iter().map(|logged| logged.seq.0).collect();
        let signals: Vec<String> = done.signals.iter().map(|it| self.signal(it)).collect();
        Ok(format!("{seqs:?} {signals:?}"))
    }

    fn budget(&mut self, reserve: u64) -> AskedBudget {
        AskedBudget {
            reservation: ReservationId::mint(self.now(), self.next()),
            reserve: Micros(reserve),
            day: self.clock.local_day(),
        }
    }

    pub(crate) fn does(&mut self, op: &Op) -> String {
        let said = match op {
            Op::Open(..) | Op::Reset(..) | Op::Patch(..) | Op::Delete(..) | Op::Forget(..) => {
                self.seat(op)
            }
            Op::Accept(of, seat, name, word) => self.accept(*of, *seat, *name, *word),
            Op::Claim(slots) => self.claims_of(None, *slots),
            Op::ClaimAs(w) => self.claims_of(Some(*w), 1),
            Op::Gone(w) => told(block_on(self.store.worker_gone(named(*w))), |n| {
                n.to_string()
            }),
            Op::Reply(n, cost) => self.reply(*n, u64::from(*cost)),
            Op::Ask(n) => self.ask(*n),
            Op::Resolve(n, yes) => self.resolve(*n, *yes),
            Op::Reserve(..)
            | Op::Park(..)
            | Op::HandOver(..)
            | Op::Finish(..)
            | Op::Nothing(..)
            | Op::Extend(..) => self.held(op),
            Op::Move(of, n, w) => {
                let (to, by) = (named(*w), "test".to_owned());
                self.tell(*of, *n, Signal::Move { to, by })
            }
            Op::Cancel(of, n) => {
                let by = "test".to_owned();
                self.tell(*of, *n, Signal::Cancel { by })
            }
            Op::Steer(of, n) => {
                let steer = Signal::Steer {
                    message: MessageId::mint(self.now(), self.next()),
                    text: format!("steer {}", WORDS[usize::from(*n) % 4]),
                };
                self.tell(*of, *n, steer)
            }
            Op::Remember(..) | Op::Recall(..) | Op::Search(..) => self.words(op),
            Op::Audit(of) => {
                let done =
                    block_on(
                        self.store
                            .audit(&owner(*of), "t", "a", "s", serde_json::json!({})),
                    );
                told(done, |seq| seq.to_string())
            }
            Op::Take(n) => {
                let rate = Rate {
                    burst: 5,
                    per_minute: 30,
                };
                told(
                    block_on(self.store.take("bucket", u64::from(*n), rate)),
                    |it| format!("{it:?}"),
                )
            }
            Op::Pass(ms) => {
                self.clock.pass(Duration::from_millis(u64::from(*ms)));
                String::new()
            }
            Op::Look(of) => self.look(&owner(*of)),
        };
        // Two things never happen at the same moment, so that what is ordered by time has one order.
        self.clock.pass(Duration::from_millis(1));
        said
    }

    /// What the holder of a claim does.
    fn held(&mut self, op: &Op) -> String {
        match op {
            Op::Reserve(n, amount, limit) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                let budget = self.budget(u64::from(*amount));
                let caps = vec![Cap {
                    scope: CapScope::Day {
                        day: budget.day.clone(),
                    },
                    limit: Micros(u64::from(*limit)),
                }];
                let done = self.append(&claim, vec![asked(&budget)], caps);
                if done.is_ok() {
                    self.open.insert(claim.run.id, budget);
                }
                told(done, |it| it)
            }
            Op::Park(n, secs, for_owner) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                let at = self.now().plus(Duration::from_secs(u64::from(*secs)));
                let until = if *for_owner {
                    Wake::Owner { until: at }
                } else {
                    Wake::Retry { at }
                };
                told(
                    self.append(&claim, vec![Entry::Parked { until }], vec![]),
                    |it| it,
                )
            }
            Op::HandOver(n, w, secs) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                let until = Wake::Handover {
                    to: w.map(named),
                    until: self.now().plus(Duration::from_secs(u64::from(*secs))),
                };
                told(
                    self.append(&claim, vec![Entry::Parked { until }], vec![]),
                    |it| it,
                )
            }
            Op::Finish(n) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                self.open.remove(&claim.run.id);
                told(self.append(&claim, vec![finished()], vec![]), |it| it)
            }
            Op::Nothing(n) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                told(self.append(&claim, vec![], vec![]), |it| it)
            }
            Op::Extend(n) => {
                let Some(claim) = self.claim(*n) else {
                    return "-".to_owned();
                };
                let done = block_on(self.store.extend(claim.run.id, claim.fence, LEASE));
                told(done, |it| {
                    format!(
                        "{:?}",
                        it.iter().map(|s| self.signal(s)).collect::<Vec<_>>()
                    )
                })
            }
            _ => String::new(),
        }
    }

    fn tell(&self, of: u8, n: u8, signal: Signal) -> String {
        let Some(run) = self.run(n) else {
            return "-".to_owned();
        };
        let whose = owner(of);
        let info = block_on(self.store.run(&whose, &run.to_string())).unwrap();
        let stood = info.map_or("nowhere", |info| info.status.word());
        let done = block_on(self.store.signal(&whose, run, signal));
        told(done, |it| format!("{it} {stood}"))
    }

    fn seat(&mut self, op: &Op) -> String {
        let (of, n) = match op {
            Op::Open(of, n)
            | Op::Reset(of, n)
            | Op::Patch(of, n, _)
            | Op::Delete(of, n)
            | Op::Forget(of, n) => (*of, *n),
            _ => return String::new(),
        };
        let (whose, name) = (owner(of), key(n));
        let done = match op {
            Op::Open(..) => block_on(self.store.open_session(&whose, &name, None, None)),
            Op::Reset(..) => block_on(self.store.reset_session(&whose, &name)),
            Op::Patch(_, _, word) => {
                let patch = SessionPatch {
                    label: Some(Some(WORDS[usize::from(*word)].to_owned())),
                    ..SessionPatch::default()
                };
                block_on(self.store.patch_session(&whose, &name, patch))
            }
            Op::Delete(..) => {
                return told(block_on(self.store.delete_session(&whose, &name)), |it| {
                    it.to_string()
                });
            }
            _ => {
                let Some(seat) = self.seats.get(&(of, n)) else {
                    return "-".to_owned();
                };
                let done = block_on(self.store.forget_thread(&whose, seat.thread));
                let seat = block_on(self.store.session(&whose, &name)).unwrap();
                if let Some(seat) = seat {
                    self.seats.insert((of, n), seat);
                }
                return told(done, |it| it.to_string());
            }
        };
        if let Ok(seat) = &done {
            self.seats.insert((of, n), seat.clone());
        }
        told(done, |seat| {
            format!(
                "{} {:?} {}",
                seat.key,
                seat.label,
                seat.updated_at.as_millis()
            )
        })
    }

    fn accept(&mut self, of: u8, seat: u8, name: Option<u8>, word: u8) -> String {
        let (at, number) = (self.now(), self.next());
        let Some(seat) = self.seats.get(&(of, seat)) else {
            return "-".to_owned();
        };
        let name = name.map(|n| format!("name-{n}"));
        let mut intake = intake_at(seat, name.as_deref(), WORDS[usize::from(word)], at, number);
        intake.run.priority = i32::from(word) - 1;
        if number % 4 == 0 {
            intake.run.needs = gpu();
        }
        let id = intake.run.id;
        let done = block_on(self.store.accept(intake));
        if let Ok(Accepted::New { .. }) = done {
            self.runs.push(id);
        }
        told(done, |it| match it {
            Accepted::New { run } => format!("new {}", self.place(run)),
            Accepted::Repeat { run } => format!("repeat {}", self.place(run)),
            Accepted::Steered { run } => format!("steered {}", self.place(run)),
        })
    }

    fn claims_of(&mut self, who: Option<u8>, slots: u8) -> String {
        let fresh = WorkerId::mint(self.now(), self.next());
        let offer = Offer {
            slots: u32::from(slots),
            // One of those with names offers nothing.
            offers: if who == Some(0) {
                Needs::default()
            } else {
                gpu()
            },
            ..Offer::one(who.map_or(fresh, named))
        };
        let claims = match block_on(self.store.claim(&offer, LEASE)) {
            Ok(claims) => claims,
            Err(error) => return kind(&error),
        };
        let said = claims.iter().map(|claim| {
            let log: Vec<String> = claim
                .log
                .iter()
                .map(|it| format!("{} {} {}", it.seq.0, it.entry.word(), it.at.as_millis()))
                .collect();
            let signals: Vec<String> = claim.signals.iter().map(|it| self.signal(it)).collect();
            format!(
                "{} {:?} {log:?} {signals:?}",
                self.place(claim.run.id),
                claim.fence
            )
        });
        let said: Vec<String> = said.collect();
        for claim in claims {
            self.claims
                .retain(|it| it.run.id != claim.run.id || it.fence.0 + 1 == claim.fence.0);
            self.claims.push(claim);
        }
        format!("{said:?}")
    }

    fn reply(&mut self, n: u8, cost: u64) -> String {
        let Some(claim) = self.claim(n) else {
            return "-".to_owned();
        };
        let asked_before = self.open.remove(&claim.run.id);
        let budget = asked_before.clone().unwrap_or_else(|| self.budget(cost));
        let replied = Entry::ModelReplied {
            message: MessageId::mint(self.now(), self.next()),
            parts: vec![Part::Text {
                text: format!("reply {}", WORDS[usize::from(n) % 4]),
            }],
            stop: StopReason::End,
            route: "offline/echo".to_owned(),
            usage: Usage {
                input: cost,
                output: 5,
                ..Usage::default()
            },
            cost: if cost.is_multiple_of(3) {
                Cost::Unpriced
            } else {
                Cost::Priced {
                    micros: Micros(cost),
                }
            },
            budget: budget.clone(),
        };
        let entries = match asked_before {
            Some(_) => vec![replied],
            None => vec![asked(&budget), replied],
        };
        told(self.append(&claim, entries, vec![]), |it| it)
    }

    fn ask(&mut self, n: u8) -> String {
        let Some(claim) = self.claim(n) else {
            return "-".to_owned();
        };
        let (now, run) = (self.now(), &claim.run);
        let (id, call) = (self.next(), self.next());
        let question = Approval {
            id: ApprovalId::mint(now, id),
            owner: run.owner.clone(),
            run: run.id,
            call: CallId::mint(now, call),
            session: run.session,
            session_key: run.session_key.clone(),
            agent: run.agent.clone(),
            tool: "file_write".to_owned(),
            class: ActionClass::Write,
            digest: "digest".to_owned(),
            canonical: serde_json::json!({ "z": 1, "a": "\u{0}" }),
            shown: "write".to_owned(),
            reason: "new".to_owned(),
            grant_key: None,
            state: ApprovalState::Open,
            created_at: now,
            expires_at: now.plus(Duration::from_secs(60)),
            answered_by: None,
            choice: None,
        };
        let id = question.id;
        let held = Entry::CallHeld {
            approval: Box::new(question),
            trail: vec![],
        };
        let done = self.append(&claim, vec![held], vec![]);
        if done.is_ok() {
            self.questions.push(id);
        }
        told(done, |it| it)
    }

    fn resolve(&mut self, n: u8, yes: bool) -> String {
        let n_questions = self.questions.len();
        if n_questions == 0 {
            return "-".to_owned();
        }
        let id = self.questions[usize::from(n) % n_questions];
        let choice = if yes { Choice::Once } else { Choice::Session };
        let done = block_on(
            self.store
                .resolve_approval(&owner(n / 128), id, choice, "test"),
        );
        told(done, |it| {
            format!("{:?} {:?} {:?}", it.state, it.choice, it.answered_by)
        })
    }

    fn words(&mut self, op: &Op) -> String {
        let mut texts = match op {
            Op::Remember(of, scope, name, word) => {
                let scope = match scope {
                    0 => MemoryScope::Owner,
                    1 => MemoryScope::Agent {
                        agent: AgentId::main(),
                    },
                    _ => MemoryScope::Agent {
                        agent: AgentId::parse("other").unwrap(),
                    },
                };
                let memory = Memory {
                    id: MemoryId::mint(self.now(), self.next()),
                    owner: owner(*of),
                    scope,
                    kind: MemoryKind::Fact,
                    key: name.map(|n| format!("name{n}")),
                    text: format!("the {} is {}", WORDS[usize::from(*word)], self.number),
                    trust: Trust::Owner,
                    source: None,
                    created_at: self.now(),
                    expires_at: (*word == 3).then(|| self.now().plus(Duration::from_secs(60))),
                };
                return told(block_on(self.store.put_memory(memory)), |it| it.text);
            }
            Op::Recall(of, word) => {
                let agent = AgentId::main();
                let asked = |query: &str| {
                    let found =
                        block_on(
                            self.store
                                .recall(&owner(*of), Some(&agent), None, query, 1_000),
                        );
                    found
                        .unwrap()
                        .into_iter()
                        .map(|it| it.text)
                        .collect::<Vec<_>>()
                };
                let all = asked("");
                let mut found = asked(WORDS[usize::from(*word)]);
                found.sort();
                return format!("{all:?} {found:?}");
            }
            Op::Search(of, word) => {
                let query = WORDS[usize::from(*word)];
                let found =
                    block_on(self.store.search_messages(&owner(*of), query, 1_000)).unwrap();
                found
                    .iter()
                    .map(|it| format!("{:?} {}", it.seq, it.text()))
                    .collect()
            }
            _ => vec![],
        };
        texts.sort();
        format!("{texts:?}")
    }
}

fn asked(budget: &AskedBudget) -> Entry {
    Entry::ModelAsked {
        attempt: 1,
        route: "offline/echo".to_owned(),
        budget: budget.clone(),
    }
}
