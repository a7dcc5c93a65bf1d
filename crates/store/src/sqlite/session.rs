//! Seats.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{OwnerId, SessionId, SessionKey, ThreadId};
use adjutant_domain::session::Session;
use adjutant_ports::store::{Page, SessionPatch, SessionStore, StoreError, Stored};

use crate::error::Done;
use crate::sql::{Sql, col, opt};
use crate::sqlite::{Sqlite, message, thread};
use crate::tx::Tx;

/// The columns of [`session_of`], in its order.
macro_rules! columns {
    () => {
        "s.id, s.owner, s.key, s.agent, s.thread, s.label, s.model, s.expires_at, s.created_at, t.updated_at
           from sessions s join threads t on t.id = s.thread"
    };
}

fn session_of(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: col::id(row, 0)?,
        owner: col::id(row, 1)?,
        key: col::id(row, 2)?,
        agent: col::id(row, 3)?,
        thread: col::id(row, 4)?,
        label: row.get(5)?,
        model: row.get(6)?,
        expires_at: col::opt_at(row, 7)?,
        created_at: col::at(row, 8)?,
        updated_at: col::at(row, 9)?,
    })
}

fn by_key(db: &Connection, owner: &OwnerId, key: &SessionKey) -> Done<Option<Session>> {
    db.one(
        concat!("select ", columns!(), " where s.owner = ? and s.key = ?"),
        params![owner.as_str(), key.as_str()],
        session_of,
    )
}

fn insert(tx: &Tx<'_>, session: &Session) -> Done<()> {
    tx.exec(
        "insert into sessions (id, owner, key, agent, thread, label, model, expires_at, created_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            session.id.to_string(),
            session.owner.as_str(),
            session.key.as_str(),
            session.agent.as_str(),
            session.thread.to_string(),
            session.label,
            session.model,
            session
                .expires_at
                .map(adjutant_domain::Timestamp::as_millis),
            session.created_at.as_millis(),
        ],
    )?;
    thread::touch(tx, &session.owner, session.thread)
}

fn open(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    key: &SessionKey,
    attach: Option<ThreadId>,
    expires_in: Option<Duration>,
) -> Done<Session> {
    if let Some(session) = by_key(tx, owner, key)? {
        return Ok(session);
    }
    let agent = key.agent();
    let thread = match attach {
        Some(thread) => {
            message::thread_must_exist(tx, owner, thread)?;
            thread
        }
        None => thread::make(tx, owner, &agent)?,
    };
    let session = Session {
        id: SessionId::mint(tx.now, tx.entropy.next_u128()),
        owner: owner.clone(),
        key: key.clone(),
        agent,
        thread,
        label: None,
        model: None,
        expires_at: expires_in.map(|span| tx.now.plus(span)),
        created_at: tx.now,
        updated_at: tx.now,
    };
    insert(tx, &session)?;
    tx.event(owner, None, Some(key), EventKind::SessionCreated { thread })?;
    Ok(session)
}

/// The seat must be free, and nobody may wait for it.
fn must_be_idle(tx: &Tx<'_>, session: &Session) -> Done<()> {
    let active = tx.one(
        "select 1 from runs where session = ?1 and status in ('running', 'parked')
         union all
         select 1 from runs where session = ?1 and status = 'queued'
          limit 1",
        [session.id.to_string()],
        |_row| Ok(()),
    )?;
    match active {
        None => Ok(()),
        Some(()) => Err(StoreError::Conflict {
            reason: "a run of this session is active".to_owned(),
        }
        .into()),
    }
}

/// The same seat with a new thread and a new identifier.
pub(crate) fn reset(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey) -> Done<Session> {
    let old = by_key(tx, owner, key)?.ok_or(StoreError::NotFound { what: "session" })?;
    must_be_idle(tx, &old)?;
    let thread = thread::make(tx, owner, &old.agent)?;
    let id = SessionId::mint(tx.now, tx.entropy.next_u128());
    tx.exec(
        "delete from sessions where id = ? and owner = ?",
        params![old.id.to_string(), owner.as_str()],
    )?;
    let session = Session {
        id,
        thread,
        updated_at: tx.now,
        ..old
    };
    insert(tx, &session)?;
    tx.event(owner, None, Some(key), EventKind::SessionChanged { thread })?;
    Ok(session)
}

fn patch(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey, patch: SessionPatch) -> Done<Session> {
    let old = by_key(tx, owner, key)?.ok_or(StoreError::NotFound { what: "session" })?;
    let session = Session {
        label: patch.label.unwrap_or(old.label),
        model: patch.model.unwrap_or(old.model),
        expires_at: patch.expires_at.unwrap_or(old.expires_at),
        updated_at: tx.now,
        ..old
    };
    tx.exec(
        "update sessions set label = ?, model = ?, expires_at = ? where id = ? and owner = ?",
        params![
            session.label,
            session.model,
            session
                .expires_at
                .map(adjutant_domain::Timestamp::as_millis),
            session.id.to_string(),
            owner.as_str(),
        ],
    )?;
    thread::touch(tx, owner, session.thread)?;
    tx.event(
        owner,
        None,
        Some(key),
        EventKind::SessionChanged {
            thread: session.thread,
        },
    )?;
    Ok(session)
}

fn delete(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey) -> Done<bool> {
    let Some(session) = by_key(tx, owner, key)? else {
        return Ok(false);
    };
    must_be_idle(tx, &session)?;
    tx.exec(
        "delete from sessions where id = ? and owner = ?",
        params![session.id.to_string(), owner.as_str()],
    )?;
    tx.event(owner, None, Some(key), EventKind::SessionDeleted)?;
    Ok(true)
}

#[async_trait]
impl SessionStore for Sqlite {
    async fn open_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        thread: Option<ThreadId>,
        expires_in: Option<Duration>,
    ) -> Stored<Session> {
        // Nearly always the seat is there: no write, no flush.
        if let Some(session) = self.session(owner, key).await? {
            return Ok(session);
        }
        let (owner, key) = (owner.clone(), key.clone());
        self.flushed(move |tx| open(tx, &owner, &key, thread, expires_in))
            .await
    }

    async fn session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Option<Session>> {
        let (owner, key) = (owner.clone(), key.clone());
        self.glance(move |db| by_key(db, &owner, &key)).await
    }

    async fn session_by_id(&self, owner: &OwnerId, id: SessionId) -> Stored<Option<Session>> {
        let owner = owner.clone();
        self.glance(move |db| {
            db.one(
                concat!("select ", columns!(), " where s.id = ? and s.owner = ?"),
                params![opt(Some(&id)), owner.as_str()],
                session_of,
            )
        })
        .await
    }

    async fn sessions(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Session>> {
        let owner = owner.clone();
        self.read(move |db| {
            // The index knows the hour of the last use: the rows of whole hours are put in order here.
            db.all(
                concat!(
                    "select ",
                    columns!(),
                    " where t.owner = ?1 and s.owner = ?1
                        and t.hour >= coalesce((select u.hour from threads u cross join sessions v on v.thread = u.id
                                                 where u.owner = ?1 and v.owner = ?1
                                                 order by u.hour desc
                                                 limit 1 offset ?2 + ?3 - 1), 0)
                      order by t.updated_at desc, t.id desc, s.id desc limit ?2 offset ?3"
                ),
                params![owner.as_str(), page.limit, page.offset],
                session_of,
            )
        })
        .await
    }

    async fn count_sessions(&self, owner: &OwnerId) -> Stored<u64> {
        let owner = owner.clone();
        self.read(move |db| {
            let n = db.one(
                "select count(*) from sessions where owner = ?",
                [owner.as_str()],
                |row| row.get(0),
            )?;
            Ok(n.unwrap_or_default())
        })
        .await
    }

    async fn reset_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Session> {
        let (owner, key) = (owner.clone(), key.clone());
        self.flushed(move |tx| reset(tx, &owner, &key)).await
    }

    async fn patch_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        changes: SessionPatch,
    ) -> Stored<Session> {
        let (owner, key) = (owner.clone(), key.clone());
        self.flushed(move |tx| patch(tx, &owner, &key, changes))
            .await
    }

    async fn delete_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<bool> {
        let (owner, key) = (owner.clone(), key.clone());
        self.flushed(move |tx| delete(tx, &owner, &key)).await
    }
}
