use adjutant_domain::approval::{Approval, ApprovalState, Choice};
use adjutant_domain::id::{AgentId, OwnerId, SessionId, SessionKey};
use adjutant_domain::id::{ApprovalId, MessageId, ReservationId, RunId, WorkerId};
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{
    AskedBudget, ClaimedFrom, Entry, Fence, Limits, Logged, ModelFault, Seq, StopReason,
};
use adjutant_domain::tool::{ActionClass, ToolOutcome};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn id(n: u128) -> CallId {
    CallId::from_u128(n)
}

fn budget() -> AskedBudget {
    AskedBudget {
        reservation: ReservationId::from_u128(1),
        reserve: Micros(5),
        day: "2026-01-01".into(),
    }
}

fn accepted() -> Entry {
    Entry::Accepted {
        input: vec![],
        limits: Box::new(Limits::default()),
        work: Work::Chat,
    }
}

fn claimed(fence: u64) -> Entry {
    Entry::Claimed {
        worker: WorkerId::from_u128(1),
        fence: Fence(fence),
        from: ClaimedFrom::Queue,
    }
}

fn asked() -> Entry {
    Entry::ModelAsked {
        attempt: 1,
        route: "p/m".into(),
        budget: budget(),
    }
}

fn replied(calls: &[u128]) -> Entry {
    let parts = calls
        .iter()
        .map(|n| Part::ToolCall {
            call: id(*n),
            wire_id: n.to_string(),
            name: "t".into(),
            args: json!({ "n": n.to_string() }),
        })
        .collect();
    Entry::ModelReplied {
        message: MessageId::from_u128(1),
        parts,
        stop: StopReason::End,
        route: "p/m".into(),
        usage: Usage::default(),
        cost: Cost::Unpriced,
        budget: budget(),
    }
}

fn admitted(n: u128) -> Entry {
    Entry::CallAdmitted {
        call: id(n),
        trail: vec![],
    }
}

fn started(n: u128) -> Entry {
    Entry::CallStarted {
        call: id(n),
        attempt: 1,
        name: "t".into(),
        args: json!({}),
    }
}

fn finished(n: u128) -> Entry {
    Entry::CallFinished {
        call: id(n),
        wire_id: n.to_string(),
        name: "t".into(),
        message: MessageId::from_u128(9),
        outcome: ToolOutcome::Failed { text: "x".into() },
        trail: vec![],
    }
}

fn held(n: u128, expires_at: Timestamp) -> Entry {
    Entry::CallHeld {
        approval: Box::new(Approval {
            id: ApprovalId::from_u128(n),
            owner: OwnerId::local(),
            run: RunId::from_u128(1),
            call: id(n),
            session: SessionId::from_u128(1),
            session_key: SessionKey::main_of(&AgentId::main()),
            agent: AgentId::main(),
            tool: "t".into(),
            class: ActionClass::Write,
            digest: "d".into(),
            canonical: json!({}),
            shown: String::new(),
            reason: String::new(),
            grant_key: None,
            state: ApprovalState::Open,
            created_at: NOW,
            expires_at,
            answered_by: None,
            choice: None,
        }),
        trail: vec![],
    }
}

fn answered(n: u128, choice: Choice) -> Entry {
    Entry::ApprovalResolved {
        approval: ApprovalId::from_u128(n),
        call: id(n),
        choice,
        by: "me".into(),
    }
}

#[track_caller]
fn check(log: &[Entry], expect: &Next) {
    let logged: Vec<Logged> = log
        .iter()
        .enumerate()
        .map(|(i, entry)| Logged {
            seq: Seq(i as u64 + 1),
            at: NOW,
            entry: entry.clone(),
        })
        .collect();
    assert_eq!(&next(&RunState::replay(&logged), NOW), expect);
}

const LATER: Timestamp = Timestamp::from_millis(5_000);

#[test]
fn a_fresh_run_asks_the_model() {
    check(&[accepted(), claimed(1)], &Next::AskModel);
}

#[test]
fn a_model_call_in_doubt_is_written_down_first() {
    check(
        &[accepted(), claimed(1), asked(), claimed(2)],
        &Next::Recover,
    );
}

#[test]
fn a_started_call_without_a_result_is_settled_first() {
    check(
        &[accepted(), replied(&[1, 2]), admitted(1), started(1)],
        &Next::Settle(vec![id(1)]),
    );
}

#[test]
fn calls_run_in_the_order_the_model_gave() {
    check(
        &[accepted(), replied(&[1, 2]), admitted(1), admitted(2)],
        &Next::Run(vec![id(1), id(2)]),
    );
}

#[test]
fn a_call_behind_a_question_waits_for_it() {
    let log = [accepted(), replied(&[1, 2]), held(1, LATER), admitted(2)];
    check(&log, &Next::Wait(Wake::Approval { until: LATER }));
}

#[test]
fn a_yes_is_put_to_policy_once_more() {
    let log = [
        accepted(),
        replied(&[1]),
        held(1, LATER),
        answered(1, Choice::Once),
    ];
    check(&log, &Next::Admit(vec![id(1)]));
}

// covers: S27
#[test]
fn silence_until_the_end_is_brought_to_a_decision() {
    check(
        &[accepted(), replied(&[1]), held(1, NOW)],
        &Next::Admit(vec![id(1)]),
    );
}

#[test]
fn results_go_back_to_the_model() {
    check(
        &[
            accepted(),
            replied(&[1]),
            admitted(1),
            started(1),
            finished(1),
        ],
        &Next::AskModel,
    );
}

#[test]
fn a_reply_without_calls_is_the_end() {
    let outcome = Outcome::Done {
        message: Some(MessageId::from_u128(1)),
    };
    check(&[accepted(), replied(&[])], &Next::Finish(outcome));
}

#[test]
fn a_stop_wins_over_everything_but_a_call_in_doubt() {
    let stop = Entry::CancelAsked { by: "me".into() };
    check(
        &[accepted(), stop.clone()],
        &Next::Finish(Outcome::Cancelled { by: "me".into() }),
    );
    check(
        &[accepted(), replied(&[1]), admitted(1), started(1), stop],
        &Next::Settle(vec![id(1)]),
    );
}

// covers: R34
#[test]
fn a_run_that_kills_its_workers_is_given_up() {
    let log = [accepted(), claimed(1), claimed(2), claimed(3), claimed(4)];
    let logged: Vec<Logged> = log
        .iter()
        .enumerate()
        .map(|(i, e)| Logged {
            seq: Seq(i as u64 + 1),
            at: NOW,
            entry: e.clone(),
        })
        .collect();
    let step = next(&RunState::replay(&logged), NOW);
    assert!(
        matches!(
            step,
            Next::Finish(Outcome::Failed {
                kind: FailKind::Poison,
                ..
            })
        ),
        "{step:?}"
    );
}

// covers: R33
#[test]
fn the_same_calls_again_and_again_end_the_run() {
    let mut log = vec![accepted()];
    for _ in 0..4 {
        log.extend([replied(&[1]), admitted(1), started(1), finished(1)]);
    }
    let logged: Vec<Logged> = log
        .iter()
        .enumerate()
        .map(|(i, e)| Logged {
            seq: Seq(i as u64 + 1),
            at: NOW,
            entry: e.clone(),
        })
        .collect();
    let step = next(&RunState::replay(&logged), NOW);
    assert!(
        matches!(
            step,
            Next::Finish(Outcome::Failed {
                kind: FailKind::Repetition,
                ..
            })
        ),
        "{step:?}"
    );
}

#[test]
fn a_retry_waits_for_its_moment() {
    let failed = |at| Entry::ModelFailed {
        route: "p/m".into(),
        fault: ModelFault::TimedOut,
        retry: Retry::Same { at },
        usage: Usage::default(),
        cost: Cost::Unpriced,
        budget: budget(),
    };
    check(
        &[accepted(), asked(), failed(LATER)],
        &Next::Wait(Wake::Retry { at: LATER }),
    );
    check(&[accepted(), asked(), failed(NOW)], &Next::AskModel);
}

#[test]
fn only_once_calls_are_never_repeated() {
    assert_eq!(settle(Effect::Reads), Settlement::Repeat);
    assert_eq!(settle(Effect::Idempotent), Settlement::Repeat);
    assert_eq!(settle(Effect::Once), Settlement::ProbeOrUnknown);
}
