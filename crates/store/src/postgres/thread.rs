//! Conversations.

use async_trait::async_trait;
use tokio_postgres::Row;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{AgentId, MessageId, OwnerId, SessionKey, ThreadId};
use adjutant_domain::message::Message;
use adjutant_domain::session::Thread;
use adjutant_ports::store::{Hidden, History, HistoryAsk, Page, StoreError, Stored, ThreadStore};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::postgres::{Postgres, message, session};

/// The columns of [`thread_of`], in its order.
macro_rules! columns {
    () => {
        "id, owner, agent, title, created_at, updated_at, messages"
    };
}

fn thread_of(row: &Row) -> Done<Thread> {
    Ok(Thread {
        id: row.id(0)?,
        owner: row.id(1)?,
        agent: row.id(2)?,
        title: row.opt_text(3)?,
        created_at: row.at(4)?,
        updated_at: row.at(5)?,
        messages: row.count(6)?,
    })
}

/// A new, empty thread.
pub(crate) async fn make(tx: &mut Tx<'_>, owner: &OwnerId, agent: &AgentId) -> Done<ThreadId> {
    let now = tx.now().await?;
    let id = ThreadId::mint(now, tx.entropy());
    tx.later(
        "insert into threads (id, owner, agent, created_at, updated_at) values ($1, $2, $3, $4, $4)",
        params![id, owner, agent, now],
    );
    Ok(id)
}

/// Counts as a use of the thread and of every seat in it.
pub(crate) fn touch(tx: &mut Tx<'_>, owner: &OwnerId, id: ThreadId) {
    let now = tx.row_time();
    tx.must(
        "with t as (
             update threads set updated_at = greatest(updated_at, coalesce($3, clock_ms()))
              where id = $1 and owner = $2
             returning 1)
         select must_change(count(*)) from t",
        params![id, owner, now],
        StoreError::NotFound { what: "thread" },
    );
}

/// Removes a conversation and everything that holds its words. Sums of money stay: they hold none.
async fn forget(tx: &mut Tx<'_>, owner: &OwnerId, id: ThreadId) -> Done<bool> {
    let found = tx
        .several(vec![
            (
                "select key from sessions where thread = $1 and owner = $2 order by id for update",
                params![id, owner],
            ),
            (
                "select status <> 'finished' from runs where owner = $1 and thread = $2 order by id for update",
                params![owner, id],
            ),
            (
                "select 1 from threads where id = $1 and owner = $2 for update",
                params![id, owner],
            ),
        ])
        .await?;
    let [seats, runs, thread] = &found[..] else {
        return Ok(false);
    };
    if thread.is_empty() {
        return Ok(false);
    }
    for row in runs {
        if row.bool(0)? {
            return Err(StoreError::Conflict {
                reason: "a run of this conversation is active".to_owned(),
            }
            .into());
        }
    }
    for seat in seats {
        let key: SessionKey = seat.id(0)?;
        session::reset(tx, owner, &key).await?;
    }
    for sql in [
        "delete from messages where thread = $1 and owner = $2",
        "delete from events where owner = $2 and run in (select id from runs where thread = $1 and owner = $2)",
        // Entries, signals, questions and other names go with it.
        "delete from runs where thread = $1 and owner = $2",
        "delete from threads where id = $1 and owner = $2",
    ] {
        tx.later(sql, params![id, owner]);
    }
    let kind = EventKind::Changed {
        what: "thread".to_owned(),
        name: id.to_string(),
    };
    tx.event(owner, None, None, &kind)?;
    Ok(true)
}

#[async_trait]
impl ThreadStore for Postgres {
    async fn thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<Option<Thread>> {
        let sql = concat!(
            "select ",
            columns!(),
            " from threads where id = $1 and owner = $2"
        );
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![id, owner])
            .await?;
        let thread = rows.first().map(thread_of).transpose();
        thread.map_err(Fault::into_store)
    }

    async fn threads(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Thread>> {
        let sql = concat!(
            "select ",
            columns!(),
            " from threads where owner = $1 order by updated_at desc, id desc limit $2 offset $3"
        );
        let rows = self
            .read(
                Who::Owner(owner.clone()),
                sql,
                params![owner, page.limit, page.offset],
            )
            .await?;
        let threads: Done<_> = rows.iter().map(thread_of).collect();
        threads.map_err(Fault::into_store)
    }

    async fn messages(
        &self,
        owner: &OwnerId,
        thread: ThreadId,
        limit: u32,
        before: Option<u64>,
        hidden: Hidden,
    ) -> Stored<Vec<Message>> {
        message::tail(self, owner, thread, limit, before, hidden).await
    }

    async fn history(&self, owner: &OwnerId, wanted: &HistoryAsk) -> Stored<History> {
        message::history(self, owner, wanted).await
    }

    async fn message(&self, owner: &OwnerId, id: MessageId) -> Stored<Option<Message>> {
        message::message(self, owner, id).await
    }

    async fn search_messages(
        &self,
        owner: &OwnerId,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Message>> {
        message::search(self, owner, query, limit).await
    }

    async fn rename_thread(&self, owner: &OwnerId, id: ThreadId, title: &str) -> Stored<()> {
        let rows = self
            .change(
                Who::Owner(owner.clone()),
                Durability::Flushed,
                "update threads set title = $3 where id = $1 and owner = $2 returning 1",
                params![id, owner, title],
            )
            .await?;
        if rows.is_empty() {
            return Err(StoreError::NotFound { what: "thread" });
        }
        Ok(())
    }

    async fn forget_thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<bool> {
        let args = (owner.clone(), id);
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, id)| {
            Box::pin(forget(tx, owner, *id))
        })
        .await
    }
}
