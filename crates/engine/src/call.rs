//! Tool calls, from the model's wish to the outcome.
//!
//! The order is the point: ask policy, write the intent, act, write the result.
//! See architecture, invariants 2, 3, 6 and 19.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join_all, select};

use adjutant_domain::approval::{Approval, ApprovalState, Choice, Grant, GrantEffect};
use adjutant_domain::id::{ApprovalId, CallId, GrantId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::run::{CallState, Entry, Phase, RunState, TrailStep, Work};
use adjutant_domain::tool::{ActionClass, Effect, ToolCall, ToolOutcome};
use adjutant_policy::{Decision, Facts, Permit, Question, Verdict, admit_call};
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::{Tool, ToolCx};

use crate::drive::{Cx, Halt};
use crate::next::{Settlement, settle};
use crate::{context, reflect};

/// Room for the marks and exit lines that tools add to a result they have cut themselves, in bytes.
const RESULT_SLACK_BYTES: usize = 512;

/// Added to a tool's own deadline before the engine drops its future.
const TOOL_GRACE: Duration = Duration::from_secs(2);

/// Learns how far the model's words can be trusted before policy is asked. Under the claim that asked the model this is
/// known; under a later one only the run's own log is, and not what the model was shown besides (S21, S22).
async fn recollect(cx: &mut Cx, state: &RunState) -> Result<(), Halt> {
    match state.work {
        Work::Call { .. } => {}
        Work::Chat => {
            cx.history().await?;
            context::recalled(cx).await?;
        }
        Work::Reflect { of } if !cx.reflected => {
            reflect::prompt(cx, of).await?;
        }
        Work::Reflect { .. } => {}
    }
    Ok(())
}

/// Asks policy about calls that were asked for, answered or left unanswered too long.
pub(crate) async fn admit(cx: &mut Cx, state: &mut RunState, calls: &[CallId]) -> Result<(), Halt> {
    recollect(cx, state).await?;
    let grants = cx
        .deps
        .store
        .grants(&cx.run.owner, Some(&cx.run.agent))
        .await?;
    for id in calls {
        let Some(CallState { call, phase, .. }) = state.call(*id).cloned() else {
            continue;
        };
        match phase {
            Phase::Refused { by } => {
                let text = if by == "expiry" {
                    "nobody answered the question in time, so it was not done".to_owned()
                } else {
                    format!("the owner said no ({by}); do not try the same thing another way")
                };
                finish(cx, state, *id, ToolOutcome::Denied { text });
            }
            Phase::Held { approval, .. } => {
                let entry = Entry::ApprovalResolved {
                    approval,
                    call: *id,
                    choice: Choice::Deny,
                    by: "expiry".to_owned(),
                };
                cx.note(state, entry);
            }
            Phase::Requested | Phase::Approved { .. } => {
                judge_and_note(cx, state, &call, &phase, &grants)
            }
            Phase::Admitted { .. } | Phase::Started { .. } | Phase::Finished => {}
        }
    }
    Ok(())
}

fn judge_and_note(
    cx: &mut Cx,
    state: &mut RunState,
    call: &ToolCall,
    phase: &Phase,
    grants: &[Grant],
) {
    let asks_owner = cx
        .deps
        .tools
        .get(&call.name)
        .is_some_and(|t| t.card.spec().asks_owner);
    let Decision { verdict, trail } = judge(cx, state, call, grants);
    match (verdict, phase) {
        (Verdict::Admit(_), Phase::Approved { .. }) if asks_owner => {
            let text = "the owner agreed, without further words".to_owned();
            finish(
                cx,
                state,
                call.id,
                ToolOutcome::Done {
                    text,
                    label: Label::of(Origin::Owner),
                },
            );
        }
        (Verdict::Admit(permit), _) if asks_owner => {
            let question = Question {
                class: ActionClass::Talk,
                digest: permit.digest().to_owned(),
                canonical: call.args.clone(),
                shown: question_text(call),
                reason: "the agent asks you".to_owned(),
                grant_key: None,
            };
            hold(cx, state, call, question, trail);
        }
        (Verdict::Admit(permit), _) => {
            cx.permits.insert(call.id, permit);
            cx.note(
                state,
                Entry::CallAdmitted {
                    call: call.id,
                    trail,
                },
            );
        }
        (Verdict::Ask(question), _) => hold(cx, state, call, *question, trail),
        (Verdict::Deny(reason), _) => {
            let outcome = ToolOutcome::Denied { text: reason };
            finish_with(cx, state, call.id, outcome, trail);
        }
    }
}

/// The question of `ask_user`, as its arguments put it.
fn question_text(call: &ToolCall) -> String {
    let mut text = call
        .args
        .get("question")
        .and_then(|q| q.as_str())
        .unwrap_or_default()
        .to_owned();
    if let Some(options) = call.args.get("options").and_then(|o| o.as_array()) {
        for option in options.iter().filter_map(|o| o.as_str()) {
            text.push_str("\n  - ");
            text.push_str(option);
        }
    }
    text
}

fn judge(cx: &Cx, state: &RunState, call: &ToolCall, grants: &[Grant]) -> Decision {
    let approved = state.approved_digest(call.id);
    let facts = Facts {
        agent: &cx.agent,
        session: cx.run.session,
        card: cx.deps.tools.get(&call.name).map(|entry| &entry.card),
        now: cx.now(),
        workspace: &cx.workspace,
        allowed_dirs: &cx.allowed_dirs,
        state_dir: &cx.deps.places.state_dir,
        home: &cx.deps.places.home,
        grants,
        approved_digest: approved.as_deref(),
        lowest_trust: cx.lowest_trust,
        by_owner: cx.by_owner(state, call.id),
    };
    admit_call(call.clone(), &facts)
}

fn hold(
    cx: &mut Cx,
    state: &mut RunState,
    call: &ToolCall,
    question: Question,
    trail: Vec<TrailStep>,
) {
    let now = cx.now();
    let limits = &state.limits.agent;
    let patience = limits
        .approval_timeout
        .duration()
        .saturating_add(limits.approval_grace.duration());
    let approval = Approval {
        id: ApprovalId::mint(now, cx.entropy()),
        owner: cx.run.owner.clone(),
        run: cx.run.id,
        call: call.id,
        session: cx.run.session,
        session_key: cx.run.session_key.clone(),
        agent: cx.run.agent.clone(),
        tool: call.name.clone(),
        class: question.class,
        digest: question.digest,
        canonical: question.canonical,
        shown: question.shown,
        reason: question.reason,
        grant_key: question.grant_key,
        state: ApprovalState::Open,
        created_at: now,
        expires_at: now.plus(patience),
        answered_by: None,
        choice: None,
    };
    cx.note(
        state,
        Entry::CallHeld {
            approval: Box::new(approval),
            trail,
        },
    );
}

/// Performs admitted calls: the first one, or as many neighbours as only read.
pub(crate) async fn run(cx: &mut Cx, state: &mut RunState, calls: &[CallId]) -> Result<(), Halt> {
    let group = group(cx, state, calls);
    let mut jobs = Vec::with_capacity(group.len());
    for id in group {
        let Some(CallState { call, starts, .. }) = state.call(id).cloned() else {
            continue;
        };
        let Some(tool) = cx.deps.tools.get(&call.name).map(|e| Arc::clone(&e.tool)) else {
            let text = format!("there is no tool `{}` on this machine any more", call.name);
            finish(cx, state, id, ToolOutcome::Denied { text });
            continue;
        };
        let Some(permit) = permit_for(cx, state, &call).await? else {
            continue;
        };
        // The intent must be stored before the effect: after a crash, "started and unknown" is the only honest state.
        let entry = Entry::CallStarted {
            call: id,
            attempt: starts + 1,
            name: call.name.clone(),
            args: call.args.clone(),
        };
        cx.note(state, entry);
        jobs.push((id, tool, permit));
    }
    cx.flush(state).await?;
    if state.cancel.is_some() {
        // The stop arrived with the write: nothing has started yet.
        for (id, ..) in jobs {
            finish(
                cx,
                state,
                id,
                ToolOutcome::Denied {
                    text: "stopped before it began".to_owned(),
                },
            );
        }
        return Ok(());
    }
    if !jobs.is_empty() {
        failpoint::reach(Point::AfterIntent);
    }
    perform(cx, state, jobs).await
}

fn group(cx: &Cx, state: &RunState, calls: &[CallId]) -> Vec<CallId> {
    let reads = |id: &CallId| {
        state
            .call(*id)
            .and_then(|c| cx.deps.tools.get(&c.call.name))
            .is_some_and(|e| e.card.spec().effect == Effect::Reads)
    };
    let side_by_side = calls.iter().take_while(|id| reads(id)).count();
    calls
        .iter()
        .take(side_by_side.clamp(1, cx.config.parallel_reads as usize))
        .copied()
        .collect()
}

/// The permit that was just given, or a new question to policy when the call was admitted under an earlier claim.
async fn permit_for(
    cx: &mut Cx,
    state: &mut RunState,
    call: &ToolCall,
) -> Result<Option<Permit>, Halt> {
    if let Some(permit) = cx.permits.remove(&call.id) {
        return Ok(Some(permit));
    }
    recollect(cx, state).await?;
    let grants = cx
        .deps
        .store
        .grants(&cx.run.owner, Some(&cx.run.agent))
        .await?;
    let Decision { verdict, trail } = judge(cx, state, call, &grants);
    Ok(match verdict {
        Verdict::Admit(permit) => Some(permit),
        Verdict::Ask(question) => {
            hold(cx, state, call, *question, trail);
            None
        }
        Verdict::Deny(reason) => {
            finish_with(
                cx,
                state,
                call.id,
                ToolOutcome::Denied { text: reason },
                trail,
            );
            None
        }
    })
}

type Job = (CallId, Arc<dyn Tool>, Permit);

/// What a call is that was stopped at its time limit: for one that must happen once, nobody knows.
fn overdue(effect: Effect, deadline: Duration) -> ToolOutcome {
    let text = format!("stopped at the time limit of {} s", deadline.as_secs());
    match effect {
        Effect::Once => ToolOutcome::Unknown {
            text: format!("{text}; part of it may have happened"),
        },
        Effect::Reads | Effect::Idempotent => ToolOutcome::Failed { text },
    }
}

async fn perform(cx: &mut Cx, state: &mut RunState, jobs: Vec<Job>) -> Result<(), Halt> {
    let ids: Vec<CallId> = jobs.iter().map(|(id, ..)| *id).collect();
    let deadline = cx.tool_deadline(state);
    let tool_cx = match tool_cx(cx, state, deadline) {
        Ok(tool_cx) => tool_cx,
        Err(reason) => {
            for id in ids {
                finish(
                    cx,
                    state,
                    id,
                    ToolOutcome::Failed {
                        text: reason.clone(),
                    },
                );
            }
            return Ok(());
        }
    };
    let clock = Arc::clone(&cx.deps.clock);
    let effects = join_all(jobs.into_iter().map(|(id, tool, permit)| {
        let tool_cx = tool_cx.clone();
        let limit = clock.sleep(deadline.saturating_add(TOOL_GRACE));
        async move {
            let effect = std::pin::pin!(tool.run(permit, &tool_cx));
            let outcome = match select(effect, limit).await {
                Either::Left((Ok(outcome), _)) => outcome,
                Either::Left((Err(error), _)) => ToolOutcome::Failed {
                    text: error.to_string(),
                },
                Either::Right(_) => overdue(tool.spec().effect, deadline),
            };
            (id, outcome)
        }
    }));
    match cx.attend(state, effects).await? {
        Some(outcomes) => {
            failpoint::reach(Point::AfterEffect);
            // What was admitted beside these calls was admitted before their results were known (invariant 19).
            cx.permits.clear();
            for (id, outcome) in outcomes {
                // Tools cut their own output and say so; this is the belt for those that do not.
                let outcome = bounded(
                    outcome,
                    cx.config.tool_result_bytes as usize + RESULT_SLACK_BYTES,
                );
                finish(cx, state, id, outcome);
            }
        }
        None => {
            for id in ids {
                let text =
                    "stopped by the owner while it ran; part of it may have happened".to_owned();
                finish(cx, state, id, ToolOutcome::Unknown { text });
            }
        }
    }
    Ok(())
}

fn tool_cx(cx: &mut Cx, state: &RunState, deadline: Duration) -> Result<ToolCx, String> {
    let files = cx.open_files()?;
    Ok(ToolCx {
        owner: cx.run.owner.clone(),
        agent: Arc::clone(&cx.agent),
        run: crate::reflect::source_run(cx, state),
        session: cx.run.session,
        thread: cx.run.thread,
        now: cx.now(),
        workspace: cx.workspace.clone(),
        files,
        deadline,
    })
}

/// Finds out what calls became that were under way when the last worker was lost.
pub(crate) async fn settle_all(
    cx: &mut Cx,
    state: &mut RunState,
    calls: &[CallId],
) -> Result<(), Halt> {
    for id in calls {
        let Some(CallState { call, .. }) = state.call(*id).cloned() else {
            continue;
        };
        let entry = cx
            .deps
            .tools
            .get(&call.name)
            .map(|e| (Arc::clone(&e.tool), e.card.spec().effect));
        let settlement = entry
            .as_ref()
            .map_or(Settlement::ProbeOrUnknown, |(_, effect)| settle(*effect));
        match (settlement, entry) {
            (Settlement::Repeat, Some(_)) => {
                let said = "interrupted; safe to run again with the same key".to_owned();
                let trail = vec![TrailStep {
                    stage: "settle".to_owned(),
                    said,
                }];
                cx.note(state, Entry::CallAdmitted { call: *id, trail });
            }
            (_, entry) => {
                let deadline = cx.tool_deadline(state);
                let probed = match (entry, tool_cx(cx, state, deadline)) {
                    (Some((tool, _)), Ok(tool_cx)) => tool.probe(&call, &tool_cx).await,
                    _ => None,
                };
                let outcome = probed.unwrap_or_else(|| ToolOutcome::Unknown {
                    text: "the worker was lost while this ran; it may or may not have happened, and it is not \
                           repeated automatically: look before you try again"
                        .to_owned(),
                });
                finish(cx, state, *id, outcome);
            }
        }
    }
    Ok(())
}

/// Notes a result.
pub(crate) fn finish(cx: &mut Cx, state: &mut RunState, id: CallId, outcome: ToolOutcome) {
    finish_with(cx, state, id, outcome, Vec::new());
}

fn finish_with(
    cx: &mut Cx,
    state: &mut RunState,
    id: CallId,
    outcome: ToolOutcome,
    trail: Vec<TrailStep>,
) {
    let Some(CallState { call, .. }) = state.call(id).cloned() else {
        return;
    };
    let entry = Entry::CallFinished {
        call: id,
        wire_id: call.wire_id,
        name: call.name,
        message: cx.message_id(),
        outcome,
        trail,
    };
    cx.note(state, entry);
}

/// The held call that waits for words of the owner, if there is one.
pub(crate) fn waits_for_owner(cx: &Cx, state: &RunState) -> Option<CallId> {
    state
        .calls
        .iter()
        .filter(|c| matches!(c.phase, Phase::Held { .. }))
        .find(|c| {
            cx.deps
                .tools
                .get(&c.call.name)
                .is_some_and(|t| t.card.spec().asks_owner)
        })
        .map(|c| c.call.id)
}

/// The grants that lasting answers among `entries` stand for (S32).
pub(crate) fn grants_of(cx: &Cx, entries: &[Entry]) -> Vec<Grant> {
    let now = cx.now();
    entries
        .iter()
        .filter_map(|entry| {
            let Entry::ApprovalResolved {
                approval,
                choice,
                by,
                ..
            } = entry
            else {
                return None;
            };
            let asked = cx.questions.get(approval)?;
            let key = asked.grant_key.clone()?;
            let (session, expires_at) = match choice {
                Choice::Session => (Some(asked.session), None),
                Choice::For { span } => (None, Some(now.plus(span.duration()))),
                Choice::Always => (None, None),
                Choice::Once | Choice::Deny => return None,
            };
            Some(Grant {
                // Derived from the question, so that a write that is tried again stores the same grant.
                id: GrantId::from_u128(approval.as_u128()),
                owner: asked.owner.clone(),
                agent: asked.agent.clone(),
                session,
                tool: asked.tool.clone(),
                key,
                effect: GrantEffect::Allow,
                expires_at,
                created_at: now,
                created_by: by.clone(),
            })
        })
        .collect()
}

/// Cuts a result for the model: the beginning and the end, with a mark that states the size.
fn bounded(outcome: ToolOutcome, bytes_max: usize) -> ToolOutcome {
    let cut = |text: String| {
        if text.len() <= bytes_max {
            return text;
        }
        let head = text.floor_char_boundary(bytes_max * 3 / 4);
        let tail = text.ceil_char_boundary(text.len() - bytes_max / 4);
        format!(
            "{}\n[… cut: {} bytes in all …]\n{}",
            &text[..head],
            text.len(),
            &text[tail..]
        )
    };
    match outcome {
        ToolOutcome::Done { text, label } => ToolOutcome::Done {
            text: cut(text),
            label,
        },
        ToolOutcome::Failed { text } => ToolOutcome::Failed { text: cut(text) },
        ToolOutcome::Denied { text } => ToolOutcome::Denied { text: cut(text) },
        ToolOutcome::Unknown { text } => ToolOutcome::Unknown { text: cut(text) },
    }
}
