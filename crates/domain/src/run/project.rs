//! The rows about a run, derived from its entries. Both databases and the memory store call this one function.

use serde::{Deserialize, Serialize};

use crate::approval::{Approval, ApprovalState, Choice};
use crate::event::EventKind;
use crate::id::{ApprovalId, ReservationId};
use crate::label::{Label, Origin};
use crate::message::{Message, Part, Role};
use crate::money::{Cost, Micros, Usage};
use crate::run::entry::{AskedBudget, ClaimedFrom, Entry, Logged, Outcome, Run, Wake};
use crate::run::fault::Retry;
use crate::time::Timestamp;
use crate::tool::ToolOutcome;

/// Longest preview of a tool's text in an event, in bytes.
const PREVIEW_BYTES_MAX: usize = 240;

/// A run's place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum RunStatus {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Rests.
    Parked {
        /// Until when, and why.
        until: Wake,
    },
    /// Over.
    Finished {
        /// How.
        outcome: Outcome,
    },
}

impl RunStatus {
    /// One word, for columns.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Parked { .. } => "parked",
            Self::Finished { .. } => "finished",
        }
    }
}

/// One model call in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The reservation it settles; also its identity.
    pub reservation: ReservationId,
    /// What had been reserved.
    pub reserved: Micros,
    /// The local day it counts against.
    pub day: String,
    /// `provider/model`.
    pub route: String,
    /// Token counts.
    pub usage: Usage,
    /// What it cost.
    pub cost: Cost,
    /// When.
    pub at: Timestamp,
}

/// One consequence of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// The run's place in the queue.
    Status(RunStatus),
    /// A new message; its position is assigned by the store under the session's seat.
    Message(Message),
    /// Everything of the thread up to this position is hidden behind a summary.
    Hide {
        /// Last hidden position.
        through: u64,
    },
    /// Money is held.
    Reserve(AskedBudget),
    /// Money was spent; the reservation is gone.
    Ledger(LedgerLine),
    /// A new question.
    Approval(Box<Approval>),
    /// A question was answered.
    ApprovalResolved {
        /// Which.
        id: ApprovalId,
        /// Its new state.
        state: ApprovalState,
        /// The answer.
        choice: Choice,
        /// Who answered.
        by: String,
    },
    /// Every open question of the run lapses.
    ApprovalsLapse,
    /// A fact for the feed.
    Event(EventKind),
}

/// What `logged` means for every other table. Pure.
#[must_use]
pub fn project(run: &Run, logged: &Logged) -> Vec<Row> {
    match &logged.entry {
        Entry::Accepted { input, .. } => {
            let mut rows = vec![Row::Status(RunStatus::Queued)];
            if let Some(message) = input.first() {
                rows.push(Row::Event(EventKind::RunQueued {
                    agent: run.agent.clone(),
                    message: *message,
                }));
            }
            rows
        }
        Entry::Claimed { fence, from, .. } => vec![
            Row::Status(RunStatus::Running),
            Row::Event(match from {
                ClaimedFrom::Queue => EventKind::RunStarted,
                ClaimedFrom::Rest => EventKind::RunWoken,
                ClaimedFrom::LostWorker => EventKind::RunResumed {
                    claims: fence.0.saturating_sub(1),
                },
            }),
        ],
        Entry::ModelAsked { budget, .. } => vec![Row::Reserve(budget.clone())],
        Entry::ModelReplied { .. } | Entry::ModelFailed { .. } => project_model(run, logged),
        Entry::CallAdmitted { .. } | Entry::CancelAsked { .. } => vec![],
        Entry::CallHeld { approval, .. } => vec![
            Row::Approval(approval.clone()),
            Row::Event(EventKind::ApprovalRequested {
                approval: approval.id,
                call: approval.call,
            }),
        ],
        Entry::CallStarted {
            call, name, args, ..
        } => vec![Row::Event(EventKind::CallStarted {
            call: *call,
            name: name.clone(),
            args: args.clone(),
        })],
        Entry::CallFinished { .. } => project_result(run, logged),
        Entry::ApprovalResolved {
            approval,
            choice,
            by,
            ..
        } => vec![
            Row::ApprovalResolved {
                id: *approval,
                state: resolved_state(choice, by),
                choice: choice.clone(),
                by: by.clone(),
            },
            Row::Event(EventKind::ApprovalResolved {
                approval: *approval,
                choice: choice.clone(),
                by: by.clone(),
            }),
        ],
        // The message row was written when the words were accepted.
        Entry::Steered { .. } => vec![],
        Entry::Compacted { .. } => project_summary(run, logged),
        Entry::Parked { until } => vec![
            Row::Status(RunStatus::Parked {
                until: until.clone(),
            }),
            Row::Event(EventKind::RunParked {
                reason: until.word().to_owned(),
            }),
        ],
        Entry::Finished {
            outcome,
            usage,
            cost,
        } => vec![
            Row::ApprovalsLapse,
            Row::Status(RunStatus::Finished {
                outcome: outcome.clone(),
            }),
            Row::Event(finished(outcome, usage, cost)),
        ],
    }
}

fn project_summary(run: &Run, logged: &Logged) -> Vec<Row> {
    let Entry::Compacted {
        message,
        text,
        through,
        trust,
        route,
        usage,
        cost,
        budget,
    } = &logged.entry
    else {
        return vec![];
    };
    vec![
        Row::Hide { through: *through },
        Row::Message(Message {
            id: *message,
            thread: run.thread,
            seq: None,
            role: Role::Summary,
            parts: vec![Part::Text { text: text.clone() }],
            run: Some(run.id),
            // A summary may quote anything that was said, so it is trusted no further than what it hides (S21).
            label: Label::of(Origin::Model).at_most(*trust),
            at: logged.at,
        }),
        Row::Ledger(ledger(budget, route, usage, cost, logged.at)),
        Row::Event(EventKind::Compacted { through: *through }),
    ]
}

/// The state of a question after this answer.
fn resolved_state(choice: &Choice, by: &str) -> ApprovalState {
    match choice {
        Choice::Deny if by == "expiry" => ApprovalState::Expired,
        Choice::Deny => ApprovalState::Denied,
        Choice::Once | Choice::Session | Choice::For { .. } | Choice::Always => {
            ApprovalState::Allowed
        }
    }
}

fn finished(outcome: &Outcome, usage: &Usage, cost: &Cost) -> EventKind {
    let (reason, message) = match outcome {
        Outcome::Done { message } => (None, *message),
        Outcome::Failed { kind, reason } => (Some(format!("{}: {reason}", kind.word())), None),
        Outcome::Cancelled { by } => (Some(format!("stopped by {by}")), None),
    };
    EventKind::RunFinished {
        outcome: outcome.word().to_owned(),
        reason,
        message,
        usage: *usage,
        cost: *cost,
    }
}

fn project_model(run: &Run, logged: &Logged) -> Vec<Row> {
    match &logged.entry {
        Entry::ModelReplied {
            message,
            parts,
            route,
            usage,
            cost,
            budget,
            ..
        } => vec![
            Row::Message(Message {
                id: *message,
                thread: run.thread,
                seq: None,
                role: Role::Assistant,
                parts: parts.clone(),
                run: Some(run.id),
                label: Label::of(Origin::Model),
                at: logged.at,
            }),
            Row::Ledger(ledger(budget, route, usage, cost, logged.at)),
            Row::Event(EventKind::ModelReplied {
                message: *message,
                route: route.clone(),
                usage: *usage,
                cost: *cost,
            }),
        ],
        Entry::ModelFailed {
            route,
            fault,
            retry,
            usage,
            cost,
            budget,
        } => vec![
            Row::Ledger(ledger(budget, route, usage, cost, logged.at)),
            Row::Event(EventKind::ModelFailed {
                route: route.clone(),
                reason: fault.sentence(),
                retries: !matches!(retry, Retry::GiveUp),
            }),
        ],
        _ => vec![],
    }
}

fn ledger(
    budget: &AskedBudget,
    route: &str,
    usage: &Usage,
    cost: &Cost,
    at: Timestamp,
) -> LedgerLine {
    LedgerLine {
        reservation: budget.reservation,
        reserved: budget.reserve,
        day: budget.day.clone(),
        route: route.to_owned(),
        usage: *usage,
        cost: *cost,
        at,
    }
}

fn project_result(run: &Run, logged: &Logged) -> Vec<Row> {
    let Entry::CallFinished {
        call,
        wire_id,
        name,
        message,
        outcome,
        ..
    } = &logged.entry
    else {
        return vec![];
    };
    let label = match outcome {
        ToolOutcome::Done { label, .. } => label.clone(),
        ToolOutcome::Failed { .. } => Label::of(Origin::Command),
        ToolOutcome::Denied { .. } | ToolOutcome::Unknown { .. } => Label::of(Origin::System),
    };
    vec![
        Row::Message(Message {
            id: *message,
            thread: run.thread,
            seq: None,
            role: Role::Tool,
            parts: vec![Part::ToolResult {
                call: *call,
                wire_id: wire_id.clone(),
                name: name.clone(),
                text: outcome.text().to_owned(),
                is_error: outcome.is_error(),
            }],
            run: Some(run.id),
            label,
            at: logged.at,
        }),
        Row::Event(EventKind::CallFinished {
            call: *call,
            name: name.clone(),
            outcome: outcome.word().to_owned(),
            preview: cut(outcome.text(), PREVIEW_BYTES_MAX).to_owned(),
        }),
    ]
}

/// The beginning of `text`, at most `bytes_max` bytes, ending at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
