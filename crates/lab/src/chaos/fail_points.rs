//! The process dies at a named place of a run's life, at each of them.
//!
//! The points come from the binary itself: what it does not list cannot be armed. A point counts as tried when the process
//! said that it ends there, not when it ended.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::Scenario;
use super::cx::{Cx, NotHere};
use super::fleet::Fleet;
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::client::Client;

const VARIABLE: &str = "ADJUTANT_FAILPOINTS";
const CLIENTS: u32 = 2;
const TOOLS: u32 = 2;
const RUNS_EACH: u32 = 2;
/// How long clients may take to bring a point about, and afterwards to be done.
const PATIENCE: Duration = Duration::from_secs(40);
/// What one point takes, with a start before and a verdict after it.
const DEATH: Duration = Duration::from_secs(8);

pub(crate) struct FailPoints;

#[async_trait]
impl Scenario for FailPoints {
    fn name(&self) -> &'static str {
        "fail-points"
    }

    fn promise(&self) -> &'static str {
        "the process dies at every arrow of a run's life: the invariants hold; the binary for every day has no such place"
    }

    fn seconds(&self) -> u64 {
        90
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let armed = cx.options.failpoints.clone().ok_or_else(|| {
            NotHere("no binary with the feature `failpoints` (--failpoints PATH; `cargo xtask chaos` builds one)".to_owned())
        })?;
        let mut report = Report::default();
        let plain = cx.binary()?;
        if plain == armed {
            report.needs(
                false,
                "whether the binary for every day has fail points: this is the same",
            );
        } else {
            let has = contains(plain, VARIABLE.as_bytes())?;
            report.figure("release binary", if has { "ARMED" } else { "without" });
            report.must(!has, "the binary for every day has fail points");
        }
        let points = points(&armed).await?;
        report.tried("points", points.len() as u64);
        for n in 1..=cx.count(None, 1, 5) {
            for point in &points {
                let arming = format!("{point}=kill@{n}");
                if !cx.has_time_for(DEATH) {
                    report.needs(false, format!("{arming}: no time was left for it"));
                    continue;
                }
                match one(cx, &armed, point, n).await {
                    Ok(own) => report.adds(&arming, own),
                    Err(error) => report.breaks(format!("{arming}: {error:#}")),
                }
                cx.say(&arming);
            }
        }
        Ok(report)
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
async fn one(cx: &Cx, armed: &Path, point: &str, n: u64) -> Result<Report> {
    let mut report = Report::default();
    let dir = cx.dir().join(format!("{point}-{n}"));
    let mut fleet = Fleet::new(&dir, armed, cx.model(), None, "").await?;
    fleet.start(0).await?;
    // Everything is asked first, so that runs park and owners answer.
    let mut client = Client::connect(fleet.port).await?;
    let agent =
        json!({ "name": "main", "approvalPolicy": "ask_always", "workspace": fleet.workspace() });
    client
        .call("agents.update", json!({ "agent": agent }))
        .await?;
    report.break_all("hung at the stop", fleet.stop().await?.iter());
    let arming = format!("{point}=kill@{n}");
    fleet.extra.env = vec![(VARIABLE.to_owned(), arming)];
    fleet.spawn_gateway()?;
    let plan = Plan {
        runs_each: Some(RUNS_EACH.max(u32::try_from(n)?)),
        ..Plan::new(fleet.port, CLIENTS, TOOLS)
    };
    let mut load = Load::start(&plan);
    let owner = owner(fleet.port);
    let died = death(&mut fleet, cx.patience(PATIENCE)).await;
    fleet.extra.env.clear();
    let log = std::fs::read_to_string(fleet.home.dir.join("gateway.log"))?;
    let is_reached = log.contains(&last_words(point));
    report.figure("deaths at their point", u64::from(died && is_reached));
    report.needs(is_reached, "never reached");
    report.must(
        died == is_reached,
        format!(
            "the process {}: {}",
            if died {
                "ended, and not there"
            } else {
                "was there, and lives"
            },
            fleet.tail("gateway.log")
        ),
    );
    if died {
        fleet.start_gateway().await?;
    }
    let done = load.finished(cx.patience(PATIENCE)).await;
    owner.abort();
    done?;
    let heard = load.stop().await;
    settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
    Ok(report)
}

/// What a process says that dies at a point.
fn last_words(point: &str) -> String {
    format!("failpoint {point}: the process ends here")
}

/// Waits until the process ends by itself.
async fn death(fleet: &mut Fleet, patience: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < patience {
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
