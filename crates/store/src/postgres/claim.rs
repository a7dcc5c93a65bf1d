//! Claims: which run is next, and whose it is.
//!
//! What must be exclusive is the session, so its row is locked, and claimers step over the locked ones. The lock is taken
//! after the snapshot, so what the snapshot says is asked again where the row is changed: without that, a claimer that waited
//! for nobody can take a run that somebody took and gave back a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::run::{ClaimedFrom, Entry, Fence, Logged, RunStatus, Seq, Signal};
use adjutant_ports::store::{Claim, Offer, StoreError, Stored};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, Value, params};
use crate::postgres::run::{log_of, run_columns, run_of, whole_log};
use crate::postgres::tx::{Durability, Tx, Who, millis};
use crate::postgres::{Inner, Postgres, message, project, signal};
use crate::sql::json;

/// Runs that one request may take.
const AT_ONCE_MAX: u32 = 16;
/// Longest wait for work.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Between two looks of somebody who waits, whoever rings or not (R16).
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_secs(4);

/// Whether a run is for a worker with the offers of a parameter, a list in JSON. Few runs need anything.
macro_rules! fits {
    ($run:literal, $offers:literal) => {
        concat!(
            "(",
            $run,
            ".needs is null or ",
            $run,
            ".needs::jsonb <@ ",
            $offers,
            "::text::jsonb)"
        )
    };
}

/// The next run. `$1` now, `$2` the new status, `$3` the worker, `$4` the lease, `$5` the time for people, `$6` the offers.
///
/// Each part walks an index in the order of the line and stops at the first session that nobody has locked, so it takes as
/// long for a long queue as for a short one.
const CLAIM: &str = concat!(
    "with w as materialized (select coalesce($1, clock_ms()) as now),
     due as materialized (
         select r.id, r.status, r.priority, r.ready_at
           from runs r join sessions s on s.id = r.session
          where r.status in ('running', 'parked')
            and r.due_at <= (select now from w)
            and ",
    fits!("r", "$6"),
    "
          order by r.priority desc, r.ready_at, r.id
            for no key update of s skip locked
          limit 1),
     queued as materialized (
         select r.id, r.status, r.priority, r.ready_at
           from runs r join sessions s on s.id = r.session
          where r.status = 'queued'
            and not exists (select 1 from runs a
                             where a.session = r.session
                               and a.status in ('running', 'parked')
                            offset 0)  -- look up each seat: with old statistics a join would read all active runs
            and ",
    fits!("r", "$6"),
    "       and not exists (select 1 from runs b  -- a session keeps its order: nobody overtakes who needs another worker
                             where b.session = r.session
                               and b.status = 'queued'
                               and b.needs is not null
                               and (b.priority > r.priority
                                    or b.priority = r.priority and (b.ready_at, b.id) < (r.ready_at, r.id))
                               and not ",
    fits!("b", "$6"),
    "                       offset 0)
          order by r.priority desc, r.ready_at, r.id
            for no key update of s skip locked
          limit 1),
     meant as materialized (
         select r.id, r.status, r.priority, r.ready_at
           from runs r join sessions s on s.id = r.session
          where r.meant_for = $3
            and r.status = 'parked'
            and ",
    fits!("r", "$6"),
    "
          order by r.priority desc, r.ready_at, r.id
            for no key update of s skip locked
          limit 1),
     head as materialized (
         select id, status
           from (select * from due union all select * from queued union all select * from meant) all_kinds
          order by priority desc, ready_at, id
          limit 1),
     taken as (
         update runs
            set status = 'running', detail = $2, fence = fence + 1, head = runs.head + 1, worker = $3,
                due_at = w.now + $4, meant_for = null, started_at = coalesce(started_at, $5, clock_ms())
           from head, w
          where runs.id = head.id
            and (runs.status = 'queued'  -- ask again: do not remove
                 or runs.status in ('running', 'parked') and runs.due_at <= w.now
                 or runs.status = 'parked' and runs.meant_for = $3)
         returning ",
    run_columns!(),
    ", fence, runs.head as place)
     select head.status, taken.fence, taken.place, taken.*
       from head left join taken on true"
);

/// What a request brings with it.
#[derive(Clone)]
struct Wish {
    worker: WorkerId,
    /// As JSON.
    offers: String,
    lease: Duration,
    /// Nobody waits for the answer any more.
    is_withdrawn: Arc<AtomicBool>,
}

/// Says so when the future that waits for the answer is dropped.
struct Withdraw(Arc<AtomicBool>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Takes the next runs; waits for some when there are none.
pub(crate) async fn claims(store: &Postgres, offer: &Offer, lease: Duration) -> Stored<Vec<Claim>> {
    let is_withdrawn = Arc::new(AtomicBool::new(false));
    let _withdraw = Withdraw(Arc::clone(&is_withdrawn));
    let wish = Wish {
        worker: offer.worker,
        offers: json(&offer.offers)?,
        lease,
        is_withdrawn,
    };
    let slots = offer.slots.clamp(1, AT_ONCE_MAX);
    let patience = offer.patience.min(PATIENCE_MAX);
    let inner = Arc::clone(&store.inner);
    store
        .spawned(async move { wait(&inner, &wish, slots, patience).await })
        .await
}

async fn wait(inner: &Inner, wish: &Wish, slots: u32, patience: Duration) -> Stored<Vec<Claim>> {
    let until = Instant::now() + patience;
    let mut rings = inner.bus().work_rings();
    loop {
        rings.mark_unchanged();
        let claims = take(inner, wish, slots).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !claims.is_empty() || left.is_zero() || wish.is_withdrawn.load(Ordering::SeqCst) {
            return Ok(claims);
        }
        let due = next_due(inner, &wish.offers)
            .await
            .map_err(Fault::into_store)?;
        let look = due
            .map_or(LOOK_MAX, |due| due.clamp(LOOK_MIN, LOOK_MAX))
            .min(left);
        // Rung or not: the next look tells.
        let _is_rung = tokio::time::timeout(look, rings.changed()).await.is_ok();
    }
}

async fn take(inner: &Inner, wish: &Wish, slots: u32) -> Stored<Vec<Claim>> {
    let mut claims = Vec::new();
    while claims.len() < slots as usize {
        let claim = inner
            .transaction(
                &Who::Queue,
                Durability::Flushed,
                wish.clone(),
                |tx, wish| Box::pin(claim(tx, wish)),
            )
            .await;
        match claim {
            Ok(Some(claim)) => claims.push(claim),
            Ok(None) => break,
            // Others were first again and again: they have the work, so there is none for us.
            Err(Fault::Again) => break,
            // What was taken is held; the rest can be asked for again.
            Err(_) if !claims.is_empty() => break,
            Err(fault) => return Err(fault.into_store()),
        }
    }
    Ok(claims)
}

/// Two round trips: the run, and then everything that follows from the claim with the log and the commit.
async fn claim(tx: &mut Tx<'_>, wish: &Wish) -> Done<Option<Claim>> {
    let (now, rows) = (tx.waits(), tx.row_time());
    let lease = millis(wish.lease);
    let status = json(&RunStatus::Running)?;
    let params = params![now, status, wish.worker, lease, rows, wish.offers];
    let Some(row) = tx.one(CLAIM, params).await? else {
        return Ok(None);
    };
    let (Some(fence), Some(place)) = (row.opt_count(1)?, row.opt_count(2)?) else {
        return Err(Fault::Again);
    };
    if wish.is_withdrawn.load(Ordering::SeqCst) {
        return Err(StoreError::Conflict {
            reason: "the offer was withdrawn".to_owned(),
        }
        .into());
    }
    let (run, fence, stood) = (run_of(&row, 3)?, Fence(fence), row.text(0)?);
    if stood != "queued" {
        // The session of the first in the queue is locked as well until this is done: whoever stepped over it looks again.
        tx.nudge();
    }
    tx.become_owner(&run.owner);
    if fence.0 == 1 {
        message::place_waiting(tx, &run);
    }
    let logged = Logged {
        seq: Seq(place),
        at: tx.now().await?,
        entry: Entry::Claimed {
            worker: wish.worker,
            fence,
            from: ClaimedFrom::status(&stood),
        },
    };
    project::write(tx, &run, &logged, &[], false).await?;
    let found = tx
        .finish(vec![whole_log(run.id), signal::hearing(run.id, fence)])
        .await?;
    let [log, heard] = &found[..] else {
        return Err(Fault::Unreadable("a claim without a log".to_owned()));
    };
    Ok(Some(Claim {
        log: log_of(log)?,
        signals: signal::heard(heard)?,
        run,
        fence,
    }))
}

/// The statement that moves the end of the lease. A lease that power loss takes back only ends sooner.
pub(crate) fn extension(
    store: &Postgres,
    run: RunId,
    fence: Fence,
    lease: Duration,
) -> (&'static str, Vec<Value>) {
    (
        "with held as (
             update runs set due_at = coalesce($4, clock_ms()) + $3
              where id = $1 and fence = $2 and status = 'running'
             returning 1),
         heard as (
             update signals set told = $2
              where run = $1 and told < $2 and exists (select 1 from held)
             returning n, body)
         select null::bigint as n, null::text as body from held
          union all
         select n, body from heard
          order by n nulls first",
        params![run, fence, millis(lease), store.inner.times().waits()],
    )
}

/// What it said.
pub(crate) fn extended(rows: &[Row]) -> Done<Vec<Signal>> {
    let (_held, heard) = rows.split_first().ok_or(StoreError::Fenced)?;
    heard.iter().map(|row| row.json(1)).collect()
}

/// How long until the next parked or leased run that is for a worker with these offers becomes claimable by time alone.
pub(crate) async fn next_due(inner: &Inner, offers: &str) -> Done<Option<Duration>> {
    let sql = concat!(
        "select case when min(due_at) is not null then greatest(0, min(due_at) - coalesce($1, clock_ms())) end
           from runs r
          where status in ('running', 'parked')
            and ",
        fits!("r", "$2")
    );
    let params = params![inner.times().waits(), offers];
    let rows = inner
        .statement(&Who::Queue, Durability::Relaxed, sql, &params, true)
        .await?;
    let ms = rows.first().map_or(Ok(None), |row| row.opt_count(0))?;
    Ok(ms.map(Duration::from_millis))
}
