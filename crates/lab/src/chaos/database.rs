//! The database goes away and comes back: as in a crash, again and again, and somewhere else.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_trait::async_trait;

use super::Scenario;
use super::cluster::{Cluster, Stop};
use super::cx::{Cx, Postgres};
use super::fleet::Fleet;
use super::load::{Load, Plan, now_ms};
use super::proxy::Proxy;
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::subject::wait_http;

const WORKERS: usize = 2;
const CLIENTS: u32 = 8;
const TOOLS: u32 = 3;
/// R40: works again so soon after the database returned.
const BACK_MS_MAX: u64 = 5_000;
/// R40: the same when it returned elsewhere.
const FAILOVER_MS_MAX: u64 = 10_000;
/// How long the port may call itself ready without a database.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// What was on its way when the database stopped may still be heard.
const ON_ITS_WAY_MS: u64 = 1_000;

/// A fleet at work over a database that goes away.
struct Scene {
    fleet: Fleet,
    load: Load,
    report: Report,
}

impl Scene {
    async fn begin(cx: &Cx, url: &str) -> Result<Self> {
        let mut fleet = cx.fleet(Some(url), "").await?;
        fleet.start(WORKERS).await?;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let scene = Self {
            fleet,
            load,
            report: Report::default(),
        };
        scene.busy().await?;
        Ok(scene)
    }

    /// Waits until runs begin and end.
    async fn busy(&self) -> Result<()> {
        let ended = self.load.ended();
        for _ in 0..300 {
            if ended + 2 < self.load.ended() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("nothing ends: {}", self.fleet.tail("workers.log"))
    }

    /// From the return of the database to the first new yes and the first new end, at most `most_ms` each.
    async fn comes_back(&mut self, name: &str, returned: u64, most_ms: u64) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(most_ms * 6);
        loop {
            let (yes, end) = {
                let heard = self.load.heard();
                let fresh = |key: &String| {
                    let at = heard.acknowledged.get(key);
                    at.is_some_and(|at| returned <= *at)
                };
                let yes = heard
                    .acknowledged
                    .values()
                    .filter(|at| returned <= **at)
                    .min();
                // Of a run that was accepted after the return: an older end may only have been heard late.
                let ends = heard.ended.iter().filter(|(key, _)| fresh(key));
                (yes.copied(), ends.map(|(_, at)| *at).min())
            };
            if let (Some(yes), Some(end)) = (yes, end) {
                for (what, at) in [("accepts", yes), ("ends runs", end)] {
                    let ms = at - returned;
                    self.report.figure(&format!("{name} {what} after ms"), ms);
                    self.report.must(
                        ms <= most_ms,
                        format!("{name} {what} only {ms} ms after the return"),
                    );
                }
                return Ok(());
            }
            if until < Instant::now() {
                bail!(
                    "{name}: does not work {} s after the return (accepts: {}, ends: {}): {} / {}",
                    most_ms * 6 / 1_000,
                    yes.is_some(),
                    end.is_some(),
                    self.fleet.tail("gateway.log"),
                    self.fleet.tail("workers.log")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn finish(mut self, cx: &Cx) -> Result<Report> {
        self.busy().await?;
        let is_up = self.fleet.is_gateway_up();
        self.report.must(is_up, "the gateway ended");
        let died = self.fleet.revive_workers()?;
        self.report
            .must(died == 0, format!("{died} workers ended by themselves"));
        let heard = self.load.stop().await;
        let mut report = self.report;
        settle(cx, &mut self.fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}

/// `pg_ctl stop -m immediate` under load, down for a while, started again.
pub(crate) struct DatabaseStopped;

#[async_trait]
impl Scenario for DatabaseStopped {
    fn name(&self) -> &'static str {
        "database-stopped"
    }

    fn promise(&self) -> &'static str {
        "the database crashes for 20 s: the gateway stays up and says so, accepts nothing, loses nothing, works 5 s after"
    }

    fn seconds(&self) -> u64 {
        55
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (cluster, database) = cx.postgres(Postgres::Own).await?;
        let mut scene = Scene::begin(cx, &database.url).await?;
        cluster.stop(Stop::Immediate)?;
        let (stopped, down) = (now_ms(), Instant::now());
        let port = scene.fleet.port;
        let noticed = not_ready(port).await;
        match noticed {
            Some(took) => {
                let ms = u64::try_from(took.as_millis())?;
                scene.report.figure("noticed after ms", ms);
            }
            None => scene.report.breaks(format!(
                "/readyz still says ready {NOTICED_MAX:?} after the stop"
            )),
        }
        let lives = wait_http(port, "/healthz", Duration::from_secs(2)).await;
        scene.report.must(lives.is_ok(), "/healthz does not answer");
        tokio::time::sleep(Duration::from_secs(20).saturating_sub(down.elapsed())).await;
        let (late, refused) = {
            let heard = scene.load.heard();
            let late = heard
                .acknowledged
                .values()
                .filter(|at| stopped + ON_ITS_WAY_MS < **at)
                .count();
            (late, heard.retryable)
        };
        scene.report.must(
            late == 0,
            format!("{late} were accepted without a database"),
        );
        scene.report.tried("refused while it was down", refused);
        cluster.start()?;
        let returned = now_ms();
        let ready = wait_http(port, "/readyz", Duration::from_secs(30)).await;
        scene
            .report
            .must(ready.is_ok(), "/readyz does not come back");
        scene
            .report
            .figure("ready again after ms", now_ms() - returned);
        scene.comes_back("again", returned, BACK_MS_MAX).await?;
        scene.finish(cx).await
    }
}

/// How long it took until `/readyz` said something else than 200.
async fn not_ready(port: u16) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < NOTICED_MAX {
        if wait_http(port, "/readyz", Duration::ZERO).await.is_err() {
            return Some(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Restarts in a row, as an upgrade of the server makes them.
pub(crate) struct DatabaseRestarted;

#[async_trait]
impl Scenario for DatabaseRestarted {
    fn name(&self) -> &'static str {
        "database-restarted"
    }

    fn promise(&self) -> &'static str {
        "fast restarts of the database in a row: nothing accepted is lost, work goes on 5 s after each"
    }

    fn seconds(&self) -> u64 {
        40
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (cluster, database) = cx.postgres(Postgres::Own).await?;
        let mut scene = Scene::begin(cx, &database.url).await?;
        let mut random = cx.random();
        let mut restarts = 0;
        while restarts < cx.count(None, 5, 40) && !cx.is_late() {
            tokio::time::sleep(random.span(1_500)).await;
            cluster.stop(Stop::Fast)?;
            cluster.start()?;
            restarts += 1;
        }
        scene.report.tried("restarts", restarts);
        scene.comes_back("again", now_ms(), BACK_MS_MAX).await?;
        scene.finish(cx).await
    }
}

/// The server goes away and its data come back at another address.
pub(crate) struct DatabaseMoved;

#[async_trait]
impl Scenario for DatabaseMoved {
    fn name(&self) -> &'static str {
        "database-moved"
    }

    fn promise(&self) -> &'static str {
        "a failover: the server crashes and its data are served elsewhere, works 10 s after, nothing accepted is lost"
    }

    fn seconds(&self) -> u64 {
        45
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (mut cluster, database) = cx.postgres(Postgres::Own).await?;
        let proxy = Proxy::to(cluster.port()?).await?;
        let through = Cluster::url_through(proxy.port, &database.name);
        let mut scene = Scene::begin(cx, &through).await?;
        let mut moves = 0;
        while moves < cx.count(None, 2, 10) && !cx.is_late() {
            moves += 1;
            cluster.stop(Stop::Immediate)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            proxy.leads_to(cluster.start_elsewhere()?);
            scene
                .comes_back(&format!("move {moves}"), now_ms(), FAILOVER_MS_MAX)
                .await?;
            scene.busy().await?;
        }
        scene.report.tried("moves", moves);
        scene.finish(cx).await
    }
}
