//! Intake: the only way a run begins.

use rusqlite::params;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{ClientKey, OwnerId, RunId};
use adjutant_domain::message::Message;
use adjutant_domain::run::{Entry, Logged, Run, RunStatus, Seq, Signal, Wake, Work};
use adjutant_ports::store::{Accepted, Intake, StoreError};

use crate::error::Done;
use crate::sql::{Sql, col, json, needs_column, opt};
use crate::sqlite::message::{self, Place};
use crate::sqlite::run::LogNo;
use crate::sqlite::{project, signal, thread};
use crate::tx::Tx;

/// Runs that may wait in one session (architecture, section 10).
const QUEUED_PER_SESSION_MAX: u64 = 32;
/// Runs of one owner that may wait.
const QUEUED_PER_OWNER_MAX: u64 = 1_024;

pub(crate) fn accept(tx: &mut Tx<'_>, intake: Intake) -> Done<Accepted> {
    let run = &intake.run;
    if let Some(key) = &run.client_key
        && let Some(seen) = seen(tx, &run.owner, key)?
    {
        let same = seen.method == intake.method && seen.digest == intake.digest;
        return if same {
            Ok(Accepted::Repeat { run: seen.run })
        } else {
            Err(StoreError::KeyReused.into())
        };
    }
    session_must_exist(tx, run)?;
    if intake.work == Work::Chat
        && let Some(words) = &intake.message
        && let Some(active) = waits_for_words(tx, run)?
    {
        steer(tx, &intake, words, active)?;
        return Ok(Accepted::Steered { run: active });
    }
    check_room(tx, run)?;
    insert(tx, intake)
}

struct Seen {
    run: RunId,
    method: String,
    digest: String,
}

fn seen(tx: &Tx<'_>, owner: &OwnerId, key: &ClientKey) -> Done<Option<Seen>> {
    tx.one(
        "select id, method, digest from runs where owner = ?1 and client_key = ?2
         union all
         select run, method, digest from run_aliases where owner = ?1 and name = ?2
          limit 1",
        params![owner.as_str(), key.as_str()],
        |row| {
            Ok(Seen {
                run: col::id(row, 0)?,
                method: row.get(1)?,
                digest: row.get(2)?,
            })
        },
    )
}

/// The seat must be there and be the owner's.
fn session_must_exist(tx: &Tx<'_>, run: &Run) -> Done<()> {
    let seat = tx.one(
        "select 1 from sessions where id = ? and owner = ?",
        params![run.session.to_string(), run.owner.as_str()],
        |_row| Ok(()),
    )?;
    seat.ok_or_else(|| StoreError::NotFound { what: "session" }.into())
}

/// The run of this session that rests until its owner says something.
fn waits_for_words(tx: &Tx<'_>, run: &Run) -> Done<Option<RunId>> {
    let active = tx.one(
        "select id, detail from runs where session = ? and status in ('running', 'parked') and owner = ?",
        params![run.session.to_string(), run.owner.as_str()],
        |row| Ok((col::id(row, 0)?, col::json::<RunStatus>(row, 1)?)),
    )?;
    Ok(match active {
        Some((
            id,
            RunStatus::Parked {
                until: Wake::Owner { .. },
            },
        )) => Some(id),
        _ => None,
    })
}

fn steer(tx: &mut Tx<'_>, intake: &Intake, words: &Message, active: RunId) -> Done<()> {
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
    signal::store(tx, active, &steer)?;
    if let Some(key) = &run.client_key {
        tx.exec(
            "insert into run_aliases (owner, name, run, method, digest) values (?, ?, ?, ?, ?)",
            params![
                run.owner.as_str(),
                key.as_str(),
                active.to_string(),
                intake.method,
                intake.digest
            ],
        )?;
    }
    tx.event(
        &run.owner,
        Some((active, &signal::name_of(tx, active)?)),
        Some(&run.session_key),
        EventKind::MessageAdded {
            message: message.id,
            role: message.role,
        },
    )
}

fn check_room(tx: &Tx<'_>, run: &Run) -> Done<()> {
    let (in_session, of_owner): (u64, u64) = tx
        .one(
            "select coalesce(sum(session = ?1), 0), count(*) from runs indexed by runs_queue
              where status = 'queued' and owner = ?2",
            params![run.session.to_string(), run.owner.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .unwrap_or_default();
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

fn insert(tx: &mut Tx<'_>, intake: Intake) -> Done<Accepted> {
    let Intake {
        run,
        message,
        limits,
        work,
        method,
        digest,
    } = intake;
    let ready_at = tx.steady.now().as_millis();
    if message.is_none() {
        thread::touch(tx, &run.owner, run.thread)?;
    }
    let input = message.iter().map(|message| message.id).collect();
    if let Some(words) = message {
        message::insert(
            tx,
            &run.owner,
            &Message {
                run: Some(run.id),
                seq: None,
                ..words
            },
            Place::Later,
        )?;
    }
    tx.exec(
        "insert into runs (id, owner, agent, session, session_key, thread, client_key, priority, method, digest,
                           status, detail, ready_at, accepted_at, needs)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
        params![
            run.id.to_string(),
            run.owner.as_str(),
            run.agent.as_str(),
            run.session.to_string(),
            run.session_key.as_str(),
            run.thread.to_string(),
            opt(run.client_key.as_ref()),
            run.priority,
            method,
            digest,
            json(&RunStatus::Queued)?,
            ready_at,
            tx.now.as_millis(),
            needs_column(&run.needs)?,
        ],
    )?;
    let log = LogNo(tx.last_insert_rowid());
    let entry = Entry::Accepted {
        input,
        limits: Box::new(limits),
        work,
    };
    project::write(
        tx,
        &run,
        log,
        &Logged {
            seq: Seq(1),
            at: tx.now,
            entry,
        },
        &[],
    )?;
    tx.nudge();
    Ok(Accepted::New { run: run.id })
}
