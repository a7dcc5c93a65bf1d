//! Signals: what reaches a run from outside, until its claim holder writes it into the log.
//!
//! A signal stays until its entry is written. Every claim hears it once, so one that was heard by a worker that died is
//! heard again by the next.

use tokio_postgres::Row;

use adjutant_domain::id::{ApprovalId, MessageId, OwnerId, RunId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{Entry, Fence, Logged, Outcome, Run, Seq, Signal};
use adjutant_ports::store::StoreError;

use crate::postgres::error::Done;
use crate::postgres::message::{self, Place};
use crate::postgres::project;
use crate::postgres::row::{Columns, Value, params};
use crate::postgres::run::{N_RUN, run_columns, run_of};
use crate::postgres::tx::Tx;
use crate::sql::json;

/// Signals that one run may have open: a flood of words ends here (R29).
const SIGNALS_MAX: u64 = 256;

/// Stores a signal from outside. `false`: the run is over.
pub(crate) async fn signal(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    run: RunId,
    signal: &Signal,
) -> Done<bool> {
    let row = tx
        .one(
            concat!(
                "select ",
                run_columns!(),
                ", status, head from runs where id = $1 and owner = $2 for no key update"
            ),
            params![run, owner],
        )
        .await?
        .ok_or(StoreError::NotFound { what: "run" })?;
    let (whole, status) = (run_of(&row, 0)?, row.text(N_RUN)?);
    if status == "finished" {
        return Ok(false);
    }
    if let Signal::Cancel { by } = signal
        && status == "queued"
    {
        stop_queued(tx, &whole, row.count(N_RUN + 1)?, by).await?;
        return Ok(true);
    }
    if let Signal::Steer { message, text } = signal
        && !message::exists(tx, owner, *message).await?
    {
        // Words must not live in a signal only (invariant 15).
        let words = Message {
            id: *message,
            thread: whole.thread,
            seq: None,
            role: Role::User,
            parts: vec![Part::Text { text: text.clone() }],
            run: Some(run),
            label: Label::of(Origin::Owner),
            at: tx.now().await?,
        };
        message::insert(tx, owner, &words, Place::Next)?;
    }
    store(tx, owner, run, signal).await?;
    Ok(true)
}

/// Ends a run that no worker has begun: a stop must not wait for the seat to be free (S26).
async fn stop_queued(tx: &mut Tx<'_>, run: &Run, head: u64, by: &str) -> Done<()> {
    tx.later(
        "update runs set head = head + 2 where id = $1",
        params![run.id],
    );
    message::place_waiting(tx, run);
    let asked = Entry::CancelAsked { by: by.to_owned() };
    let ended = Entry::Finished {
        outcome: Outcome::Cancelled { by: by.to_owned() },
        usage: Usage::default(),
        cost: Cost::Priced {
            micros: Micros::ZERO,
        },
    };
    let at = tx.now().await?;
    for (seq, entry) in (head + 1..).zip([asked, ended]) {
        let logged = Logged {
            seq: Seq(seq),
            at,
            entry,
        };
        project::write(tx, run, &logged, &[], false).await?;
    }
    Ok(())
}

/// Stores a signal and makes a run that rests claimable. The run's row is locked.
pub(crate) async fn store(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    run: RunId,
    signal: &Signal,
) -> Done<()> {
    let waiting = tx
        .one("select count(*) from signals where run = $1", params![run])
        .await?
        .map_or(Ok(0), |row| row.count(0))?;
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
    let at = tx.row_time();
    tx.later(
        "insert into signals (run, owner, kind, about, body, at) values ($1, $2, $3, $4, $5, coalesce($6, clock_ms()))",
        params![run, owner, kind, about, json(signal)?, at],
    );
    if let Signal::Move { .. } = signal {
        // A run that rests goes on resting; whoever has its next step hears where that is to be.
        tx.signalled(run);
        return Ok(());
    }
    let now = tx.waits();
    tx.work_if(
        "update runs set due_at = least(due_at, w.at), ready_at = least(ready_at, w.at)
           from (select coalesce($1, clock_ms()) as at) w
          where id = $2 and status = 'parked'
         returning 1",
        params![now, run],
    );
    tx.signalled(run);
    Ok(())
}

/// The question what this claim has not heard yet.
pub(crate) fn hearing(run: RunId, fence: Fence) -> (&'static str, Vec<Value>) {
    (
        "with heard as (update signals set told = $2 where run = $1 and told < $2 returning n, body)
         select body from heard order by n",
        params![run, fence],
    )
}

/// The answer to it.
pub(crate) fn heard(rows: &[Row]) -> Done<Vec<Signal>> {
    rows.iter().map(|row| row.json(0)).collect()
}

pub(crate) fn cancel_is_written(tx: &mut Tx<'_>, run: RunId) {
    tx.later(
        "delete from signals where run = $1 and kind = 'cancel'",
        params![run],
    );
}

pub(crate) fn answer_is_written(tx: &mut Tx<'_>, run: RunId, approval: ApprovalId) {
    tx.later(
        "delete from signals where run = $1 and kind = 'answer' and about = $2",
        params![run, approval],
    );
}

pub(crate) fn words_are_written(tx: &mut Tx<'_>, run: RunId, message: MessageId) {
    tx.later(
        "delete from signals where run = $1 and kind = 'steer' and about = $2",
        params![run, message],
    );
}

pub(crate) fn move_is_written(tx: &mut Tx<'_>, run: RunId) {
    tx.later(
        "delete from signals where run = $1 and kind = 'move'",
        params![run],
    );
}

/// The run is over: nobody will hear the rest. The words among them are in the thread.
pub(crate) fn silence(tx: &mut Tx<'_>, run: RunId) {
    tx.later("delete from signals where run = $1", params![run]);
}

/// The run's name on the wire.
pub(crate) async fn name_of(tx: &mut Tx<'_>, run: RunId) -> Done<String> {
    let row = tx
        .one(
            "select coalesce(client_key, id) from runs where id = $1",
            params![run],
        )
        .await?;
    row.map_or_else(|| Ok(run.to_string()), |row| row.text(0))
}
