//! Runs, seen from outside.

use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::id::{OwnerId, SessionId};
use adjutant_domain::need::Needs;
use adjutant_ports::store::{RunIndex, RunInfo, Stored};

use crate::postgres::Postgres;
use crate::postgres::claim;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::run::{info_columns, info_of};
use crate::postgres::tx::Who;
use crate::sql::json;

fn infos(rows: &[tokio_postgres::Row]) -> Stored<Vec<RunInfo>> {
    let infos: Done<_> = rows.iter().map(info_of).collect();
    infos.map_err(Fault::into_store)
}

#[async_trait]
impl RunIndex for Postgres {
    /// By the key of the client first, then by another name it was given, then by identifier.
    async fn run(&self, owner: &OwnerId, name: &str) -> Stored<Option<RunInfo>> {
        let sql = concat!(
            "select ",
            info_columns!(),
            " from runs join (
                 select id, 1 as rank from runs where owner = $1 and client_key = $2
                  union all
                 select run, 2 from run_aliases where owner = $1 and name = $2
                  union all
                 select id, 3 from runs where owner = $1 and id = $2) found on found.id = runs.id
               where runs.owner = $1
               order by found.rank
               limit 1"
        );
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, name])
            .await?;
        Ok(infos(&rows)?.pop())
    }

    async fn active_runs(
        &self,
        owner: &OwnerId,
        session: Option<SessionId>,
    ) -> Stored<Vec<RunInfo>> {
        // Those that run or rest have a seat, those that wait stand in the queue.
        let sql = match session {
            Some(_) => concat!(
                "select ",
                info_columns!(),
                " from runs where owner = $1 and session = $2
                    and (status in ('running', 'parked') or status = 'queued') order by id"
            ),
            None => concat!(
                "select ",
                info_columns!(),
                " from runs where owner = $1 and $2 is null
                    and (status in ('running', 'parked') or status = 'queued') order by id"
            ),
        };
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, session])
            .await?;
        infos(&rows)
    }

    async fn recent_runs(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<RunInfo>> {
        let sql = concat!(
            "select ",
            info_columns!(),
            " from runs where owner = $1 order by id desc limit $2"
        );
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, limit])
            .await?;
        infos(&rows)
    }

    /// The directory that the contract speaks of is the database: only who is alone on it may call this.
    async fn release_dead_claims(&self) -> Stored<u64> {
        let now = self.inner.times().waits();
        self.write(Who::Queue, now, |tx, now| {
            Box::pin(async move {
                tx.later("delete from workers", vec![]);
                let rows = tx
                    .rows(
                        "update runs set due_at = coalesce($1, clock_ms())
                          where status in ('running', 'parked') and status = 'running'
                         returning 1",
                        params![*now],
                    )
                    .await?;
                if !rows.is_empty() {
                    tx.nudge();
                }
                Ok(rows.len() as u64)
            })
        })
        .await
    }

    async fn next_due(&self, offers: &Needs) -> Stored<Option<Duration>> {
        let inner = std::sync::Arc::clone(&self.inner);
        let offers = json(offers)?;
        self.spawned(async move {
            let due = claim::next_due(&inner, &offers).await;
            due.map_err(Fault::into_store)
        })
        .await
    }

    async fn queue_depth(&self) -> Stored<(u64, u64, u64)> {
        // Each is an index read that ends somewhere: who looks after the queue looks often.
        let sql = "select (select count(*) from (select 1 from runs where status = 'queued' limit 100000) q),
                          count(*) filter (where status = 'running'), count(*) filter (where status = 'parked')
                     from (select status from runs where status in ('running', 'parked') limit 100000) a";
        let rows = self.read(Who::Queue, sql, vec![]).await?;
        let count = |i| {
            rows.first()
                .map_or(Ok(0), |row| row.count(i))
                .map_err(Fault::into_store)
        };
        Ok((count(0)?, count(1)?, count(2)?))
    }
}
