//! Token buckets: kept in memory, because every request asks them, and written down in quiet moments.
//!
//! One process owns the store, so nobody else takes from them. A process that dies takes back at most what was used since the
//! last quiet moment; a bucket is full again within a minute or so anyhow.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};

use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Rate, Take};

use crate::error::Done;
use crate::sql::{Sql, col};

/// What one token per minute gains in a minute: the unit of a bucket's level.
const UNITS_PER_TOKEN: u128 = 60_000;
/// Buckets that are kept; when there are more, those that nobody has used for longest are forgotten, full ones in effect.
const BUCKETS_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u64,
    at: Timestamp,
    changed: bool,
}

/// The buckets of every owner.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    by_name: Mutex<BTreeMap<String, Bucket>>,
}

impl Buckets {
    /// The buckets as they were written down last.
    pub(crate) fn load(db: &Connection) -> Done<Self> {
        let rows = db.all(
            "select name, level, at from buckets order by at desc limit ?",
            [BUCKETS_MAX],
            |row| {
                let bucket = Bucket {
                    level: row.get(1)?,
                    at: col::at(row, 2)?,
                    changed: false,
                };
                Ok((row.get::<_, String>(0)?, bucket))
            },
        )?;
        Ok(Self {
            by_name: Mutex::new(rows.into_iter().collect()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes from a bucket. `now` follows the steady clock, so a clock that jumps fills nothing (R37).
    pub(crate) fn take(&self, name: &str, amount: u64, rate: Rate, now: Timestamp) -> Take {
        let mut buckets = self.lock();
        let full = u128::from(rate.burst) * UNITS_PER_TOKEN;
        let level = buckets.get(name).map_or(full, |bucket| {
            let gained = now.since(bucket.at).as_millis() * u128::from(rate.per_minute);
            (u128::from(bucket.level) + gained).min(full)
        });
        let wanted = u128::from(amount) * UNITS_PER_TOKEN;
        if wanted > level {
            let missing = wanted - level;
            let ms = if rate.per_minute == 0 || wanted > full {
                u64::MAX
            } else {
                u64::try_from(missing.div_ceil(u128::from(rate.per_minute))).unwrap_or(u64::MAX)
            };
            return Take::Wait(Duration::from_millis(ms));
        }
        let bucket = Bucket {
            level: u64::try_from(level - wanted).unwrap_or(u64::MAX),
            at: now,
            changed: true,
        };
        if let Some(kept) = buckets.get_mut(name) {
            *kept = bucket;
        } else {
            if BUCKETS_MAX <= buckets.len() {
                forget_oldest(&mut buckets);
            }
            buckets.insert(name.to_owned(), bucket);
        }
        Take::Taken
    }

    /// Writes down what has changed.
    pub(crate) fn save(&self, db: &Connection) -> Done<()> {
        let mut buckets = self.lock();
        for (name, bucket) in buckets.iter_mut().filter(|(_, bucket)| bucket.changed) {
            db.exec(
                "insert into buckets (name, level, at) values (?, ?, ?)
                 on conflict do update set level = excluded.level, at = excluded.at",
                params![
                    name,
                    i64::try_from(bucket.level).unwrap_or(i64::MAX),
                    bucket.at.as_millis()
                ],
            )?;
            bucket.changed = false;
        }
        Ok(())
    }
}

fn forget_oldest(buckets: &mut BTreeMap<String, Bucket>) {
    let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.at);
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        buckets.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const RATE: Rate = Rate {
        per_minute: 60,
        burst: 2,
    };

    #[test]
    fn buckets_are_bounded_and_the_newest_stay() {
        // covers: R29
        let buckets = Buckets::default();
        for n in 0..=BUCKETS_MAX {
            let at = Timestamp::from_millis(i64::try_from(n).unwrap());
            assert_eq!(buckets.take(&n.to_string(), 2, RATE, at), Take::Taken);
        }
        assert_eq!(buckets.lock().len(), BUCKETS_MAX);
        let now = Timestamp::from_millis(i64::try_from(BUCKETS_MAX).unwrap());
        let newest = buckets.take(&BUCKETS_MAX.to_string(), 1, RATE, now);
        assert_eq!(newest, Take::Wait(Duration::from_secs(1)));
    }
}
