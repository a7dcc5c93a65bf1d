//! The feed.

use async_trait::async_trait;
use rusqlite::params;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_ports::store::{EventStore, Stored};

use crate::sql::{Sql, col};
use crate::sqlite::Sqlite;

#[async_trait]
impl EventStore for Sqlite {
    async fn events_since(&self, owner: &OwnerId, cursor: u64, limit: u32) -> Stored<Vec<Event>> {
        let owner = owner.clone();
        self.read(move |db| {
            db.all(
                "select cursor, owner, at, run, run_name, session, kind from events
                  where owner = ? and cursor > ?
                  order by cursor
                  limit ?",
                params![owner.as_str(), cursor, limit],
                |row| {
                    Ok(Event {
                        cursor: row.get(0)?,
                        owner: col::id(row, 1)?,
                        at: col::at(row, 2)?,
                        run: col::opt_id(row, 3)?,
                        run_name: row.get(4)?,
                        session: col::opt_id(row, 5)?,
                        kind: col::json(row, 6)?,
                    })
                },
            )
        })
        .await
    }

    async fn cursor(&self, owner: &OwnerId) -> Stored<u64> {
        let owner = owner.clone();
        self.read(move |db| {
            let newest = db.one(
                "select cursor from events where owner = ? and cursor > 0 order by cursor desc limit 1",
                [owner.as_str()],
                |row| row.get(0),
            )?;
            Ok(newest.unwrap_or_default())
        })
        .await
    }

    async fn announce(
        &self,
        owner: &OwnerId,
        session: Option<&SessionKey>,
        kind: EventKind,
    ) -> Stored<()> {
        let (owner, session) = (owner.clone(), session.cloned());
        self.flushed(move |tx| tx.event(&owner, None, session.as_ref(), kind))
            .await
    }
}
