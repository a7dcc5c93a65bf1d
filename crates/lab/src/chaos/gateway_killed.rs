//! `kill -9` of the gateway while clients send, repeat what was not answered, and repeat what was.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, Postgres};
use super::fleet::Fleet;
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};

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

/// Runs of the store, and distinct keys among them.
type Counted = (u64, u64);

async fn campaign(
    cx: &Cx,
    fleet: &mut Fleet,
    workers: usize,
    take_overs: TakeOvers,
    count: impl AsyncFnOnce(&Fleet) -> Result<Counted>,
) -> Result<Report> {
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
    report.tried("kills", kills);
    report.spans("ready again", &ready);
    let asked = heard.asked;
    report.needs(
        0 < heard.unanswered,
        "no client was cut off in the middle of something",
    );
    settle(cx, fleet, heard, take_overs, &mut report).await?;
    let (runs, distinct) = count(fleet).await?;
    report.tried("runs", runs);
    report.must(
        runs == distinct && runs <= asked,
        format!("{runs} runs for {distinct} of {asked} keys"),
    );
    Ok(report)
}

const COUNT: &str = "select count(*), count(distinct client_key) from";

fn counted(runs: i64, distinct: i64) -> Result<Counted> {
    Ok((u64::try_from(runs)?, u64::try_from(distinct)?))
}

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

    fn seconds(&self) -> u64 {
        60
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (cluster, database) = cx.postgres(Postgres::Own).await?;
        let mut fleet = cx.fleet(Some(&database.url), "").await?;
        let count = async |_: &Fleet| {
            let admin = cluster.admin(&database.name).await?;
            let sql = format!("{COUNT} adjutant.runs");
            let row = admin.query_one(&sql, &[]).await?;
            counted(row.get(0), row.get(1))
        };
        campaign(cx, &mut fleet, WORKERS, TakeOvers::Any, count).await
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

    fn seconds(&self) -> u64 {
        50
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let mut fleet = cx.fleet(None, "").await?;
        let count = async |fleet: &Fleet| {
            let found = fleet
                .sqlite()?
                .query_row(&format!("{COUNT} runs"), [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            counted(found.0, found.1)
        };
        campaign(cx, &mut fleet, 0, TakeOvers::Wanted, count).await
    }
}
