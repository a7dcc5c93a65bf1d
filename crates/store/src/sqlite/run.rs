//! Runs: the rows, the log, and the trait over both.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use adjutant_domain::id::{OwnerId, RunId};
use adjutant_domain::run::{Entry, Fence, Logged, Run, RunStatus, Seq, Signal};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{
    Accepted, Append, Appended, Claim, Intake, Offer, RunInfo, RunStore, StoreError, Stored,
};

use crate::error::Done;
use crate::sql::{Sql, col, from_json, json};
use crate::sqlite::{Sqlite, accept, append, claim, signal};
use crate::tx::Tx;
use crate::work::Work;

/// The columns of [`run_of`], in its order.
macro_rules! run_columns {
    () => {
        "id, owner, agent, session, session_key, thread, client_key, priority, needs"
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
            crate::sqlite::run::run_columns!(),
            ", detail, worker, accepted_at, started_at, finished_at"
        )
    };
}
pub(crate) use info_columns;

/// What a run is, from its row.
pub(crate) fn run_of(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: col::id(row, 0)?,
        owner: col::id(row, 1)?,
        agent: col::id(row, 2)?,
        session: col::id(row, 3)?,
        session_key: col::id(row, 4)?,
        thread: col::id(row, 5)?,
        client_key: col::opt_id(row, 6)?,
        priority: row.get(7)?,
        needs: col::opt_json(row, 8)?.unwrap_or_default(),
    })
}

/// A run with its place in the queue.
pub(crate) fn info_of(row: &Row<'_>) -> rusqlite::Result<RunInfo> {
    Ok(RunInfo {
        run: run_of(row)?,
        status: col::json::<RunStatus>(row, N_RUN)?,
        worker: col::opt_id(row, N_RUN + 1)?,
        accepted_at: col::at(row, N_RUN + 2)?,
        started_at: col::opt_at(row, N_RUN + 3)?,
        finished_at: col::opt_at(row, N_RUN + 4)?,
    })
}

/// An entry whose body is still text: parsing long logs is not the writer's business.
pub(crate) struct Raw {
    seq: u64,
    at: Timestamp,
    body: String,
}

impl Raw {
    pub(crate) fn parse(self) -> Stored<Logged> {
        Ok(Logged {
            seq: Seq(self.seq),
            at: self.at,
            entry: from_json::<Entry>(&self.body)?,
        })
    }
}

/// Number of a run's log: its entries lie side by side under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogNo(pub(crate) i64);

/// Entries that a log has room for: the place of one is its run's number times this, plus its position. A run ends long
/// before, at its limit of steps. A macro, because statements say it, too.
macro_rules! log_places {
    () => {
        1_048_576
    };
}
pub(crate) use log_places;

/// The same for code.
pub(crate) const LOG_PLACES: i64 = log_places!();

impl LogNo {
    /// Where the entry with this position is.
    fn place(self, seq: Seq) -> Stored<i64> {
        let seq = i64::try_from(seq.0).unwrap_or(LOG_PLACES);
        if seq < LOG_PLACES {
            return Ok(self.0 * LOG_PLACES + seq);
        }
        Err(StoreError::Full {
            what: "the log of this run",
            max: LOG_PLACES.unsigned_abs(),
        })
    }

    /// Before the first entry, and behind the last.
    pub(crate) fn around(self) -> [i64; 2] {
        [self.0 * LOG_PLACES, (self.0 + 1) * LOG_PLACES]
    }
}

/// The last position of a log.
pub(crate) fn head(tx: &Tx<'_>, log: LogNo) -> Done<u64> {
    let [before, behind] = log.around();
    let last = tx.one(
        "select place from entries where place > ? and place < ? order by place desc limit 1",
        [before, behind],
        |row| row.get::<_, i64>(0),
    )?;
    Ok(last.map_or(0, |place| (place - before).unsigned_abs()))
}

/// The log from `from` on.
pub(crate) fn raw_log(db: &Connection, log: LogNo, from: Seq) -> Done<Vec<Raw>> {
    let [before, behind] = log.around();
    db.all(
        "select place, at, body from entries where place >= ? and place < ? order by place",
        [log.place(from)?, behind],
        |row| {
            Ok(Raw {
                seq: (row.get::<_, i64>(0)? - before).unsigned_abs(),
                at: col::at(row, 1)?,
                body: row.get(2)?,
            })
        },
    )
}

pub(crate) fn parse_log(raw: Vec<Raw>) -> Stored<Vec<Logged>> {
    raw.into_iter().map(Raw::parse).collect()
}

/// Writes one entry. Its place was reserved by the statement that compared the fence.
pub(crate) fn insert_entry(tx: &Tx<'_>, log: LogNo, logged: &Logged) -> Done<()> {
    tx.exec(
        "insert into entries (place, at, kind, body) values (?, ?, ?, ?)",
        params![
            log.place(logged.seq)?,
            logged.at.as_millis(),
            logged.entry.word(),
            json(&logged.entry)?
        ],
    )?;
    Ok(())
}

#[async_trait]
impl RunStore for Sqlite {
    async fn accept(&self, intake: Intake) -> Stored<Accepted> {
        self.flushed(move |tx| accept::accept(tx, intake)).await
    }

    async fn claim(&self, offer: &Offer, lease: Duration) -> Stored<Vec<Claim>> {
        let (patience, offer) = (offer.patience, offer.clone());
        let claimed = self
            .writer
            .wait_for(patience, move |tx| claim::claims(tx, &offer, lease))
            .await?;
        claimed.into_iter().map(claim::Claimed::parse).collect()
    }

    async fn extend(&self, run: RunId, fence: Fence, lease: Duration) -> Stored<Vec<Signal>> {
        self.relaxed(move |tx| claim::extend(tx, run, fence, lease))
            .await
    }

    async fn append(&self, append: Append<'_>) -> Stored<Appended> {
        let work = Work::new(append)?;
        self.flushed(move |tx| append::append(tx, work)).await
    }

    async fn log(&self, owner: &OwnerId, run: RunId, from: Seq) -> Stored<Vec<Logged>> {
        let owner = owner.clone();
        let raw = self
            .read(move |db| {
                let log = db
                    .one(
                        "select n from runs where id = ? and owner = ?",
                        params![run.to_string(), owner.as_str()],
                        |row| row.get(0).map(LogNo),
                    )?
                    .ok_or(StoreError::NotFound { what: "run" })?;
                raw_log(db, log, from)
            })
            .await?;
        parse_log(raw)
    }

    async fn signal(&self, owner: &OwnerId, run: RunId, signal: Signal) -> Stored<bool> {
        let owner = owner.clone();
        self.flushed(move |tx| signal::signal(tx, &owner, run, &signal))
            .await
    }
}
