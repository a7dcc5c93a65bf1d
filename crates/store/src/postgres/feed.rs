//! Reads the feed for the watchers of this process: from a cursor on, when somebody rings, and every few seconds anyhow.

use std::sync::Weak;
use std::time::Duration;

use tokio_postgres::Row;

use adjutant_domain::event::Event;

use crate::postgres::Inner;
use crate::postgres::error::Done;
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Who};

/// Longest wait without a ring (R16).
const LOOK: Duration = Duration::from_secs(4);
/// Events of one look; when there are more, it looks again at once.
const EVENTS_MAX: usize = 500;

/// The columns of [`event_of`], in its order.
macro_rules! event_columns {
    () => {
        "cursor, owner, at, run, run_name, session, kind"
    };
}
pub(crate) use event_columns;

pub(crate) fn event_of(row: &Row) -> Done<Event> {
    Ok(Event {
        cursor: row.count(0)?,
        owner: row.id(1)?,
        at: row.at(2)?,
        run: row.opt_id(3)?,
        run_name: row.opt_text(4)?,
        session: row.opt_id(5)?,
        kind: row.json(6)?,
    })
}

impl Inner {
    /// The newest cursor of all owners.
    pub(crate) async fn newest(&self) -> Done<u64> {
        let sql = "select coalesce(max(cursor), 0) from events";
        let rows = self
            .statement(&Who::Queue, Durability::Relaxed, sql, &[], true)
            .await?;
        rows.first().map_or(Ok(0), |row| row.count(0))
    }

    async fn events_after(&self, cursor: u64) -> Done<Vec<Event>> {
        let sql = concat!(
            "select ",
            event_columns!(),
            " from events where cursor > $1 order by cursor limit $2"
        );
        let params = params![cursor, EVENTS_MAX as u64];
        let rows = self
            .statement(&Who::Queue, Durability::Relaxed, sql, &params, true)
            .await?;
        rows.iter().map(event_of).collect()
    }
}

/// Until the store is gone. While nobody here wants to hear of events, as in a process of workers, nothing is read.
pub(crate) async fn run(store: Weak<Inner>, mut cursor: u64) {
    let mut is_asleep = false;
    loop {
        let Some(inner) = store.upgrade() else { return };
        let bus = std::sync::Arc::clone(&inner.bus);
        if !bus.has_surfaces() {
            is_asleep = true;
            drop(inner);
            bus.fed().await;
            continue;
        }
        if is_asleep {
            match inner.newest().await {
                Ok(newest) => {
                    (cursor, is_asleep) = (newest, false);
                    bus.lag();
                }
                Err(fault) => {
                    tracing::debug!(reason = %fault.into_store(), "the end of the feed could not be found yet");
                    drop(inner);
                    // Late or early, it is looked for again.
                    let _is_rung = tokio::time::timeout(LOOK, bus.fed()).await.is_ok();
                }
            }
            continue;
        }
        match inner.events_after(cursor).await {
            Ok(events) => {
                let is_more = events.len() == EVENTS_MAX;
                if let Some(last) = events.last() {
                    cursor = last.cursor;
                    inner.bus().read(events);
                }
                if is_more {
                    continue;
                }
            }
            Err(fault) => {
                tracing::debug!(reason = %fault.into_store(), "the feed could not be read; it is looked at again")
            }
        }
        drop(inner);
        // Late or early, the next look finds everything.
        let _is_rung = tokio::time::timeout(LOOK, bus.fed()).await.is_ok();
    }
}
