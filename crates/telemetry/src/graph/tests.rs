#![allow(clippy::unwrap_used)]

use serde_json::json;

use adjutant_domain::approval::{Approval, ApprovalState, Choice};
use adjutant_domain::id::{MessageId, ReservationId, RunId, SessionId, WorkerId};
use adjutant_domain::label::{Label, Origin, Trust};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{
    AskedBudget, Fence, Limits, ModelFault, Outcome, Retry, StopReason, TrailStep, Wake, Work,
};
use adjutant_domain::tool::{ActionClass, ToolOutcome};

use super::*;

fn read_call() -> CallId {
    CallId::from_u128(1)
}

fn write_call() -> CallId {
    CallId::from_u128(2)
}

fn budget() -> AskedBudget {
    AskedBudget {
        reservation: ReservationId::from_u128(1),
        reserve: Micros(1_500),
        day: "2026-11-21".to_owned(),
    }
}

fn accepted() -> Entry {
    Entry::Accepted {
        input: vec![MessageId::from_u128(1)],
        limits: Box::new(Limits::default()),
        work: Work::Chat,
    }
}

fn claimed(fence: u64) -> Entry {
    Entry::Claimed {
        worker: WorkerId::from_u128(7),
        fence: Fence(fence),
        from: adjutant_domain::run::ClaimedFrom::Queue,
    }
}

fn asked(attempt: u32) -> Entry {
    Entry::ModelAsked {
        attempt,
        route: "mock/m1".to_owned(),
        budget: budget(),
    }
}

fn replied(calls: &[(CallId, &str)]) -> Entry {
    let parts = calls.iter().map(|(call, name)| Part::ToolCall {
        call: *call,
        wire_id: "w".to_owned(),
        name: (*name).to_owned(),
        args: json!({}),
    });
    Entry::ModelReplied {
        message: MessageId::from_u128(2),
        parts: parts.collect(),
        stop: if calls.is_empty() {
            StopReason::End
        } else {
            StopReason::ToolUse
        },
        route: "mock/m1".to_owned(),
        usage: Usage {
            input: 100,
            output: 20,
            ..Usage::default()
        },
        cost: Cost::Priced {
            micros: Micros(250),
        },
        budget: budget(),
    }
}

fn failed() -> Entry {
    Entry::ModelFailed {
        route: "mock/m1".to_owned(),
        fault: ModelFault::TimedOut,
        retry: Retry::Same {
            at: Timestamp::from_millis(5),
        },
        usage: Usage::default(),
        cost: Cost::Unpriced,
        budget: budget(),
    }
}

fn admitted(call: CallId) -> Entry {
    let trail = vec![TrailStep {
        stage: "scope".to_owned(),
        said: "inside the workspace".to_owned(),
    }];
    Entry::CallAdmitted { call, trail }
}

fn held(call: CallId) -> Entry {
    let approval = Approval {
        id: ApprovalId::from_u128(9),
        owner: "owner".parse().unwrap(),
        run: RunId::from_u128(1),
        call,
        session: SessionId::from_u128(1),
        session_key: "agent:main:main".parse().unwrap(),
        agent: "main".parse().unwrap(),
        tool: "file_write".to_owned(),
        class: ActionClass::Write,
        digest: "d".to_owned(),
        canonical: json!({}),
        shown: "write".to_owned(),
        reason: "it writes".to_owned(),
        grant_key: None,
        state: ApprovalState::Open,
        created_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(9),
        answered_by: None,
        choice: None,
    };
    Entry::CallHeld {
        approval: Box::new(approval),
        trail: Vec::new(),
    }
}

fn answered(call: CallId, choice: Choice) -> Entry {
    Entry::ApprovalResolved {
        approval: ApprovalId::from_u128(9),
        call,
        choice,
        by: "owner (terminal)".to_owned(),
    }
}

fn started(call: CallId, name: &str, attempt: u32) -> Entry {
    Entry::CallStarted {
        call,
        attempt,
        name: name.to_owned(),
        args: json!({}),
    }
}

fn ended(call: CallId, name: &str, outcome: ToolOutcome) -> Entry {
    Entry::CallFinished {
        call,
        wire_id: "w".to_owned(),
        name: name.to_owned(),
        message: MessageId::from_u128(3),
        outcome,
        trail: Vec::new(),
    }
}

fn done() -> ToolOutcome {
    ToolOutcome::Done {
        text: "ok".to_owned(),
        label: Label {
            origin: Origin::System,
            trust: Trust::Owner,
        },
    }
}

fn parked() -> Entry {
    Entry::Parked {
        until: Wake::Approval {
            until: Timestamp::from_millis(600_000),
        },
    }
}

fn finished() -> Entry {
    Entry::Finished {
        outcome: Outcome::Done {
            message: Some(MessageId::from_u128(4)),
        },
        usage: Usage {
            input: 200,
            output: 40,
            ..Usage::default()
        },
        cost: Cost::Priced {
            micros: Micros(500),
        },
    }
}

fn logged(entries: Vec<Entry>) -> Vec<Logged> {
    let number = |place: usize| u64::try_from(place).unwrap() + 1;
    let log = entries
        .into_iter()
        .enumerate()
        .map(|(place, entry)| Logged {
            seq: Seq(number(place)),
            at: Timestamp::from_millis(i64::try_from(place).unwrap() * 10),
            entry,
        });
    log.collect()
}

fn story() -> Vec<Logged> {
    logged(vec![
        accepted(),
        claimed(1),
        asked(1),
        failed(),
        asked(2),
        replied(&[(read_call(), "file_read"), (write_call(), "file_write")]),
        admitted(read_call()),
        started(read_call(), "file_read", 1),
        claimed(2),
        started(read_call(), "file_read", 2),
        ended(read_call(), "file_read", done()),
        held(write_call()),
        parked(),
        answered(write_call(), Choice::Once),
        claimed(3),
        admitted(write_call()),
        started(write_call(), "file_write", 1),
        ended(write_call(), "file_write", done()),
        asked(3),
        replied(&[]),
        finished(),
    ])
}

#[test]
fn a_chain_leads_from_the_trigger_through_the_approval_to_the_result() {
    insta::assert_snapshot!(Graph::of(&story()).why(write_call()).join("\n"));
}

#[test]
fn a_trail_tells_the_whole_run() {
    insta::assert_snapshot!(Graph::of(&story()).trail());
}

#[test]
fn a_repeated_call_says_that_a_crash_came_between() {
    let why = Graph::of(&story()).why(read_call());
    assert!(
        why.iter()
            .any(|it| it.contains("attempt 2") && it.contains("crash")),
        "{why:#?}"
    );
}

#[test]
fn a_refused_call_is_explained_by_the_refusal() {
    let log = logged(vec![
        accepted(),
        asked(1),
        replied(&[(write_call(), "file_write")]),
        held(write_call()),
        answered(write_call(), Choice::Deny),
        ended(
            write_call(),
            "file_write",
            ToolOutcome::Denied {
                text: "the owner said no".to_owned(),
            },
        ),
    ]);
    let graph = Graph::of(&log);
    let blocked = Edge {
        from: Seq(5),
        to: Seq(6),
        kind: EdgeKind::Blocked,
    };
    assert!(graph.edges.contains(&blocked), "{:#?}", graph.edges);
    let why = graph.why(write_call());
    assert_eq!(
        why.last().map(String::as_str),
        Some("`file_write` ended denied: the owner said no")
    );
    assert_eq!(why.iter().filter(|it| it.contains("refused")).count(), 1);
}

#[test]
fn the_next_question_follows_from_every_result() {
    let log = logged(vec![
        accepted(),
        asked(1),
        replied(&[(read_call(), "a"), (write_call(), "b")]),
        ended(read_call(), "a", done()),
        ended(write_call(), "b", done()),
        asked(2),
    ]);
    let into: Vec<_> = Graph::of(&log)
        .edges
        .into_iter()
        .filter(|it| it.to == Seq(6))
        .collect();
    let from: Vec<_> = into.iter().map(|it| (it.from.0, it.kind)).collect();
    assert_eq!(from, [(5, EdgeKind::Answered), (4, EdgeKind::Answered)]);
}

#[test]
fn every_step_but_the_first_and_a_stop_has_an_earlier_cause() {
    let graph = Graph::of(&story());
    for node in graph.nodes.iter().skip(1) {
        let cause = graph.edges.iter().find(|edge| edge.to == node.seq);
        assert!(cause.is_some_and(|edge| edge.from < edge.to), "{node:?}");
    }
}

#[test]
fn a_name_from_a_model_cannot_break_the_line() {
    let log = logged(vec![
        accepted(),
        asked(1),
        replied(&[(read_call(), "x\n\u{1b}[2Jy\u{202e}")]),
    ]);
    let trail = Graph::of(&log).trail();
    assert_eq!(trail.lines().count(), 3);
    assert!(!trail.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn an_unknown_call_and_an_empty_log_explain_nothing() {
    assert_eq!(Graph::of(&[]), Graph::default());
    assert_eq!(
        Graph::of(&story()).why(CallId::from_u128(99)),
        Vec::<String>::new()
    );
}

#[test]
fn a_long_chain_keeps_its_beginning_and_its_end() {
    let mut entries = vec![accepted()];
    for attempt in 0..500 {
        entries.extend([
            asked(attempt),
            replied(&[(read_call(), "a")]),
            ended(read_call(), "a", done()),
        ]);
    }
    let why = Graph::of(&logged(entries)).why(read_call());
    assert!(why.len() <= CHAIN_MAX + 1, "{}", why.len());
    assert!(why.get(1).is_some_and(|it| it.ends_with(" steps")));
}
