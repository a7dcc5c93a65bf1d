//! The checkers: sentences about what never happens, asked of a finished world.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use adjutant_domain::approval::{Approval, ApprovalState};
use adjutant_domain::id::{CallId, RunId};
use adjutant_domain::message::Message;
use adjutant_domain::money::Micros;
use adjutant_domain::run::{Entry, Fence, LedgerLine, Logged, Row, Run, RunStatus, project};
use adjutant_sim::{Effects, Snapshot};

use super::{CAP, Plan};

type RunView = (Run, RunStatus, Vec<Logged>, Vec<Fence>);

/// Everything that is wrong.
pub(super) fn all(
    plan: &Plan,
    world: &Snapshot,
    effects: &Effects,
    accepted: &[RunId],
) -> Vec<String> {
    let mut out: Vec<String> = world.broken.clone();
    out.extend(effects.breaches());
    for run in accepted {
        if !world.runs.iter().any(|(r, ..)| r.id == *run) {
            out.push(format!("{run} was accepted and is lost"));
        }
    }
    for view in &world.runs {
        one_outcome(view, &mut out);
        one_writer(view, &mut out);
        calls(view, &mut out);
        words(view, &mut out);
    }
    once(plan, world, effects, &mut out);
    projections(world, &mut out);
    money(plan, world, &mut out);
    positions(world, &mut out);
    out
}

// Invariant 1 and R6: exactly one end, and nothing after it.
fn one_outcome((run, status, log, _): &RunView, out: &mut Vec<String>) {
    let ends = log
        .iter()
        .filter(|l| matches!(l.entry, Entry::Finished { .. }))
        .count();
    let last = log
        .last()
        .is_some_and(|l| matches!(l.entry, Entry::Finished { .. }));
    if ends != 1 || !last {
        out.push(format!(
            "{} has {ends} ends (last entry is one: {last})",
            run.id
        ));
    }
    if !matches!(status, RunStatus::Finished { .. }) {
        out.push(format!("{} is not over", run.id));
    }
    for (index, logged) in log.iter().enumerate() {
        if logged.seq.0 != index as u64 + 1 {
            out.push(format!("{} has a hole at {}", run.id, index + 1));
        }
    }
}

// Invariant 4 and R15: only the holder of the newest claim writes.
fn one_writer((run, _, log, written_by): &RunView, out: &mut Vec<String>) {
    let mut newest = Fence(0);
    for (logged, by) in log.iter().zip(written_by) {
        if let Entry::Claimed { fence, .. } = logged.entry {
            if fence <= newest {
                out.push(format!(
                    "{} was claimed under {} after {}",
                    run.id, fence.0, newest.0
                ));
            }
            newest = fence;
        }
        if *by != newest {
            out.push(format!(
                "{}: a claim of {} wrote under {}",
                run.id, by.0, newest.0
            ));
        }
    }
}

// Words that reached a run are shown to the model before the run ends well; no clock jump ends a run.
fn words((run, _, log, _): &RunView, out: &mut Vec<String>) {
    let heard = log
        .iter()
        .rposition(|l| matches!(l.entry, Entry::Steered { .. }));
    let asked = log
        .iter()
        .rposition(|l| matches!(l.entry, Entry::ModelAsked { .. }));
    match log.last().map(|l| &l.entry) {
        Some(Entry::Finished {
            outcome: adjutant_domain::run::Outcome::Done { .. },
            ..
        }) if asked < heard => {
            out.push(format!(
                "{} ended without an answer to the owner's words",
                run.id
            ));
        }
        Some(Entry::Finished {
            outcome:
                adjutant_domain::run::Outcome::Failed {
                    kind: adjutant_domain::run::FailKind::Timeout,
                    ..
                },
            ..
        }) => out.push(format!("{} was ended by a clock that jumped", run.id)),
        _ => {}
    }
}

// Invariants 2, 3 and 19: intent before result, at most one result, no held call without a yes.
fn calls((run, _, log, _): &RunView, out: &mut Vec<String>) {
    let mut started: BTreeMap<CallId, u32> = BTreeMap::new();
    let mut finished: BTreeSet<CallId> = BTreeSet::new();
    let mut waiting: BTreeSet<CallId> = BTreeSet::new();
    for logged in log {
        match &logged.entry {
            Entry::CallHeld { approval, .. } => {
                waiting.insert(approval.call);
            }
            Entry::ApprovalResolved { call, choice, .. } if choice.allows() => {
                waiting.remove(call);
            }
            Entry::CallStarted { call, .. } => {
                *started.entry(*call).or_default() += 1;
                if waiting.contains(call) {
                    out.push(format!(
                        "{}: {call} started while its question was open",
                        run.id
                    ));
                }
                if finished.contains(call) {
                    out.push(format!("{}: {call} started again after its result", run.id));
                }
            }
            Entry::CallFinished { call, outcome, .. } => {
                if !finished.insert(*call) {
                    out.push(format!("{}: {call} has two results", run.id));
                }
                let happened = !matches!(outcome, adjutant_domain::ToolOutcome::Denied { .. });
                let by_a_person = waiting.contains(call);
                if happened && !started.contains_key(call) && !by_a_person {
                    out.push(format!("{}: {call} has a result without an intent", run.id));
                }
            }
            _ => {}
        }
    }
}

// R4: what must happen once happened at most once, whatever the log says.
fn once(plan: &Plan, world: &Snapshot, effects: &Effects, out: &mut Vec<String>) {
    for (call, (tool, n)) in effects.counts() {
        if 1 < n {
            out.push(format!("{tool} {call} ran {n} times"));
        }
    }
    if plan.once_is_declared_a_read {
        return;
    }
    // Never silently dropped: a started call has a result, if only *unknown*, unless the run was stopped first.
    for (run, _, log, _) in &world.runs {
        let results: BTreeSet<CallId> = log
            .iter()
            .filter_map(|l| match &l.entry {
                Entry::CallFinished { call, .. } => Some(*call),
                _ => None,
            })
            .collect();
        for logged in log {
            if let Entry::CallStarted { call, .. } = &logged.entry
                && !results.contains(call)
            {
                out.push(format!("{}: {call} was started and has no result", run.id));
            }
        }
    }
}

// Invariant 1: every other row can be rebuilt from the logs.
fn projections(world: &Snapshot, out: &mut Vec<String>) {
    let mut messages: BTreeMap<_, Message> = BTreeMap::new();
    let mut approvals: BTreeMap<_, Approval> = BTreeMap::new();
    let mut ledger: Vec<(RunId, LedgerLine)> = Vec::new();
    for (run, status, log, _) in &world.runs {
        let mut rebuilt = RunStatus::Queued;
        for logged in log {
            for row in project(run, logged) {
                match row {
                    Row::Status(status) => rebuilt = status,
                    Row::Message(message) => {
                        messages.insert(message.id, message);
                    }
                    Row::Approval(approval) => {
                        approvals.insert(approval.id, *approval);
                    }
                    Row::ApprovalResolved {
                        id,
                        state,
                        choice,
                        by,
                    } => {
                        if let Some(approval) = approvals.get_mut(&id) {
                            approval.state = state;
                            approval.choice = Some(choice);
                            approval.answered_by = Some(by);
                        }
                    }
                    Row::ApprovalsLapse => {
                        for approval in approvals.values_mut().filter(|a| a.run == run.id) {
                            if approval.state == ApprovalState::Open {
                                approval.state = ApprovalState::Cancelled;
                            }
                        }
                    }
                    Row::Ledger(line) => ledger.push((run.id, line)),
                    Row::Hide { .. } | Row::Reserve(_) | Row::Event(_) => {}
                }
            }
        }
        if rebuilt != *status {
            out.push(format!(
                "{}: its row says {status:?}, its log says {rebuilt:?}",
                run.id
            ));
        }
    }
    for message in &world.messages {
        let Some(rebuilt) = messages.get(&message.id) else {
            continue;
        };
        let placed = Message {
            seq: message.seq,
            ..rebuilt.clone()
        };
        if placed != *message {
            out.push(format!("{} differs from its log", message.id));
        }
    }
    for id in messages.keys() {
        if !world.messages.iter().any(|m| m.id == *id) {
            out.push(format!("{id} is in a log and not in its thread"));
        }
    }
    for approval in &world.approvals {
        let rebuilt = approvals.get(&approval.id);
        // An answer that came after the run's end stays an answer in its row.
        let late = rebuilt.is_some_and(|r| r.state == ApprovalState::Cancelled);
        if !late && rebuilt != Some(approval) {
            out.push(format!("{} differs from its log", approval.id));
        }
        if approval.state == ApprovalState::Open {
            out.push(format!("{} is open after its run ended", approval.id));
        }
    }
    let sorted = |mut lines: Vec<(RunId, LedgerLine)>| {
        lines.sort_by_key(|(run, line)| (*run, line.reservation));
        lines
    };
    if sorted(ledger) != sorted(world.ledger.clone()) {
        out.push("the ledger differs from the logs".to_owned());
    }
}

// Money: nothing stays reserved, the counters are the sums, and no cap is passed.
fn money(plan: &Plan, world: &Snapshot, out: &mut Vec<String>) {
    if 0 < world.open_reservations {
        out.push(format!(
            "{} reservations are still open",
            world.open_reservations
        ));
    }
    let total: Micros = world
        .ledger
        .iter()
        .filter_map(|(_, l)| l.cost.micros())
        .sum();
    let mut days: BTreeMap<String, Micros> = BTreeMap::new();
    for (_, line) in &world.ledger {
        *days.entry(line.day.clone()).or_default() += line.cost.micros().unwrap_or_default();
    }
    for ((_, scope, key), spend) in &world.spends {
        if spend.reserved_micros != Micros::ZERO {
            out.push(format!(
                "{scope} {key} still holds {}",
                spend.reserved_micros
            ));
        }
        if scope == "day" && days.get(key) != Some(&spend.used_micros) {
            out.push(format!(
                "day {key}: the counter says {}, the ledger {total}",
                spend.used_micros
            ));
        }
    }
    if plan.cap {
        for (day, used) in days {
            if CAP < used {
                out.push(format!("day {day} used {used} of a cap of {CAP}"));
            }
        }
    }
}

// R11: positions in a thread are gapless.
fn positions(world: &Snapshot, out: &mut Vec<String>) {
    let mut by_thread: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for message in &world.messages {
        if let Some(seq) = message.seq {
            by_thread.entry(message.thread).or_default().push(seq);
        }
    }
    for (thread, mut seqs) in by_thread {
        seqs.sort_unstable();
        if seqs.iter().enumerate().any(|(i, seq)| *seq != i as u64 + 1) {
            out.push(format!("{thread} has positions {seqs:?}"));
        }
    }
}

/// The whole world as text: what a failing seed prints, and what two runs of one seed must agree on.
pub(super) fn history(world: &Snapshot) -> String {
    let mut out = String::new();
    for (run, _, log, by) in &world.runs {
        writeln!(out, "{} {}", run.id, run.name()).unwrap();
        for (logged, by) in log.iter().zip(by) {
            let detail = match &logged.entry {
                Entry::CallStarted {
                    call,
                    name,
                    attempt,
                    ..
                } => format!("{name} {call} #{attempt}"),
                Entry::CallFinished {
                    call,
                    name,
                    outcome,
                    ..
                } => format!("{name} {call} {}", outcome.word()),
                Entry::ModelFailed { fault, retry, .. } => format!("{fault:?} {retry:?}"),
                Entry::ModelReplied { parts, .. } => format!("{} parts", parts.len()),
                Entry::Finished { outcome, .. } => format!("{outcome:?}"),
                Entry::Parked { until } => format!("{until:?}"),
                Entry::Claimed {
                    worker,
                    fence,
                    from,
                } => format!("{worker} fence {} from {from:?}", fence.0),
                Entry::ApprovalResolved {
                    call, choice, by, ..
                } => format!("{call} {choice:?} by {by}"),
                _ => String::new(),
            };
            writeln!(
                out,
                "  {:>3} {} f{} {} {detail}",
                logged.seq.0,
                logged.at,
                by.0,
                logged.entry.word()
            )
            .unwrap();
        }
    }
    out
}
