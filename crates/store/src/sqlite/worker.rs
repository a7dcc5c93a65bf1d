//! The register of workers.

use async_trait::async_trait;
use rusqlite::params;

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::run::Fence;
use adjutant_ports::store::{Duty, Stored, WorkerInfo, WorkerSeen, WorkerStore};

use crate::error::Done;
use crate::leases::LeaseChange;
use crate::sql::{Sql, col, json};
use crate::sqlite::Sqlite;
use crate::tx::Tx;
use crate::work::GONE_AFTER;

#[async_trait]
impl WorkerStore for Sqlite {
    async fn worker_seen(&self, worker: &WorkerInfo) -> Stored<Duty> {
        let worker = worker.clone();
        self.relaxed(move |tx| seen(tx, &worker)).await
    }

    async fn workers(&self) -> Stored<Vec<WorkerSeen>> {
        let now = self.steady.now();
        self.read(move |db| {
            db.all(
                "select body, seen_at, orders from workers order by id",
                [],
                |row| {
                    let seen_at = col::at(row, 1)?;
                    Ok(WorkerSeen {
                        info: col::json(row, 0)?,
                        seen_at,
                        silent: now.since(seen_at),
                        orders: col::json(row, 2)?,
                    })
                },
            )
        })
        .await
    }

    async fn drain_worker(&self, worker: WorkerId) -> Stored<bool> {
        self.flushed(move |tx| {
            let n = tx.exec(
                "update workers set orders = ? where id = ?",
                params![json(&Duty::Draining)?, worker.to_string()],
            )?;
            if n > 0 {
                tx.order(worker);
            }
            Ok(n > 0)
        })
        .await
    }

    async fn worker_gone(&self, worker: WorkerId) -> Stored<u64> {
        self.relaxed(move |tx| gone(tx, worker)).await
    }
}

fn seen(tx: &Tx<'_>, worker: &WorkerInfo) -> Done<Duty> {
    let now = tx.steady.now();
    let orders = tx.one(
        "insert into workers (id, seen_at, body) values (?, ?, ?)
         on conflict do update set seen_at = excluded.seen_at, body = excluded.body
         returning orders",
        params![worker.id.to_string(), now.as_millis(), json(worker)?],
        |row| col::json(row, 0),
    )?;
    tx.exec(
        "delete from workers where seen_at < ?",
        [now.minus(GONE_AFTER).as_millis()],
    )?;
    Ok(orders.unwrap_or_default())
}

fn gone(tx: &mut Tx<'_>, worker: WorkerId) -> Done<u64> {
    tx.exec("delete from workers where id = ?", [worker.to_string()])?;
    let held = tx.all(
        "select id, fence from runs
          where status in ('running', 'parked') and status = 'running' and worker = ?",
        [worker.to_string()],
        |row| Ok((col::id::<RunId>(row, 0)?, Fence(row.get(1)?))),
    )?;
    let until = tx.steady.now();
    for (run, fence) in &held {
        tx.lease(LeaseChange::Held {
            run: *run,
            fence: *fence,
            until,
        });
    }
    if !held.is_empty() {
        tx.nudge();
    }
    Ok(held.len() as u64)
}
