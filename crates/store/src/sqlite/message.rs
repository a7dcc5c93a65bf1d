//! Messages: rows, places, and their text index.

use rusqlite::{Connection, Row, params};

use adjutant_domain::id::{MessageId, OwnerId, ThreadId};
use adjutant_domain::message::{Message, Part, text_of};
use adjutant_ports::store::{Hidden, History, HistoryAsk, StoreError};

use crate::error::Done;
use crate::sql::{Joined, Sql, col, json, opt, text_query, word};
use crate::tx::Tx;

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

/// Where a message stands in its thread, as the index `messages_by_place` has it: waiting ones behind the others, in the
/// order in which they came.
macro_rules! place {
    () => {
        "coalesce(m.seq, 4611686018427387904 + m.n)"
    };
}

/// What waits is placed above this: the number in [`place!`].
const WAITING: i64 = 1 << 62;

fn message_of(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: col::id(row, 0)?,
        thread: col::id(row, 1)?,
        seq: row.get(2)?,
        role: col::word(row, 3)?,
        parts: col::json(row, 4)?,
        run: col::opt_id(row, 5)?,
        label: col::json(row, 6)?,
        at: col::at(row, 7)?,
    })
}

/// Adds a message to its thread.
pub(crate) fn insert(tx: &Tx<'_>, owner: &OwnerId, message: &Message, place: Place) -> Done<()> {
    let thread = message.thread.to_string();
    let step = u64::from(place == Place::Next);
    let n_changed = tx.exec(
        "update threads
            set head = head + ?, messages = messages + 1, updated_at = max(updated_at, ?)
          where id = ?
            and owner = ?",
        params![step, tx.now.as_millis(), thread, owner.as_str()],
    )?;
    if n_changed == 0 {
        return Err(StoreError::NotFound { what: "thread" }.into());
    }
    let seq = match place {
        Place::Next => head(tx, &thread)?,
        Place::Later => None,
    };
    tx.exec(
        "insert into messages (id, owner, thread, seq, role, parts, run, label, at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            message.id.to_string(),
            owner.as_str(),
            thread,
            seq,
            word(&message.role)?,
            json(&message.parts)?,
            opt(message.run.as_ref()),
            json(&message.label)?,
            message.at.as_millis(),
        ],
    )?;
    Ok(())
}

/// Gives a waiting message the next position; one that has a position keeps it.
pub(crate) fn place(tx: &Tx<'_>, owner: &OwnerId, id: MessageId) -> Done<()> {
    let waiting = tx.one(
        "select n, thread from messages where id = ? and owner = ? and seq is null",
        params![id.to_string(), owner.as_str()],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let Some((n, thread)) = waiting else {
        return Ok(());
    };
    tx.exec("update threads set head = head + 1 where id = ?", [&thread])?;
    let seq = head(tx, &thread)?.ok_or(StoreError::NotFound { what: "thread" })?;
    tx.exec("update messages set seq = ? where n = ?", params![seq, n])?;
    Ok(())
}

/// The last position that was given out in a thread.
fn head(tx: &Tx<'_>, thread: &str) -> Done<Option<u64>> {
    tx.one("select head from threads where id = ?", [thread], |row| {
        row.get(0)
    })
}

pub(crate) fn exists(db: &Connection, owner: &OwnerId, id: MessageId) -> Done<bool> {
    let row = db.one(
        "select 1 from messages where id = ? and owner = ?",
        params![id.to_string(), owner.as_str()],
        |_row| Ok(()),
    )?;
    Ok(row.is_some())
}

pub(crate) fn thread_must_exist(db: &Connection, owner: &OwnerId, thread: ThreadId) -> Done<()> {
    let row = db.one(
        "select 1 from threads where id = ? and owner = ?",
        params![thread.to_string(), owner.as_str()],
        |_row| Ok(()),
    )?;
    row.ok_or_else(|| StoreError::NotFound { what: "thread" }.into())
}

pub(crate) fn message(db: &Connection, owner: &OwnerId, id: MessageId) -> Done<Option<Message>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from messages m where m.id = ? and m.owner = ?"
        ),
        params![id.to_string(), owner.as_str()],
        message_of,
    )
}

/// The newest messages of a thread, oldest first.
pub(crate) fn tail(
    db: &Connection,
    owner: &OwnerId,
    thread: ThreadId,
    limit: u32,
    before: Option<u64>,
    hidden: Hidden,
) -> Done<Vec<Message>> {
    let above = match hidden {
        Hidden::Show => 0,
        Hidden::Skip => hidden_through(db, owner, thread)?,
    };
    // Those that wait stand behind all that have a position.
    let before = before.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX));
    between(db, owner, thread, (above, before), limit)
}

/// A thread as the model sees it in a run.
pub(crate) fn history(db: &Connection, owner: &OwnerId, wanted: &HistoryAsk) -> Done<History> {
    let HistoryAsk {
        thread,
        run,
        from,
        limit,
    } = *wanted;
    let hidden_through = hidden_through(db, owner, thread)?;
    let above = hidden_through.max(from.saturating_sub(1));
    let mut messages = between(db, owner, thread, (above, WAITING), limit)?;
    messages.extend(db.all(
        concat!(
            "select ",
            columns!(),
            " from messages m
              where m.thread = ? and ",
            place!(),
            " > ? and m.owner = ? and m.run = ?
              order by ",
            place!()
        ),
        params![thread.to_string(), WAITING, owner.as_str(), run.to_string()],
        message_of,
    )?);
    Ok(History {
        hidden_through,
        messages,
    })
}

fn hidden_through(db: &Connection, owner: &OwnerId, thread: ThreadId) -> Done<u64> {
    let hidden = db.one(
        "select hidden from threads where id = ? and owner = ?",
        params![thread.to_string(), owner.as_str()],
        |row| row.get(0),
    )?;
    Ok(hidden.unwrap_or_default())
}

/// The newest messages whose place is between these two, oldest first.
fn between(
    db: &Connection,
    owner: &OwnerId,
    thread: ThreadId,
    (above, before): (u64, i64),
    limit: u32,
) -> Done<Vec<Message>> {
    let mut messages = db.all(
        concat!(
            "select ",
            columns!(),
            " from messages m
              where m.thread = ?1 and ",
            place!(),
            " > ?2 and ",
            place!(),
            " < ?3 and m.owner = ?4
              order by ",
            place!(),
            " desc
              limit ?5"
        ),
        params![thread.to_string(), above, before, owner.as_str(), limit],
        message_of,
    )?;
    messages.reverse();
    Ok(messages)
}

/// Messages with these words, best first; with any of them, when none has all.
pub(crate) fn search(
    db: &Connection,
    owner: &OwnerId,
    words: &str,
    limit: u32,
) -> Done<Vec<Message>> {
    for joined in [Joined::All, Joined::Any] {
        let Some(query) = text_query(words, joined) else {
            return Ok(vec![]);
        };
        let found = db.all(
            concat!(
                "select ",
                columns!(),
                " from messages_text f
                  join messages m on m.n = f.rowid
                 where f.messages_text match ? and m.owner = ?
                 order by f.rank, m.n desc
                 limit ?"
            ),
            params![query, owner.as_str(), limit],
            message_of,
        )?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(vec![])
}

/// Messages that one call of [`catch_up`] indexes.
const CATCH_UP_MAX: usize = 256;

/// Puts messages that came since into the text index; `true`: there are more.
///
/// The index is not needed while a turn runs, and filling it in bulk writes a tenth of the pages. The mark moves in the
/// same transaction, so the index and the mark never differ; a search catches up first.
pub(crate) fn catch_up(tx: &Tx<'_>) -> Done<bool> {
    let through = searched_through(tx)?;
    let rows = tx.all(
        "select n, parts from messages where n > ? order by n limit ?",
        params![through, i64::try_from(CATCH_UP_MAX).unwrap_or(i64::MAX)],
        |row| Ok((row.get::<_, i64>(0)?, col::json::<Vec<Part>>(row, 1)?)),
    )?;
    let Some((last, _)) = rows.last() else {
        return Ok(false);
    };
    for (n, parts) in &rows {
        tx.exec(
            "insert into messages_text (rowid, text) values (?, ?)",
            params![n, text_of(parts)],
        )?;
    }
    tx.exec("update searched set through = ? where id = 1", [last])?;
    Ok(rows.len() == CATCH_UP_MAX)
}

pub(crate) fn searched_through(db: &Connection) -> Done<i64> {
    Ok(db
        .one("select through from searched where id = 1", [], |row| {
            row.get(0)
        })?
        .unwrap_or_default())
}

pub(crate) fn is_behind(db: &Connection) -> Done<bool> {
    let next = db.one(
        "select 1 from messages where n > (select through from searched where id = 1) limit 1",
        [],
        |_row| Ok(()),
    )?;
    Ok(next.is_some())
}

/// Removes every message of a thread for good, words in the text index included.
pub(crate) fn forget(tx: &Tx<'_>, thread: ThreadId) -> Done<()> {
    let through = searched_through(tx)?;
    let rows = tx.all(
        "select n, parts from messages where thread = ? and n <= ?",
        params![thread.to_string(), through],
        |row| Ok((row.get::<_, i64>(0)?, col::json::<Vec<Part>>(row, 1)?)),
    )?;
    for (n, parts) in rows {
        tx.exec(
            "insert into messages_text (messages_text, rowid, text) values ('delete', ?, ?)",
            params![n, text_of(&parts)],
        )?;
    }
    tx.exec(
        "delete from messages where thread = ?",
        [thread.to_string()],
    )?;
    Ok(())
}
