//! Runs, seen from outside.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use adjutant_domain::id::{OwnerId, SessionId};
use adjutant_domain::need::Needs;
use adjutant_ports::store::{RunIndex, RunInfo, Stored};

use crate::error::Done;
use crate::sql::{Sql, json};
use crate::sqlite::Sqlite;
use crate::sqlite::claim;
use crate::sqlite::run::{info_columns, info_of};

/// By the key of the client first, then by another name it was given, then by identifier.
fn run(db: &Connection, owner: &OwnerId, name: &str) -> Done<Option<RunInfo>> {
    let by_key = concat!(
        "select ",
        info_columns!(),
        " from runs where owner = ?1 and client_key = ?2"
    );
    let by_alias = concat!(
        "select ",
        info_columns!(),
        " from runs where owner = ?1 and id = (select run from run_aliases where owner = ?1 and name = ?2)"
    );
    let by_id = concat!(
        "select ",
        info_columns!(),
        " from runs where owner = ?1 and id = ?2"
    );
    for sql in [by_key, by_alias, by_id] {
        if let Some(found) = db.one(sql, params![owner.as_str(), name], info_of)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Those that run or rest have a seat, those that wait stand in the queue.
fn active(db: &Connection, owner: &OwnerId, session: Option<SessionId>) -> Done<Vec<RunInfo>> {
    macro_rules! both {
        ($and:literal) => {
            concat!(
                "select ",
                info_columns!(),
                " from runs indexed by runs_seat where status in ('running', 'parked') and owner = ?1",
                $and,
                " union all select ",
                info_columns!(),
                " from runs indexed by runs_queue where status = 'queued' and owner = ?1",
                $and,
                " order by id"
            )
        };
    }
    match session {
        Some(session) => db.all(
            both!(" and session = ?2"),
            params![owner.as_str(), session.to_string()],
            info_of,
        ),
        None => db.all(both!(""), [owner.as_str()], info_of),
    }
}

#[async_trait]
impl RunIndex for Sqlite {
    async fn run(&self, owner: &OwnerId, name: &str) -> Stored<Option<RunInfo>> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.glance(move |db| run(db, &owner, &name)).await
    }

    async fn active_runs(
        &self,
        owner: &OwnerId,
        session: Option<SessionId>,
    ) -> Stored<Vec<RunInfo>> {
        let owner = owner.clone();
        self.read(move |db| active(db, &owner, session)).await
    }

    async fn recent_runs(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<RunInfo>> {
        let owner = owner.clone();
        self.read(move |db| {
            db.all(
                concat!(
                    "select ",
                    info_columns!(),
                    " from runs where owner = ? and id < 'run_~' order by id desc limit ?"
                ),
                params![owner.as_str(), limit],
                info_of,
            )
        })
        .await
    }

    async fn release_dead_claims(&self) -> Stored<u64> {
        self.relaxed(|tx| {
            tx.exec("delete from workers", [])?;
            let n: u64 = tx
                .one(
                    "select count(*) from runs where status in ('running', 'parked') and status = 'running'",
                    [],
                    |row| row.get(0),
                )?
                .unwrap_or_default();
            tx.leases.end_all(tx.steady.now());
            if n > 0 {
                tx.nudge();
            }
            Ok(n)
        })
        .await
    }

    async fn next_due(&self, offers: &Needs) -> Stored<Option<Duration>> {
        let now = self.steady.now();
        let leases = Arc::clone(&self.leases);
        let offers = json(offers)?;
        self.glance(move |db| claim::next_due(db, &leases, &offers, now))
            .await
    }

    async fn queue_depth(&self) -> Stored<(u64, u64, u64)> {
        self.read(|db| {
            let count = |sql: &str| Ok::<u64, crate::error::Fault>(db.one(sql, [], |row| row.get(0))?.unwrap_or(0));
            Ok((
                count("select count(*) from runs where status = 'queued'")?,
                count("select count(*) from runs where status in ('running', 'parked') and status = 'running'")?,
                count("select count(*) from runs where status in ('running', 'parked') and status = 'parked'")?,
            ))
        })
        .await
    }
}
