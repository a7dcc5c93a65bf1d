//! Messages: rows, places, and the words by which they are found.

use tokio_postgres::Row;

use adjutant_domain::id::{MessageId, OwnerId, ThreadId};
use adjutant_domain::message::{Message, text_of};
use adjutant_domain::run::Run;
use adjutant_ports::store::{Hidden, History, HistoryAsk, StoreError, Stored};

use crate::postgres::Postgres;
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, indexed, params, text_query};
use crate::postgres::tx::{Tx, Who};
use crate::sql::{json, word};

/// When a message gets its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At once, after the last one.
    Next,
    /// When its run begins.
    Later,
}

/// The columns of [`message_of`], in its order.
macro_rules! columns {
    () => {
        "m.id, m.thread, m.seq, m.role, m.parts, m.run, m.label, m.at"
    };
}

/// How many they are.
const COLUMNS: usize = 8;

fn message_of(row: &Row) -> Done<Message> {
    Ok(Message {
        id: row.id(0)?,
        thread: row.id(1)?,
        seq: row.opt_count(2)?,
        role: row.word(3)?,
        parts: row.json(4)?,
        run: row.opt_id(5)?,
        label: row.json(6)?,
        at: row.at(7)?,
    })
}

fn messages_of(rows: &[Row]) -> Stored<Vec<Message>> {
    rows.iter()
        .map(message_of)
        .collect::<Done<_>>()
        .map_err(Fault::into_store)
}

/// Adds a message to its thread.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    message: &Message,
    place: Place,
) -> Done<()> {
    let now = tx.row_time();
    tx.must(
        "with t as (
             update threads
                set head = head + case when $4 then 1 else 0 end, messages = messages + 1,
                    updated_at = greatest(updated_at, coalesce($10, clock_ms()))
              where id = $3
                and owner = $2
             returning head),
         m as (
             insert into messages (id, owner, thread, seq, role, parts, run, label, at, words)
             select $1, $2, $3, case when $4 then t.head end, $5, $6, $7, $8, $9, to_tsvector('words', $11) from t
             returning 1)
         select must_change(count(*)) from m",
        params![
            message.id,
            owner,
            message.thread,
            place == Place::Next,
            word(&message.role)?,
            json(&message.parts)?,
            message.run,
            json(&message.label)?,
            message.at,
            now,
            indexed(&text_of(&message.parts)),
        ],
        StoreError::NotFound { what: "thread" },
    );
    Ok(())
}

/// Gives the message that waits for this run the next position; one that has a position keeps it.
pub(crate) fn place_waiting(tx: &mut Tx<'_>, run: &Run) {
    tx.later(
        "with w as (select n, thread from messages where run = $1 and owner = $2 and seq is null),
         t as (
             update threads set head = head + 1 from w where id = w.thread returning head)
         update messages set seq = t.head from w, t where messages.n = w.n",
        params![run.id, run.owner],
    );
}

pub(crate) async fn exists(tx: &mut Tx<'_>, owner: &OwnerId, id: MessageId) -> Done<bool> {
    let row = tx
        .one(
            "select 1 from messages where id = $1 and owner = $2",
            params![id, owner],
        )
        .await?;
    Ok(row.is_some())
}

pub(crate) async fn message(
    store: &Postgres,
    owner: &OwnerId,
    id: MessageId,
) -> Stored<Option<Message>> {
    let sql = concat!(
        "select ",
        columns!(),
        " from messages m where m.id = $1 and m.owner = $2"
    );
    let rows = store
        .read(Who::Owner(owner.clone()), sql, params![id, owner])
        .await?;
    Ok(messages_of(&rows)?.pop())
}

/// The newest messages of a thread, oldest first.
pub(crate) async fn tail(
    store: &Postgres,
    owner: &OwnerId,
    thread: ThreadId,
    limit: u32,
    before: Option<u64>,
    hidden: Hidden,
) -> Stored<Vec<Message>> {
    let sql = concat!(
        "select ",
        columns!(),
        " from (
             (select * from messages
               where thread = $1 and owner = $2 and seq is null and $4 is null
               order by n desc
               limit $3)
              union all
             (select * from messages
               where thread = $1 and owner = $2
                 and seq > case when $5 then coalesce((select hidden from threads where id = $1), 0) else 0 end
                 and seq < coalesce($4, 9223372036854775807)
               order by seq desc
               limit $3)) m
          order by m.seq is null desc, m.seq desc, m.n desc
          limit $3"
    );
    let is_skipped = hidden == Hidden::Skip;
    let rows = store
        .read(
            Who::Owner(owner.clone()),
            sql,
            params![thread, owner, limit, before, is_skipped],
        )
        .await?;
    let mut messages = messages_of(&rows)?;
    messages.reverse();
    Ok(messages)
}

/// A thread as the model sees it in a run.
pub(crate) async fn history(
    store: &Postgres,
    owner: &OwnerId,
    wanted: &HistoryAsk,
) -> Stored<History> {
    // One row at least, for what is hidden.
    let sql = concat!(
        "select ",
        columns!(),
        ", h.through
           from (select coalesce((select hidden from threads where id = $1 and owner = $2), 0) as through) h
           left join lateral (
             (select * from messages
               where thread = $1 and owner = $2 and seq > h.through and seq >= $4
               order by seq desc
               limit $5)
              union all
             (select * from messages
               where thread = $1 and owner = $2 and seq is null and run = $3)) m on true
          order by m.seq nulls last, m.n"
    );
    let rows = store
        .read(
            Who::Owner(owner.clone()),
            sql,
            params![wanted.thread, owner, wanted.run, wanted.from, wanted.limit],
        )
        .await?;
    history_of(&rows).map_err(Fault::into_store)
}

fn history_of(rows: &[Row]) -> Done<History> {
    let mut history = History::default();
    for row in rows {
        history.hidden_through = row.count(COLUMNS)?;
        if row.opt_id::<MessageId>(0)?.is_some() {
            history.messages.push(message_of(row)?);
        }
    }
    Ok(history)
}

/// Messages with these words, best first; with any of them, when none has all.
pub(crate) async fn search(
    store: &Postgres,
    owner: &OwnerId,
    words: &str,
    limit: u32,
) -> Stored<Vec<Message>> {
    for between in [" & ", " | "] {
        let Some(query) = text_query(words, between) else {
            return Ok(vec![]);
        };
        let sql = concat!(
            "select ",
            columns!(),
            " from messages m, to_tsquery('words', $1) q
              where m.words @@ q and m.owner = $2
              order by ts_rank(m.words, q) desc, m.n desc
              limit $3"
        );
        let rows = store
            .read(Who::Owner(owner.clone()), sql, params![query, owner, limit])
            .await?;
        if !rows.is_empty() {
            return messages_of(&rows);
        }
    }
    Ok(vec![])
}
