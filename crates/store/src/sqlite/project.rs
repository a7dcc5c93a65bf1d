//! Writes an entry and everything that follows from it: the rows that `project` derives (invariant 1).

use rusqlite::params;

use adjutant_domain::run::{Entry, Logged, Row, Run, RunStatus, Wake, project};
use adjutant_ports::store::Cap;

use crate::error::Done;
use crate::leases::LeaseChange;
use crate::sql::{Sql, json, opt};
use crate::sqlite::message::Place;
use crate::sqlite::run::{LogNo, insert_entry};
use crate::sqlite::{approval, message, money, signal};
use crate::tx::Tx;

/// Writes an entry and its consequences.
pub(crate) fn write(
    tx: &mut Tx<'_>,
    run: &Run,
    log: LogNo,
    logged: &Logged,
    caps: &[Cap],
) -> Done<()> {
    insert_entry(tx, log, logged)?;
    match &logged.entry {
        Entry::CancelAsked { .. } => signal::cancel_is_written(tx, run.id)?,
        Entry::ApprovalResolved { approval, .. } => {
            signal::answer_is_written(tx, run.id, *approval)?
        }
        Entry::Steered { message, .. } => signal::words_are_written(tx, run.id, *message)?,
        Entry::Parked {
            until: Wake::Handover { to: Some(_), .. },
        } => signal::move_is_written(tx, run.id)?,
        _ => {}
    }
    for row in project(run, logged) {
        apply(tx, run, logged, row, caps)?;
    }
    Ok(())
}

fn apply(tx: &mut Tx<'_>, run: &Run, logged: &Logged, row: Row, caps: &[Cap]) -> Done<()> {
    match row {
        Row::Status(status) => set_status(tx, run, &status),
        Row::Message(message) => message::insert(tx, &run.owner, &message, Place::Next),
        Row::Hide { through } => {
            tx.exec(
                "update threads set hidden = max(hidden, ?) where id = ? and owner = ?",
                params![through, run.thread.to_string(), run.owner.as_str()],
            )?;
            Ok(())
        }
        Row::Reserve(budget) => {
            let route = match &logged.entry {
                Entry::ModelAsked { route, .. } => route.as_str(),
                _ => "",
            };
            money::reserve(tx, run, &budget, route, caps)
        }
        Row::Ledger(line) => money::settle(tx, run, &line),
        Row::Approval(question) => approval::insert(tx, &question),
        Row::ApprovalResolved {
            id,
            state,
            choice,
            by,
        } => approval::set_resolved(tx, run.id, id, state, &choice, &by),
        Row::ApprovalsLapse => approval::lapse(tx, run.id),
        Row::Event(kind) => tx.run_event(run, kind),
    }
}

/// The statements that accept and claim set their status themselves, because it is their guard.
fn set_status(tx: &mut Tx<'_>, run: &Run, status: &RunStatus) -> Done<()> {
    match status {
        RunStatus::Queued | RunStatus::Running => Ok(()),
        RunStatus::Parked { until } => {
            let to = until.meant_for();
            let unheard = to.is_none() && signal::any_unheard(tx, run.id)?;
            let due_at = if unheard {
                tx.steady.now()
            } else {
                tx.steady.at(until.at())
            };
            tx.exec(
                "update runs set status = 'parked', detail = ?, worker = null, due_at = ?, ready_at = ?, meant_for = ?
                  where id = ?",
                params![
                    json(status)?,
                    due_at.as_millis(),
                    due_at.as_millis(),
                    opt(to.as_ref()),
                    run.id.to_string()
                ],
            )?;
            tx.lease(LeaseChange::Free { run: run.id });
            if unheard || matches!(until, Wake::Handover { .. }) {
                tx.nudge();
            }
            Ok(())
        }
        RunStatus::Finished { .. } => {
            tx.exec(
                "update runs set status = 'finished', detail = ?, worker = null, finished_at = ? where id = ?",
                params![json(status)?, tx.now.as_millis(), run.id.to_string()],
            )?;
            tx.lease(LeaseChange::Free { run: run.id });
            signal::silence(tx, run.id)?;
            money::release_open(tx, run)?;
            if session_has_more(tx, run)? {
                tx.nudge();
            }
            Ok(())
        }
    }
}

/// The seat is free now: whether somebody waits for it.
fn session_has_more(tx: &Tx<'_>, run: &Run) -> Done<bool> {
    let next = tx.one(
        "select 1 from runs where session = ? and status = 'queued' limit 1",
        [run.session.to_string()],
        |_row| Ok(()),
    )?;
    Ok(next.is_some())
}
