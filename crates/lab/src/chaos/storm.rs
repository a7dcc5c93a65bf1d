//! A thousand clients come back at once to a gateway over PostgreSQL, while others work.

use anyhow::Result;
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, Postgres};
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::edge;

const WORKERS: usize = 2;
const CLIENTS: u32 = 4;
const TOOLS: u32 = 2;

pub(crate) struct ReconnectStorm;

#[async_trait]
impl Scenario for ReconnectStorm {
    fn name(&self) -> &'static str {
        "reconnect-storm"
    }

    fn promise(&self) -> &'static str {
        "a thousand clients come back at once after kill -9 of the gateway: all are back within 30 s, nothing is lost"
    }

    fn seconds(&self) -> u64 {
        40
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let (_cluster, database) = cx.postgres(Postgres::Any).await?;
        let more = "[gateway]\nconnections_max = 1200\n";
        let mut fleet = cx.fleet(Some(&database.url), more).await?;
        fleet.start(WORKERS).await?;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let port = fleet.port;
        let restart = async || {
            fleet.kill_gateway().await?;
            fleet.start_gateway().await.map(drop)
        };
        let (is_right, said) = edge::storm(port, restart).await?;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.figure("storm", said.clone());
        report.must(is_right, format!("not all came back in time: {said}"));
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}
