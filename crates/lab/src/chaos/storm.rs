//! A thousand clients come back at once to a gateway over PostgreSQL, while others work.

use anyhow::Result;
use async_trait::async_trait;

use super::fleet::Fleet;
use super::load::{Load, Plan};
use super::report::{Outcome, Report};
use super::verdict::{gather, judge};
use super::{Cx, Scenario};
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

    async fn run(&self, cx: &Cx) -> Result<Outcome> {
        let cluster = match cx.cluster().await? {
            Ok(cluster) => cluster,
            Err(skipped) => return Ok(skipped),
        };
        let database = cluster.database().await?;
        let url = cluster.url(&database);
        let more = "[gateway]\nconnections_max = 1200\n";
        let mut fleet = Fleet::new(cx.dir(), cx.binary()?, cx.model(), Some(&url), more).await?;
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
        report.figure("acknowledged", heard.acknowledged.len() as u64);
        report.break_all("not retryable", heard.wrong.iter().take(4));
        let keys = heard.acknowledged.keys().cloned().collect();
        let evidence = gather(&mut fleet, keys).await?;
        judge(&evidence).tell(&evidence.findings, &mut report);
        cluster.drop_database(&database).await?;
        Ok(Outcome::Ran(report))
    }
}
