//! The process dies at a named place of a run's life, at each of them.
//!
//! The points come from the binary itself: what it does not list cannot be armed, and what is never reached is a finding.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::fleet::Fleet;
use super::load::{Load, Plan};
use super::report::{Outcome, Report};
use super::verdict::{gather, judge};
use super::{Cx, Scenario};
use crate::client::Client;

const VARIABLE: &str = "ADJUTANT_FAILPOINTS";
const CLIENTS: u32 = 2;
const TOOLS: u32 = 2;
const RUNS_EACH: u32 = 2;
/// How long clients may take to bring a point about, and afterwards to be done.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct FailPoints;

#[async_trait]
impl Scenario for FailPoints {
    fn name(&self) -> &'static str {
        "fail-points"
    }

    fn promise(&self) -> &'static str {
        "the process dies at every arrow of a run's life: the invariants hold; the binary for every day has no such place"
    }

    async fn run(&self, cx: &Cx) -> Result<Outcome> {
        let Some(armed) = cx.options.failpoints.clone() else {
            return Ok(Outcome::Skipped(
                "no binary with the feature `failpoints` (--failpoints PATH; `cargo xtask chaos` builds one)".to_owned(),
            ));
        };
        let mut report = Report::default();
        let plain = cx.binary()?;
        if plain == armed {
            report.figure("release binary", "not checked: the same file");
        } else {
            let has = contains(plain, VARIABLE.as_bytes())?;
            report.figure("release binary", if has { "ARMED" } else { "without" });
            report.must(!has, "the binary for every day has fail points");
        }
        let points = points(&armed).await?;
        report.figure("points", points.len() as u64);
        report.must(!points.is_empty(), "the binary lists no fail point");
        let rounds = cx.count(None, 1, 5);
        let mut deaths = 0;
        for point in &points {
            for n in 1..=rounds {
                let name = format!("{point}=kill@{n}");
                let dir = cx.dir().join(format!("{point}-{n}"));
                match one(cx, &armed, &dir, &name, &mut report).await {
                    Ok(()) => deaths += 1,
                    Err(error) => report.breaks(format!("{name}: {error:#}")),
                }
            }
            cx.say(point);
        }
        report.figure("deaths", deaths);
        Ok(Outcome::Ran(sum(report)))
    }
}

/// The points that the binary has.
async fn points(armed: &Path) -> Result<Vec<String>> {
    let output = Command::new(armed).env(VARIABLE, "list").output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

fn contains(file: &Path, needle: &[u8]) -> Result<bool> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    Ok(bytes.windows(needle.len()).any(|it| it == needle))
}

/// One death: a process that is armed until it dies, then one that is not, and a verdict over what was acknowledged.
async fn one(cx: &Cx, armed: &Path, dir: &Path, arming: &str, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::new(dir, armed, cx.model(), None, "").await?;
    fleet.start(0).await?;
    // Everything is asked first, so that runs park and owners answer.
    let mut client = Client::connect(fleet.port).await?;
    let agent =
        json!({ "name": "main", "approvalPolicy": "ask_always", "workspace": fleet.workspace() });
    client
        .call("agents.update", json!({ "agent": agent }))
        .await?;
    fleet.stop().await?;
    fleet.extra.env = vec![(VARIABLE.to_owned(), arming.to_owned())];
    fleet.spawn_gateway()?;
    let plan = Plan {
        runs_each: Some(RUNS_EACH),
        ..Plan::new(fleet.port, CLIENTS, TOOLS)
    };
    let mut load = Load::start(&plan);
    let owner = owner(fleet.port);
    let died = death(&mut fleet).await;
    fleet.extra.env.clear();
    if died {
        fleet.start_gateway().await?;
    }
    let done = load.finished(PATIENCE).await;
    owner.abort();
    if !died {
        fleet.stop().await?;
        bail!("was never reached");
    }
    done?;
    let keys = load.stop().await.acknowledged.into_keys().collect();
    let evidence = gather(&mut fleet, keys).await?;
    let mut own = Report::default();
    judge(&evidence).tell(&evidence.findings, &mut own);
    report.figures.append(&mut own.figures);
    report.break_all(arming, own.broken.iter());
    Ok(())
}

/// Waits until the process ends by itself.
async fn death(fleet: &mut Fleet) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !fleet.is_gateway_up() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Somebody who says yes to every question.
fn owner(port: u16) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = None;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if client.is_none() {
                client = Client::connect(port).await.ok();
            }
            if let Some(open) = &mut client
                && say_yes(open).await.is_err()
            {
                client = None;
            }
        }
    })
}

async fn say_yes(client: &mut Client) -> Result<()> {
    let page = client.call("approvals.list", json!({})).await?;
    for question in page["approvals"].as_array().into_iter().flatten() {
        let params = json!({ "id": question["id"], "decision": "once" });
        client.call("approvals.resolve", params).await?;
    }
    Ok(())
}

/// One figure for each name: the sum over all deaths.
fn sum(report: Report) -> Report {
    let mut summed = Report {
        broken: report.broken,
        ..Report::default()
    };
    for (name, value) in report.figures {
        let known = summed.figures.iter_mut().find(|(it, _)| *it == name);
        match (known, value.as_u64()) {
            (Some((_, total)), Some(more)) => *total = json!(total.as_u64().unwrap_or(0) + more),
            (Some(_), None) => {}
            (None, _) => summed.figures.push((name, value)),
        }
    }
    summed
}
