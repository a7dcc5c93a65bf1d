//! One sentence per entry, from its facts.

use adjutant_domain::approval::Choice;
use adjutant_domain::message::Part;
use adjutant_domain::money::Cost;
use adjutant_domain::run::{Entry, Outcome, Retry, StopReason, Wake, Work};

/// Longest sentence, in characters.
const SENTENCE_CHARS_MAX: usize = 160;

/// Whether the run rested when an entry was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// A worker held it, or nobody had taken it yet.
    #[default]
    Running,
    /// It waited for an answer or a moment.
    Parked,
}

/// What happened. `name` is the tool of the call the entry is about, where the entry itself does not say.
pub(super) fn sentence(entry: &Entry, name: &str, rest: Rest) -> String {
    let text = match entry {
        Entry::Accepted { input, work, .. } => match work {
            Work::Chat => match input.as_slice() {
                [message] => format!("the message {message} was accepted"),
                many => format!("{} messages were accepted", many.len()),
            },
            Work::Call { name, .. } => format!("a person asked for one call of `{name}`"),
            Work::Reflect { of } => format!("a look back at {of} was accepted"),
        },
        Entry::Claimed { worker, fence, .. } => match (fence.0, rest) {
            (0 | 1, _) => format!("{worker} took the run"),
            (n, Rest::Parked) => format!("{worker} took the run up again (claim {n})"),
            (n, Rest::Running) => {
                format!("{worker} took the run over, its worker was lost (claim {n})")
            }
        },
        Entry::ModelAsked {
            attempt,
            route,
            budget,
        } => {
            format!(
                "`{route}` was asked (attempt {attempt}, {} reserved)",
                budget.reserve
            )
        }
        Entry::ModelReplied {
            parts,
            stop,
            route,
            usage,
            cost,
            ..
        } => format!(
            "`{route}` {}: {} in, {} out, {}",
            replied(parts, stop),
            usage
                .input
                .saturating_add(usage.cache_read)
                .saturating_add(usage.cache_write),
            usage.output,
            shown(*cost)
        ),
        Entry::ModelFailed {
            route,
            fault,
            retry,
            ..
        } => {
            let next = match retry {
                Retry::Same { .. } => "to be asked again",
                Retry::NextRoute => "the next route is asked",
                Retry::GiveUp => "no further attempt",
            };
            format!("`{route}` failed: {} ({next})", fault.sentence())
        }
        Entry::CallAdmitted { .. } => format!("policy admitted `{name}`"),
        Entry::CallHeld { approval, .. } => {
            format!(
                "policy asked a person about `{}`: {}",
                approval.tool, approval.reason
            )
        }
        Entry::ApprovalResolved { choice, by, .. } => answer(choice, by, name),
        Entry::CallStarted { attempt, name, .. } => match attempt {
            1 => format!("`{name}` began"),
            n => format!("`{name}` began again (attempt {n}): a crash had left its result unknown"),
        },
        Entry::CallFinished { name, outcome, .. } => match outcome.word() {
            "done" => format!("`{name}` was done"),
            word => format!("`{name}` ended {word}: {}", outcome.text()),
        },
        Entry::Steered { .. } => "the owner said something more".to_owned(),
        Entry::CancelAsked { by } => format!("{by} asked to stop"),
        Entry::Compacted { through, .. } => {
            format!("messages up to {through} were hidden behind a summary")
        }
        Entry::Parked { until } => match until {
            Wake::Approval { until } => {
                format!("the run began to wait for an answer, at most until {until}")
            }
            Wake::Owner { until } => {
                format!("the run began to wait for the owner, at most until {until}")
            }
            Wake::Retry { at } => format!("the run began to wait for a retry at {at}"),
            Wake::Handover { to: Some(to), .. } => format!("the run was handed to worker {to}"),
            Wake::Handover { to: None, .. } => {
                "its worker stopped and gave the run to others".to_owned()
            }
        },
        Entry::Finished {
            outcome,
            usage,
            cost,
        } => end(
            outcome,
            &format!("{} tokens, {}", usage.total(), shown(*cost)),
        ),
    };
    one_line(&text)
}

fn answer(choice: &Choice, by: &str, name: &str) -> String {
    match choice {
        Choice::Deny if by == "expiry" => {
            format!("nobody answered about `{name}` in time, which is a no")
        }
        Choice::Deny => format!("{by} refused `{name}`"),
        Choice::Once => format!("{by} allowed this call of `{name}`"),
        Choice::Session => format!("{by} allowed `{name}` for this session"),
        Choice::For { span } => format!("{by} allowed `{name}` for {span}"),
        Choice::Always => format!("{by} allowed `{name}` until revoked"),
    }
}

fn end(outcome: &Outcome, sum: &str) -> String {
    match outcome {
        Outcome::Done { .. } => format!("the run was done: {sum}"),
        Outcome::Failed { kind, reason } => {
            format!("the run failed ({}): {reason}; {sum}", kind.word())
        }
        Outcome::Cancelled { by } => format!("the run was cancelled by {by}: {sum}"),
    }
}

/// What each policy stage said about the call.
pub(super) fn trail(entry: &Entry) -> Vec<String> {
    match entry {
        Entry::CallAdmitted { trail, .. }
        | Entry::CallHeld { trail, .. }
        | Entry::CallFinished { trail, .. } => trail
            .iter()
            .map(|step| one_line(&format!("{}: {}", step.stage, step.said)))
            .collect(),
        _ => Vec::new(),
    }
}

fn replied(parts: &[Part], stop: &StopReason) -> String {
    let mut wanted = Vec::new();
    for part in parts {
        if let Part::ToolCall { name, .. } = part {
            wanted.push(format!("`{name}`"));
        }
    }
    match (wanted.as_slice(), stop) {
        ([], StopReason::Length) => "replied and reached its output limit".to_owned(),
        ([], StopReason::Refusal) => "refused".to_owned(),
        ([], _) => "replied".to_owned(),
        (wanted, _) => format!("asked for {}", wanted.join(", ")),
    }
}

fn shown(cost: Cost) -> String {
    match cost.micros() {
        Some(micros) => micros.to_string(),
        None => "price unknown".to_owned(),
    }
}

/// Names and reasons come from models and pages: nothing in them may break the line or steer a terminal.
fn one_line(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| {
            let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || is_direction {
                ' '
            } else {
                c
            }
        })
        .take(SENTENCE_CHARS_MAX)
        .collect();
    if SENTENCE_CHARS_MAX < text.chars().count() {
        out.pop();
        out.push('…');
    }
    out
}
