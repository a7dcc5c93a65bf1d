//! Money: reservations before a model call, ledger lines after it, and the sums over both.

use tokio_postgres::Row;

use adjutant_domain::id::OwnerId;
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::run::{AskedBudget, LedgerLine, Run};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Cap, CapScope, GroupBy, Spend, StoreError, Stored};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, Value, params};
use crate::postgres::tx::{Tx, Who};

/// Holds money, if it fits under every cap.
///
/// The sums are raised first, which locks them, and what they say then is compared: who comes second waits and sees.
pub(crate) async fn reserve(
    tx: &mut Tx<'_>,
    run: &Run,
    at: Timestamp,
    budget: &AskedBudget,
    route: &str,
    caps: &[Cap],
) -> Done<()> {
    tx.later(
        "insert into ledger (reservation, owner, run, run_name, session, session_key, agent, day, route, reserved,
                             settled, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false, $11)",
        params![
            budget.reservation,
            run.owner,
            run.id,
            run.name(),
            run.session,
            run.session_key,
            run.agent,
            budget.day,
            route,
            budget.reserve,
            at,
        ],
    );
    tx.later(
        "insert into spend (owner, scope, key, reserved) values ($1, 'session', $2, $4), ($1, 'day', $3, $4)
         on conflict (owner, scope, key) do update set reserved = spend.reserved + excluded.reserved",
        params![run.owner, run.session, budget.day, budget.reserve],
    );
    if caps.is_empty() {
        return Ok(());
    }
    let questions = caps
        .iter()
        .map(|cap| spend_of_scope(&run.owner, &cap.scope));
    let found = tx.several(questions.collect()).await?;
    for (cap, rows) in caps.iter().zip(&found) {
        let all = rows
            .first()
            .map_or(Ok(Spend::default()), |row| spend_of(row, 0))?;
        let counts_here = match &cap.scope {
            CapScope::Run { run: it } => *it == run.id,
            CapScope::Session { session } => *session == run.session,
            CapScope::Day { day } => *day == budget.day,
        };
        let mut taken = all.used_micros + all.reserved_micros;
        if counts_here {
            taken = taken.less(budget.reserve);
        }
        if taken + budget.reserve > cap.limit {
            return Err(StoreError::Budget {
                scope: cap.scope.word().to_owned(),
                limit: cap.limit,
                left: cap.limit.less(taken),
            }
            .into());
        }
    }
    Ok(())
}

/// Turns a reservation into a ledger line, once: usage is counted once (R6).
pub(crate) fn settle(tx: &mut Tx<'_>, run: &Run, line: &LedgerLine) {
    let cost = line.cost.micros();
    tx.must(
        "with line as (
             update ledger
                set settled = true, cost = $1, input = $2, output = $3, cache_read = $4, cache_write = $5, estimated = $6,
                    route = $7, at = $8
              where reservation = $9
                and run = $10
                and not settled
             returning reserved),
         sums as (
             update spend
                set used = used + coalesce($1, 0), reserved = spend.reserved - line.reserved, calls = calls + 1,
                    unpriced = unpriced + case when $1 is null then 1 else 0 end,
                    input = input + $2, output = output + $3, cache_read = cache_read + $4,
                    cache_write = cache_write + $5, estimated = estimated or $6
               from line
              where owner = $11
                and (scope = 'session' and key = $12 or scope = 'day' and key = $13))
         select must_change(count(*)) from line",
        params![
            cost,
            line.usage.input,
            line.usage.output,
            line.usage.cache_read,
            line.usage.cache_write,
            line.usage.estimated,
            line.route,
            line.at,
            line.reservation,
            run.id,
            run.owner,
            run.session,
            line.day,
        ],
        StoreError::Conflict {
            reason: "this reservation is not open".to_owned(),
        },
    );
}

/// Frees what a run still holds when it ends; only a run that was stopped between question and answer has any.
pub(crate) fn release_open(tx: &mut Tx<'_>, run: &Run) {
    tx.later(
        "with open as (
             delete from ledger where run = $1 and not settled returning owner, session, day, reserved),
         sums as (
             select owner, 'session' as scope, session as key, sum(reserved)::bigint as held from open group by 1, 3
              union all
             select owner, 'day', day, sum(reserved)::bigint from open group by 1, 3)
         update spend set reserved = spend.reserved - sums.held from sums
          where spend.owner = sums.owner and spend.scope = sums.scope and spend.key = sums.key",
        params![run.id],
    );
}

/// Sums from `used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated`, beginning at `first`.
pub(crate) fn spend_of(row: &Row, first: usize) -> Done<Spend> {
    Ok(Spend {
        used_micros: Micros(row.count(first)?),
        reserved_micros: Micros(row.count(first + 1)?),
        calls: row.count(first + 2)?,
        unpriced: row.count(first + 3)?,
        usage: Usage {
            input: row.count(first + 4)?,
            output: row.count(first + 5)?,
            cache_read: row.count(first + 6)?,
            cache_write: row.count(first + 7)?,
            estimated: row.bool(first + 8)?,
        },
    })
}

/// The sums that [`spend_of`] reads, over ledger rows.
macro_rules! sums {
    () => {
        "coalesce(sum(cost), 0)::bigint, coalesce(sum(reserved) filter (where not settled), 0)::bigint,
         count(*) filter (where settled), count(*) filter (where settled and cost is null),
         coalesce(sum(input), 0)::bigint, coalesce(sum(output), 0)::bigint, coalesce(sum(cache_read), 0)::bigint,
         coalesce(sum(cache_write), 0)::bigint, coalesce(bool_or(estimated), false)"
    };
}
pub(crate) use sums;

fn spend_of_scope(owner: &OwnerId, scope: &CapScope) -> (&'static str, Vec<Value>) {
    match scope {
        CapScope::Run { run } => (
            concat!(
                "select ",
                sums!(),
                " from ledger where run = $1 and owner = $2"
            ),
            params![run, owner],
        ),
        CapScope::Session { .. } | CapScope::Day { .. } => (
            "select used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated
               from spend where owner = $1 and scope = $2 and key = $3",
            params![owner, scope.word(), scope.key()],
        ),
    }
}

pub(crate) async fn spend(store: &Postgres, owner: &OwnerId, scope: &CapScope) -> Stored<Spend> {
    let (sql, params) = spend_of_scope(owner, scope);
    let rows = store.read(Who::Owner(owner.clone()), sql, params).await?;
    rows.first()
        .map_or(Ok(Spend::default()), |row| spend_of(row, 0))
        .map_err(Fault::into_store)
}

pub(crate) async fn costs(
    store: &Postgres,
    owner: &OwnerId,
    by: GroupBy,
    from: &str,
    to: &str,
) -> Stored<Vec<(String, Spend)>> {
    macro_rules! grouped {
        ($column:literal) => {
            concat!(
                "select ",
                $column,
                ", ",
                sums!(),
                " from ledger where owner = $1 and day between $2 and $3 group by 1 order by 1"
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
    let rows = store
        .read(Who::Owner(owner.clone()), sql, params![owner, from, to])
        .await?;
    rows.iter()
        .map(|row| Ok((row.text(0)?, spend_of(row, 1)?)))
        .collect::<Done<_>>()
        .map_err(Fault::into_store)
}
