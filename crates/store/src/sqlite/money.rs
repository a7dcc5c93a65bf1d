//! Money: reservations before a model call, ledger lines after it, and the sums over both.

use rusqlite::{Connection, Row, params};

use adjutant_domain::id::{OwnerId, RunId};
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::run::{AskedBudget, LedgerLine, Run};
use adjutant_ports::store::{Cap, CapScope, GroupBy, Spend, StoreError};

use crate::error::Done;
use crate::sql::Sql;
use crate::tx::Tx;

/// Lines that runs born in one millisecond have room for.
const LINES_MAX: i64 = 1 << 15;

/// Before the first place of a run's lines, and behind the last. Runs that were born in the same millisecond share them.
pub(crate) fn lines_of(run: RunId) -> [i64; 2] {
    // 48 of the 128 bits are the millisecond, so this is never negative.
    let born = i64::try_from(run.as_u128() >> 80).unwrap_or_default();
    [born * LINES_MAX, (born + 1) * LINES_MAX - 1]
}

/// The windows whose sums are kept. That of a run is the sum of its few lines.
fn windows(run: &Run, day: &str) -> [CapScope; 2] {
    [
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
    let [before, behind] = lines_of(run.id);
    let (id, reservation) = (run.id.to_string(), budget.reservation.to_string());
    let (last, is_there): (Option<i64>, bool) = tx
        .one(
            "select max(place), count(*) filter (where reservation = ?3 and run = ?4) > 0
               from ledger
              where place > ?1 and place < ?2",
            params![before, behind, reservation, id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .unwrap_or_default();
    if is_there {
        return Err(StoreError::Conflict {
            reason: "this reservation is there already".to_owned(),
        }
        .into());
    }
    let place = last.unwrap_or(before) + 1;
    if behind <= place {
        return Err(StoreError::Full {
            what: "the ledger of this run",
            max: LINES_MAX.unsigned_abs(),
        }
        .into());
    }
    tx.exec(
        "insert into ledger (place, reservation, owner, run, run_name, session, session_key, agent, day, route, reserved,
                             settled, at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        params![
            place,
            reservation,
            run.owner.as_str(),
            id,
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
        let place = matches!(window, CapScope::Day { .. }).then_some(place);
        tx.exec(
            "insert into spend (owner, scope, key, reserved, first, last) values (?1, ?2, ?3, ?4, ?5, ?5)
             on conflict do update
                set reserved = reserved + excluded.reserved,
                    first = min(first, excluded.first), last = max(last, excluded.last)",
            params![
                run.owner.as_str(),
                window.word(),
                window.key(),
                budget.reserve.0,
                place
            ],
        )?;
    }
    Ok(())
}

/// Turns a reservation into a ledger line, once: usage is counted once (R6).
pub(crate) fn settle(tx: &Tx<'_>, run: &Run, line: &LedgerLine) -> Done<()> {
    let [before, behind] = lines_of(run.id);
    let not_open = || StoreError::Conflict {
        reason: "this reservation is not open".to_owned(),
    };
    let (place, released): (i64, u64) = tx
        .one(
            "select place, reserved from ledger
              where place > ? and place < ? and reservation = ? and run = ? and settled = 0",
            params![
                before,
                behind,
                line.reservation.to_string(),
                run.id.to_string()
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .ok_or_else(not_open)?;
    let n_settled = tx.exec(
        "update ledger
            set settled = 1, cost = ?, input = ?, output = ?, cache_read = ?, cache_write = ?, estimated = ?, route = ?,
                at = ?
          where place = ?
            and settled = 0",
        params![
            line.cost.micros().map(|micros| micros.0),
            line.usage.input,
            line.usage.output,
            line.usage.cache_read,
            line.usage.cache_write,
            line.usage.estimated,
            line.route,
            line.at.as_millis(),
            place,
        ],
    )?;
    if n_settled == 0 {
        return Err(not_open().into());
    }
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
    let [before, behind] = lines_of(run.id);
    let open = tx.all(
        "select place, reserved, day from ledger where place > ? and place < ? and run = ? and settled = 0",
        params![before, behind, run.id.to_string()],
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, u64>(1)?,
                row.get::<_, String>(2)?,
            ))
        },
    )?;
    for (place, reserved, day) in open {
        tx.exec("delete from ledger where place = ?", [place])?;
        for window in windows(run, &day) {
            tx.exec(
                "update spend set reserved = reserved - ? where owner = ? and scope = ? and key = ?",
                params![reserved, run.owner.as_str(), window.word(), window.key()],
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

/// The sums that [`spend_of`] reads, over ledger rows.
macro_rules! sums {
    () => {
        "coalesce(sum(cost), 0), coalesce(sum(reserved * (1 - settled)), 0), coalesce(sum(settled), 0),
         coalesce(sum(settled = 1 and cost is null), 0), coalesce(sum(input), 0), coalesce(sum(output), 0),
         coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), coalesce(max(estimated), 0)"
    };
}
pub(crate) use sums;

pub(crate) fn spend(db: &Connection, owner: &OwnerId, scope: &CapScope) -> Done<Spend> {
    let row = match scope {
        CapScope::Run { run } => {
            let [before, behind] = lines_of(*run);
            db.one(
                concat!(
                    "select ",
                    sums!(),
                    " from ledger where place > ? and place < ? and run = ? and owner = ?"
                ),
                params![before, behind, run.to_string(), owner.as_str()],
                |row| spend_of(row, 0),
            )
        }
        CapScope::Session { .. } | CapScope::Day { .. } => db.one(
            "select used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated
               from spend where owner = ? and scope = ? and key = ?",
            params![owner.as_str(), scope.word(), scope.key()],
            |row| spend_of(row, 0),
        ),
    }?;
    Ok(row.unwrap_or_default())
}

/// The first and the last place that hold lines of these days; lines of other days may lie between them.
fn places_of_days(
    db: &Connection,
    owner: &OwnerId,
    from: &str,
    to: &str,
) -> Done<Option<[i64; 2]>> {
    let found = db.one(
        "select iif(count(first) = count(*), min(first), 0), iif(count(last) = count(*), max(last), ?4), count(*)
           from spend
          where owner = ?1 and scope = 'day' and key between ?2 and ?3",
        params![owner.as_str(), from, to, i64::MAX],
        |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, u64>(2)?)),
    )?;
    Ok(match found {
        Some((Some(first), Some(last), n)) if n > 0 => Some([first, last]),
        _ => None,
    })
}

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
                " from ledger
                  where place between ? and ? and owner = ? and day between ? and ?
                  group by 1
                  order by 1"
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
    let Some([first, last]) = places_of_days(db, owner, from, to)? else {
        return Ok(vec![]);
    };
    db.all(sql, params![first, last, owner.as_str(), from, to], |row| {
        Ok((row.get(0)?, spend_of(row, 1)?))
    })
}
