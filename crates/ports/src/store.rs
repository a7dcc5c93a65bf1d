//! The store contract: small traits, one `Store` that is all of them.
//!
//! Stores take no time from callers, they are built with a clock. Safety never rests on clocks, only on fences.
//! "Accepted" means flushed: a positive answer of a durable method has survived power loss (R1).

mod devices;
mod nodes;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::agent::Agent;
use adjutant_domain::approval::{Approval, Choice, Grant};
use adjutant_domain::code::{Code, Coded};
use adjutant_domain::event::Event;
use adjutant_domain::id::{
    AgentId, ApprovalId, ClientKey, GrantId, MemoryId, OwnerId, RunId, SessionId, SessionKey,
    ThreadId, WorkerId,
};
use adjutant_domain::memory::Memory;
use adjutant_domain::message::{Message, Part};
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Entry, Fence, Limits, Logged, Run, RunStatus, Seq, Signal, Work};
use adjutant_domain::session::{Session, Thread};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::ToolSpec;

pub use devices::{Approver, Asked, DeviceStore, SETUP_CODES_MAX, Seen, TokenChange};
pub use nodes::{NewInvoke, NodeStore, Posted};
pub use workers::{Duty, ProcessMark, WorkerInfo, WorkerSeen, WorkerStore};

/// What went wrong with the store, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another claim holds the run: stop at once, its effects are no longer yours.
    #[error("another worker has claimed this run")]
    Fenced,
    /// No such row, or not this owner's.
    #[error("no such {what}")]
    NotFound {
        /// Kind of row.
        what: &'static str,
    },
    /// The same idempotency key with another body.
    #[error("this idempotency key was used for something else")]
    KeyReused,
    /// The state does not allow it, or somebody was first.
    #[error("{reason}")]
    Conflict {
        /// What was in the way.
        reason: String,
    },
    /// A queue or table is at its bound.
    #[error("{what} is full ({max})")]
    Full {
        /// Which one.
        what: &'static str,
        /// Its bound.
        max: u64,
    },
    /// A budget would be passed.
    #[error("the {scope} budget of {limit} is spent ({left} left)")]
    Budget {
        /// `run`, `session`, `day`.
        scope: String,
        /// The cap.
        limit: Micros,
        /// What is left.
        left: Micros,
    },
    /// The disk is full or read-only; nothing was written, reads still work (R19, R20).
    #[error("the store cannot write: {reason}")]
    Degraded {
        /// Why.
        reason: String,
    },
    /// The file is damaged (R21).
    #[error("the store is damaged: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// Anything else; may work later.
    #[error("the store failed: {reason}")]
    Failed {
        /// What failed.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Coded for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Fenced | Self::Conflict { .. } => Code::Conflict,
            Self::NotFound { .. } => Code::NotFound,
            Self::KeyReused => Code::KeyReused,
            Self::Full { .. } => Code::RateLimited,
            Self::Budget { .. } => Code::BudgetSpent,
            Self::Degraded { .. } | Self::Failed { .. } => Code::Unavailable,
            Self::Corrupt { .. } => Code::Internal,
        }
    }
}

/// Result of a store operation.
pub type Stored<T> = Result<T, StoreError>;

/// A request to start a run. There is no other way to start one.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// Everything fixed about the run.
    pub run: Run,
    /// The user message; none for runs without one.
    pub message: Option<Message>,
    /// Bounds, frozen.
    pub limits: Limits,
    /// What to do.
    pub work: Work,
    /// Idempotency: the method and the digest of its body. Used with `run.client_key`.
    pub method: &'static str,
    /// Digest of everything that makes two requests the same.
    pub digest: String,
}

/// What became of an intake.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// A new run.
    New {
        /// Which.
        run: RunId,
    },
    /// The key was seen: the same run as before; nothing was written.
    Repeat {
        /// Which.
        run: RunId,
    },
    /// The session's active run waits for the owner's words; they went there.
    Steered {
        /// Which.
        run: RunId,
    },
}

impl Accepted {
    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        match self {
            Self::New { run } | Self::Repeat { run } | Self::Steered { run } => *run,
        }
    }
}

/// What a worker offers when it asks for work.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The worker.
    pub worker: WorkerId,
    /// How many runs it can take now, at least one.
    pub slots: u32,
    /// How long it is willing to wait when there is no work. A store that cannot wait answers at once.
    pub patience: Duration,
    /// What it has; a run that needs more is not for it.
    pub offers: Needs,
}

impl Offer {
    /// An offer to take one run that is there now.
    #[must_use]
    pub fn one(worker: WorkerId) -> Self {
        Self {
            worker,
            slots: 1,
            patience: Duration::ZERO,
            offers: Needs::default(),
        }
    }
}

/// A claimed run with its whole log.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What it is.
    pub run: Run,
    /// The fence of this claim.
    pub fence: Fence,
    /// The whole log, the new `Claimed` entry included.
    pub log: Vec<Logged>,
    /// Signals that wait to be written into the log.
    pub signals: Vec<Signal>,
}

/// One cap to check while money is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// `run`, `session`, `day`; with the window's key (`run_…`, `ses_…`, `2026-11-21`).
    pub scope: CapScope,
    /// The amount that must not be passed.
    pub limit: Micros,
}

/// What a cap covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum CapScope {
    /// One run.
    Run {
        /// Which.
        run: RunId,
    },
    /// One session.
    Session {
        /// Which.
        session: SessionId,
    },
    /// One local day of the owner.
    Day {
        /// `YYYY-MM-DD`.
        day: String,
    },
}

impl CapScope {
    /// `run`, `session`, `day`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Session { .. } => "session",
            Self::Day { .. } => "day",
        }
    }

    /// The window's key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Run { run } => run.to_string(),
            Self::Session { session } => session.to_string(),
            Self::Day { day } => day.clone(),
        }
    }
}

/// A write to a run's log.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// Which run.
    pub run: &'a Run,
    /// Under which claim.
    pub fence: Fence,
    /// The facts, in order.
    pub entries: Vec<Entry>,
    /// Caps that the reservations among the entries must fit under, checked in the same transaction. The money already
    /// settled plus every open reservation plus the new one must not pass any cap.
    pub caps: Vec<Cap>,
    /// Grants to store in the same transaction (lasting answers).
    pub grants: Vec<Grant>,
}

/// What an append gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// The entries with their places and moments.
    pub logged: Vec<Logged>,
    /// Signals that arrived since the last write, oldest first; each is returned once per claim.
    pub signals: Vec<Signal>,
}

/// A run as its row says, for lists and waits.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// What it is.
    pub run: Run,
    /// Where it stands.
    pub status: RunStatus,
    /// The worker that has it.
    pub worker: Option<WorkerId>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Runs: the queue and the logs.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Writes the message, the run and the idempotency row in one transaction, or returns the earlier answer. Durable.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::Full`] when the session's or the owner's queue is at its bound.
    async fn accept(&self, intake: Intake) -> Stored<Accepted>;
    /// Claims the next runs this worker may have, at most as many as it has slots: lease, fence + 1, whole log.
    ///
    /// Nothing, when there is no work, perhaps before `patience` is over. Dropping the future withdraws the offer; a run that
    /// was claimed for it at that very moment is taken over when its lease ends.
    async fn claim(&self, offer: &Offer, lease: Duration) -> Stored<Vec<Claim>>;
    /// Extends the lease; returns signals like an append.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    async fn extend(&self, run: RunId, fence: Fence, lease: Duration) -> Stored<Vec<Signal>>;
    /// Writes entries, projects them, and gives the claim back when the last entry is `Parked` or `Finished`. Durable.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Budget`].
    async fn append(&self, append: Append<'_>) -> Stored<Appended>;
    /// The log from a position on.
    async fn log(&self, owner: &OwnerId, run: RunId, from: Seq) -> Stored<Vec<Logged>>;
    /// Stores a signal for a run that is not over and makes a parked run claimable; says so with `Bus::signal` and, for a
    /// parked run, `Bus::work`. Durable. `false`: the run is over.
    async fn signal(&self, owner: &OwnerId, run: RunId, signal: Signal) -> Stored<bool>;
}

/// Runs, seen from outside.
#[async_trait]
pub trait RunIndex: Send + Sync {
    /// A run by identifier or by its name on the wire.
    async fn run(&self, owner: &OwnerId, name: &str) -> Stored<Option<RunInfo>>;
    /// Runs that are not over, of one session or of all, oldest first.
    async fn active_runs(
        &self,
        owner: &OwnerId,
        session: Option<SessionId>,
    ) -> Stored<Vec<RunInfo>>;
    /// The newest runs, newest first.
    async fn recent_runs(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<RunInfo>>;
    /// Takes over what dead workers of this state directory held: fence + 1 at the next claim, no waiting for leases
    /// (R36). Only the owner of the directory's lock may call it. Returns how many runs that were.
    async fn release_dead_claims(&self) -> Stored<u64>;
    /// How long until the next parked or leased run that is for a worker with these offers becomes claimable by time alone.
    async fn next_due(&self, offers: &Needs) -> Stored<Option<Duration>>;
    /// Queue figures: queued, running, parked. A store may stop counting at 100,000.
    async fn queue_depth(&self) -> Stored<(u64, u64, u64)>;
}

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most this many.
    pub limit: u32,
    /// Skip this many.
    pub offset: u32,
}

/// Conversations and messages.
#[async_trait]
pub trait ThreadStore: Send + Sync {
    /// One thread.
    async fn thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<Option<Thread>>;
    /// Threads, last used first.
    async fn threads(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Thread>>;
    /// The newest visible messages of a thread, oldest first, at most `limit`; hidden ones (behind a summary) only
    /// with [`Hidden::Show`]. Messages of runs that have not begun come last and have no position.
    async fn messages(
        &self,
        owner: &OwnerId,
        thread: ThreadId,
        limit: u32,
        before: Option<u64>,
        hidden: Hidden,
    ) -> Stored<Vec<Message>>;
    /// A thread as the model sees it in a run.
    async fn history(&self, owner: &OwnerId, wanted: &HistoryAsk) -> Stored<History>;
    /// One message.
    async fn message(
        &self,
        owner: &OwnerId,
        id: adjutant_domain::id::MessageId,
    ) -> Stored<Option<Message>>;
    /// Full-text search, best first.
    async fn search_messages(
        &self,
        owner: &OwnerId,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Message>>;
    /// Sets the title.
    async fn rename_thread(&self, owner: &OwnerId, id: ThreadId, title: &str) -> Stored<()>;
    /// Removes a thread for good, with its messages, runs and logs: the owner's explicit wish (invariant 15).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while one of its runs is active.
    async fn forget_thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<bool>;
}

/// Whether hidden messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// As the model sees the thread.
    Skip,
    /// Everything that was ever said.
    Show,
}

/// Which part of a thread a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryAsk {
    /// The thread.
    pub thread: ThreadId,
    /// The run.
    pub run: RunId,
    /// From this position on: what is before is known, since a message that has its position never changes.
    pub from: u64,
    /// At most so many messages that have a position: the newest.
    pub limit: u32,
}

/// What was said in a thread.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Everything up to this position is behind a summary, and not here; 0: nothing is.
    pub hidden_through: u64,
    /// Messages that have a position, oldest first, then those that wait for this run to take them up. What waits for other
    /// runs is not here.
    pub messages: Vec<Message>,
}

/// Changes to a session; absent means unchanged, `Some(None)` means cleared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionPatch {
    /// Label for people.
    pub label: Option<Option<String>>,
    /// `provider/model`.
    pub model: Option<Option<String>>,
    /// Expiry.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Seats.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The session with this key; made, with a thread, when there is none. `thread` attaches a new session to an existing
    /// thread. Durable.
    async fn open_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        thread: Option<ThreadId>,
        expires_in: Option<Duration>,
    ) -> Stored<Session>;
    /// The session with this key.
    async fn session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Option<Session>>;
    /// The session with this identifier.
    async fn session_by_id(&self, owner: &OwnerId, id: SessionId) -> Stored<Option<Session>>;
    /// Sessions, last used first.
    async fn sessions(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Session>>;
    /// How many there are.
    async fn count_sessions(&self, owner: &OwnerId) -> Stored<u64>;
    /// Points the session at a new, empty thread and renews its identifier; the old thread stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while a run is active.
    async fn reset_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Session>;
    /// Changes settings.
    async fn patch_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        patch: SessionPatch,
    ) -> Stored<Session>;
    /// Removes the seat; the thread stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while a run is active.
    async fn delete_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<bool>;
}

/// Agents and the tools workers announced.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// One agent.
    async fn agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<Option<Arc<Agent>>>;
    /// All agents, by name.
    async fn agents(&self, owner: &OwnerId) -> Stored<Vec<Arc<Agent>>>;
    /// Stores an agent. `expected`: the revision the caller saw, `None` for a new one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it exists already or was changed since.
    async fn put_agent(&self, agent: Agent, expected: Option<u64>) -> Stored<Agent>;
    /// Removes an agent; its threads stay.
    async fn delete_agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<bool>;
    /// Announces what tools this installation has (M074).
    async fn announce_tools(&self, tools: &[ToolSpec]) -> Stored<()>;
    /// The tools.
    async fn tools(&self) -> Stored<Vec<ToolSpec>>;
}

/// What was spent and what is held in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spend {
    /// Settled.
    pub used_micros: Micros,
    /// Held by calls under way.
    pub reserved_micros: Micros,
    /// Model calls.
    pub calls: u64,
    /// Calls without a price.
    pub unpriced: u64,
    /// Token counts.
    pub usage: Usage,
}

/// Which column to group costs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Local day.
    Day,
    /// `provider/model`.
    Model,
    /// Session key.
    Session,
    /// Agent.
    Agent,
    /// Run name on the wire.
    Run,
}

/// Approvals, grants, money, rates.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// One question.
    async fn approval(&self, owner: &OwnerId, id: ApprovalId) -> Stored<Option<Approval>>;
    /// Questions, newest first; only open ones when asked so.
    async fn approvals(
        &self,
        owner: &OwnerId,
        open_only: bool,
        limit: u32,
    ) -> Stored<Vec<Approval>>;
    /// Answers a question: first valid answer wins, single use (S31). Writes the audit record and the signal for the
    /// run in one transaction. Durable.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it was answered, expired or cancelled.
    async fn resolve_approval(
        &self,
        owner: &OwnerId,
        id: ApprovalId,
        choice: Choice,
        by: &str,
    ) -> Stored<Approval>;
    /// Grants in force and lapsed, newest first.
    async fn grants(&self, owner: &OwnerId, agent: Option<&AgentId>) -> Stored<Vec<Grant>>;
    /// Stores a grant made outside a run.
    async fn put_grant(&self, grant: Grant) -> Stored<()>;
    /// Revokes a grant.
    async fn revoke_grant(&self, owner: &OwnerId, id: GrantId) -> Stored<bool>;
    /// What was spent and what is held in one window.
    async fn spend(&self, owner: &OwnerId, scope: &CapScope) -> Stored<Spend>;
    /// Costs grouped by a column between two local days, both included; `(group, spend)` sorted by group.
    async fn costs(
        &self,
        owner: &OwnerId,
        by: GroupBy,
        from: &str,
        to: &str,
    ) -> Stored<Vec<(String, Spend)>>;
    /// Takes `amount` from a token bucket, or says how long until there is enough. Durable across restarts.
    async fn take(&self, bucket: &str, amount: u64, rate: Rate) -> Stored<Take>;
}

/// A token bucket's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Most it can hold.
    pub burst: u64,
    /// Refill per minute.
    pub per_minute: u64,
}

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Taken.
    Taken,
    /// Not enough; try after this long.
    Wait(Duration),
}

/// Facts to recall.
#[async_trait]
pub trait MemoryStore: Send + Sync {
    /// Stores a fact; one with the same scope and key is replaced. Durable.
    async fn put_memory(&self, memory: Memory) -> Stored<Memory>;
    /// Facts that `agent` in `session` may recall, best match first; never expired ones. An empty query lists the newest.
    async fn recall(
        &self,
        owner: &OwnerId,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Memory>>;
    /// One fact, if the owner has it.
    async fn memory(&self, owner: &OwnerId, id: MemoryId) -> Stored<Option<Memory>>;
    /// Removes facts for good. Returns how many.
    async fn forget(&self, owner: &OwnerId, ids: &[MemoryId]) -> Stored<u64>;
}

/// The feed.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Events after `cursor`, oldest first, at most `limit`.
    async fn events_since(&self, owner: &OwnerId, cursor: u64, limit: u32) -> Stored<Vec<Event>>;
    /// The newest cursor.
    async fn cursor(&self, owner: &OwnerId) -> Stored<u64>;
    /// Adds an event that no run caused.
    async fn announce(
        &self,
        owner: &OwnerId,
        session: Option<&SessionKey>,
        kind: adjutant_domain::EventKind,
    ) -> Stored<()>;
}

/// One audit record: append-only, each hashing the one before (S49).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Position in the chain, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Whose data.
    pub owner: OwnerId,
    /// Who did it: surface and principal.
    pub by: String,
    /// What: `approval.resolve`, `config.set`, `run.cancel`, …
    pub action: String,
    /// On what.
    pub subject: String,
    /// More.
    pub detail: Value,
    /// Hex SHA-256 over the record and the hash before.
    pub hash: String,
}

/// The audit chain, idempotency of ordinary methods, the check of everything.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds a record. Durable, and before the effect.
    async fn audit(
        &self,
        owner: &OwnerId,
        by: &str,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Stored<u64>;
    /// Records, newest first.
    async fn audit_records(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<AuditRecord>>;
    /// The stored answer of a write method for this key, kept at least 24 h (R5).
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when the digest differs.
    async fn answered(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
    ) -> Stored<Option<Value>>;
    /// Stores the answer of a write method.
    async fn remember_answer(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
        answer: &Value,
    ) -> Stored<()>;
    /// Checks everything (R42): journals legal, positions gapless, projections equal to logs, no orphan reservations,
    /// counters equal to the ledger, audit chain whole, the file sound.
    async fn verify(&self) -> Stored<VerifyReport>;
    /// Whether what is accepted now could be kept.
    ///
    /// # Errors
    /// The database cannot be reached, or nothing can be written to it.
    async fn writable(&self) -> Stored<()>;
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// What was looked at: name and how many.
    pub checked: Vec<(String, u64)>,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// All of it.
pub trait Store:
    RunStore
    + RunIndex
    + ThreadStore
    + SessionStore
    + AgentStore
    + PolicyStore
    + MemoryStore
    + EventStore
    + AuditStore
    + WorkerStore
    + DeviceStore
    + NodeStore
{
}

impl<T> Store for T where
    T: RunStore
        + RunIndex
        + ThreadStore
        + SessionStore
        + AgentStore
        + PolicyStore
        + MemoryStore
        + EventStore
        + AuditStore
        + WorkerStore
        + DeviceStore
        + NodeStore
{
}

/// The words of a message to store with an intake.
#[must_use]
pub fn text_parts(text: &str) -> Vec<Part> {
    vec![Part::Text {
        text: text.to_owned(),
    }]
}
