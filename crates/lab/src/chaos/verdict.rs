//! What happened, and whether that is what was promised. Gathering asks the gateway and reads the files that commands
//! wrote; judging is a function of what was gathered, so that it can be shown to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::fleet::Fleet;
use super::load::is_final;
use super::report::Report;
use crate::client::Client;

/// Longest wait for the end of one run that was acknowledged.
const END_MAX: Duration = Duration::from_secs(150);
/// Findings of a kind that are told in full.
const TOLD_MAX: usize = 8;

/// How a run says that it was given up.
const GIVEN_UP: &str = "workers were lost while they worked on this run";

/// One claim, as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) worker: String,
    pub(crate) fence: u64,
    pub(crate) at_ms: u64,
    /// Whether somebody else had it.
    pub(crate) taken_over: bool,
}

/// One call, as the log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) command: String,
    pub(crate) starts: u32,
    /// `done`, `failed`, `denied`, `unknown`.
    pub(crate) outcomes: Vec<String>,
}

/// One run, as the gateway tells it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) run: String,
    /// `done`, `failed`, `cancelled`, or where it stands.
    pub(crate) state: String,
    /// Why it did not end well.
    pub(crate) reason: String,
    pub(crate) finals: u32,
    pub(crate) claims: Vec<Claimed>,
    pub(crate) calls: BTreeMap<String, Call>,
    /// Places of the entries.
    pub(crate) places: Vec<u64>,
    /// Whether something stands behind the end.
    pub(crate) is_open_behind_end: bool,
}

/// Everything a verdict needs.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) acknowledged: Vec<String>,
    /// None: the gateway does not know it.
    pub(crate) runs: BTreeMap<String, Option<Told>>,
    /// Lines that commands wrote, and how often.
    pub(crate) effects: BTreeMap<String, u32>,
    /// What `verify` found.
    pub(crate) findings: Vec<String>,
}

/// The verdict.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) done: u64,
    /// Ended as a poison item, as runs do whose workers are lost again and again without progress (R34).
    pub(crate) given_up: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) unknown: u64,
    pub(crate) effects: u64,
    pub(crate) take_overs: u64,
    pub(crate) lost: Vec<String>,
    pub(crate) without_end: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) vanished: Vec<String>,
    pub(crate) unannounced: Vec<String>,
    pub(crate) finals: Vec<String>,
    pub(crate) order: Vec<String>,
    pub(crate) one_run_two_keys: Vec<String>,
}

impl Verdict {
    /// Writes the verdict into a report.
    pub(crate) fn tell(&self, findings: &[String], report: &mut Report) {
        let n_failed = self.failed.len() as u64;
        report.figure("finished", self.done + self.given_up + n_failed);
        report.figure("done", self.done);
        report.figure("given up", self.given_up);
        report.figure("effects", self.effects);
        report.figure("unknown", self.unknown);
        report.figure("take-overs", self.take_overs);
        let kinds: [(&'static str, &[String]); 9] = [
            ("failed", &self.failed),
            ("lost", &self.lost),
            ("without an end", &self.without_end),
            ("doubled", &self.doubled),
            ("vanished", &self.vanished),
            ("unannounced", &self.unannounced),
            ("not one final", &self.finals),
            ("illegal logs", &self.order),
            ("two keys one run", &self.one_run_two_keys),
        ];
        for (name, cases) in kinds {
            report.figure(name, cases.len() as u64);
            report.break_all(name, cases.iter().take(TOLD_MAX));
        }
        report.figure("verify findings", findings.len() as u64);
        report.break_all("verify", findings.iter().take(TOLD_MAX));
    }
}

/// Judges.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_run: BTreeMap<&str, &str> = BTreeMap::new();
    let mut announced: BTreeSet<&str> = BTreeSet::new();
    for key in &evidence.acknowledged {
        let Some(Some(told)) = evidence.runs.get(key) else {
            verdict.lost.push(key.clone());
            continue;
        };
        if let Some(other) = by_run.insert(&told.run, key) {
            verdict
                .one_run_two_keys
                .push(format!("{key} and {other}: {}", told.run));
        }
        judge_run(key, told, &mut verdict);
    }
    for (key, told) in &evidence.runs {
        for call in told.iter().flat_map(|it| it.calls.values()) {
            let line = line_of(&call.command);
            announced.extend(line);
            let is_done = call.outcomes.iter().any(|it| it == "done");
            if let Some(line) = line.filter(|it| is_done && !evidence.effects.contains_key(*it)) {
                verdict.vanished.push(format!("{key}: {line}"));
            }
        }
    }
    for (line, n) in &evidence.effects {
        verdict.effects += 1;
        if 1 < *n {
            verdict.doubled.push(format!("{line} happened {n} times"));
        }
        // A run that was never acknowledged has a log nobody asked for.
        let key = line.rsplit_once('-').map_or(line.as_str(), |(key, _)| key);
        if evidence.runs.contains_key(key) && !announced.contains(line.as_str()) {
            verdict.unannounced.push(line.clone());
        }
    }
    verdict
}

fn judge_run(key: &str, told: &Told, verdict: &mut Verdict) {
    match told.state.as_str() {
        "done" => verdict.done += 1,
        "failed" if told.reason.contains(GIVEN_UP) => verdict.given_up += 1,
        "failed" | "cancelled" => verdict.failed.push(format!("{key}: {}", told.reason)),
        other => verdict.without_end.push(format!("{key}: {other}")),
    }
    if told.finals != 1 {
        verdict.finals.push(format!("{key}: {}", told.finals));
    }
    let is_whole = told.places.iter().zip(1..).all(|(place, n)| *place == n);
    if !is_whole || told.is_open_behind_end {
        verdict.order.push(format!("{key}: {:?}", told.places));
    }
    let fences: Vec<u64> = told.claims.iter().map(|it| it.fence).collect();
    if !fences.is_sorted_by(|a, b| a < b) {
        verdict.order.push(format!("{key}: fences {fences:?}"));
    }
    verdict.take_overs += told.claims.iter().filter(|it| it.taken_over).count() as u64;
    for (call, it) in &told.calls {
        verdict.unknown += it.outcomes.iter().filter(|it| *it == "unknown").count() as u64;
        // The only commands of the campaign are effects that must happen once.
        if line_of(&it.command).is_some() && 1 < it.starts {
            verdict
                .doubled
                .push(format!("{key}: {call} was started {} times", it.starts));
        }
        if 1 < it.outcomes.len() {
            verdict
                .order
                .push(format!("{key}: {call} ended as {:?}", it.outcomes));
        }
    }
}

/// The line that a command of the campaign writes.
fn line_of(command: &str) -> Option<&str> {
    command.strip_prefix("echo ")?.split_whitespace().next()
}

/// Asks the gateway about every acknowledged run, waiting for the end of each, and reads what commands wrote. Then ends the
/// fleet and verifies its store.
pub(crate) async fn gather(fleet: &mut Fleet, acknowledged: Vec<String>) -> Result<Evidence> {
    let mut evidence = Evidence::default();
    let mut client = Client::connect(fleet.port).await?;
    // One patience for all: a run that comes to its end late has had the time of those before it as well.
    let until = tokio::time::Instant::now() + END_MAX;
    for key in &acknowledged {
        let told = told(&mut client, key, until).await?;
        evidence.runs.insert(key.clone(), told);
    }
    evidence.acknowledged = acknowledged;
    fleet.stop().await?;
    evidence.effects = effects(&fleet.workspace())?;
    evidence.findings = fleet.verify().await?;
    Ok(evidence)
}

async fn told(client: &mut Client, key: &str, until: tokio::time::Instant) -> Result<Option<Told>> {
    let (state, reason) = loop {
        let params = json!({ "runId": key, "timeoutMs": 20_000 });
        match client.call("agent.wait", params).await {
            Ok(end) if is_final(&end) || until < tokio::time::Instant::now() => {
                let text = |name: &str| end[name].as_str().unwrap_or_default().to_owned();
                break (text("state"), text("error"));
            }
            Ok(_) => {}
            Err(error) if format!("{error:#}").contains("NOT_FOUND") => return Ok(None),
            Err(error) => return Err(error),
        }
    };
    let mut entries = Vec::new();
    let mut from = Some(1);
    let mut run = String::new();
    while let Some(place) = from {
        let page = client
            .call("runs.log", json!({ "runId": key, "from": place }))
            .await?;
        entries.extend(page["entries"].as_array().cloned().unwrap_or_default());
        from = page["next"].as_u64();
        run = page["run"]["id"].as_str().unwrap_or(key).to_owned();
    }
    Ok(Some(Told {
        reason,
        ..read_log(run, state, &entries)
    }))
}

/// What a log says.
pub(crate) fn read_log(run: String, state: String, entries: &[Value]) -> Told {
    let mut told = Told {
        run,
        state,
        ..Told::default()
    };
    for logged in entries {
        let entry = &logged["entry"];
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        told.places.push(logged["seq"].as_u64().unwrap_or(0));
        told.is_open_behind_end |= 0 < told.finals;
        match entry["type"].as_str().unwrap_or_default() {
            "claimed" => told.claims.push(Claimed {
                worker: text("worker"),
                fence: entry["fence"].as_u64().unwrap_or(0),
                at_ms: logged["at"]
                    .as_u64()
                    .unwrap_or_else(|| at_ms(&logged["at"])),
                taken_over: entry["from"] == "lost_worker",
            }),
            "call_started" => {
                let call = told.calls.entry(text("call")).or_default();
                call.starts += 1;
                call.command = entry["args"]["command"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
            }
            "call_finished" => {
                let outcome = entry["outcome"]["type"].as_str().unwrap_or("?").to_owned();
                told.calls
                    .entry(text("call"))
                    .or_default()
                    .outcomes
                    .push(outcome);
            }
            "finished" => told.finals += 1,
            _ => {}
        }
    }
    told
}

/// A moment that came as text.
fn at_ms(at: &Value) -> u64 {
    at.as_str()
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0)
}

/// The lines that commands wrote.
pub(crate) fn effects(workspace: &Path) -> Result<BTreeMap<String, u32>> {
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    if !workspace.exists() {
        return Ok(lines);
    }
    for entry in std::fs::read_dir(workspace).context("the workspace")? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            for line in std::fs::read_to_string(&path)?.lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn log(key: &str) -> Vec<Value> {
        let entries = [
            json!({ "type": "accepted" }),
            json!({ "type": "claimed", "worker": "wrk_a", "fence": 1 }),
            json!({ "type": "call_started", "call": "call_1", "args": { "command": format!("echo {key}-0 >> {key}.txt") } }),
            json!({ "type": "call_finished", "call": "call_1", "outcome": { "type": "done" } }),
            json!({ "type": "finished" }),
        ];
        (1..)
            .zip(entries)
            .map(|(seq, entry)| json!({ "seq": seq, "at": 1_000 + seq, "entry": entry }))
            .collect()
    }

    fn evidence() -> Evidence {
        let told = read_log("run_1".to_owned(), "done".to_owned(), &log("a"));
        Evidence {
            acknowledged: vec!["a".to_owned()],
            runs: BTreeMap::from([("a".to_owned(), Some(told))]),
            effects: BTreeMap::from([("a-0".to_owned(), 1)]),
            findings: Vec::new(),
        }
    }

    fn broken(evidence: &Evidence) -> Vec<String> {
        let mut report = Report::default();
        judge(evidence).tell(&evidence.findings, &mut report);
        report.broken
    }

    #[test]
    fn a_run_that_went_well_breaks_nothing() {
        assert_eq!(broken(&evidence()), Vec::<String>::new());
    }

    #[test]
    fn a_run_that_failed_for_no_reason_of_the_campaign_is_red() {
        let mut seen = evidence();
        let told = read_log("run_1".to_owned(), "failed".to_owned(), &log("a"));
        let reason = "the model said no".to_owned();
        seen.runs
            .insert("a".to_owned(), Some(Told { reason, ..told }));
        assert_eq!(broken(&seen), ["failed: a: the model said no"]);
    }

    #[test]
    fn a_doubled_effect_is_red() {
        let mut seen = evidence();
        seen.effects.insert("a-0".to_owned(), 2);
        assert_eq!(broken(&seen), ["doubled: a-0 happened 2 times"]);
    }

    #[test]
    fn a_lost_run_is_red() {
        let mut seen = evidence();
        seen.runs.insert("a".to_owned(), None);
        seen.effects.clear();
        assert_eq!(broken(&seen), ["lost: a"]);
    }

    #[test]
    fn an_effect_that_is_in_the_log_only_is_red() {
        let mut seen = evidence();
        seen.effects.clear();
        assert_eq!(broken(&seen), ["vanished: a: a-0"]);
    }

    #[test]
    fn an_effect_without_its_intent_is_red() {
        let mut seen = evidence();
        seen.effects.insert("a-1".to_owned(), 1);
        assert_eq!(broken(&seen), ["unannounced: a-1"]);
    }

    #[test]
    fn a_log_that_goes_on_behind_its_end_is_red() {
        let mut entries = log("a");
        entries.push(json!({ "seq": 6, "at": 9, "entry": { "type": "finished" } }));
        let mut seen = evidence();
        let told = read_log("run_1".to_owned(), "done".to_owned(), &entries);
        seen.runs.insert("a".to_owned(), Some(told));
        let broken = broken(&seen);
        assert!(
            broken.iter().any(|it| it.starts_with("not one final")),
            "{broken:?}"
        );
        assert!(
            broken.iter().any(|it| it.starts_with("illegal logs")),
            "{broken:?}"
        );
    }

    #[test]
    fn a_fence_that_falls_is_red() {
        let mut entries = log("a");
        entries.insert(
            2,
            json!({ "seq": 3, "at": 9, "entry": { "type": "claimed", "worker": "wrk_b", "fence": 1, "from": "lost_worker" } }),
        );
        for (n, entry) in (1..).zip(&mut entries) {
            entry["seq"] = json!(n);
        }
        let mut seen = evidence();
        let told = read_log("run_1".to_owned(), "done".to_owned(), &entries);
        seen.runs.insert("a".to_owned(), Some(told));
        assert_eq!(broken(&seen), ["illegal logs: a: fences [1, 1]"]);
    }

    #[test]
    fn a_call_that_was_started_twice_is_red() {
        let mut entries = log("a");
        let again = entries[2].clone();
        entries.insert(3, again);
        for (n, entry) in (1..).zip(&mut entries) {
            entry["seq"] = json!(n);
        }
        let mut seen = evidence();
        let told = read_log("run_1".to_owned(), "done".to_owned(), &entries);
        seen.runs.insert("a".to_owned(), Some(told));
        assert_eq!(broken(&seen), ["doubled: a: call_1 was started 2 times"]);
    }

    #[test]
    fn what_verify_found_is_red() {
        let mut seen = evidence();
        seen.findings.push("entries: hole".to_owned());
        assert_eq!(broken(&seen), ["verify: entries: hole"]);
    }
}
