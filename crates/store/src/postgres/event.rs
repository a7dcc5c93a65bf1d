//! The feed, as callers read it.

use async_trait::async_trait;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_ports::store::{EventStore, Stored};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::feed::{event_columns, event_of};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::Who;

#[async_trait]
impl EventStore for Postgres {
    async fn events_since(&self, owner: &OwnerId, cursor: u64, limit: u32) -> Stored<Vec<Event>> {
        let sql = concat!(
            "select ",
            event_columns!(),
            " from events where owner = $1 and cursor > $2 order by cursor limit $3"
        );
        let rows = self
            .read(
                Who::Owner(owner.clone()),
                sql,
                params![owner, cursor, limit],
            )
            .await?;
        let events: Done<_> = rows.iter().map(event_of).collect();
        events.map_err(Fault::into_store)
    }

    async fn cursor(&self, owner: &OwnerId) -> Stored<u64> {
        let sql = "select coalesce(max(cursor), 0) from events where owner = $1";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner])
            .await?;
        rows.first()
            .map_or(Ok(0), |row| row.count(0))
            .map_err(Fault::into_store)
    }

    async fn announce(
        &self,
        owner: &OwnerId,
        session: Option<&SessionKey>,
        kind: EventKind,
    ) -> Stored<()> {
        let args = (owner.clone(), session.cloned(), kind);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, session, kind)| {
                Box::pin(async move { tx.event(owner, None, session.as_ref(), kind) })
            },
        )
        .await
    }
}
