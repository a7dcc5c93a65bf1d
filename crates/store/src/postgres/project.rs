//! Writes an entry and everything that follows from it: the rows that `project` derives (invariant 1).

use adjutant_domain::run::{Entry, Logged, Row, Run, RunStatus, Wake, project};
use adjutant_ports::store::Cap;

use crate::postgres::error::Done;
use crate::postgres::message::Place;
use crate::postgres::row::params;
use crate::postgres::run::insert_entry;
use crate::postgres::tx::Tx;
use crate::postgres::{approval, message, money, signal};
use crate::sql::json;

/// Writes an entry and its consequences. `is_called`: a signal waits that is not in the log yet, so there is no rest.
pub(crate) async fn write(
    tx: &mut Tx<'_>,
    run: &Run,
    logged: &Logged,
    caps: &[Cap],
    is_called: bool,
) -> Done<()> {
    insert_entry(tx, run, logged)?;
    match &logged.entry {
        Entry::CancelAsked { .. } => signal::cancel_is_written(tx, run.id),
        Entry::ApprovalResolved { approval, .. } => {
            signal::answer_is_written(tx, run.id, *approval)
        }
        Entry::Steered { message, .. } => signal::words_are_written(tx, run.id, *message),
        Entry::Parked {
            until: Wake::Handover { to: Some(_), .. },
        } => signal::move_is_written(tx, run.id),
        _ => {}
    }
    for row in project(run, logged) {
        apply(tx, run, logged, row, caps, is_called).await?;
    }
    Ok(())
}

async fn apply(
    tx: &mut Tx<'_>,
    run: &Run,
    logged: &Logged,
    row: Row,
    caps: &[Cap],
    is_called: bool,
) -> Done<()> {
    match row {
        Row::Status(status) => set_status(tx, run, logged, &status, is_called),
        Row::Message(message) => message::insert(tx, &run.owner, &message, Place::Next),
        Row::Hide { through } => {
            tx.later(
                "update threads set hidden = greatest(hidden, $1) where id = $2 and owner = $3",
                params![through, run.thread, run.owner],
            );
            Ok(())
        }
        Row::Reserve(budget) => {
            let route = match &logged.entry {
                Entry::ModelAsked { route, .. } => route.as_str(),
                _ => "",
            };
            money::reserve(tx, run, logged.at, &budget, route, caps).await
        }
        Row::Ledger(line) => {
            money::settle(tx, run, &line);
            Ok(())
        }
        Row::Approval(question) => approval::insert(tx, &question),
        Row::ApprovalResolved {
            id,
            state,
            choice,
            by,
        } => approval::set_resolved(tx, run.id, id, state, &choice, &by),
        Row::ApprovalsLapse => {
            approval::lapse(tx, run.id);
            Ok(())
        }
        Row::Event(kind) => tx.run_event(run, &kind),
    }
}

/// The statements that accept and claim set their status themselves, because it is their guard.
fn set_status(
    tx: &mut Tx<'_>,
    run: &Run,
    logged: &Logged,
    status: &RunStatus,
    is_called: bool,
) -> Done<()> {
    match status {
        RunStatus::Queued | RunStatus::Running => {}
        RunStatus::Parked { until } => {
            let to = until.meant_for();
            let is_called = is_called && to.is_none();
            let ahead = if is_called { 0 } else { tx.ahead(until.at()) };
            let now = tx.waits();
            tx.later(
                "update runs set status = 'parked', detail = $1, worker = null, due_at = w.at, ready_at = w.at, meant_for = $5
                   from (select coalesce($2, clock_ms()) + $3 as at) w
                  where id = $4",
                params![json(status)?, now, ahead, run.id, to],
            );
            if is_called || matches!(until, Wake::Handover { .. }) {
                tx.nudge();
            }
        }
        RunStatus::Finished { .. } => {
            tx.later(
                "update runs set status = 'finished', detail = $1, worker = null, finished_at = $2 where id = $3",
                params![json(status)?, logged.at, run.id],
            );
            signal::silence(tx, run.id);
            money::release_open(tx, run);
            // The seat is free now: whether somebody waits for it.
            tx.work_if(
                "select 1 from runs where session = $1 and status = 'queued' limit 1",
                params![run.session],
            );
        }
    }
    Ok(())
}
