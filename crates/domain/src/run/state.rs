//! A run's state, folded from its log. Pure: the same log gives the same state.

use std::time::Duration;

use crate::id::{ApprovalId, CallId, MessageId};
use crate::message::Part;
use crate::money::{Cost, Micros, Usage};
use crate::run::entry::{AskedBudget, Entry, Fence, Limits, Logged, Outcome, Seq, Wake, Work};
use crate::run::fault::{ModelFault, Retry, StopReason};
use crate::time::Timestamp;
use crate::tool::{ToolCall, ToolOutcome};

/// Where one call stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// The model asked for it.
    Requested,
    /// A person is asked.
    Held {
        /// The question.
        approval: ApprovalId,
        /// The digest the question was about.
        digest: String,
        /// When silence becomes no.
        expires_at: Timestamp,
    },
    /// A person said yes to this digest; policy is asked once more.
    Approved {
        /// The question.
        approval: ApprovalId,
        /// The digest that was approved.
        digest: String,
    },
    /// A person said no.
    Refused {
        /// Who.
        by: String,
    },
    /// Policy said yes.
    Admitted {
        /// The digest a person approved, when one was asked.
        approved: Option<String>,
    },
    /// The intent is durable.
    Started {
        /// Counts from 1.
        attempt: u32,
        /// The digest a person approved, when one was asked.
        approved: Option<String>,
    },
    /// There is a result.
    Finished,
}

/// One call of the current turn.
#[derive(Debug, Clone, PartialEq)]
pub struct CallState {
    /// What the model asked for.
    pub call: ToolCall,
    /// Where it stands.
    pub phase: Phase,
    /// How often it was started.
    pub starts: u32,
}

/// Where the model stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ModelPhase {
    /// Not asked in this turn.
    #[default]
    Idle,
    /// Asked, and no answer is in the log.
    Asked {
        /// `provider/model`.
        route: String,
        /// The reservation.
        budget: AskedBudget,
    },
    /// The last attempt failed.
    Failed {
        /// How.
        fault: ModelFault,
        /// What follows.
        retry: Retry,
    },
    /// It replied; the calls say what is left to do.
    Replied {
        /// The message.
        message: MessageId,
        /// Why it stopped.
        stop: StopReason,
    },
}

/// A run's state. Only [`RunState::apply`] changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// Last position.
    pub seq: Seq,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The messages to answer.
    pub input: Vec<MessageId>,
    /// Bounds.
    pub limits: Limits,
    /// What to do.
    pub work: Work,
    /// How many claims there were.
    pub claims: u64,
    /// Claims since a step last ended: three make it poison (R34).
    pub claims_without_progress: u64,
    /// The last claim.
    pub fence: Fence,
    /// Model replies so far.
    pub turns: u32,
    /// Model attempts so far.
    pub attempts: u32,
    /// Failed attempts in a row on this route.
    pub failures: u32,
    /// Which of the agent's routes is in use.
    pub route_index: u32,
    /// Where the model stands.
    pub model: ModelPhase,
    /// Calls of the current turn, in the order the model gave.
    pub calls: Vec<CallState>,
    /// How often the same set of calls came in a row.
    pub repeats: u32,
    last_calls: Vec<(String, serde_json::Value)>,
    /// Token counts so far.
    pub usage: Usage,
    /// Known cost so far.
    pub spent: Micros,
    /// Whether some call had no price.
    pub unpriced: bool,
    /// Who asked to stop.
    pub cancel: Option<String>,
    /// Words of the owner that no reply has followed yet.
    pub steered: u32,
    /// Why it rests.
    pub parked: Option<Wake>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    active: Duration,
    active_since: Option<Timestamp>,
}

impl Default for RunState {
    fn default() -> Self {
        Self {
            seq: Seq(0),
            accepted_at: Timestamp::default(),
            input: Vec::new(),
            limits: Limits::default(),
            work: Work::Chat,
            claims: 0,
            claims_without_progress: 0,
            fence: Fence(0),
            turns: 0,
            attempts: 0,
            failures: 0,
            route_index: 0,
            model: ModelPhase::Idle,
            calls: Vec::new(),
            repeats: 0,
            last_calls: Vec::new(),
            usage: Usage::default(),
            spent: Micros::ZERO,
            unpriced: false,
            cancel: None,
            steered: 0,
            parked: None,
            outcome: None,
            active: Duration::ZERO,
            active_since: None,
        }
    }
}

/// The longest time between two entries that is believed.
const STEP_MAX: Duration = Duration::from_secs(10 * 60);

impl RunState {
    /// The state after the whole log.
    #[must_use]
    pub fn replay<'a>(log: impl IntoIterator<Item = &'a Logged>) -> Self {
        let mut state = Self::default();
        for logged in log {
            state.apply(logged);
        }
        state
    }

    /// How long the run has been worked on at `now`; parked time is not counted.
    #[must_use]
    pub fn active_time(&self, now: Timestamp) -> Duration {
        let running = self
            .active_since
            .map_or(Duration::ZERO, |since| now.since(since));
        self.active.saturating_add(running)
    }

    /// Judges the running time of this claim by another clock than the log's, which says `now`. Clocks of machines differ, and
    /// a difference is not time that a run has used (R37).
    pub fn judge_time_from(&mut self, now: Timestamp) {
        let Some(claimed_at) = self.active_since else {
            return;
        };
        if let ModelPhase::Failed {
            retry: Retry::Same { at },
            ..
        } = &mut self.model
            && *at <= claimed_at
        {
            // It is due by the log's clock, so it is due.
            *at = (*at).min(now);
        }
        self.active_since = Some(now);
    }

    /// What the run cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        if self.unpriced {
            Cost::Unpriced
        } else {
            Cost::Priced { micros: self.spent }
        }
    }

    /// The call with this identifier.
    #[must_use]
    pub fn call(&self, id: CallId) -> Option<&CallState> {
        self.calls.iter().find(|c| c.call.id == id)
    }

    /// The call that a question is about.
    #[must_use]
    pub fn call_held_by(&self, id: ApprovalId) -> Option<&CallState> {
        self.calls
            .iter()
            .find(|c| matches!(&c.phase, Phase::Held { approval, .. } if *approval == id))
    }

    /// Takes one more fact into account.
    pub fn apply(&mut self, logged: &Logged) {
        self.seq = logged.seq;
        if let Some(since) = self
            .active_since
            .replace(logged.at)
            .filter(|_| !matches!(logged.entry, Entry::Claimed { .. }))
        {
            // No single step takes longer; a longer gap is a clock that jumped (R37).
            self.active = self
                .active
                .saturating_add(logged.at.since(since).min(STEP_MAX));
        } else if !matches!(logged.entry, Entry::Claimed { .. }) {
            self.active_since = None;
        }
        match &logged.entry {
            Entry::Accepted {
                input,
                limits,
                work,
            } => {
                self.accepted_at = logged.at;
                self.input.clone_from(input);
                self.limits = (**limits).clone();
                self.work = work.clone();
                if let Work::Call { call, name, args } = work {
                    self.calls.push(CallState {
                        call: ToolCall {
                            id: *call,
                            wire_id: call.to_string(),
                            name: name.clone(),
                            args: args.clone(),
                        },
                        phase: Phase::Requested,
                        starts: 0,
                    });
                }
            }
            Entry::Claimed { fence, .. } => {
                self.claims += 1;
                self.claims_without_progress += 1;
                self.fence = *fence;
                // A lease that lapsed without a park: the time since the last sign of life is not known, count none.
                self.active_since = Some(logged.at);
                if let Some(Wake::Retry { .. }) = self.parked.take()
                    && let ModelPhase::Failed {
                        retry: Retry::Same { at },
                        ..
                    } = &mut self.model
                {
                    // The store said that the wait is over; a wall clock that jumped must not start it anew (R37).
                    *at = (*at).min(logged.at);
                }
            }
            Entry::Parked { until } => {
                self.active_since = None;
                self.claims_without_progress = 0;
                self.parked = Some(until.clone());
            }
            Entry::CancelAsked { by } => self.cancel = Some(by.clone()),
            Entry::Steered { .. } => {
                self.steered += 1;
                if let ModelPhase::Replied { .. } = self.model {
                    self.model = if self.open_calls() {
                        self.model.clone()
                    } else {
                        ModelPhase::Idle
                    };
                }
            }
            Entry::Finished { outcome, .. } => {
                self.active_since = None;
                self.outcome = Some(outcome.clone());
            }
            Entry::ModelAsked { .. }
            | Entry::ModelReplied { .. }
            | Entry::ModelFailed { .. }
            | Entry::Compacted { .. } => {
                self.apply_model(&logged.entry);
            }
            Entry::CallAdmitted { .. }
            | Entry::CallHeld { .. }
            | Entry::CallStarted { .. }
            | Entry::CallFinished { .. }
            | Entry::ApprovalResolved { .. } => self.apply_call(&logged.entry),
        }
    }

    fn open_calls(&self) -> bool {
        self.calls.iter().any(|c| c.phase != Phase::Finished)
    }

    fn spend(&mut self, usage: &Usage, cost: &Cost) {
        self.usage = self.usage.plus(usage);
        match cost.micros() {
            Some(micros) => self.spent += micros,
            None => self.unpriced = true,
        }
    }

    fn apply_model(&mut self, entry: &Entry) {
        match entry {
            Entry::ModelAsked {
                attempt,
                route,
                budget,
            } => {
                self.attempts = *attempt;
                self.model = ModelPhase::Asked {
                    route: route.clone(),
                    budget: budget.clone(),
                };
            }
            Entry::ModelFailed {
                fault,
                retry,
                usage,
                cost,
                ..
            } => {
                self.spend(usage, cost);
                match retry {
                    Retry::Same { .. } | Retry::GiveUp => self.failures += 1,
                    Retry::NextRoute => {
                        self.failures = 0;
                        self.route_index += 1;
                    }
                }
                self.model = ModelPhase::Failed {
                    fault: fault.clone(),
                    retry: *retry,
                };
            }
            Entry::Compacted { usage, cost, .. } => {
                self.spend(usage, cost);
                self.failures = 0;
                self.model = ModelPhase::Idle;
            }
            Entry::ModelReplied {
                message,
                parts,
                stop,
                usage,
                cost,
                ..
            } => {
                self.spend(usage, cost);
                self.turns += 1;
                self.failures = 0;
                self.claims_without_progress = 0;
                self.model = ModelPhase::Replied {
                    message: *message,
                    stop: stop.clone(),
                };
                self.calls = parts.iter().filter_map(requested).collect();
                let asked: Vec<_> = self
                    .calls
                    .iter()
                    .map(|c| (c.call.name.clone(), c.call.args.clone()))
                    .collect();
                let again = !asked.is_empty() && asked == self.last_calls;
                self.repeats = if again {
                    self.repeats + 1
                } else {
                    u32::from(!asked.is_empty())
                };
                self.last_calls = asked;
            }
            _ => {}
        }
    }

    fn apply_call(&mut self, entry: &Entry) {
        match entry {
            Entry::CallAdmitted { call, .. } => {
                let approved = self.approved_digest(*call);
                self.set_phase(*call, Phase::Admitted { approved });
            }
            Entry::CallHeld { approval, .. } => self.set_phase(
                approval.call,
                Phase::Held {
                    approval: approval.id,
                    digest: approval.digest.clone(),
                    expires_at: approval.expires_at,
                },
            ),
            Entry::CallStarted { call, attempt, .. } => {
                let approved = self.approved_digest(*call);
                self.set_phase(
                    *call,
                    Phase::Started {
                        attempt: *attempt,
                        approved,
                    },
                );
                if let Some(state) = self.calls.iter_mut().find(|c| c.call.id == *call) {
                    state.starts = *attempt;
                }
            }
            Entry::CallFinished { call, outcome, .. } => {
                self.claims_without_progress = 0;
                self.set_phase(*call, Phase::Finished);
                let settled = !self.open_calls();
                if settled && matches!(self.model, ModelPhase::Replied { .. }) {
                    self.model = ModelPhase::Idle;
                }
                if settled && matches!(self.work, Work::Call { .. }) {
                    self.model = ModelPhase::Idle;
                }
                if let ToolOutcome::Unknown { .. } = outcome {
                    // The model decides next; an identical call is a decision, not a loop.
                    self.repeats = 0;
                }
            }
            Entry::ApprovalResolved {
                approval,
                choice,
                by,
                ..
            } => {
                let held = self.calls.iter_mut().find(
                    |c| matches!(&c.phase, Phase::Held { approval: open, .. } if open == approval),
                );
                if let Some(state) = held
                    && let Phase::Held {
                        approval, digest, ..
                    } = &state.phase
                {
                    state.phase = if choice.allows() {
                        Phase::Approved {
                            approval: *approval,
                            digest: digest.clone(),
                        }
                    } else {
                        Phase::Refused { by: by.clone() }
                    };
                }
            }
            _ => {}
        }
    }

    /// The digest a person approved for this call, if one was asked.
    #[must_use]
    pub fn approved_digest(&self, id: CallId) -> Option<String> {
        match &self.call(id)?.phase {
            Phase::Approved { digest, .. } => Some(digest.clone()),
            Phase::Admitted { approved } | Phase::Started { approved, .. } => approved.clone(),
            Phase::Requested | Phase::Held { .. } | Phase::Refused { .. } | Phase::Finished => None,
        }
    }

    fn set_phase(&mut self, id: CallId, phase: Phase) {
        if let Some(call) = self.calls.iter_mut().find(|c| c.call.id == id) {
            call.phase = phase;
        }
    }
}

fn requested(part: &Part) -> Option<CallState> {
    match part {
        Part::ToolCall {
            call,
            wire_id,
            name,
            args,
        } => Some(CallState {
            call: ToolCall {
                id: *call,
                wire_id: wire_id.clone(),
                name: name.clone(),
                args: args.clone(),
            },
            phase: Phase::Requested,
            starts: 0,
        }),
        Part::Text { .. } | Part::Thinking { .. } | Part::ToolResult { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkerId;
    use crate::run::{ClaimedFrom, Fence};

    // covers: R37
    #[test]
    fn a_clock_that_is_a_year_away_from_the_logs_uses_up_no_time_of_the_run() {
        let claimed_at = Timestamp::from_millis(1_000_000);
        let year = Duration::from_secs(365 * 86_400);
        let claimed = Logged {
            seq: Seq(1),
            at: claimed_at,
            entry: Entry::Claimed {
                worker: WorkerId::mint(claimed_at, 1),
                fence: Fence(1),
                from: ClaimedFrom::Queue,
            },
        };
        let mut state = RunState::replay(std::slice::from_ref(&claimed));
        let here = claimed_at.plus(year);
        assert_eq!(state.active_time(here), year);
        state.judge_time_from(here);
        let later = here.plus(Duration::from_secs(5));
        assert_eq!(state.active_time(later), Duration::from_secs(5));
    }

    // covers: R37
    #[test]
    fn a_retry_that_is_due_by_the_logs_clock_is_due_for_a_worker_whose_clock_is_behind() {
        let at = Timestamp::from_millis(1_000_000_000);
        let fact = |seq, at, entry| Logged {
            seq: Seq(seq),
            at,
            entry,
        };
        let claimed = |seq, at, fence| {
            let entry = Entry::Claimed {
                worker: WorkerId::from_u128(1),
                fence: Fence(fence),
                from: ClaimedFrom::Queue,
            };
            fact(seq, at, entry)
        };
        let due = at.plus(Duration::from_secs(10));
        let retry = Retry::Same { at: due };
        let log = [
            claimed(1, at, 1),
            fact(
                2,
                at,
                Entry::Parked {
                    until: Wake::Retry { at: due },
                },
            ),
            claimed(3, due, 2),
        ];
        let failed = ModelPhase::Failed {
            fault: ModelFault::Cut,
            retry,
        };
        let mut state = RunState::replay(&log[..2]);
        state.model = failed;
        state.apply(&log[2]);
        let here = at.minus(Duration::from_secs(3_600));
        state.judge_time_from(here);
        let ModelPhase::Failed {
            retry: Retry::Same { at: next },
            ..
        } = state.model
        else {
            panic!("it failed");
        };
        assert!(next <= here, "{next} is not due at {here}");
    }
}
