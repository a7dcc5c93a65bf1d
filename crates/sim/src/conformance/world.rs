//! What every case begins with, and short words for long entries.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adjutant_domain::approval::{Approval, ApprovalState};
use adjutant_domain::id::{
    AgentId, ApprovalId, CallId, ClientKey, MessageId, OwnerId, ReservationId, RunId, SessionKey,
    ThreadId, WorkerId,
};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{AskedBudget, Entry, Limits, Outcome, Run, StopReason, Wake, Work};
use adjutant_domain::session::Session;
use adjutant_domain::tool::ActionClass;
use adjutant_ports::Clock;
use adjutant_ports::store::{
    Accepted, Append, Appended, Cap, Claim, Intake, Offer, Store, Stored, text_parts,
};

use crate::SimClock;

/// The lease of claims in these cases.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A fresh store and the clock it was built with.
pub struct World {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    numbers: AtomicU64,
    _keep: Box<dyn Any + Send + Sync>,
}

impl World {
    /// A world around a store. `keep` is dropped after the store: a temporary directory, say.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<SimClock>, keep: impl Any + Send + Sync) -> Self {
        Self {
            store,
            clock,
            numbers: AtomicU64::new(1),
            _keep: Box::new(keep),
        }
    }

    /// A number that was not used before: entropy that can be read.
    pub(crate) fn number(&self) -> u128 {
        u128::from(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn worker(&self) -> WorkerId {
        WorkerId::mint(self.clock.now(), self.number())
    }

    /// A session of `owner`, made when there is none.
    pub(crate) async fn session_of(&self, owner: &OwnerId, rest: &str) -> Session {
        let key = SessionKey::parse(format!("agent:main:{rest}")).unwrap();
        self.store
            .open_session(owner, &key, None, None)
            .await
            .unwrap()
    }

    pub(crate) async fn session(&self, rest: &str) -> Session {
        self.session_of(&OwnerId::local(), rest).await
    }

    pub(crate) fn message(&self, thread: ThreadId, text: &str) -> Message {
        Message {
            id: MessageId::mint(self.clock.now(), self.number()),
            thread,
            seq: None,
            role: Role::User,
            parts: text_parts(text),
            run: None,
            label: Label::of(Origin::Owner),
            at: self.clock.now(),
        }
    }

    /// A request of `session` with a key, or without one when the key is empty.
    pub(crate) fn intake(&self, session: &Session, key: &str, text: &str) -> Intake {
        let run = Run {
            id: RunId::mint(self.clock.now(), self.number()),
            owner: session.owner.clone(),
            agent: AgentId::main(),
            session: session.id,
            session_key: session.key.clone(),
            thread: session.thread,
            client_key: (!key.is_empty()).then(|| ClientKey::parse(key).unwrap()),
            priority: 0,
            needs: Needs::default(),
        };
        Intake {
            run,
            message: Some(self.message(session.thread, text)),
            limits: Limits::default(),
            work: Work::Chat,
            method: "chat.send",
            digest: format!("digest of {text}"),
        }
    }

    pub(crate) async fn accept(&self, session: &Session, key: &str, text: &str) -> RunId {
        let accepted = self
            .store
            .accept(self.intake(session, key, text))
            .await
            .unwrap();
        assert!(matches!(accepted, Accepted::New { .. }), "{accepted:?}");
        accepted.run()
    }

    pub(crate) async fn try_claim(&self) -> Option<Claim> {
        self.store
            .claim(&Offer::one(self.worker()), LEASE)
            .await
            .unwrap()
            .pop()
    }

    pub(crate) async fn claim(&self) -> Claim {
        self.try_claim().await.unwrap()
    }

    /// A run of a new message, claimed.
    pub(crate) async fn begin(&self, session: &Session, text: &str) -> Claim {
        let run = self.accept(session, "", text).await;
        let claim = self.claim().await;
        assert_eq!(claim.run.id, run);
        claim
    }

    pub(crate) async fn try_append(
        &self,
        claim: &Claim,
        entries: Vec<Entry>,
        caps: Vec<Cap>,
    ) -> Stored<Appended> {
        let append = Append {
            run: &claim.run,
            fence: claim.fence,
            entries,
            caps,
            grants: vec![],
        };
        self.store.append(append).await
    }

    pub(crate) async fn append(&self, claim: &Claim, entries: Vec<Entry>) -> Appended {
        self.try_append(claim, entries, vec![]).await.unwrap()
    }

    pub(crate) async fn finish(&self, claim: &Claim) {
        self.append(claim, vec![finished()]).await;
    }

    pub(crate) fn budget(&self, reserve: u64) -> AskedBudget {
        AskedBudget {
            reservation: ReservationId::mint(self.clock.now(), self.number()),
            reserve: Micros(reserve),
            day: "2026-01-01".to_owned(),
        }
    }

    pub(crate) fn replied(&self, text: &str, cost: u64, budget: &AskedBudget) -> Entry {
        Entry::ModelReplied {
            message: MessageId::mint(self.clock.now(), self.number()),
            parts: vec![Part::Text {
                text: text.to_owned(),
            }],
            stop: StopReason::End,
            route: ROUTE.to_owned(),
            usage: Usage {
                input: 10,
                output: 5,
                ..Usage::default()
            },
            cost: Cost::Priced {
                micros: Micros(cost),
            },
            budget: budget.clone(),
        }
    }

    /// A whole turn: asked and replied.
    pub(crate) async fn reply(&self, claim: &Claim, text: &str) {
        let budget = self.budget(0);
        self.append(claim, vec![asked(&budget), self.replied(text, 0, &budget)])
            .await;
    }

    /// A question of this run that expires after `open_for`.
    pub(crate) fn question(&self, run: &Run, open_for: Duration) -> Approval {
        let now = self.clock.now();
        Approval {
            id: ApprovalId::mint(now, self.number()),
            owner: run.owner.clone(),
            run: run.id,
            call: CallId::mint(now, self.number()),
            session: run.session,
            session_key: run.session_key.clone(),
            agent: run.agent.clone(),
            tool: "file_write".to_owned(),
            class: ActionClass::Write,
            digest: "digest".to_owned(),
            canonical: serde_json::json!({ "path": "a.txt" }),
            shown: "write a.txt".to_owned(),
            reason: "it is new".to_owned(),
            grant_key: None,
            state: ApprovalState::Open,
            created_at: now,
            expires_at: now.plus(open_for),
            answered_by: None,
            choice: None,
        }
    }

    pub(crate) fn parked(&self, span: Duration) -> Entry {
        Entry::Parked {
            until: Wake::Retry {
                at: self.clock.now().plus(span),
            },
        }
    }
}

/// The route of every model call in these cases.
pub(crate) const ROUTE: &str = "offline/echo";

pub(crate) fn asked(budget: &AskedBudget) -> Entry {
    Entry::ModelAsked {
        attempt: 1,
        route: ROUTE.to_owned(),
        budget: budget.clone(),
    }
}

pub(crate) fn held(question: &Approval) -> Entry {
    Entry::CallHeld {
        approval: Box::new(question.clone()),
        trail: vec![],
    }
}

pub(crate) fn finished() -> Entry {
    Entry::Finished {
        outcome: Outcome::Cancelled {
            by: "test".to_owned(),
        },
        usage: Usage::default(),
        cost: Cost::Priced {
            micros: Micros::ZERO,
        },
    }
}
