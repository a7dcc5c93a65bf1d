//! What the writer does in quiet moments: the text index, and what has outlived its time.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;

use adjutant_domain::time::Timestamp;

use crate::buckets::Buckets;
use crate::config::Config;
use crate::error::Done;
use crate::sql::Sql;
use crate::sqlite::message;
use crate::writer::{Chores, Tx};

/// How often old rows are looked for.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Events that one call removes.
const EVENTS_MAX: u32 = 1_000;

pub(crate) struct Tidy {
    events: Duration,
    answers: Duration,
    last: Option<Timestamp>,
    buckets: Arc<Buckets>,
}

impl Tidy {
    pub(crate) fn new(config: &Config, buckets: Arc<Buckets>) -> Self {
        Self {
            events: Duration::from_secs(u64::from(config.retain_events_days) * 24 * 60 * 60),
            answers: Duration::from_secs(u64::from(config.idempotency_hours) * 60 * 60),
            last: None,
            buckets,
        }
    }

    /// `true`: there is more.
    fn drop_old(&mut self, tx: &Tx<'_>) -> Done<bool> {
        let now = tx.steady.now();
        if self.last.is_some_and(|last| now.since(last) < EVERY) {
            return Ok(false);
        }
        tx.exec(
            "delete from answers where at < ?",
            [tx.now.minus(self.answers).as_millis()],
        )?;
        let owners: Vec<String> = tx.all(
            "with recursive o (owner) as (
                 select min(owner) from events
                 union all
                 select (select min(owner) from events where owner > o.owner) from o where o.owner is not null)
             select owner from o where owner is not null",
            [],
            |row| row.get(0),
        )?;
        let mut more = false;
        for owner in owners {
            // The oldest are at the front; the newest always stays, so that the cursor is still known.
            let n = tx.exec(
                "delete from events
                  where owner = ?1
                    and cursor in (select cursor from events where owner = ?1 order by cursor limit ?2)
                    and cursor < (select max(cursor) from events where owner = ?1)
                    and at < ?3",
                params![owner, EVENTS_MAX, tx.now.minus(self.events).as_millis()],
            )?;
            more |= u32::try_from(n).is_ok_and(|n| n >= EVENTS_MAX - 1);
        }
        if !more {
            self.last = Some(now);
        }
        Ok(more)
    }
}

impl Chores for Tidy {
    fn tidy(&mut self, tx: &mut Tx<'_>) -> Done<bool> {
        self.buckets.save(tx)?;
        if message::catch_up(tx)? {
            return Ok(true);
        }
        self.drop_old(tx)
    }
}
