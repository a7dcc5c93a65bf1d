//! A worker that is stopped for longer than its lease and then goes on as if nothing had happened.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;

use super::fleet::{Fleet, LEASE, Signal, signal};
use super::load::{Load, Plan};
use super::report::{Outcome, Report};
use super::verdict::{gather, judge};
use super::{Cx, Scenario};

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

    async fn run(&self, cx: &Cx) -> Result<Outcome> {
        let cluster = match cx.cluster().await? {
            Ok(cluster) => cluster,
            Err(skipped) => return Ok(skipped),
        };
        let database = cluster.database().await?;
        let url = cluster.url(&database);
        let mut fleet = Fleet::new(cx.dir(), cx.binary()?, cx.model(), Some(&url), "").await?;
        fleet.start(WORKERS).await?;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let mut random = cx.random();
        let mut freezes = 0_u64;
        for _ in 0..cx.count(None, 5, 60) {
            if cx.is_late() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500) + random.span(500)).await;
            let index = random.index(WORKERS);
            let worker = fleet.workers.get(index).context("a worker")?;
            let pid = worker.id().context("it lives")?;
            signal(pid, Signal::Freeze)?;
            tokio::time::sleep(LEASE + Duration::from_secs(1) + random.span(1_000)).await;
            signal(pid, Signal::GoOn)?;
            freezes += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.figure("freezes", freezes);
        report.figure("acknowledged", heard.acknowledged.len() as u64);
        let died = fleet.revive_workers()?;
        report.must(died == 0, format!("{died} workers ended by themselves"));
        let keys = heard.acknowledged.keys().cloned().collect();
        let evidence = gather(&mut fleet, keys).await?;
        let verdict = judge(&evidence);
        let log = std::fs::read_to_string(fleet.home.dir.join("workers.log"))?;
        let n_fenced = log.matches(FENCED).count() as u64;
        report.figure("found themselves fenced", n_fenced);
        report.must(
            0 < verdict.take_overs,
            "nothing was taken over: the freeze hit nobody",
        );
        report.must(
            0 < n_fenced,
            "no frozen worker found that its claim was gone",
        );
        verdict.tell(&evidence.findings, &mut report);
        cluster.drop_database(&database).await?;
        Ok(Outcome::Ran(report))
    }
}
