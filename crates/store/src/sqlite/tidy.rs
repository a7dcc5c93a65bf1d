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
use crate::tx::Tx;
use crate::writer::Chores;

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
        // The oldest are at the front; the newest of an owner always stays, so that the cursor is still known.
        let n = tx.exec(
            "delete from events
              where cursor in (select e.cursor from events e where e.cursor > 0 order by e.cursor limit ?1)
                and at < ?2
                and exists (select 1 from events later
                             where later.cursor > events.cursor and later.owner = events.owner)",
            params![EVENTS_MAX, tx.now.minus(self.events).as_millis()],
        )?;
        let more = n > 0;
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
