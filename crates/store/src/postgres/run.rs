//! Runs: the rows, the log, and the trait over both.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use adjutant_domain::id::{OwnerId, RunId};
use adjutant_domain::run::{Entry, Fence, Logged, Run, RunStatus, Seq, Signal};
use adjutant_ports::store::{
    Accepted, Append, Appended, Claim, Intake, Offer, RunInfo, RunStore, StoreError, Stored,
};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, Value, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::postgres::{Postgres, accept, append, claim, signal};
use crate::sql::json;
use crate::work::Work;

/// The columns of [`run_of`], in its order.
macro_rules! run_columns {
    () => {
        "runs.id, runs.owner, runs.agent, runs.session, runs.session_key, runs.thread, runs.client_key,
         runs.priority::bigint, runs.needs"
    };
}
pub(crate) use run_columns;
/// How many they are.
pub(crate) const N_RUN: usize = 9;

/// How many columns [`info_of`] reads.
pub(crate) const N_INFO: usize = N_RUN + 5;

/// The columns of [`info_of`], in its order.
macro_rules! info_columns {
    () => {
        concat!(
            crate::postgres::run::run_columns!(),
            ", runs.detail, runs.worker, runs.accepted_at, runs.started_at, runs.finished_at"
        )
    };
}
pub(crate) use info_columns;

/// What a run is, from its row, whose columns begin at `first`.
pub(crate) fn run_of(row: &Row, first: usize) -> Done<Run> {
    Ok(Run {
        id: row.id(first)?,
        owner: row.id(first + 1)?,
        agent: row.id(first + 2)?,
        session: row.id(first + 3)?,
        session_key: row.id(first + 4)?,
        thread: row.id(first + 5)?,
        client_key: row.opt_id(first + 6)?,
        priority: i32::try_from(row.int(first + 7)?)
            .map_err(|error| Fault::unreadable(first + 7, &error))?,
        needs: row.opt_json(first + 8)?.unwrap_or_default(),
    })
}

/// A run with its place in the queue.
pub(crate) fn info_of(row: &Row) -> Done<RunInfo> {
    Ok(RunInfo {
        run: run_of(row, 0)?,
        status: row.json::<RunStatus>(N_RUN)?,
        worker: row.opt_id(N_RUN + 1)?,
        accepted_at: row.at(N_RUN + 2)?,
        started_at: row.opt_at(N_RUN + 3)?,
        finished_at: row.opt_at(N_RUN + 4)?,
    })
}

/// The columns of [`logged_of`], in its order.
macro_rules! log_columns {
    () => {
        "seq, at, body"
    };
}

fn logged_of(row: &Row) -> Done<Logged> {
    Ok(Logged {
        seq: Seq(row.count(0)?),
        at: row.at(1)?,
        entry: row.json::<Entry>(2)?,
    })
}

pub(crate) fn log_of(rows: &[Row]) -> Done<Vec<Logged>> {
    rows.iter().map(logged_of).collect()
}

/// The question for a whole log.
pub(crate) fn whole_log(run: RunId) -> (&'static str, Vec<Value>) {
    let sql = concat!(
        "select ",
        log_columns!(),
        " from entries where run = $1 order by seq"
    );
    (sql, params![run])
}

/// Writes one entry. Its place was reserved by the statement that compared the fence.
pub(crate) fn insert_entry(tx: &mut Tx<'_>, run: &Run, logged: &Logged) -> Done<()> {
    tx.later(
        "insert into entries (run, seq, owner, at, kind, body) values ($1, $2, $3, $4, $5, $6)",
        params![
            run.id,
            logged.seq,
            run.owner,
            logged.at,
            logged.entry.word(),
            json(&logged.entry)?
        ],
    );
    Ok(())
}

#[async_trait]
impl RunStore for Postgres {
    async fn accept(&self, intake: Intake) -> Stored<Accepted> {
        let who = Who::Owner(intake.run.owner.clone());
        self.write(who, intake, |tx, intake| {
            Box::pin(accept::accept(tx, intake))
        })
        .await
    }

    async fn claim(&self, offer: &Offer, lease: Duration) -> Stored<Vec<Claim>> {
        claim::claims(self, offer, lease).await
    }

    async fn extend(&self, run: RunId, fence: Fence, lease: Duration) -> Stored<Vec<Signal>> {
        let (sql, params) = claim::extension(self, run, fence, lease);
        let rows = self
            .change(Who::Queue, Durability::Relaxed, sql, params)
            .await?;
        claim::extended(&rows).map_err(Fault::into_store)
    }

    async fn append(&self, append: Append<'_>) -> Stored<Appended> {
        let work = Work::new(append)?;
        let who = Who::Owner(work.owner().clone());
        self.write(who, work, |tx, work| Box::pin(append::append(tx, work)))
            .await
    }

    async fn log(&self, owner: &OwnerId, run: RunId, from: Seq) -> Stored<Vec<Logged>> {
        // One row more than there are entries, so that a log that is read to its end is not a run that is unknown.
        let sql = "select seq, at, body from (
                       select null::bigint as seq, null::bigint as at, null::text as body from runs
                        where id = $1 and owner = $2
                        union all
                       select seq, at, body from entries where run = $1 and owner = $2 and seq >= $3) log
                    order by seq nulls first";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![run, owner, from])
            .await?;
        match rows.split_first() {
            Some((_, entries)) => log_of(entries).map_err(Fault::into_store),
            None => Err(StoreError::NotFound { what: "run" }),
        }
    }

    async fn signal(&self, owner: &OwnerId, run: RunId, signal: Signal) -> Stored<bool> {
        let args = (owner.clone(), run, signal);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, run, signal)| Box::pin(signal::signal(tx, owner, *run, signal)),
        )
        .await
    }
}
