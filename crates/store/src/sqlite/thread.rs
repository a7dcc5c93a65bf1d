//! Conversations.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{AgentId, MessageId, OwnerId, RunId, SessionKey, ThreadId};
use adjutant_domain::message::Message;
use adjutant_domain::session::Thread;
use adjutant_ports::store::{Hidden, History, HistoryAsk, Page, StoreError, Stored, ThreadStore};

use crate::error::Done;
use crate::sql::{Sql, col};
use crate::sqlite::run::LogNo;
use crate::sqlite::{Sqlite, message, session};
use crate::tx::Tx;

/// The columns of [`thread_of`], in its order.
macro_rules! columns {
    () => {
        "id, owner, agent, title, created_at, updated_at, messages"
    };
}

fn thread_of(row: &Row<'_>) -> rusqlite::Result<Thread> {
    Ok(Thread {
        id: col::id(row, 0)?,
        owner: col::id(row, 1)?,
        agent: col::id(row, 2)?,
        title: row.get(3)?,
        created_at: col::at(row, 4)?,
        updated_at: col::at(row, 5)?,
        messages: row.get(6)?,
    })
}

/// Messages that are read where they are asked for.
const GLANCE_MESSAGES_MAX: u32 = 100;

/// A new, empty thread.
pub(crate) fn make(tx: &Tx<'_>, owner: &OwnerId, agent: &AgentId) -> Done<ThreadId> {
    let id = ThreadId::mint(tx.now, tx.entropy.next_u128());
    tx.exec(
        "insert into threads (id, owner, agent, created_at, updated_at) values (?, ?, ?, ?, ?)",
        params![
            id.to_string(),
            owner.as_str(),
            agent.as_str(),
            tx.now.as_millis(),
            tx.now.as_millis()
        ],
    )?;
    Ok(id)
}

/// Counts as a use of the thread and of every seat in it.
pub(crate) fn touch(tx: &Tx<'_>, owner: &OwnerId, id: ThreadId) -> Done<()> {
    let n = tx.exec(
        "update threads set updated_at = max(updated_at, ?) where id = ? and owner = ?",
        params![tx.now.as_millis(), id.to_string(), owner.as_str()],
    )?;
    if n == 1 {
        Ok(())
    } else {
        Err(StoreError::NotFound { what: "thread" }.into())
    }
}

fn thread(db: &Connection, owner: &OwnerId, id: ThreadId) -> Done<Option<Thread>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from threads where id = ? and owner = ?"
        ),
        params![id.to_string(), owner.as_str()],
        thread_of,
    )
}

/// Removes a conversation and everything that holds its words. Sums of money stay: they hold none.
fn forget(tx: &mut Tx<'_>, owner: &OwnerId, id: ThreadId) -> Done<bool> {
    if thread(tx, owner, id)?.is_none() {
        return Ok(false);
    }
    let runs = tx.all(
        "select id, n, status <> 'finished' from runs where owner = ? and thread = ?",
        params![owner.as_str(), id.to_string()],
        |row| {
            let log = LogNo(row.get(1)?);
            Ok((col::id::<RunId>(row, 0)?, log, row.get::<_, bool>(2)?))
        },
    )?;
    if runs.iter().any(|(.., active)| *active) {
        return Err(StoreError::Conflict {
            reason: "a run of this conversation is active".to_owned(),
        }
        .into());
    }
    let seats: Vec<SessionKey> = tx.all(
        "select key from sessions where thread = ? and owner = ?",
        params![id.to_string(), owner.as_str()],
        |row| col::id(row, 0),
    )?;
    for key in seats {
        session::reset(tx, owner, &key)?;
    }
    message::forget(tx, id)?;
    // Rows that were removed must not give their cursors to others.
    tx.exec(
        "update feed set cursor = max(cursor, ?) where id = 1",
        [tx.cursor()],
    )?;
    for (run, log, _) in runs {
        tx.exec(
            "delete from events where owner = ? and run = ?",
            params![owner.as_str(), run.to_string()],
        )?;
        tx.exec(
            "delete from entries where place > ? and place < ?",
            log.around(),
        )?;
        // Signals, questions and other names go with it.
        tx.exec("delete from runs where id = ?", [run.to_string()])?;
    }
    tx.exec("delete from threads where id = ?", [id.to_string()])?;
    let kind = EventKind::Changed {
        what: "thread".to_owned(),
        name: id.to_string(),
    };
    tx.event(owner, None, None, kind)?;
    tx.scrub();
    Ok(true)
}

#[async_trait]
impl ThreadStore for Sqlite {
    async fn thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<Option<Thread>> {
        let owner = owner.clone();
        self.glance(move |db| thread(db, &owner, id)).await
    }

    async fn threads(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Thread>> {
        let owner = owner.clone();
        self.read(move |db| {
            // The index knows the hour of the last use: the rows of whole hours are put in order here.
            db.all(
                concat!(
                    "select ",
                    columns!(),
                    " from threads
                      where owner = ?1
                        and hour >= coalesce((select t.hour from threads t
                                               where t.owner = ?1
                                               order by t.hour desc
                                               limit 1 offset ?2 + ?3 - 1), 0)
                      order by updated_at desc, id desc limit ?2 offset ?3"
                ),
                params![owner.as_str(), page.limit, page.offset],
                thread_of,
            )
        })
        .await
    }

    async fn messages(
        &self,
        owner: &OwnerId,
        thread: ThreadId,
        limit: u32,
        before: Option<u64>,
        hidden: Hidden,
    ) -> Stored<Vec<Message>> {
        let owner = owner.clone();
        let tail = move |db: &Connection| message::tail(db, &owner, thread, limit, before, hidden);
        if limit <= GLANCE_MESSAGES_MAX {
            self.glance(tail).await
        } else {
            self.read(tail).await
        }
    }

    async fn history(&self, owner: &OwnerId, wanted: &HistoryAsk) -> Stored<History> {
        let (owner, wanted) = (owner.clone(), *wanted);
        let history = move |db: &Connection| message::history(db, &owner, &wanted);
        if wanted.limit <= GLANCE_MESSAGES_MAX {
            self.glance(history).await
        } else {
            self.read(history).await
        }
    }

    async fn message(&self, owner: &OwnerId, id: MessageId) -> Stored<Option<Message>> {
        let owner = owner.clone();
        self.glance(move |db| message::message(db, &owner, id))
            .await
    }

    async fn search_messages(
        &self,
        owner: &OwnerId,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Message>> {
        // In pieces, so that others are not kept waiting.
        let mut behind = self.read(message::is_behind).await?;
        while behind {
            behind = self.relaxed(|tx| message::catch_up(tx)).await?;
        }
        let (owner, query) = (owner.clone(), query.to_owned());
        self.read(move |db| message::search(db, &owner, &query, limit))
            .await
    }

    async fn rename_thread(&self, owner: &OwnerId, id: ThreadId, title: &str) -> Stored<()> {
        let (owner, title) = (owner.clone(), title.to_owned());
        self.flushed(move |tx| {
            let n = tx.exec(
                "update threads set title = ? where id = ? and owner = ?",
                params![title, id.to_string(), owner.as_str()],
            )?;
            if n == 1 {
                Ok(())
            } else {
                Err(StoreError::NotFound { what: "thread" }.into())
            }
        })
        .await
    }

    async fn forget_thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<bool> {
        let owner = owner.clone();
        self.flushed(move |tx| forget(tx, &owner, id)).await
    }
}
