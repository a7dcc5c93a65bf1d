//! `kill -9` of the gateway while clients send, repeat what was not answered, and repeat what was.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;

use super::fleet::Fleet;
use super::load::{Load, Plan};
use super::report::{Outcome, Report};
use super::verdict::{gather, judge};
use super::{Cx, Scenario};

const WORKERS: usize = 2;
const CLIENTS: u32 = 8;
const TOOLS: u32 = 5;

/// Kills the gateway again and again. Returns the kills and how long it took to be ready again, in milliseconds.
async fn torment(cx: &Cx, fleet: &mut Fleet, n_kills: u64) -> Result<(u64, Vec<u64>)> {
    let mut random = cx.random();
    let mut ready = Vec::new();
    let mut kills = 0;
    while kills < n_kills && !cx.is_late() {
        tokio::time::sleep(random.span(600)).await;
        fleet.kill_gateway().await?;
        kills += 1;
        ready.push(u64::try_from(fleet.start_gateway().await?.as_millis())?);
        if kills % 100 == 0 {
            cx.say(&format!("{kills} kills"));
        }
    }
    Ok((kills, ready))
}

async fn campaign(
    cx: &Cx,
    fleet: &mut Fleet,
    workers: usize,
    count: impl AsyncFnOnce(&Fleet) -> Result<Option<(u64, u64)>>,
) -> Result<Outcome> {
    fleet.start(workers).await?;
    let plan = Plan {
        twice: true,
        ..Plan::new(fleet.port, CLIENTS, TOOLS)
    };
    let load = Load::start(&plan);
    let n_kills = cx.count(cx.options.gateway_kills, 40, 1_000);
    let (kills, ready) = torment(cx, fleet, n_kills).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let heard = load.stop().await;
    let mut report = Report::default();
    report.figure("kills", kills);
    report.spans("ready again", &ready);
    report.figure("acknowledged", heard.acknowledged.len() as u64);
    report.figure("unanswered", heard.unanswered);
    report.break_all("not retryable", heard.wrong.iter().take(4));
    report.break_all("another run for the same key", heard.two_runs.iter());
    let asked = heard.asked;
    let keys = heard.acknowledged.keys().cloned().collect();
    let evidence = gather(fleet, keys).await?;
    judge(&evidence).tell(&evidence.findings, &mut report);
    if let Some((runs, distinct)) = count(fleet).await? {
        report.figure("runs", runs);
        report.must(
            runs == distinct && runs <= asked,
            format!("{runs} runs for {distinct} of {asked} keys"),
        );
    }
    Ok(Outcome::Ran(report))
}

const COUNT: &str = "select count(*), count(distinct client_key) from";

/// Over PostgreSQL, with workers that live on.
pub(crate) struct GatewayKilled;

#[async_trait]
impl Scenario for GatewayKilled {
    fn name(&self) -> &'static str {
        "gateway-killed"
    }

    fn promise(&self) -> &'static str {
        "kill -9 of the gateway while clients repeat their keys: nothing acknowledged is lost, one run for one key"
    }

    async fn run(&self, cx: &Cx) -> Result<Outcome> {
        let cluster = match cx.own_cluster().await? {
            Ok(cluster) => cluster,
            Err(skipped) => return Ok(skipped),
        };
        let database = cluster.database().await?;
        let url = cluster.url(&database);
        let mut fleet = Fleet::new(cx.dir(), cx.binary()?, cx.model(), Some(&url), "").await?;
        let count = async |_: &Fleet| {
            let admin = cluster.admin(&database).await?;
            let row = admin
                .query_one(&format!("{COUNT} adjutant.runs"), &[])
                .await?;
            let count = |n: usize| u64::try_from(row.get::<_, i64>(n)).unwrap_or(0);
            Ok(Some((count(0), count(1))))
        };
        campaign(cx, &mut fleet, WORKERS, count).await
    }
}

/// Over SQLite, where gateway and workers die together.
pub(crate) struct SqliteKilled;

#[async_trait]
impl Scenario for SqliteKilled {
    fn name(&self) -> &'static str {
        "sqlite-killed"
    }

    fn promise(&self) -> &'static str {
        "the same over SQLite, where gateway and workers are one process"
    }

    async fn run(&self, cx: &Cx) -> Result<Outcome> {
        let mut fleet = Fleet::new(cx.dir(), cx.binary()?, cx.model(), None, "").await?;
        let count = async |fleet: &Fleet| {
            let Some(file) = fleet.sqlite_file()? else {
                return Ok(None);
            };
            let db = rusqlite::Connection::open(file)?;
            let found = db.query_row(&format!("{COUNT} runs"), [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })?;
            Ok(Some((u64::try_from(found.0)?, u64::try_from(found.1)?)))
        };
        campaign(cx, &mut fleet, 0, count).await
    }
}
