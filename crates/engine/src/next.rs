//! The agent loop in one pure function.

use adjutant_domain::id::CallId;
use adjutant_domain::run::{FailKind, ModelPhase, Outcome, Phase, Retry, RunState, Wake, Work};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::Effect;

/// Claims without any finished step after which a run counts as poison (R34).
const POISON_CLAIMS: u64 = 3;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// These calls were started and have no result: find out what they became.
    Settle(Vec<CallId>),
    /// Ask policy about these calls.
    Admit(Vec<CallId>),
    /// Perform these calls, in order; neighbours that only read may run side by side.
    Run(Vec<CallId>),
    /// A model call was under way when the last worker was lost: write that down.
    Recover,
    /// Ask the model.
    AskModel,
    /// Rest.
    Wait(Wake),
    /// End.
    Finish(Outcome),
    /// Nothing: the run is over.
    Rest,
}

/// What a call in doubt becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It runs again with the same key.
    Repeat,
    /// Its tool is asked whether it happened; if it cannot tell, the answer is *unknown*. Never repeated (R4).
    ProbeOrUnknown,
}

/// What a call in doubt becomes, by its effect class.
#[must_use]
pub fn settle(effect: Effect) -> Settlement {
    match effect {
        Effect::Reads | Effect::Idempotent => Settlement::Repeat,
        Effect::Once => Settlement::ProbeOrUnknown,
    }
}

/// The next step of a run. Pure: the same state at the same moment gives the same step.
#[must_use]
pub fn next(state: &RunState, now: Timestamp) -> Next {
    if state.outcome.is_some() {
        return Next::Rest;
    }
    let in_doubt = calls_in(state, |p| matches!(p, Phase::Started { .. }));
    if !in_doubt.is_empty() {
        return Next::Settle(in_doubt);
    }
    if let ModelPhase::Asked { .. } = state.model {
        return Next::Recover;
    }
    if let Some(by) = &state.cancel {
        return Next::Finish(Outcome::Cancelled { by: by.clone() });
    }
    if POISON_CLAIMS < state.claims_without_progress {
        return fail(
            FailKind::Poison,
            format!("{POISON_CLAIMS} workers were lost while they worked on this run"),
        );
    }
    if let Some(step) = next_call(state, now) {
        return step;
    }
    if let Some(guard) = guard(state, now) {
        return guard;
    }
    match &state.model {
        ModelPhase::Replied { message, .. } => Next::Finish(Outcome::Done {
            message: Some(*message),
        }),
        ModelPhase::Failed {
            fault,
            retry: Retry::GiveUp,
        } => fail(FailKind::Model, fault.sentence()),
        ModelPhase::Failed {
            retry: Retry::Same { at },
            ..
        } if now < *at => Next::Wait(Wake::Retry { at: *at }),
        ModelPhase::Idle | ModelPhase::Failed { .. } => match state.work {
            Work::Call { .. } => Next::Finish(Outcome::Done { message: None }),
            Work::Chat | Work::Reflect { .. } => Next::AskModel,
        },
        ModelPhase::Asked { .. } => Next::Recover,
    }
}

fn calls_in(state: &RunState, wanted: impl Fn(&Phase) -> bool) -> Vec<CallId> {
    state
        .calls
        .iter()
        .filter(|c| wanted(&c.phase))
        .map(|c| c.call.id)
        .collect()
}

/// What the open calls of this turn need.
fn next_call(state: &RunState, now: Timestamp) -> Option<Next> {
    let overdue = |p: &Phase| matches!(p, Phase::Held { expires_at, .. } if *expires_at <= now);
    let to_judge = calls_in(state, |p| {
        matches!(
            p,
            Phase::Requested | Phase::Approved { .. } | Phase::Refused { .. }
        ) || overdue(p)
    });
    if !to_judge.is_empty() {
        return Some(Next::Admit(to_judge));
    }
    // In the order the model gave: a call behind one that waits for a person waits, too.
    let runnable: Vec<CallId> = state
        .calls
        .iter()
        .filter(|c| c.phase != Phase::Finished)
        .take_while(|c| matches!(c.phase, Phase::Admitted { .. }))
        .map(|c| c.call.id)
        .collect();
    if !runnable.is_empty() {
        return Some(Next::Run(runnable));
    }
    let until = state
        .calls
        .iter()
        .filter_map(|c| match &c.phase {
            Phase::Held { expires_at, .. } => Some(*expires_at),
            _ => None,
        })
        .min()?;
    Some(Next::Wait(Wake::Approval { until }))
}

/// The limits that end runaway loops (R33). Checked between steps, never in the middle of one.
fn guard(state: &RunState, now: Timestamp) -> Option<Next> {
    if matches!(state.model, ModelPhase::Replied { .. }) {
        return None;
    }
    if matches!(state.work, Work::Call { .. }) {
        return None;
    }
    let limits = &state.limits.agent;
    if limits.max_steps <= state.turns {
        return Some(fail(
            FailKind::MaxSteps,
            format!("the run reached its limit of {} steps", limits.max_steps),
        ));
    }
    if limits.timeout.duration() <= state.active_time(now) {
        return Some(fail(
            FailKind::Timeout,
            format!("the run reached its time limit of {}", limits.timeout),
        ));
    }
    if limits.max_tokens <= state.usage.total() {
        return Some(fail(
            FailKind::MaxTokens,
            format!("the run reached its limit of {} tokens", limits.max_tokens),
        ));
    }
    if limits.max_repeats < state.repeats {
        return Some(fail(
            FailKind::Repetition,
            format!(
                "the model asked for the same calls more than {} times in a row",
                limits.max_repeats
            ),
        ));
    }
    None
}

fn fail(kind: FailKind, reason: String) -> Next {
    Next::Finish(Outcome::Failed { kind, reason })
}

#[cfg(test)]
mod tests;
