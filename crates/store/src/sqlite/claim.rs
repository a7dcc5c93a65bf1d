//! Claims: which run is next, and whose it is.

use std::time::Duration;

use rusqlite::{Connection, named_params, params};

use adjutant_domain::id::{MessageId, RunId, WorkerId};
use adjutant_domain::run::{ClaimedFrom, Entry, Fence, Logged, Run, RunStatus, Seq, Signal};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Claim, Offer, StoreError, Stored};

use crate::error::Done;
use crate::job::Found;
use crate::leases::{LeaseChange, Leases};
use crate::sql::{Sql, col, json};
use crate::sqlite::message;
use crate::sqlite::project;
use crate::sqlite::run::{LogNo, N_RUN, Raw, head, parse_log, raw_log, run_columns, run_of};
use crate::sqlite::signal;
use crate::tx::Tx;

/// A claim whose log is still text.
pub(crate) struct Claimed {
    run: Run,
    fence: Fence,
    log: Vec<Raw>,
    signals: Vec<Signal>,
}

impl Claimed {
    pub(crate) fn parse(self) -> Stored<Claim> {
        let Self {
            run,
            fence,
            log,
            signals,
        } = self;
        Ok(Claim {
            run,
            fence,
            log: parse_log(log)?,
            signals,
        })
    }
}

/// Where a run stands in the line.
struct Candidate {
    id: RunId,
    priority: i32,
    ready_at: i64,
    from: ClaimedFrom,
    /// Of the claim before; nobody was first if it is still that one.
    fence: Fence,
}

impl Candidate {
    /// Higher priority first, then who waits longer, then who was born first.
    fn rank(&self) -> (std::cmp::Reverse<i32>, i64, RunId) {
        (std::cmp::Reverse(self.priority), self.ready_at, self.id)
    }
}

/// Runs that one request may take, so that its transaction stays short.
const AT_ONCE_MAX: u32 = 16;

/// Takes the next runs, or says how long until one comes by time alone.
pub(crate) fn claims(tx: &mut Tx<'_>, offer: &Offer, lease: Duration) -> Done<Found<Vec<Claimed>>> {
    let offers = json(&offer.offers)?;
    let mut claimed = Vec::new();
    for _ in 0..offer.slots.clamp(1, AT_ONCE_MAX) {
        match claim(tx, offer.worker, &offers, lease)? {
            Some(one) => claimed.push(one),
            None => {
                tx.settle();
                break;
            }
        }
    }
    if claimed.is_empty() {
        let rest = next_due(tx, tx.leases, &offers, tx.steady.now())?.unwrap_or(Duration::MAX);
        return Ok(Found::Nothing {
            rest: rest.clamp(REST_MIN, REST_MAX),
            empty: claimed,
        });
    }
    Ok(Found::Some(claimed))
}

/// Between two looks at the clock of somebody who waits.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(60);

/// Whether a run is for a worker with the offers of the parameter `:offers`, a list in JSON. Few runs need anything.
macro_rules! fits {
    () => {
        fits!("runs")
    };
    ($run:literal) => {
        concat!(
            "(",
            $run,
            ".needs is null
              or not exists (select 1 from json_each(",
            $run,
            ".needs) n
                              where n.value not in (select o.value from json_each(:offers) o)))"
        )
    };
}

/// How long until the next parked or leased run that is for a worker with these offers becomes claimable by time alone.
pub(crate) fn next_due(
    db: &Connection,
    leases: &Leases,
    offers: &str,
    now: Timestamp,
) -> Done<Option<Duration>> {
    let wake = db.one(
        concat!(
            "select min(due_at) from runs where status = 'parked' and ",
            fits!()
        ),
        named_params! { ":offers": offers },
        |row| row.get::<_, Option<i64>>(0),
    )?;
    let for_others = db.all(
        concat!(
            "select id from runs where needs is not null and status = 'running' and not ",
            fits!()
        ),
        named_params! { ":offers": offers },
        |row| col::id(row, 0),
    )?;
    let wake = wake.flatten().map(Timestamp::from_millis);
    let next = wake.into_iter().chain(leases.next(&for_others)).min();
    Ok(next.map(|at| at.since(now)))
}

/// Takes the next run.
///
/// There is one writer, so nobody can be first between the search and the update; the fence in the update and the unique
/// index `runs_seat` hold even if that ever changes. A loser gets nothing and claims again.
fn claim(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    offers: &str,
    lease: Duration,
) -> Done<Option<Claimed>> {
    let now = tx.steady.now();
    let mut line = lapsed(tx, offers, now)?;
    line.extend(rested(tx, offers, now)?);
    line.extend(meant(tx, offers, worker)?);
    line.extend(queued(tx, offers)?);
    let Some(next) = line.into_iter().min_by_key(Candidate::rank) else {
        return Ok(None);
    };
    let id = next.id.to_string();
    let n_taken = tx.exec(
        "update runs
            set status = 'running', detail = ?, fence = fence + 1, worker = ?, due_at = null, meant_for = null,
                started_at = coalesce(started_at, ?)
          where id = ?
            and status <> 'finished'
            and fence = ?",
        params![
            json(&RunStatus::Running)?,
            worker.to_string(),
            tx.now.as_millis(),
            id,
            next.fence.0,
        ],
    )?;
    if n_taken == 0 {
        return Ok(None);
    }
    let taken = tx.one(
        concat!(
            "select ",
            run_columns!(),
            ", fence, n from runs where id = ?"
        ),
        [id],
        |row| {
            Ok((
                run_of(row)?,
                row.get::<_, u64>(N_RUN)?,
                LogNo(row.get(N_RUN + 1)?),
            ))
        },
    )?;
    let Some((run, fence, log)) = taken else {
        return Ok(None);
    };
    let (fence, from) = (Fence(fence), next.from);
    tx.lease(LeaseChange::Held {
        run: run.id,
        fence,
        until: now.plus(lease),
    });
    if fence.0 == 1 {
        for id in input(tx, log)? {
            message::place(tx, &run.owner, id)?;
        }
    }
    let entry = Entry::Claimed {
        worker,
        fence,
        from,
    };
    let head = head(tx, log)?;
    project::write(
        tx,
        &run,
        log,
        &Logged {
            seq: Seq(head + 1),
            at: tx.now,
            entry,
        },
        &[],
    )?;
    let log = raw_log(tx, log, Seq(1))?;
    let signals = signal::hear(tx, run.id, fence)?;
    Ok(Some(Claimed {
        run,
        fence,
        log,
        signals,
    }))
}

/// Those whose worker is gone. They have their seats already.
fn lapsed(tx: &Tx<'_>, offers: &str, now: Timestamp) -> Done<Vec<Candidate>> {
    let mut line = Vec::new();
    for (run, fence) in tx.leases.lapsed(now) {
        // Another claim of this transaction may have been first.
        line.extend(tx.one(
            concat!(
                "select id, priority, ready_at, status, fence from runs
                  where id = :run
                    and status = 'running'
                    and fence = :fence
                    and ",
                fits!()
            ),
            named_params! { ":run": run.to_string(), ":fence": fence.0, ":offers": offers },
            candidate,
        )?);
    }
    Ok(line)
}

/// The best of those that rest and whose time has come. They have their seats already.
fn rested(tx: &Tx<'_>, offers: &str, now: Timestamp) -> Done<Option<Candidate>> {
    // Usually there is none, and to put none in order takes longer than to look.
    let is_any = tx.one(
        "select 1 from runs where status = 'parked' and due_at <= ? limit 1",
        [now.as_millis()],
        |_row| Ok(()),
    )?;
    if is_any.is_none() {
        return Ok(None);
    }
    tx.one(
        concat!(
            "select id, priority, ready_at, status, fence from runs
              where status = 'parked'
                and due_at <= :now
                and ",
            fits!(),
            " order by priority desc, ready_at, id
              limit 1"
        ),
        named_params! { ":now": now.as_millis(), ":offers": offers },
        candidate,
    )
}

/// The best of those that were given up for this worker. They have their seats already.
fn meant(tx: &Tx<'_>, offers: &str, worker: WorkerId) -> Done<Option<Candidate>> {
    let worker = worker.to_string();
    let is_any = tx.one(
        "select 1 from runs where meant_for = ? and status = 'parked' limit 1",
        [&worker],
        |_row| Ok(()),
    )?;
    if is_any.is_none() {
        return Ok(None);
    }
    tx.one(
        concat!(
            "select id, priority, ready_at, status, fence from runs
              where meant_for = :worker
                and status = 'parked'
                and ",
            fits!(),
            " order by priority desc, ready_at, id
              limit 1"
        ),
        named_params! { ":worker": worker, ":offers": offers },
        candidate,
    )
}

/// The best of those that wait for the first time, in a session whose seat is free. One that stands behind a run which
/// needs another worker stays there: a session keeps its order.
fn queued(tx: &Tx<'_>, offers: &str) -> Done<Option<Candidate>> {
    tx.one(
        concat!(
            "select id, priority, ready_at, status, fence from runs q
              where status = 'queued'
                and not exists (select 1 from runs a
                                 where a.session = q.session
                                   and a.status in ('running', 'parked'))
                and ",
            fits!("q"),
            "   and not exists (select 1 from runs b
                                 where b.session = q.session
                                   and b.status = 'queued'
                                   and b.needs is not null
                                   and (b.priority > q.priority
                                        or b.priority = q.priority and (b.ready_at, b.id) < (q.ready_at, q.id))
                                   and not ",
            fits!("b"),
            ")
              order by priority desc, ready_at, id
              limit 1"
        ),
        named_params! { ":offers": offers },
        candidate,
    )
}

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        id: col::id(row, 0)?,
        priority: row.get(1)?,
        ready_at: row.get(2)?,
        from: ClaimedFrom::status(&row.get::<_, String>(3)?),
        fence: Fence(row.get(4)?),
    })
}

/// The messages that a run answers, from the first entry of its log.
pub(crate) fn input(tx: &Tx<'_>, log: LogNo) -> Done<Vec<MessageId>> {
    let [before, _] = log.around();
    let entry = tx.one(
        "select body from entries where place = ?",
        [before + 1],
        |row| col::json::<Entry>(row, 0),
    )?;
    Ok(match entry {
        Some(Entry::Accepted { input, .. }) => input,
        _ => vec![],
    })
}

/// Moves the end of the lease.
pub(crate) fn extend(
    tx: &mut Tx<'_>,
    run: RunId,
    fence: Fence,
    lease: Duration,
) -> Done<Vec<Signal>> {
    tx.one(
        "select 1 from runs
          where id = ?
            and fence = ?
            and status = 'running'",
        params![run.to_string(), fence.0],
        |_row| Ok(()),
    )?
    .ok_or(StoreError::Fenced)?;
    let until = tx.steady.now().plus(lease);
    tx.lease(LeaseChange::Held { run, fence, until });
    signal::hear(tx, run, fence)
}
