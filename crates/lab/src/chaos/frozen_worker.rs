//! A worker that is stopped for longer than its lease and then goes on as if nothing had happened.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, Postgres};
use super::fleet::LEASE;
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::subject::{Signal, signal};

const WORKERS: usize = 3;
const CLIENTS: u32 = 16;
const TOOLS: u32 = 5;
/// What a worker says when it finds that its claim is gone.
const FENCED: &str = "the claim went to another worker";

pub(crate) struct FrozenWorker;

#[async_trait]
impl Scenario for FrozenWorker {
    fn name(&self) -> &'static str {
        "frozen-worker"
    }

    fn promise(&self) -> &'static str {
        "SIGSTOP beyond the lease, then SIGCONT: another has taken over, and the old one writes nothing behind the fence"
    }

    fn seconds(&self) -> u64 {
        60
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let mut stage = cx.stage(Postgres::Any, WORKERS).await?;
        let fleet = &mut stage.fleet;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let mut random = cx.random();
        let mut freezes = 0_u64;
        for _ in 0..cx.count(None, 5, 60) {
            if cx.is_late() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500) + random.span(500)).await;
            let worker = fleet.workers.get(random.index(WORKERS));
            let pid = worker.context("a worker")?.pid();
            signal(pid, Signal::Freeze)?;
            tokio::time::sleep(LEASE + Duration::from_secs(1) + random.span(1_000)).await;
            signal(pid, Signal::GoOn)?;
            freezes += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.tried("freezes", freezes);
        let died = fleet.revive_workers()?;
        report.must(died == 0, format!("{died} workers ended by themselves"));
        settle(cx, fleet, heard, TakeOvers::Wanted, &mut report).await?;
        let log = std::fs::read_to_string(fleet.home.dir.join("workers.log"))?;
        report.tried(
            "found themselves fenced",
            log.matches(FENCED).count() as u64,
        );
        Ok(report)
    }
}
