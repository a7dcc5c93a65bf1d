#![allow(clippy::unwrap_used)]

use adjutant_domain::id::OwnerId;
use adjutant_domain::money::Micros;

use super::*;

fn event(run: u128, at: i64, kind: EventKind) -> Event {
    Event {
        cursor: 1,
        owner: "owner".parse::<OwnerId>().unwrap(),
        at: Timestamp::from_millis(at),
        run: Some(RunId::from_u128(run)),
        run_name: None,
        session: None,
        kind,
    }
}

fn finished(name: &str) -> EventKind {
    EventKind::CallFinished {
        call: CallId::from_u128(1),
        name: name.to_owned(),
        outcome: "done".to_owned(),
        preview: String::new(),
    }
}

fn has(text: &str, line: &str) {
    assert!(
        text.lines().any(|it| it == line),
        "{line} is not in\n{text}"
    );
}

#[test]
fn events_become_counters_and_durations() {
    let metrics = Metrics::new("1.2.3");
    let usage = Usage {
        input: 10,
        output: 3,
        ..Usage::default()
    };
    let replied = |cost| EventKind::ModelReplied {
        message: adjutant_domain::id::MessageId::from_u128(1),
        route: "mock/m1".to_owned(),
        usage,
        cost,
    };
    for kind in [
        EventKind::RunStarted,
        replied(Cost::Priced { micros: Micros(25) }),
        replied(Cost::Unpriced),
        EventKind::CallStarted {
            call: CallId::from_u128(1),
            name: "file_read".to_owned(),
            args: serde_json::Value::Null,
        },
    ] {
        metrics.observe(&event(1, 1_000, kind));
    }
    metrics.observe(&event(1, 1_030, finished("file_read")));
    has(&metrics.render(), "adjutant_runs_active 1");
    let outcome = EventKind::RunFinished {
        outcome: "done".to_owned(),
        reason: None,
        message: None,
        usage,
        cost: Cost::Unpriced,
    };
    metrics.observe(&event(1, 3_000, outcome));
    metrics.observe_request("chat.send", RequestOutcome::Ok, Duration::from_millis(6));
    let text = metrics.render();
    has(&text, "adjutant_build_info{version=\"1.2.3\"} 1");
    has(&text, "adjutant_runs_total{outcome=\"done\"} 1");
    has(&text, "adjutant_runs_active 0");
    has(
        &text,
        "adjutant_llm_calls_total{provider=\"mock\",model=\"m1\",outcome=\"ok\"} 2",
    );
    has(
        &text,
        "adjutant_llm_tokens_total{provider=\"mock\",model=\"m1\",kind=\"input\"} 20",
    );
    has(
        &text,
        "adjutant_llm_cost_micros_total{provider=\"mock\",model=\"m1\"} 25",
    );
    has(
        &text,
        "adjutant_llm_unpriced_calls_total{provider=\"mock\",model=\"m1\"} 1",
    );
    has(
        &text,
        "adjutant_tool_calls_total{tool=\"file_read\",outcome=\"done\"} 1",
    );
    has(
        &text,
        "adjutant_tool_duration_seconds_bucket{tool=\"file_read\",le=\"0.02\"} 0",
    );
    has(
        &text,
        "adjutant_tool_duration_seconds_bucket{tool=\"file_read\",le=\"0.04\"} 1",
    );
    has(&text, "adjutant_run_duration_seconds_sum 2");
    has(
        &text,
        "adjutant_rpc_duration_seconds_bucket{method=\"chat.send\",le=\"0.01\"} 1",
    );
}

#[test]
fn a_family_without_samples_is_still_announced() {
    let text = Metrics::new("0").render();
    for (name, kind, _) in FAMILIES {
        let lines = text
            .lines()
            .filter(|it| *it == format!("# TYPE {name} {kind}"))
            .count();
        assert_eq!(lines, 1, "{name}");
    }
}

#[test]
fn invented_names_do_not_grow_the_families_without_bound() {
    let metrics = Metrics::new("0");
    for n in 0..1_000 {
        metrics.observe(&event(1, 0, finished(&format!("tool{n}"))));
    }
    let text = metrics.render();
    let lines = text
        .lines()
        .filter(|it| it.starts_with("adjutant_tool_calls_total{"))
        .count();
    assert_eq!(lines, LABEL_VALUES_MAX + 1);
    has(
        &text,
        "adjutant_tool_calls_total{tool=\"other\",outcome=\"done\"} 800",
    );
}

#[test]
fn a_label_cannot_break_the_format() {
    let metrics = Metrics::new("0");
    metrics.observe(&event(1, 0, finished("a\"b\\c\nd")));
    let text = metrics.render();
    has(
        &text,
        "adjutant_tool_calls_total{tool=\"a\\\"b\\\\c\\nd\",outcome=\"done\"} 1",
    );
}
