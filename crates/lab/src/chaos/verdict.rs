//! What happened, and whether that is what was promised. Gathering asks the gateway and reads the files that commands
//! wrote; judging is a function of what was gathered, so that it can be shown to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::load::is_final;
use super::report::Report;
use crate::client::Client;

/// Longest wait for the end of one run that was acknowledged.
pub(crate) const END_MAX: Duration = Duration::from_secs(150);
/// Between two questions whether a run has ended.
const WAIT: Duration = Duration::from_secs(20);
/// How long the gateway may take to tell about runs that had their time: in any case, and for each.
const GRACE: Duration = Duration::from_secs(5);
const GRACE_EACH: Duration = Duration::from_millis(50);
/// Findings of a kind that are told in full.
pub(crate) const TOLD_MAX: usize = 8;

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
    /// Processes that did not end when they were told to.
    pub(crate) hung: Vec<String>,
    /// How long was waited for ends.
    pub(crate) patience: Duration,
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
    pub(crate) fn tell(&self, evidence: &Evidence, report: &mut Report) {
        let n_failed = self.failed.len() as u64;
        report.figure("finished", self.done + self.given_up + n_failed);
        report.figure("done", self.done);
        report.figure("given up", self.given_up);
        report.figure("effects", self.effects);
        report.figure("unknown", self.unknown);
        report.figure("take-overs", self.take_overs);
        let kinds: [(&'static str, &[String]); 10] = [
            ("failed", &self.failed),
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("vanished", &self.vanished),
            ("unannounced", &self.unannounced),
            ("not one final", &self.finals),
            ("illegal logs", &self.order),
            ("two keys one run", &self.one_run_two_keys),
            ("hung at the stop", &evidence.hung),
            ("verify findings", &evidence.findings),
        ];
        for (name, cases) in kinds {
            report.figure(name, cases.len() as u64);
            report.break_all(name, cases.iter().take(TOLD_MAX));
        }
        let without_end = self.without_end.iter().take(TOLD_MAX);
        report.figure("without an end", self.without_end.len() as u64);
        if END_MAX <= evidence.patience {
            report.break_all("without an end", without_end);
        } else {
            // There was less time than a run may take: nobody knows what would have become of it.
            let seconds = evidence.patience.as_secs();
            for it in without_end {
                report.needs(false, format!("the end of {it} after {seconds} s"));
            }
        }
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
    let n_open = verdict.without_end.len();
    match told.state.as_str() {
        "done" => verdict.done += 1,
        "failed" if told.reason.contains(GIVEN_UP) => verdict.given_up += 1,
        "failed" | "cancelled" => verdict.failed.push(format!("{key}: {}", told.reason)),
        other => verdict.without_end.push(format!("{key}: {other}")),
    }
    let is_open = verdict.without_end.len() != n_open;
    if told.finals != u32::from(!is_open) {
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
pub(crate) async fn gather(
    fleet: &mut Fleet,
    acknowledged: Vec<String>,
    patience: Duration,
) -> Result<Evidence> {
    // One patience for all: a run that comes to its end late has had the time of those before it as well.
    let until = Instant::now() + patience;
    let grace = GRACE + GRACE_EACH * u32::try_from(acknowledged.len())?;
    let asking = ask(fleet.port, &acknowledged, until);
    let Ok(runs) = tokio::time::timeout_at(until + grace, asking).await else {
        bail!(
            "the gateway does not say what became of {} runs: {}",
            acknowledged.len(),
            fleet.tail("gateway.log")
        );
    };
    Ok(Evidence {
        runs: runs?,
        acknowledged,
        hung: fleet.stop().await?,
        effects: effects(&fleet.workspace())?,
        findings: fleet.verify().await?,
        patience,
    })
}

async fn ask(port: u16, keys: &[String], until: Instant) -> Result<BTreeMap<String, Option<Told>>> {
    let mut client = Client::connect(port).await?;
    let mut runs = BTreeMap::new();
    for key in keys {
        runs.insert(key.clone(), told(&mut client, key, until).await?);
    }
    Ok(runs)
}

async fn told(client: &mut Client, key: &str, until: Instant) -> Result<Option<Told>> {
    let (state, reason) = loop {
        let left = until.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(left.min(WAIT).as_millis())?;
        let params = json!({ "runId": key, "timeoutMs": wait_ms });
        match client.call("agent.wait", params).await {
            // The gateway has not heard of it.
            Ok(end) if end["state"] == "unknown" => return Ok(None),
            Ok(end) if is_final(&end) || left.is_zero() => {
                let text = |name: &str| end[name].as_str().unwrap_or_default().to_owned();
                break (text("state"), text("error"));
            }
            Ok(_) => {}
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
pub(crate) mod tests {
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

    /// One run that went well.
    pub(crate) fn evidence() -> Evidence {
        evidence_of(&log("a"))
    }

    /// The same, after its first worker was lost.
    pub(crate) fn evidence_with_take_over() -> Evidence {
        evidence_of(&with_take_over(2))
    }

    fn evidence_of(entries: &[Value]) -> Evidence {
        let told = read_log("run_1".to_owned(), "done".to_owned(), entries);
        Evidence {
            acknowledged: vec!["a".to_owned()],
            runs: BTreeMap::from([("a".to_owned(), Some(told))]),
            effects: BTreeMap::from([("a-0".to_owned(), 1)]),
            patience: END_MAX,
            ..Evidence::default()
        }
    }

    fn with_take_over(fence: u64) -> Vec<Value> {
        let mut entries = log("a");
        entries.insert(
            2,
            json!({ "seq": 3, "at": 9, "entry": { "type": "claimed", "worker": "wrk_b", "fence": fence, "from": "lost_worker" } }),
        );
        for (n, entry) in (1..).zip(&mut entries) {
            entry["seq"] = json!(n);
        }
        entries
    }

    fn told(evidence: &Evidence) -> Report {
        let mut report = Report::default();
        judge(evidence).tell(evidence, &mut report);
        report
    }

    fn broken(evidence: &Evidence) -> Vec<String> {
        told(evidence).broken
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
        let broken = broken(&evidence_of(&entries));
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
        let seen = evidence_of(&with_take_over(1));
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
        let seen = evidence_of(&entries);
        assert_eq!(broken(&seen), ["doubled: a: call_1 was started 2 times"]);
    }

    #[test]
    fn what_verify_found_is_red() {
        let mut seen = evidence();
        seen.findings.push("entries: hole".to_owned());
        assert_eq!(broken(&seen), ["verify findings: entries: hole"]);
    }

    #[test]
    fn a_process_that_does_not_stop_is_red() {
        let mut seen = evidence();
        seen.hung.push("worker 1".to_owned());
        assert_eq!(broken(&seen), ["hung at the stop: worker 1"]);
    }

    #[test]
    fn a_run_without_an_end_is_red_when_it_had_its_time_and_unknown_when_it_had_not() {
        let mut entries = log("a");
        entries.pop();
        let running = read_log("run_1".to_owned(), "running".to_owned(), &entries);
        let mut seen = evidence();
        seen.runs.insert("a".to_owned(), Some(running));
        assert_eq!(broken(&seen), ["without an end: a: running"]);
        seen.patience = Duration::from_secs(7);
        let report = told(&seen);
        assert_eq!(report.broken, Vec::<String>::new());
        assert_eq!(report.untried, ["the end of a: running after 7 s"]);
    }
}
