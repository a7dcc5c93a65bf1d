//! Seats.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{OwnerId, SessionId, SessionKey, ThreadId};
use adjutant_domain::session::Session;
use adjutant_ports::store::{Page, SessionPatch, SessionStore, StoreError, Stored};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Tx, Who};
use crate::postgres::{Postgres, thread};

/// The columns of [`session_of`], in its order.
macro_rules! columns {
    () => {
        "s.id, s.owner, s.key, s.agent, s.thread, s.label, s.model, s.expires_at, s.created_at, t.updated_at
           from sessions s join threads t on t.id = s.thread"
    };
}

fn session_of(row: &Row) -> Done<Session> {
    Ok(Session {
        id: row.id(0)?,
        owner: row.id(1)?,
        key: row.id(2)?,
        agent: row.id(3)?,
        thread: row.id(4)?,
        label: row.opt_text(5)?,
        model: row.opt_text(6)?,
        expires_at: row.opt_at(7)?,
        created_at: row.at(8)?,
        updated_at: row.at(9)?,
    })
}

const BY_KEY: &str = concat!(
    "select ",
    columns!(),
    " where s.owner = $1 and s.key = $2 and t.owner = $1"
);

/// The seat, which nobody else changes or uses for a new run until this is done.
async fn held(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey) -> Done<Option<Session>> {
    let sql = concat!(
        "select ",
        columns!(),
        " where s.owner = $1 and s.key = $2 and t.owner = $1 for update of s"
    );
    let row = tx.one(sql, params![owner, key]).await?;
    row.as_ref().map(session_of).transpose()
}

fn insert(tx: &mut Tx<'_>, session: &Session) {
    tx.later(
        "insert into sessions (id, owner, key, agent, thread, label, model, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            session.id,
            session.owner,
            session.key,
            session.agent,
            session.thread,
            session.label,
            session.model,
            session.expires_at,
            session.created_at,
        ],
    );
    thread::touch(tx, &session.owner, session.thread);
}

async fn open(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    key: &SessionKey,
    attach: Option<ThreadId>,
    expires_in: Option<Duration>,
) -> Done<Session> {
    if let Some(row) = tx.one(BY_KEY, params![owner, key]).await? {
        return session_of(&row);
    }
    let agent = key.agent();
    let thread = match attach {
        Some(thread) => {
            let sql = "select 1 from threads where id = $1 and owner = $2 for key share";
            tx.one(sql, params![thread, owner])
                .await?
                .ok_or(StoreError::NotFound { what: "thread" })?;
            thread
        }
        None => thread::make(tx, owner, &agent).await?,
    };
    let now = tx.now().await?;
    let session = Session {
        id: SessionId::mint(now, tx.entropy()),
        owner: owner.clone(),
        key: key.clone(),
        agent,
        thread,
        label: None,
        model: None,
        expires_at: expires_in.map(|span| now.plus(span)),
        created_at: now,
        updated_at: now,
    };
    insert(tx, &session);
    let kind = EventKind::SessionCreated { thread };
    tx.event(owner, None, Some(key), &kind)?;
    Ok(session)
}

/// The seat must be free, and nobody may wait for it.
async fn must_be_idle(tx: &mut Tx<'_>, session: &Session) -> Done<()> {
    let active = tx
        .one(
            "select 1 from runs where session = $1 and status in ('running', 'parked')
             union all
             select 1 from runs where session = $1 and status = 'queued'
              limit 1",
            params![session.id],
        )
        .await?;
    match active {
        None => Ok(()),
        Some(_) => Err(StoreError::Conflict {
            reason: "a run of this session is active".to_owned(),
        }
        .into()),
    }
}

fn missing() -> Fault {
    StoreError::NotFound { what: "session" }.into()
}

/// The same seat with a new thread and a new identifier.
pub(crate) async fn reset(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey) -> Done<Session> {
    let old = held(tx, owner, key).await?.ok_or_else(missing)?;
    must_be_idle(tx, &old).await?;
    let thread = thread::make(tx, owner, &old.agent).await?;
    let now = tx.now().await?;
    let id = SessionId::mint(now, tx.entropy());
    tx.later(
        "delete from sessions where id = $1 and owner = $2",
        params![old.id, owner],
    );
    let session = Session {
        id,
        thread,
        updated_at: now,
        ..old
    };
    insert(tx, &session);
    let kind = EventKind::SessionChanged { thread };
    tx.event(owner, None, Some(key), &kind)?;
    Ok(session)
}

async fn patch(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    key: &SessionKey,
    patch: SessionPatch,
) -> Done<Session> {
    let old = held(tx, owner, key).await?.ok_or_else(missing)?;
    let session = Session {
        label: patch.label.unwrap_or(old.label),
        model: patch.model.unwrap_or(old.model),
        expires_at: patch.expires_at.unwrap_or(old.expires_at),
        updated_at: tx.now().await?,
        ..old
    };
    tx.later(
        "update sessions set label = $1, model = $2, expires_at = $3 where id = $4 and owner = $5",
        params![
            session.label,
            session.model,
            session.expires_at,
            session.id,
            owner
        ],
    );
    thread::touch(tx, owner, session.thread);
    let kind = EventKind::SessionChanged {
        thread: session.thread,
    };
    tx.event(owner, None, Some(key), &kind)?;
    Ok(session)
}

async fn delete(tx: &mut Tx<'_>, owner: &OwnerId, key: &SessionKey) -> Done<bool> {
    let Some(session) = held(tx, owner, key).await? else {
        return Ok(false);
    };
    must_be_idle(tx, &session).await?;
    tx.later(
        "delete from sessions where id = $1 and owner = $2",
        params![session.id, owner],
    );
    tx.event(owner, None, Some(key), &EventKind::SessionDeleted)?;
    Ok(true)
}

fn first(rows: &[Row]) -> Stored<Option<Session>> {
    let session = rows.first().map(session_of).transpose();
    session.map_err(Fault::into_store)
}

#[async_trait]
impl SessionStore for Postgres {
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
        let args = (owner.clone(), key.clone(), thread, expires_in);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, key, thread, expires_in)| {
                Box::pin(open(tx, owner, key, *thread, *expires_in))
            },
        )
        .await
    }

    async fn session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Option<Session>> {
        let who = Who::Owner(owner.clone());
        first(&self.read(who, BY_KEY, params![owner, key]).await?)
    }

    async fn session_by_id(&self, owner: &OwnerId, id: SessionId) -> Stored<Option<Session>> {
        let sql = concat!("select ", columns!(), " where s.id = $1 and s.owner = $2");
        let who = Who::Owner(owner.clone());
        first(&self.read(who, sql, params![id, owner]).await?)
    }

    async fn sessions(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Session>> {
        let sql = concat!(
            "select ",
            columns!(),
            " where t.owner = $1 and s.owner = $1 order by t.updated_at desc, t.id desc, s.id desc limit $2 offset $3"
        );
        let rows = self
            .read(
                Who::Owner(owner.clone()),
                sql,
                params![owner, page.limit, page.offset],
            )
            .await?;
        let sessions: Done<_> = rows.iter().map(session_of).collect();
        sessions.map_err(Fault::into_store)
    }

    async fn count_sessions(&self, owner: &OwnerId) -> Stored<u64> {
        let sql = "select count(*) from sessions where owner = $1";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner])
            .await?;
        rows.first()
            .map_or(Ok(0), |row| row.count(0))
            .map_err(Fault::into_store)
    }

    async fn reset_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Session> {
        let args = (owner.clone(), key.clone());
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, key)| {
            Box::pin(reset(tx, owner, key))
        })
        .await
    }

    async fn patch_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        changes: SessionPatch,
    ) -> Stored<Session> {
        let args = (owner.clone(), key.clone(), changes);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, key, changes)| Box::pin(patch(tx, owner, key, changes.clone())),
        )
        .await
    }

    async fn delete_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<bool> {
        let args = (owner.clone(), key.clone());
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, key)| {
            Box::pin(delete(tx, owner, key))
        })
        .await
    }
}
