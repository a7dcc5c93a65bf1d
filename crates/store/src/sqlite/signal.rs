//! Signals: what reaches a run from outside, until its claim holder writes it into the log.
//!
//! A signal stays until its entry is written. Every claim hears it once, so one that was heard by a worker that died is
//! heard again by the next.

use rusqlite::params;

use adjutant_domain::id::{ApprovalId, MessageId, OwnerId, RunId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{Entry, Fence, Logged, Outcome, Seq, Signal};
use adjutant_ports::store::StoreError;

use crate::error::Done;
use crate::sql::{Sql, col, json};
use crate::sqlite::message::{self, Place};
use crate::sqlite::run::{LogNo, N_RUN, head, run_columns, run_of};
use crate::sqlite::{claim, project};
use crate::tx::Tx;

/// Signals that one run may have open: a flood of words ends here (R29).
const SIGNALS_MAX: u64 = 256;

/// Stores a signal from outside. `false`: the run is over.
pub(crate) fn signal(tx: &mut Tx<'_>, owner: &OwnerId, run: RunId, signal: &Signal) -> Done<bool> {
    let row = tx
        .one(
            "select thread, status = 'finished' from runs where id = ? and owner = ?",
            params![run.to_string(), owner.as_str()],
            |row| Ok((col::id(row, 0)?, row.get::<_, bool>(1)?)),
        )?
        .ok_or(StoreError::NotFound { what: "run" })?;
    let (thread, over) = row;
    if over {
        return Ok(false);
    }
    if let Signal::Cancel { by } = signal
        && stop_queued(tx, owner, run, by)?
    {
        return Ok(true);
    }
    if let Signal::Steer { message, text } = signal
        && !message::exists(tx, owner, *message)?
    {
        // Words must not live in a signal only (invariant 15).
        let words = Message {
            id: *message,
            thread,
            seq: None,
            role: Role::User,
            parts: vec![Part::Text { text: text.clone() }],
            run: Some(run),
            label: Label::of(Origin::Owner),
            at: tx.now,
        };
        message::insert(tx, owner, &words, Place::Next)?;
    }
    store(tx, run, signal)?;
    Ok(true)
}

/// Ends a run that no worker has begun: a stop must not wait for the seat to be free (S26).
fn stop_queued(tx: &mut Tx<'_>, owner: &OwnerId, run: RunId, by: &str) -> Done<bool> {
    let taken = tx.one(
        concat!(
            "select ",
            run_columns!(),
            ", n from runs where id = ? and owner = ? and status = 'queued'"
        ),
        params![run.to_string(), owner.as_str()],
        |row| Ok((run_of(row)?, LogNo(row.get(N_RUN)?))),
    )?;
    let Some((run, log)) = taken else {
        return Ok(false);
    };
    let head = head(tx, log)?;
    for id in claim::input(tx, log)? {
        message::place(tx, owner, id)?;
    }
    let asked = Entry::CancelAsked { by: by.to_owned() };
    let ended = Entry::Finished {
        outcome: Outcome::Cancelled { by: by.to_owned() },
        usage: Usage::default(),
        cost: Cost::Priced {
            micros: Micros::ZERO,
        },
    };
    for (seq, entry) in (head + 1..).zip([asked, ended]) {
        let logged = Logged {
            seq: Seq(seq),
            at: tx.now,
            entry,
        };
        project::write(tx, &run, log, &logged, &[])?;
    }
    Ok(true)
}

/// Stores a signal and makes a run that rests claimable.
pub(crate) fn store(tx: &mut Tx<'_>, run: RunId, signal: &Signal) -> Done<()> {
    let waiting: u64 = tx
        .one(
            "select count(*) from signals where run = ?",
            [run.to_string()],
            |row| row.get(0),
        )?
        .unwrap_or_default();
    if waiting >= SIGNALS_MAX {
        return Err(StoreError::Full {
            what: "the line of signals",
            max: SIGNALS_MAX,
        }
        .into());
    }
    let (kind, about) = match signal {
        Signal::Cancel { .. } => ("cancel", None),
        Signal::Answer { approval, .. } => ("answer", Some(approval.to_string())),
        Signal::Steer { message, .. } => ("steer", Some(message.to_string())),
        Signal::Move { .. } => ("move", None),
    };
    tx.exec(
        "insert into signals (run, kind, about, body, at) values (?, ?, ?, ?, ?)",
        params![
            run.to_string(),
            kind,
            about,
            json(signal)?,
            tx.now.as_millis()
        ],
    )?;
    if let Signal::Move { .. } = signal {
        // A run that rests goes on resting; whoever has its next step hears where that is to be.
        tx.signalled(run);
        return Ok(());
    }
    let now = tx.steady.now().as_millis();
    let n_woken = tx.exec(
        "update runs set due_at = min(due_at, ?1), ready_at = min(ready_at, ?1) where id = ?2 and status = 'parked'",
        params![now, run.to_string()],
    )?;
    if n_woken > 0 {
        tx.nudge();
    }
    tx.signalled(run);
    Ok(())
}

/// What this claim has not heard yet.
pub(crate) fn hear(tx: &Tx<'_>, run: RunId, fence: Fence) -> Done<Vec<Signal>> {
    let signals = tx.all(
        "select body from signals where run = ? and told < ? order by n",
        params![run.to_string(), fence.0],
        |row| col::json(row, 0),
    )?;
    if !signals.is_empty() {
        tx.exec(
            "update signals set told = ? where run = ?",
            params![fence.0, run.to_string()],
        )?;
    }
    Ok(signals)
}

/// Whether something arrived that the claim before the last write has not heard.
pub(crate) fn any_unheard(tx: &Tx<'_>, run: RunId) -> Done<bool> {
    let unheard = tx.one(
        "select 1 from signals s join runs r on r.id = s.run
          where s.run = ? and s.told < r.fence
          limit 1",
        [run.to_string()],
        |_row| Ok(()),
    )?;
    Ok(unheard.is_some())
}

pub(crate) fn cancel_is_written(tx: &Tx<'_>, run: RunId) -> Done<()> {
    tx.exec(
        "delete from signals where run = ? and kind = 'cancel'",
        [run.to_string()],
    )?;
    Ok(())
}

pub(crate) fn answer_is_written(tx: &Tx<'_>, run: RunId, approval: ApprovalId) -> Done<()> {
    tx.exec(
        "delete from signals where run = ? and kind = 'answer' and about = ?",
        params![run.to_string(), approval.to_string()],
    )?;
    Ok(())
}

pub(crate) fn words_are_written(tx: &Tx<'_>, run: RunId, message: MessageId) -> Done<()> {
    tx.exec(
        "delete from signals where run = ? and kind = 'steer' and about = ?",
        params![run.to_string(), message.to_string()],
    )?;
    Ok(())
}

pub(crate) fn move_is_written(tx: &Tx<'_>, run: RunId) -> Done<()> {
    tx.exec(
        "delete from signals where run = ? and kind = 'move'",
        [run.to_string()],
    )?;
    Ok(())
}

/// The run is over: nobody will hear the rest. The words among them are in the thread.
pub(crate) fn silence(tx: &Tx<'_>, run: RunId) -> Done<()> {
    tx.exec("delete from signals where run = ?", [run.to_string()])?;
    Ok(())
}

/// The run's name on the wire.
pub(crate) fn name_of(tx: &Tx<'_>, run: RunId) -> Done<String> {
    let name = tx.one(
        "select coalesce(client_key, id) from runs where id = ?",
        [run.to_string()],
        |row| row.get(0),
    )?;
    Ok(name.unwrap_or_else(|| run.to_string()))
}
