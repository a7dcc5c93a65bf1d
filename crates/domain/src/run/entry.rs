//! The facts a run's log is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::{AgentBudget, AgentLimits};
use crate::approval::{Approval, Choice};
use crate::id::{
    AgentId, ApprovalId, CallId, ClientKey, MessageId, OwnerId, ReservationId, RunId, SessionId,
    SessionKey, ThreadId, WorkerId,
};
use crate::label::Trust;
use crate::message::Part;
use crate::money::{Cost, Micros, Usage};
use crate::need::Needs;
use crate::run::fault::{ModelFault, Retry, StopReason};
use crate::time::Timestamp;
use crate::tool::ToolOutcome;

/// Position in a log, gapless from 1.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// The number of a claim; a higher one makes every lower one powerless.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// What a run is, apart from what happened in it. Fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Identifier.
    pub id: RunId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Who does it.
    pub agent: AgentId,
    /// Where it came from.
    pub session: SessionId,
    /// That session's key.
    pub session_key: SessionKey,
    /// The conversation it continues.
    pub thread: ThreadId,
    /// The client's idempotency key, which is also the run's name on the wire.
    pub client_key: Option<ClientKey>,
    /// Higher goes first.
    pub priority: i32,
    /// What a worker must offer to take it.
    pub needs: Needs,
}

impl Run {
    /// The run's name on the wire: the client's key, else the identifier.
    #[must_use]
    pub fn name(&self) -> String {
        self.client_key
            .as_ref()
            .map_or_else(|| self.id.to_string(), |key| key.as_str().to_owned())
    }
}

/// Bounds frozen at acceptance, so that a replay cannot change them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Steps, time, tokens, repetition, retries.
    #[serde(flatten)]
    pub agent: AgentLimits,
    /// Money.
    #[serde(default)]
    pub budget: AgentBudget,
}

/// What a run is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Work {
    /// Answer the input messages.
    Chat,
    /// Perform one tool call that a person asked for, without a model.
    Call {
        /// The call's identifier.
        call: CallId,
        /// Tool name.
        name: String,
        /// Arguments.
        args: Value,
    },
    /// Look back at another run and remember what it taught (M049).
    Reflect {
        /// The run to look back at.
        of: RunId,
    },
}

/// When a parked run may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Wake {
    /// A person answers, or the moment passes, which is a no.
    Approval {
        /// The earliest expiry among the open questions.
        until: Timestamp,
    },
    /// The owner says something (`ask_user`), or the moment passes.
    Owner {
        /// End of patience.
        until: Timestamp,
    },
    /// A retry is due.
    Retry {
        /// When.
        at: Timestamp,
    },
    /// Its worker gave it to others.
    Handover {
        /// The worker that is to have it; absent: whoever is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<WorkerId>,
        /// Until then it is kept for that worker; after it, anybody may have it.
        until: Timestamp,
    },
}

impl Wake {
    /// When the run becomes claimable without any answer.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Approval { until } | Self::Owner { until } | Self::Handover { until, .. } => {
                *until
            }
            Self::Retry { at } => *at,
        }
    }

    /// One word for people and projections.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Approval { .. } => "approval",
            Self::Owner { .. } => "owner",
            Self::Retry { .. } => "retry",
            Self::Handover { .. } => "handover",
        }
    }

    /// The worker that need not wait for the moment.
    #[must_use]
    pub fn meant_for(&self) -> Option<WorkerId> {
        match self {
            Self::Handover { to, .. } => *to,
            Self::Approval { .. } | Self::Owner { .. } | Self::Retry { .. } => None,
        }
    }
}

/// Something that reaches a run from outside; the claim holder writes it into the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Signal {
    /// Stop.
    Cancel {
        /// Who asked.
        by: String,
    },
    /// A question was answered.
    Answer {
        /// The question.
        approval: ApprovalId,
        /// The answer.
        choice: Choice,
        /// Who answered.
        by: String,
    },
    /// The owner said something more.
    Steer {
        /// The message.
        message: MessageId,
        /// Its words.
        text: String,
    },
    /// Another worker is to take the next step. What is under way ends where it began.
    Move {
        /// Which.
        to: WorkerId,
        /// Who asked.
        by: String,
    },
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailKind {
    /// Too many steps.
    MaxSteps,
    /// Too long.
    Timeout,
    /// Too many tokens.
    MaxTokens,
    /// The same call again and again.
    Repetition,
    /// The money cap.
    Budget,
    /// The rate limit.
    RateLimited,
    /// No route answered.
    Model,
    /// The run harmed its worker three times (R34).
    Poison,
    /// A bug of ours.
    Internal,
}

impl FailKind {
    /// One word, as on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::MaxSteps => "max_steps",
            Self::Timeout => "timeout",
            Self::MaxTokens => "max_tokens",
            Self::Repetition => "repetition",
            Self::Budget => "budget",
            Self::RateLimited => "rate_limited",
            Self::Model => "model",
            Self::Poison => "poison",
            Self::Internal => "internal",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Outcome {
    /// With an answer.
    Done {
        /// The final message; none for a run without a model.
        message: Option<MessageId>,
    },
    /// Without one.
    Failed {
        /// Which guard or fault.
        kind: FailKind,
        /// A sentence for people.
        reason: String,
    },
    /// Stopped.
    Cancelled {
        /// Who asked.
        by: String,
    },
}

impl Outcome {
    /// One word, as on the wire.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// What one policy stage said about a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrailStep {
    /// The stage's name.
    pub stage: String,
    /// What it said, as a sentence.
    pub said: String,
}

/// What was reserved for a model call, and where to settle it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedBudget {
    /// The reservation.
    pub reservation: ReservationId,
    /// Its amount.
    pub reserve: Micros,
    /// The local day it counts against, `YYYY-MM-DD`.
    pub day: String,
}

/// What a run was before a worker took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedFrom {
    /// Queued: it begins.
    #[default]
    Queue,
    /// Parked: it goes on after a wait.
    Rest,
    /// Running, on a worker that was lost.
    LostWorker,
}

impl ClaimedFrom {
    /// By the word of the status it had.
    #[must_use]
    pub fn status(word: &str) -> Self {
        match word {
            "parked" => Self::Rest,
            "running" => Self::LostWorker,
            _ => Self::Queue,
        }
    }
}

/// One fact in a log. Closed; old entries stay readable for ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Entry {
    /// We said yes.
    Accepted {
        /// The messages to answer.
        input: Vec<MessageId>,
        /// Bounds.
        limits: Box<Limits>,
        /// What to do.
        work: Work,
    },
    /// A worker took it.
    Claimed {
        /// Which.
        worker: WorkerId,
        /// Under which fence.
        fence: Fence,
        /// What the run was before.
        #[serde(default)]
        from: ClaimedFrom,
    },
    /// The model is about to be asked; the bytes leave after this is durable.
    ModelAsked {
        /// Counts from 1 within the run.
        attempt: u32,
        /// `provider/model`.
        route: String,
        /// The reservation, if any cap applies.
        budget: AskedBudget,
    },
    /// The complete reply.
    ModelReplied {
        /// The message it became.
        message: MessageId,
        /// Its parts.
        parts: Vec<Part>,
        /// Why it stopped.
        stop: StopReason,
        /// `provider/model`.
        route: String,
        /// Token counts.
        usage: Usage,
        /// What it cost.
        cost: Cost,
        /// The reservation that this settles.
        budget: AskedBudget,
    },
    /// No complete reply.
    ModelFailed {
        /// `provider/model`.
        route: String,
        /// What happened.
        fault: ModelFault,
        /// What follows.
        retry: Retry,
        /// Token counts the provider may bill, estimated.
        usage: Usage,
        /// What that may cost.
        cost: Cost,
        /// The reservation that this settles.
        budget: AskedBudget,
    },
    /// Policy said yes. A call that came back from a person keeps the digest that was approved.
    CallAdmitted {
        /// Which call.
        call: CallId,
        /// What each stage said.
        trail: Vec<TrailStep>,
    },
    /// Policy wants a person to say yes.
    CallHeld {
        /// The question.
        approval: Box<Approval>,
        /// What each stage said.
        trail: Vec<TrailStep>,
    },
    /// The effect is about to happen; it starts after this is durable.
    CallStarted {
        /// Which call.
        call: CallId,
        /// Counts from 1.
        attempt: u32,
        /// Tool name, for events.
        name: String,
        /// Arguments, for events.
        args: Value,
    },
    /// The effect happened, failed, was refused or is in doubt.
    CallFinished {
        /// Which call.
        call: CallId,
        /// The provider's identifier.
        wire_id: String,
        /// Tool name.
        name: String,
        /// The message the result became.
        message: MessageId,
        /// What it came to.
        outcome: ToolOutcome,
        /// What each stage said, when policy refused it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trail: Vec<TrailStep>,
    },
    /// A question was answered, or expired.
    ApprovalResolved {
        /// The question.
        approval: ApprovalId,
        /// The call that waited for it.
        call: CallId,
        /// The answer.
        choice: Choice,
        /// Who answered; `expiry` when nobody did.
        by: String,
    },
    /// The owner said something more while the run was active.
    Steered {
        /// The message.
        message: MessageId,
        /// Its words.
        text: String,
    },
    /// Somebody asked to stop.
    CancelAsked {
        /// Who.
        by: String,
    },
    /// Older messages are hidden behind a summary; nothing is destroyed (invariant 15).
    Compacted {
        /// The summary's message.
        message: MessageId,
        /// Its words.
        text: String,
        /// The last hidden position of the thread.
        through: u64,
        /// How far the least trusted of the hidden messages is trusted.
        trust: Trust,
        /// `provider/model` that wrote the summary.
        route: String,
        /// Token counts.
        usage: Usage,
        /// What it cost.
        cost: Cost,
        /// The reservation that this settles.
        budget: AskedBudget,
    },
    /// The claim is given back until then.
    Parked {
        /// Until when, and why.
        until: Wake,
    },
    /// The end. Nothing follows.
    Finished {
        /// How.
        outcome: Outcome,
        /// Token counts of the whole run.
        usage: Usage,
        /// What the whole run cost.
        cost: Cost,
    },
}

impl Entry {
    /// The tag, for columns and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Claimed { .. } => "claimed",
            Self::ModelAsked { .. } => "model_asked",
            Self::ModelReplied { .. } => "model_replied",
            Self::ModelFailed { .. } => "model_failed",
            Self::CallAdmitted { .. } => "call_admitted",
            Self::CallHeld { .. } => "call_held",
            Self::CallStarted { .. } => "call_started",
            Self::CallFinished { .. } => "call_finished",
            Self::ApprovalResolved { .. } => "approval_resolved",
            Self::Steered { .. } => "steered",
            Self::CancelAsked { .. } => "cancel_asked",
            Self::Compacted { .. } => "compacted",
            Self::Parked { .. } => "parked",
            Self::Finished { .. } => "finished",
        }
    }
}

/// An entry with its place and moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Place in the log.
    pub seq: Seq,
    /// When the store wrote it.
    pub at: Timestamp,
    /// The fact.
    pub entry: Entry,
}
