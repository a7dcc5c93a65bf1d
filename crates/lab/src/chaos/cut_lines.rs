//! Between workers and their database: connections that are cut, choked for ever, slow; and nobody who listens.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_trait::async_trait;
use serde_json::json;

use super::Scenario;
use super::cluster::Cluster;
use super::cx::{Cx, Postgres};
use super::fleet::{Fleet, LEASE};
use super::load::{Load, Plan, now_ms};
use super::proxy::Proxy;
use super::report::Report;
use super::settle::{TakeOvers, settle};
use super::verdict::read_log;
use crate::client::Client;

const WORKERS: usize = 3;
const CLIENTS: u32 = 8;
const TOOLS: u32 = 3;
/// R26: half-open peers are found so soon.
const HALF_OPEN_MAX: Duration = Duration::from_secs(30);
/// R16: work starts so soon when nobody hears notifications.
const START_MS_MAX: u64 = 5_000;

pub(crate) struct CutLines;

#[async_trait]
impl Scenario for CutLines {
    fn name(&self) -> &'static str {
        "cut-lines"
    }

    fn promise(&self) -> &'static str {
        "lines to the database cut, half-open, slow: nothing lost or doubled, work after 30 s; no LISTEN: work starts in 5 s"
    }

    fn seconds(&self) -> u64 {
        110
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (cluster, database) = cx.postgres(Postgres::Own).await?;
        let proxy = Proxy::to(cluster.port()?).await?;
        let mut fleet = cx.fleet(Some(&database.url), "").await?;
        let through = Cluster::url_through(proxy.port, &database.name);
        fleet.workers_reach(cx.model(), &through).await?;
        fleet.start(WORKERS).await?;
        let mut report = Report::default();
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        goes_on(&load, &fleet, HALF_OPEN_MAX).await?;
        resets(cx, &proxy, &load, &fleet, &mut report).await?;
        hole(cx, &proxy, &load, &fleet, &mut report).await?;
        proxy.slow(Duration::from_millis(40));
        let slow_from = load.ended();
        tokio::time::sleep(Duration::from_secs(8)).await;
        report.tried("ended while slow", (load.ended() - slow_from) as u64);
        proxy.slow(Duration::ZERO);
        goes_on(&load, &fleet, HALF_OPEN_MAX).await?;
        let mut heard = load.stop().await;
        let admin = cluster.admin(&database.name).await?;
        let keys = unheard(cx, &proxy, &admin, &fleet, &mut report).await?;
        heard
            .acknowledged
            .extend(keys.into_iter().map(|key| (key, now_ms())));
        let died = fleet.revive_workers()?;
        report.must(died == 0, format!("{died} workers ended by themselves"));
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}

/// Waits until runs end again. Returns how long that took.
async fn goes_on(load: &Load, fleet: &Fleet, patience: Duration) -> Result<Duration> {
    let (begun, ended) = (Instant::now(), load.ended());
    while load.ended() < ended + 3 {
        if patience < begun.elapsed() {
            bail!(
                "no run ends for {patience:?}: {}",
                fleet.tail("workers.log")
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(begun.elapsed())
}

async fn resets(
    cx: &Cx,
    proxy: &Proxy,
    load: &Load,
    fleet: &Fleet,
    report: &mut Report,
) -> Result<()> {
    let mut random = cx.random();
    let mut n_cut = 0;
    for _ in 0..cx.count(None, 30, 400) {
        tokio::time::sleep(random.span(400)).await;
        n_cut += proxy.cut(&mut random, 4);
    }
    report.tried("connections cut", n_cut);
    let took = goes_on(load, fleet, HALF_OPEN_MAX).await?;
    report.figure("works after cuts ms", u64::try_from(took.as_millis())?);
    Ok(())
}

async fn hole(
    cx: &Cx,
    proxy: &Proxy,
    load: &Load,
    fleet: &Fleet,
    report: &mut Report,
) -> Result<()> {
    let mut waits = Vec::new();
    let mut n_stuck = 0;
    for _ in 0..cx.count(None, 1, 10) {
        n_stuck += proxy.open_hole();
        tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
        proxy.close_hole();
        cx.say("the hole is closed, what was open stays stuck");
        match goes_on(load, fleet, HALF_OPEN_MAX * 4).await {
            Ok(took) => {
                report.must(
                    took <= HALF_OPEN_MAX,
                    format!("half-open connections kept all workers from work for {took:?}"),
                );
                waits.push(u64::try_from(took.as_millis())?);
            }
            Err(error) => {
                report.breaks(format!("half-open connections: {error:#}"));
                // What hangs must not hide the rest.
                proxy.cut(&mut cx.random(), 1);
                goes_on(load, fleet, HALF_OPEN_MAX).await?;
            }
        }
    }
    report.tried("connections half-open", n_stuck);
    report.spans("works after half-open", &waits);
    Ok(())
}

/// Those who listen, by what they last asked: `listen`, and then now and again whether the connection lives.
const LISTENERS: &str = "select pid from pg_stat_activity
     where datname = current_database() and client_addr is not null
       and (query ilike 'listen%' or query = 'select 1') and pid <> pg_backend_pid()";

/// Cuts the connections on which workers listen; those that come back instead are deaf, so that work is found by looking only.
/// Every message must have rung at a door behind which nobody heard it. Returns the keys of the messages.
async fn unheard(
    cx: &Cx,
    proxy: &Proxy,
    admin: &tokio_postgres::Client,
    fleet: &Fleet,
    report: &mut Report,
) -> Result<Vec<String>> {
    let ears = proxy.ears();
    ears.close();
    let sql = format!("select pid, pg_terminate_backend(pid) from ({LISTENERS}) as it");
    let cut = admin.query(&sql, &[]).await?;
    let cut: Vec<i32> = cut.iter().map(|row| row.get(0)).collect();
    report.tried("listeners cut", cut.len() as u64);
    let took = listening(admin, &cut).await?;
    report.figure("listening again after ms", took);
    let mut client = Client::connect(fleet.port).await?;
    let mut starts = Vec::new();
    let mut keys = Vec::new();
    let heard = ears.heard();
    for n in 0..cx.count(None, 6, 60) {
        let missed = ears.missed();
        let key = format!("u{n}");
        if let Some(start) = alone(&mut client, &key, report).await? {
            cx.say(&format!("{key} started after {start} ms"));
            starts.push(start);
        }
        report.needs(
            missed < ears.missed(),
            format!("{key}: no worker missed a notification, so nobody was deaf"),
        );
        keys.push(key);
    }
    report.tried("notifications missed", ears.missed());
    report.needs(
        heard == ears.heard(),
        "workers without notifications: somebody heard one",
    );
    report.spans("start unheard", &starts);
    if let Some(worst) = starts.iter().max().filter(|it| START_MS_MAX < **it) {
        report.breaks(format!(
            "without LISTEN a run started {worst} ms after it was accepted"
        ));
    }
    ears.open();
    let key = "heard".to_owned();
    alone(&mut client, &key, report).await?;
    report.must(
        heard < ears.heard(),
        "the line is whole, and workers hear no notification",
    );
    keys.push(key);
    Ok(keys)
}

/// Waits until every worker listens again, on another connection than those that were cut. Returns how long that took, in
/// milliseconds.
async fn listening(admin: &tokio_postgres::Client, cut: &[i32]) -> Result<u64> {
    let begun = Instant::now();
    let sql = format!("{LISTENERS} and pid <> all($1)");
    while admin.query(&sql, &[&cut]).await?.len() < WORKERS {
        if HALF_OPEN_MAX < begun.elapsed() {
            bail!("not all of {WORKERS} workers listen again after {HALF_OPEN_MAX:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(u64::try_from(begun.elapsed().as_millis())?)
}

/// Sends a message and waits for its end. Returns how long after its acceptance its run was claimed, in milliseconds.
async fn alone(client: &mut Client, key: &str, report: &mut Report) -> Result<Option<u64>> {
    let params = json!({
        "sessionKey": format!("agent:main:{key}"), "message": "hello", "idempotencyKey": key,
    });
    client.call("chat.send", params).await?;
    let wait = json!({ "runId": key, "timeoutMs": 30_000 });
    let end = client.call("agent.wait", wait).await?;
    report.must(end["state"] == "done", format!("{key}: {end}"));
    let page = client.call("runs.log", json!({ "runId": key })).await?;
    let entries = page["entries"].as_array().cloned().unwrap_or_default();
    let accepted = entries.first().and_then(|it| it["at"].as_u64());
    let told = read_log(key.to_owned(), String::new(), &entries);
    let claimed = told.claims.first().map(|it| it.at_ms);
    Ok(accepted
        .zip(claimed)
        .map(|(accepted, claimed)| claimed.saturating_sub(accepted)))
}
