//! `kill -9` of workers at random moments, several at once, each replaced at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::Scenario;
use super::cx::{Cx, Postgres};
use super::fleet::LEASE;
use super::load::{Load, Plan, now_ms};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use super::verdict::Evidence;
use crate::client::Client;

const WORKERS: usize = 4;
const CLIENTS: u32 = 32;
const TOOLS: u32 = 5;
/// Longest rest between two blows.
const REST_MS: u64 = 1_000;

pub(crate) struct WorkersKilled;

/// Who had which process id, and who was killed when.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    /// By worker.
    pids: BTreeMap<String, u64>,
    /// By process id.
    killed_at: BTreeMap<u64, u64>,
}

impl Deaths {
    /// Notes which workers there are.
    pub(crate) fn note(&mut self, page: &Value) {
        for row in page["workers"].as_array().into_iter().flatten() {
            if let (Some(id), Some(pid)) = (row["id"].as_str(), row["pid"].as_u64()) {
                self.pids.insert(id.to_owned(), pid);
            }
        }
    }

    /// Notes a death.
    pub(crate) fn died(&mut self, pid: u32) {
        self.killed_at.insert(u64::from(pid), now_ms());
    }

    /// From the death of a worker that had a run to the claim of that run by the next, in milliseconds.
    pub(crate) fn resumed(&self, evidence: &Evidence) -> Vec<u64> {
        let mut spans = Vec::new();
        for told in evidence.runs.values().flatten() {
            for pair in told.claims.windows(2) {
                let [before, after] = pair else { continue };
                let died = self
                    .pids
                    .get(&before.worker)
                    .and_then(|pid| self.killed_at.get(pid));
                if let Some(died) = died.filter(|_| after.taken_over)
                    && before.at_ms <= *died
                {
                    spans.push(after.at_ms.saturating_sub(*died));
                }
            }
        }
        spans
    }
}

#[async_trait]
impl Scenario for WorkersKilled {
    fn name(&self) -> &'static str {
        "workers-killed"
    }

    fn promise(&self) -> &'static str {
        "kill -9 of workers over PostgreSQL: nothing acknowledged is lost, no effect happens twice, every run ends once"
    }

    fn seconds(&self) -> u64 {
        75
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let mut stage = cx.stage(Postgres::Any, WORKERS).await?;
        let fleet = &mut stage.fleet;
        let n_kills = cx.count(cx.options.kills, 200, 10_000);
        let mut random = cx.random();
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let mut deaths = Deaths::default();
        let mut watcher = Client::connect(fleet.port).await?;
        let mut kills = 0;
        let mut said = 0;
        while kills < n_kills && !cx.is_late() {
            tokio::time::sleep(random.span(REST_MS)).await;
            deaths.note(&watcher.call("workers.list", json!({})).await?);
            let at_once = 1 + random.below(WORKERS as u64);
            for _ in 0..at_once.min(n_kills - kills) {
                let pid = fleet.replace_worker(random.index(WORKERS)).await?;
                deaths.died(pid);
                kills += 1;
            }
            if said + 200 <= kills {
                said = kills;
                let (yes, ends) = (load.acknowledged(), load.ended());
                cx.say(&format!("{kills} kills, {yes} acknowledged, {ends} ended"));
            }
        }
        let revived = fleet.revive_workers()?;
        let heard = load.stop().await;
        // What is still held by the dead goes on when its lease ends.
        tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
        let mut report = Report::default();
        report.figure("lease ms", u64::try_from(LEASE.as_millis())?);
        report.tried("kills", kills);
        report.figure("ended by themselves", revived);
        let evidence = settle(cx, fleet, heard, TakeOvers::Wanted, &mut report).await?;
        report.spans("resume", &deaths.resumed(&evidence));
        Ok(report)
    }
}
