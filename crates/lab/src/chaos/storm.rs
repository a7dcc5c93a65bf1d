//! A thousand clients come back at once to a gateway over PostgreSQL, while others work.

use anyhow::Result;
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, NotHere, Postgres};
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::edge::{RETURNING, Storm};
use crate::limits;

const WORKERS: usize = 2;
const CLIENTS: u32 = 4;
const TOOLS: u32 = 2;
/// Connections that the gateway takes besides those that come back.
const SPARE: usize = 200;

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
        // Before the gateway starts, which inherits the limit.
        limits::open_files(Storm::files(RETURNING))?.map_err(NotHere)?;
        let (_cluster, database) = cx.postgres(Postgres::Any).await?;
        let more = format!("[gateway]\nconnections_max = {}\n", RETURNING + SPARE);
        let mut fleet = cx.fleet(Some(&database.url), &more).await?;
        fleet.start(WORKERS).await?;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let storm = Storm::gather(fleet.port, RETURNING).await?;
        fleet.kill_gateway().await?;
        fleet.start_gateway().await?;
        let came = storm.passes().await?;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.tried("clients", RETURNING as u64);
        report.figure("storm", came.said.clone());
        report.must(
            came.right,
            format!("not all came back in time: {}", came.said),
        );
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}
