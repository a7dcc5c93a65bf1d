//! Removes what has outlived its time, once an hour. Several processes may do it at once: a row is removed once.

use std::sync::Weak;
use std::time::Duration;

use crate::config::Config;
use crate::postgres::Inner;
use crate::postgres::error::Done;
use crate::postgres::row::params;
use crate::postgres::tx::{Durability, Who, millis};

/// How often old rows are looked for.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// After the start, which has other things to do.
const FIRST: Duration = Duration::from_secs(30);
/// Rows that one statement removes.
const ROWS_MAX: u64 = 1_000;

/// Until the store is gone.
pub(crate) async fn run(store: Weak<Inner>, config: Config) {
    let events = Duration::from_secs(u64::from(config.retain_events_days) * 24 * 60 * 60);
    let answers = Duration::from_secs(u64::from(config.idempotency_hours) * 60 * 60);
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = EVERY;
        let Some(inner) = store.upgrade() else { return };
        if let Err(fault) = drop_old(&inner, events, answers).await {
            tracing::warn!(reason = %fault.into_store(), "old rows could not be removed; they are looked for again"
            );
        }
    }
}

async fn drop_old(inner: &Inner, events: Duration, answers: Duration) -> Done<()> {
    let old_answers = "delete from answers where (owner, method, key) in (
                           select owner, method, key from answers where at < coalesce($1, clock_ms()) - $2 limit $3)
                       returning 1";
    // The newest of an owner always stays, so that the cursor is still known.
    let old_events = "delete from events where cursor in (
                          select e.cursor from events e
                           where e.at < (select coalesce($1, clock_ms()) - $2)
                             and e.cursor < (select max(n.cursor) from events n where n.owner = e.owner)
                           limit $3)
                      returning 1";
    for (sql, age) in [(old_answers, answers), (old_events, events)] {
        loop {
            let params = params![inner.times().rows(), millis(age), ROWS_MAX];
            let removed = inner
                .statement(&Who::Queue, Durability::Relaxed, sql, &params, false)
                .await?;
            if (removed.len() as u64) < ROWS_MAX {
                break;
            }
        }
    }
    Ok(())
}
