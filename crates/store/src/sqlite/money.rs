//! Money: reservations before a model call, ledger lines after it, and the sums over both.

use rusqlite::{Connection, Row, params};

use adjutant_domain::id::OwnerId;
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::run::{AskedBudget, Entry, LedgerLine, Run};
use adjutant_ports::store::{Cap, CapScope, GroupBy, Rate, Spend, StoreError, Take};

use crate::error::Done;
use crate::sql::{Sql, col};
use crate::writer::Tx;

/// The windows that every call of a run counts in.
fn windows(run: &Run, day: &str) -> [CapScope; 3] {
    [
        CapScope::Run { run: run.id },
        CapScope::Session {
            session: run.session,
        },
        CapScope::Day {
            day: day.to_owned(),
        },
    ]
}

/// Holds money, if it fits under every cap.
pub(crate) fn reserve(
    tx: &Tx<'_>,
    run: &Run,
    budget: &AskedBudget,
    route: &str,
    caps: &[Cap],
) -> Done<()> {
    for cap in caps {
        let spend = spend(tx, &run.owner, &cap.scope)?;
        let taken = spend.used_micros + spend.reserved_micros;
        if taken + budget.reserve > cap.limit {
            let scope = cap.scope.word().to_owned();
            return Err(StoreError::Budget {
                scope,
                limit: cap.limit,
                left: cap.limit.less(taken),
            }
            .into());
        }
    }
    tx.exec(
        "insert into ledger (reservation, owner, run, run_name, session, session_key, agent, day, route, reserved,
                             settled, at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        params![
            budget.reservation.to_string(),
            run.owner.as_str(),
            run.id.to_string(),
            run.name(),
            run.session.to_string(),
            run.session_key.as_str(),
            run.agent.as_str(),
            budget.day,
            route,
            budget.reserve.0,
            tx.now.as_millis(),
        ],
    )?;
    for window in windows(run, &budget.day) {
        tx.exec(
            "insert into spend (owner, scope, key, reserved) values (?1, ?2, ?3, ?4)
             on conflict do update set reserved = reserved + excluded.reserved",
            params![
                run.owner.as_str(),
                window.word(),
                window.key(),
                budget.reserve.0
            ],
        )?;
    }
    Ok(())
}

/// Turns a reservation into a ledger line, once: usage is counted once (R6).
pub(crate) fn settle(tx: &Tx<'_>, run: &Run, line: &LedgerLine) -> Done<()> {
    let released: u64 = tx
        .one(
            "update ledger
                set settled = 1, cost = ?, input = ?, output = ?, cache_read = ?, cache_write = ?, estimated = ?,
                    route = ?, at = ?
              where reservation = ?
                and run = ?
                and settled = 0
             returning reserved",
            params![
                line.cost.micros().map(|micros| micros.0),
                line.usage.input,
                line.usage.output,
                line.usage.cache_read,
                line.usage.cache_write,
                line.usage.estimated,
                line.route,
                line.at.as_millis(),
                line.reservation.to_string(),
                run.id.to_string(),
            ],
            |row| row.get(0),
        )?
        .ok_or_else(|| StoreError::Conflict { reason: "this reservation is not open".to_owned() })?;
    for window in windows(run, &line.day) {
        tx.exec(
            "update spend
                set used = used + ?, reserved = reserved - ?, calls = calls + 1, unpriced = unpriced + ?,
                    input = input + ?, output = output + ?, cache_read = cache_read + ?,
                    cache_write = cache_write + ?, estimated = max(estimated, ?)
              where owner = ?
                and scope = ?
                and key = ?",
            params![
                line.cost.micros().unwrap_or_default().0,
                released,
                line.cost.micros().is_none(),
                line.usage.input,
                line.usage.output,
                line.usage.cache_read,
                line.usage.cache_write,
                line.usage.estimated,
                run.owner.as_str(),
                window.word(),
                window.key(),
            ],
        )?;
    }
    Ok(())
}

/// Frees what a run still holds when it ends; only a run that was stopped between question and answer has any.
pub(crate) fn release_open(tx: &Tx<'_>, run: &Run) -> Done<()> {
    let held = spend(tx, &run.owner, &CapScope::Run { run: run.id })?.reserved_micros;
    if held == Micros::ZERO {
        return Ok(());
    }
    let asked: Vec<Entry> = tx.all(
        "select body from entries where run = ? and kind = 'model_asked'",
        [run.id.to_string()],
        |row| col::json(row, 0),
    )?;
    for entry in asked {
        let Entry::ModelAsked { budget, .. } = entry else {
            continue;
        };
        let open = tx.exec(
            "delete from ledger where reservation = ? and run = ? and settled = 0",
            params![budget.reservation.to_string(), run.id.to_string()],
        )?;
        for window in windows(run, &budget.day).iter().filter(|_| open == 1) {
            tx.exec(
                "update spend set reserved = reserved - ? where owner = ? and scope = ? and key = ?",
                params![budget.reserve.0, run.owner.as_str(), window.word(), window.key()],
            )?;
        }
    }
    Ok(())
}

/// Sums from `used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated`, beginning at `first`.
pub(crate) fn spend_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Spend> {
    Ok(Spend {
        used_micros: Micros(row.get(first)?),
        reserved_micros: Micros(row.get(first + 1)?),
        calls: row.get(first + 2)?,
        unpriced: row.get(first + 3)?,
        usage: Usage {
            input: row.get(first + 4)?,
            output: row.get(first + 5)?,
            cache_read: row.get(first + 6)?,
            cache_write: row.get(first + 7)?,
            estimated: row.get(first + 8)?,
        },
    })
}

pub(crate) fn spend(db: &Connection, owner: &OwnerId, scope: &CapScope) -> Done<Spend> {
    let row = db.one(
        "select used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated
           from spend where owner = ? and scope = ? and key = ?",
        params![owner.as_str(), scope.word(), scope.key()],
        |row| spend_of(row, 0),
    )?;
    Ok(row.unwrap_or_default())
}

/// The sums that [`spend_of`] reads, over ledger rows.
macro_rules! sums {
    () => {
        "coalesce(sum(cost), 0), coalesce(sum(reserved * (1 - settled)), 0), coalesce(sum(settled), 0),
         coalesce(sum(settled = 1 and cost is null), 0), coalesce(sum(input), 0), coalesce(sum(output), 0),
         coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), coalesce(max(estimated), 0)"
    };
}
pub(crate) use sums;

pub(crate) fn costs(
    db: &Connection,
    owner: &OwnerId,
    by: GroupBy,
    from: &str,
    to: &str,
) -> Done<Vec<(String, Spend)>> {
    macro_rules! grouped {
        ($column:literal) => {
            concat!(
                "select ",
                $column,
                ", ",
                sums!(),
                " from ledger where owner = ? and day between ? and ? group by 1 order by 1"
            )
        };
    }
    let sql = match by {
        GroupBy::Day => grouped!("day"),
        GroupBy::Model => grouped!("route"),
        GroupBy::Session => grouped!("session_key"),
        GroupBy::Agent => grouped!("agent"),
        GroupBy::Run => grouped!("run_name"),
    };
    db.all(sql, params![owner.as_str(), from, to], |row| {
        Ok((row.get(0)?, spend_of(row, 1)?))
    })
}

/// What one token per minute gains in a minute: the unit of a bucket's level.
const UNITS_PER_TOKEN: u128 = 60_000;

/// Takes from a token bucket. Follows the steady clock, so a clock that jumps fills nothing (R37).
pub(crate) fn take(tx: &Tx<'_>, bucket: &str, amount: u64, rate: Rate) -> Done<Take> {
    let now = tx.steady.now();
    let full = u128::from(rate.burst) * UNITS_PER_TOKEN;
    let row = tx.one(
        "select level, at from buckets where name = ?",
        [bucket],
        |row| Ok((row.get::<_, u64>(0)?, col::at(row, 1)?)),
    )?;
    let level = row.map_or(full, |(level, at)| {
        let gained = now.since(at).as_millis() * u128::from(rate.per_minute);
        (u128::from(level) + gained).min(full)
    });
    let wanted = u128::from(amount) * UNITS_PER_TOKEN;
    if wanted > level {
        let missing = wanted - level;
        let ms = if rate.per_minute == 0 || wanted > full {
            u64::MAX
        } else {
            u64::try_from(missing.div_ceil(u128::from(rate.per_minute))).unwrap_or(u64::MAX)
        };
        return Ok(Take::Wait(std::time::Duration::from_millis(ms)));
    }
    let left = i64::try_from(level - wanted).unwrap_or(i64::MAX);
    tx.exec(
        "insert into buckets (name, level, at) values (?, ?, ?)
         on conflict do update set level = excluded.level, at = excluded.at",
        params![bucket, left, now.as_millis()],
    )?;
    Ok(Take::Taken)
}
