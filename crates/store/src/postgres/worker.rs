//! The register of workers.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use adjutant_domain::id::WorkerId;
use adjutant_ports::Bus as _;
use adjutant_ports::store::{Duty, Stored, WorkerInfo, WorkerSeen, WorkerStore};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Who, millis};
use crate::sql::json;
use crate::work::GONE_AFTER;

#[async_trait]
impl WorkerStore for Postgres {
    async fn worker_seen(&self, worker: &WorkerInfo) -> Stored<Duty> {
        let now = self.inner.times().waits();
        let rows = self
            .change(
                Who::Queue,
                Durability::Relaxed,
                "with w as (select coalesce($3, clock_ms()) as now),
                      gone as (delete from workers using w where seen_at < w.now - $4 and id <> $1)
                 insert into workers (id, seen_at, body) select $1, w.now, $2 from w
                 on conflict (id) do update set seen_at = excluded.seen_at, body = excluded.body
                 returning orders",
                params![worker.id, json(worker)?, now, millis(GONE_AFTER)],
            )
            .await?;
        rows.first()
            .map_or(Ok(Duty::Working), |row| row.json(0))
            .map_err(Fault::into_store)
    }

    async fn workers(&self) -> Stored<Vec<WorkerSeen>> {
        let sql = "select body, seen_at, greatest(0, coalesce($1, clock_ms()) - seen_at), orders
                     from workers order by id";
        let params = params![self.inner.times().waits()];
        let rows = self.read(Who::Queue, sql, params).await?;
        let workers: Done<_> = rows.iter().map(worker).collect();
        workers.map_err(Fault::into_store)
    }

    async fn drain_worker(&self, worker: WorkerId) -> Stored<bool> {
        let rows = self
            .change(
                Who::Queue,
                Durability::Flushed,
                "update workers set orders = $2 where id = $1 returning 1",
                params![worker, json(&Duty::Draining)?],
            )
            .await?;
        if !rows.is_empty() {
            self.inner.bus().order(worker);
        }
        Ok(!rows.is_empty())
    }

    async fn worker_gone(&self, worker: WorkerId) -> Stored<u64> {
        let now = self.inner.times().waits();
        self.write(Who::Queue, (worker, now), |tx, (worker, now)| {
            Box::pin(async move {
                tx.later("delete from workers where id = $1", params![*worker]);
                let rows = tx
                    .rows(
                        "update runs set due_at = coalesce($2, clock_ms())
                          where status = 'running' and worker = $1
                         returning 1",
                        params![*worker, *now],
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
}

fn worker(row: &Row) -> Done<WorkerSeen> {
    Ok(WorkerSeen {
        info: row.json(0)?,
        seen_at: row.at(1)?,
        silent: Duration::from_millis(row.count(2)?),
        orders: row.json(3)?,
    })
}
