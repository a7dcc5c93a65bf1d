//! The books of a run, for people: log, decisions, cost, check.

use serde_json::Value;

use adjutant_cli::Failure;
use adjutant_domain::time::Timestamp;
use adjutant_protocol::methods::budget::{BudgetUsage, BudgetUsageParams, UsageGroup};
use adjutant_protocol::methods::common::KeyOnly;
use adjutant_protocol::methods::runs::{
    RunsLog, RunsLogParams, TraceStep, TraceWhy, TraceWhyParams,
};
use adjutant_protocol::methods::system::VerifyRun;

use super::talk::Session;

/// Longest line of a table, in characters.
const LINE_CHARS_MAX: usize = 100;

/// A log, and what must be true of it.
pub(super) struct Log {
    pub(super) text: String,
    pub(super) gapless: bool,
    /// Whether a call began that the one who began it did not end.
    pub(super) taken_over: bool,
}

/// What a call came to.
pub(super) struct Call {
    pub(super) tool: String,
    pub(super) outcome: String,
}

/// What it cost.
pub(super) struct Cost {
    pub(super) text: String,
    pub(super) calls: u64,
}

/// What the check of the store found.
pub(super) struct Verified {
    pub(super) text: String,
    pub(super) ok: bool,
}

pub(super) async fn log(session: &Session, run: &str) -> Result<Log, Failure> {
    let mut entries = Vec::new();
    let mut from = None;
    loop {
        let page = session
            .client
            .call::<RunsLog>(RunsLogParams {
                run_id: run.to_owned(),
                from,
            })
            .await?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let gapless = (1..).zip(&entries).all(|(n, entry)| entry.seq == n);
    let kind = |entry: &Value| {
        entry
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let cut_off = |at: usize| {
        let before = at.checked_sub(1).and_then(|it| entries.get(it));
        before.is_some_and(|it| kind(&it.entry) == "call_started")
            && entries
                .get(at)
                .is_some_and(|it| kind(&it.entry) == "claimed")
    };
    let taken_over = (0..entries.len()).any(cut_off);
    let begun = entries.first().map_or_else(Timestamp::default, |it| it.at);
    let lines: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(at, it)| {
            let note = if cut_off(at) {
                "  <- taken over after the kill"
            } else {
                ""
            };
            let after = it.at.since(begun).as_millis();
            clipped(&format!(
                "{:>3}  +{after:>6} ms  {:<18} {}{note}",
                it.seq,
                kind(&it.entry),
                detail(&it.entry)
            ))
        })
        .collect();
    Ok(Log {
        text: fenced(&lines.join("\n")),
        gapless,
        taken_over,
    })
}

/// The one thing about an entry that helps to follow the story.
fn detail(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let inside = |path: &str| {
        entry
            .pointer(path)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    text("name")
        .or_else(|| inside("/approval/tool"))
        .or_else(|| text("route"))
        .or_else(|| inside("/outcome/type"))
        .or_else(|| inside("/choice/type"))
        .or_else(|| inside("/wake/type"))
        .or_else(|| {
            entry
                .get("fence")
                .filter(|it| it.is_number())
                .map(|it| format!("claim {it}"))
        })
        .unwrap_or_default()
}

pub(super) async fn calls_of(session: &Session, run: &str) -> Result<Vec<Call>, Failure> {
    let why = session
        .client
        .call::<TraceWhy>(TraceWhyParams {
            run_id: run.to_owned(),
        })
        .await?;
    let calls = why.steps.into_iter().filter_map(|step| match step {
        TraceStep::Call { tool, outcome, .. } => Some(Call { tool, outcome }),
        _ => None,
    });
    Ok(calls.collect())
}

pub(super) async fn decisions(session: &Session, run: &str) -> Result<String, Failure> {
    let why = session
        .client
        .call::<TraceWhy>(TraceWhyParams {
            run_id: run.to_owned(),
        })
        .await?;
    let lines = why.steps.iter().filter_map(|step| match step {
        TraceStep::Judged {
            tool,
            verdict,
            trail,
            ..
        } => {
            let tool = tool.as_deref().unwrap_or("a call");
            let last = trail
                .iter()
                .rev()
                .find(|it| matches!(it.stage.as_str(), "approval" | "settle" | "command"));
            let said = last
                .map(|it| format!(" — {}: {}", it.stage, it.said))
                .unwrap_or_default();
            Some(format!("{tool} was {verdict}{said}"))
        }
        TraceStep::Answered { answer, by, .. } => Some(format!("  answered: {answer}, by {by}")),
        TraceStep::Call { tool, outcome, .. } => Some(format!("  {tool}: {outcome}")),
        TraceStep::Note { text, .. } => Some(format!("• {text}")),
        TraceStep::ModelFailed { route, reason, .. } => Some(format!("{route} failed: {reason}")),
        TraceStep::Model { .. } => None,
    });
    let lines: Vec<String> = lines.map(|line| clipped(&line)).collect();
    Ok(fenced(&lines.join("\n")))
}

pub(super) async fn cost(session: &Session) -> Result<Cost, Failure> {
    let params = BudgetUsageParams {
        from: None,
        to: None,
        group_by: UsageGroup::Model,
    };
    let used = session.client.call::<BudgetUsage>(params).await?;
    let lines: Vec<String> = used
        .rows
        .iter()
        .map(|row| {
            let spent = &row.spent;
            format!(
                "{:<20} {:>4} calls  {:>8} tokens  {}",
                row.group,
                spent.calls,
                spent.usage.total(),
                spent.used_micros
            )
        })
        .collect();
    Ok(Cost {
        text: fenced(&lines.join("\n")),
        calls: used.total.calls,
    })
}

pub(super) async fn verify(session: &Session) -> Result<Verified, Failure> {
    let found = session.client.call::<VerifyRun>(KeyOnly::default()).await?;
    let mut lines: Vec<String> = found
        .checked
        .iter()
        .map(|it| format!("{:<28} {:>6} checked", it.name, it.count))
        .collect();
    lines.extend(found.findings.iter().map(|it| format!("wrong: {it}")));
    Ok(Verified {
        text: fenced(&lines.join("\n")),
        ok: found.ok,
    })
}

fn fenced(text: &str) -> String {
    format!("```\n{text}\n```")
}

fn clipped(text: &str) -> String {
    let line = text.replace(['\n', '\r', '`'], " ");
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_the_log_says_what_it_is_about() {
        assert_eq!(
            detail(&json!({ "type": "call_started", "name": "shell_run" })),
            "shell_run"
        );
        assert_eq!(detail(&json!({ "type": "claimed", "fence": 2 })), "claim 2");
        assert_eq!(
            detail(&json!({ "type": "call_finished", "outcome": { "type": "unknown" } })),
            "unknown"
        );
        assert_eq!(detail(&json!({ "type": "parked" })), "");
    }

    #[test]
    fn long_lines_are_cut_at_a_character() {
        let line = clipped(&"é".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(line.chars().count(), LINE_CHARS_MAX + 1);
        assert!(line.ends_with('…'));
    }
}
