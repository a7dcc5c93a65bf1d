//! Intake: the only way a run begins.

use adjutant_domain::event::EventKind;
use adjutant_domain::id::RunId;
use adjutant_domain::message::Message;
use adjutant_domain::run::{Entry, Logged, Run, RunStatus, Seq, Signal, Wake, Work};
use adjutant_ports::store::{Accepted, Intake, StoreError};

use crate::postgres::error::Done;
use crate::postgres::message::{self, Place};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::Tx;
use crate::postgres::{project, signal, thread};
use crate::sql::{json, needs_column};

/// Runs that may wait in one session (architecture, section 10).
const QUEUED_PER_SESSION_MAX: u64 = 32;
/// Runs of one owner that may wait.
const QUEUED_PER_OWNER_MAX: u64 = 1_024;

/// Two round trips: everything there is to know, with the locks that keep it true, and then everything there is to write.
pub(crate) async fn accept(tx: &mut Tx<'_>, intake: &Intake) -> Done<Accepted> {
    let run = &intake.run;
    let found = tx
        .several(vec![
            // The seat must stay while the run is written; claims of other runs are not kept waiting.
            (
                "select 1 from sessions where id = $1 and owner = $2 for key share",
                params![run.session, run.owner],
            ),
            (
                "select id, detail from runs
                  where session = $1 and status in ('running', 'parked') and status = 'parked' and owner = $2
                    for no key update",
                params![run.session, run.owner],
            ),
            // Who accepts for the same thread waits here, so the bounds of the queue are counted one after another.
            (
                "select 1 from threads where id = $1 and owner = $2 for no key update",
                params![run.thread, run.owner],
            ),
            (
                "select id, method, digest from runs where owner = $1 and client_key = $2
                  union all
                 select run, method, digest from run_aliases where owner = $1 and name = $2
                  limit 1",
                params![run.owner, run.client_key],
            ),
            (
                "select count(*) filter (where session = $1), count(*) from runs where status = 'queued' and owner = $2",
                params![run.session, run.owner],
            ),
        ])
        .await?;
    let [seat, parked, _thread, seen, counts] = &found[..] else {
        return Err(StoreError::NotFound { what: "session" }.into());
    };
    if let Some(seen) = seen.first() {
        let is_same = seen.text(1)? == intake.method && seen.text(2)? == intake.digest;
        return if is_same {
            Ok(Accepted::Repeat { run: seen.id(0)? })
        } else {
            Err(StoreError::KeyReused.into())
        };
    }
    if seat.is_empty() {
        return Err(StoreError::NotFound { what: "session" }.into());
    }
    if intake.work == Work::Chat
        && let Some(words) = &intake.message
        && let Some(rests) = parked.first()
        && let RunStatus::Parked {
            until: Wake::Owner { .. },
        } = rests.json(1)?
    {
        let active = rests.id(0)?;
        steer(tx, intake, words, active).await?;
        return Ok(Accepted::Steered { run: active });
    }
    if let Some(counts) = counts.first() {
        check_room(counts.count(0)?, counts.count(1)?)?;
    }
    insert(tx, intake).await
}

async fn steer(tx: &mut Tx<'_>, intake: &Intake, words: &Message, active: RunId) -> Done<()> {
    let run = &intake.run;
    let message = Message {
        run: Some(active),
        seq: None,
        ..words.clone()
    };
    message::insert(tx, &run.owner, &message, Place::Next)?;
    let steer = Signal::Steer {
        message: message.id,
        text: message.text(),
    };
    signal::store(tx, &run.owner, active, &steer).await?;
    if let Some(key) = &run.client_key {
        tx.later(
            "insert into run_aliases (owner, name, run, method, digest) values ($1, $2, $3, $4, $5)",
            params![run.owner, key, active, intake.method, intake.digest],
        );
    }
    let name = signal::name_of(tx, active).await?;
    tx.event(
        &run.owner,
        Some((active, &name)),
        Some(&run.session_key),
        &EventKind::MessageAdded {
            message: message.id,
            role: message.role,
        },
    )
}

fn check_room(in_session: u64, of_owner: u64) -> Done<()> {
    if in_session >= QUEUED_PER_SESSION_MAX {
        return Err(StoreError::Full {
            what: "the queue of this session",
            max: QUEUED_PER_SESSION_MAX,
        }
        .into());
    }
    if of_owner >= QUEUED_PER_OWNER_MAX {
        return Err(StoreError::Full {
            what: "the queue",
            max: QUEUED_PER_OWNER_MAX,
        }
        .into());
    }
    Ok(())
}

async fn insert(tx: &mut Tx<'_>, intake: &Intake) -> Done<Accepted> {
    let run: &Run = &intake.run;
    match &intake.message {
        None => thread::touch(tx, &run.owner, run.thread),
        Some(words) => message::insert(
            tx,
            &run.owner,
            &Message {
                run: Some(run.id),
                seq: None,
                ..words.clone()
            },
            Place::Later,
        )?,
    }
    let now = tx.now().await?;
    tx.later(
        "insert into runs (id, owner, agent, session, session_key, thread, client_key, priority, method, digest,
                           status, detail, head, ready_at, due_at, accepted_at, needs)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', $11, 1, w.at, w.at, $13, $14
           from (select coalesce($12, clock_ms()) as at) w",
        params![
            run.id,
            run.owner,
            run.agent,
            run.session,
            run.session_key,
            run.thread,
            run.client_key,
            run.priority,
            intake.method,
            intake.digest,
            json(&RunStatus::Queued)?,
            tx.waits(),
            now,
            needs_column(&run.needs)?,
        ],
    );
    let entry = Entry::Accepted {
        input: intake.message.iter().map(|message| message.id).collect(),
        limits: Box::new(intake.limits.clone()),
        work: intake.work.clone(),
    };
    let logged = Logged {
        seq: Seq(1),
        at: now,
        entry,
    };
    project::write(tx, run, &logged, &[], false).await?;
    tx.nudge();
    Ok(Accepted::New { run: run.id })
}
