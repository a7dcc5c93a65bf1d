//! The check of everything (R42): what is derived is derived again and compared.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use adjutant_domain::approval::ApprovalState;
use adjutant_domain::id::{ApprovalId, MessageId, ReservationId, RunId};
use adjutant_domain::message::Part;
use adjutant_domain::run::{Entry, Logged, Outcome, Row, Run, RunStatus, Seq, project};
use adjutant_ports::store::{Spend, VerifyReport};

use crate::error::Done;
use crate::sql::{Sql, col};
use crate::sqlite::audit::{CHAIN_START, Line};
use crate::sqlite::message::searched_through;
use crate::sqlite::money::{lines_of, spend_of, sums};
use crate::sqlite::run::{LogNo, N_INFO, info_columns, info_of, parse_log, raw_log};

/// Findings that are listed; a file that is wholly wrong needs no longer list.
const FINDINGS_MAX: usize = 200;

struct Check<'a> {
    db: &'a Connection,
    report: VerifyReport,
}

impl Check<'_> {
    fn looked_at(&mut self, what: &str, n: u64) {
        self.report.checked.push((what.to_owned(), n));
    }

    fn find(&mut self, sentence: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(sentence);
        }
    }
}

pub(crate) fn verify(db: &Connection) -> Done<VerifyReport> {
    db.execute_batch("begin")?;
    let mut check = Check {
        db,
        report: VerifyReport::default(),
    };
    file(&mut check)?;
    places(&mut check)?;
    text_index(&mut check)?;
    runs(&mut check)?;
    sums_of_money(&mut check)?;
    events(&mut check)?;
    chain(&mut check)?;
    Ok(check.report)
}

fn file(check: &mut Check<'_>) -> Done<()> {
    let lines: Vec<String> = check
        .db
        .all("pragma integrity_check(20)", [], |row| row.get(0))?;
    for line in lines.iter().filter(|line| *line != "ok") {
        check.find(format!("the file: {line}"));
    }
    let broken: Vec<String> = check
        .db
        .all("pragma foreign_key_check", [], |row| row.get(0))?;
    for table in broken {
        check.find(format!("a row of `{table}` belongs to nothing"));
    }
    check.looked_at("file", 1);
    Ok(())
}

/// Positions are gapless per thread, and the counters in the thread's row are true (R11).
fn places(check: &mut Check<'_>) -> Done<()> {
    let threads = check.db.all(
        "select t.id, t.head, t.messages, count(m.n), count(m.seq), coalesce(max(m.seq), 0),
                count(m.n) filter (where m.owner <> t.owner)
           from threads t left join messages m on m.thread = t.id
          group by t.id",
        [],
        |row| {
            let n = |i| row.get::<_, u64>(i);
            Ok((
                row.get::<_, String>(0)?,
                [n(1)?, n(2)?, n(3)?, n(4)?, n(5)?, n(6)?],
            ))
        },
    )?;
    let mut n_messages = 0;
    for (id, [head, counted, messages, placed, highest, strangers]) in &threads {
        n_messages += messages;
        if placed != highest || head != highest {
            check.find(format!(
                "{id}: {placed} positions, the highest is {highest}, the next would follow {head}"
            ));
        }
        if counted != messages {
            check.find(format!(
                "{id}: {messages} messages, but {counted} are counted"
            ));
        }
        if *strangers > 0 {
            check.find(format!("{id}: {strangers} messages of another owner"));
        }
    }
    let misplaced: u64 = check
        .db
        .one(
            "select count(*) from threads where hour <> updated_at / 3600000",
            [],
            |row| row.get(0),
        )?
        .unwrap_or_default();
    if misplaced > 0 {
        check.find(format!(
            "{misplaced} threads are not listed under the hour of their last use"
        ));
    }
    check.looked_at("threads", threads.len() as u64);
    check.looked_at("messages", n_messages);
    Ok(())
}

fn text_index(check: &mut Check<'_>) -> Done<()> {
    let through = searched_through(check.db)?;
    let pairs = [
        (
            "messages_text",
            "select count(*) from messages where n <= ?",
            "select count(*) from messages_text_docsize",
        ),
        (
            "memories_text",
            "select count(*) from memories where ?1 = ?1",
            "select count(*) from memories_text_docsize",
        ),
    ];
    for (name, rows, indexed) in pairs {
        let rows: u64 = check
            .db
            .one(rows, [through], |row| row.get(0))?
            .unwrap_or_default();
        let indexed: u64 = check
            .db
            .one(indexed, [], |row| row.get(0))?
            .unwrap_or_default();
        if rows != indexed {
            check.find(format!(
                "{name}: {rows} rows, but {indexed} are in the index"
            ));
        }
        check.looked_at(name, indexed);
    }
    Ok(())
}

/// What the log of a run says about every other table.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) status: Option<RunStatus>,
    pub(crate) messages: BTreeMap<MessageId, Vec<Part>>,
    pub(crate) approvals: BTreeMap<ApprovalId, ApprovalState>,
    pub(crate) open: BTreeSet<ReservationId>,
    pub(crate) settled: BTreeMap<ReservationId, Option<u64>>,
    pub(crate) waits: BTreeSet<MessageId>,
}

impl Expected {
    pub(crate) fn of(run: &Run, log: &[Logged]) -> Self {
        let mut it = Self::default();
        for logged in log {
            match &logged.entry {
                Entry::Accepted { input, .. } => it.waits.extend(input),
                // A run that was stopped in the queue had its words placed when it ended.
                Entry::Claimed { .. } | Entry::Finished { .. } => it.waits.clear(),
                _ => {}
            }
            for row in project(run, logged) {
                it.apply(row);
            }
        }
        it
    }

    fn apply(&mut self, row: Row) {
        match row {
            Row::Status(status) => {
                if matches!(status, RunStatus::Finished { .. }) {
                    self.open.clear();
                }
                self.status = Some(status);
            }
            Row::Message(message) => {
                self.messages.insert(message.id, message.parts);
            }
            Row::Reserve(budget) => {
                self.open.insert(budget.reservation);
            }
            Row::Ledger(line) => {
                self.open.remove(&line.reservation);
                self.settled
                    .insert(line.reservation, line.cost.micros().map(|micros| micros.0));
            }
            Row::Approval(question) => {
                self.approvals.insert(question.id, question.state);
            }
            Row::ApprovalResolved { id, state, .. } => {
                self.approvals.insert(id, state);
            }
            Row::ApprovalsLapse => {
                for state in self
                    .approvals
                    .values_mut()
                    .filter(|state| **state == ApprovalState::Open)
                {
                    *state = ApprovalState::Cancelled;
                }
            }
            Row::Hide { .. } | Row::Event(_) => {}
        }
    }
}

fn runs(check: &mut Check<'_>) -> Done<()> {
    let infos = check.db.all(
        concat!(
            "select ",
            info_columns!(),
            ", status, n, fence from runs order by id"
        ),
        [],
        |row| {
            Ok((
                info_of(row)?,
                row.get::<_, String>(N_INFO)?,
                LogNo(row.get(N_INFO + 1)?),
                row.get::<_, u64>(N_INFO + 2)?,
            ))
        },
    )?;
    let mut n_entries = 0;
    for (info, word, log, fence) in &infos {
        let run = &info.run;
        let log = parse_log(raw_log(check.db, *log, Seq(1))?)?;
        n_entries += log.len() as u64;
        legal(&mut |finding| check.find(finding), run, &log, *fence);
        let expected = Expected::of(run, &log);
        if expected.status.as_ref() != Some(&info.status) || info.status.word() != word {
            check.find(format!(
                "{}: is `{word}`, but its log says otherwise",
                run.id
            ));
        }
        rows_of(check, run, &expected)?;
    }
    let there: u64 = check
        .db
        .one("select count(*) from entries", [], |row| row.get(0))?
        .unwrap_or_default();
    if there != n_entries {
        check.find(format!(
            "{} entries belong to no run",
            there.abs_diff(n_entries)
        ));
    }
    check.looked_at("runs", infos.len() as u64);
    check.looked_at("entries", n_entries);
    Ok(())
}

/// The journal is gapless and legal (R3): accepted first and once, nothing after the end, claims in rising order.
pub(crate) fn legal(find: &mut dyn FnMut(String), run: &Run, log: &[Logged], fence: u64) {
    let gapless = (1..).zip(log).all(|(place, logged)| logged.seq.0 == place);
    if !gapless || log.is_empty() {
        find(format!("{}: its log has gaps", run.id));
    }
    let mut claims = 0;
    let mut held = false;
    for (i, logged) in log.iter().enumerate() {
        let ok = match &logged.entry {
            Entry::Accepted { .. } => i == 0,
            // A run that was stopped in the queue was never claimed.
            Entry::CancelAsked { .. } if claims == 0 => true,
            Entry::Finished {
                outcome: Outcome::Cancelled { .. },
                ..
            } if claims == 0 => i + 1 == log.len(),
            Entry::Claimed { fence, .. } => {
                claims += 1;
                held = true;
                fence.0 == claims
            }
            Entry::Parked { .. } => std::mem::replace(&mut held, false),
            Entry::Finished { outcome, .. } => {
                let whole = !matches!(outcome, Outcome::Done { .. }) || i > 0;
                std::mem::replace(&mut held, false) && whole && i + 1 == log.len()
            }
            _ => held,
        };
        if !ok || (i == 0 && !matches!(logged.entry, Entry::Accepted { .. })) {
            find(format!(
                "{}: `{}` has no place at {}",
                run.id,
                logged.entry.word(),
                logged.seq.0
            ));
        }
    }
    if claims != fence {
        find(format!(
            "{}: {claims} claims, but the fence is {fence}",
            run.id
        ));
    }
}

fn rows_of(check: &mut Check<'_>, run: &Run, expected: &Expected) -> Done<()> {
    for (id, parts) in &expected.messages {
        let row = check.db.one(
            "select parts, seq is not null, owner = ?, thread = ? from messages where id = ?",
            params![run.owner.as_str(), run.thread.to_string(), id.to_string()],
            |row| {
                Ok((
                    col::json::<Vec<Part>>(row, 0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                ))
            },
        )?;
        if row.as_ref() != Some(&(parts.clone(), true, true, true)) {
            check.find(format!(
                "{}: the message {id} is not what the log says",
                run.id
            ));
        }
    }
    for id in &expected.waits {
        let placed = check.db.one(
            "select seq is not null from messages where id = ?",
            [id.to_string()],
            |row| row.get(0),
        )?;
        if placed != Some(false) {
            check.find(format!(
                "{}: the message {id} should wait for its run",
                run.id
            ));
        }
    }
    approvals_of(check, run, expected)?;
    ledger_of(check, run, expected)
}

/// An answer is in its row at once and in the log when the run takes note, so the row may be ahead.
fn approvals_of(check: &mut Check<'_>, run: &Run, expected: &Expected) -> Done<()> {
    let rows: BTreeMap<ApprovalId, ApprovalState> = check
        .db
        .all(
            "select id, state from approvals where run = ?",
            [run.id.to_string()],
            |row| Ok((col::id(row, 0)?, col::word(row, 1)?)),
        )?
        .into_iter()
        .collect();
    for (id, state) in &expected.approvals {
        let answered = matches!(
            rows.get(id),
            Some(ApprovalState::Allowed | ApprovalState::Denied)
        );
        let ahead = matches!(state, ApprovalState::Open | ApprovalState::Cancelled) && answered;
        if rows.get(id) != Some(state) && !ahead {
            check.find(format!(
                "{}: the question {id} is not where the log says",
                run.id
            ));
        }
    }
    if rows.len() != expected.approvals.len() {
        check.find(format!(
            "{}: {} questions, the log knows {}",
            run.id,
            rows.len(),
            expected.approvals.len()
        ));
    }
    Ok(())
}

fn ledger_of(check: &mut Check<'_>, run: &Run, expected: &Expected) -> Done<()> {
    let [before, behind] = lines_of(run.id);
    for id in &expected.open {
        let settled = check.db.one(
            "select settled from ledger where place > ? and place < ? and run = ? and reservation = ?",
            params![before, behind, run.id.to_string(), id.to_string()],
            |row| row.get::<_, bool>(0),
        )?;
        if settled != Some(false) {
            check.find(format!("{}: the reservation {id} should be open", run.id));
        }
    }
    for (id, cost) in &expected.settled {
        let row = check.db.one(
            "select settled, cost from ledger where place > ? and place < ? and run = ? and reservation = ?",
            params![before, behind, run.id.to_string(), id.to_string()],
            |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Option<u64>>(1)?)),
        )?;
        if row != Some((true, *cost)) {
            check.find(format!(
                "{}: the ledger line {id} is not what the log says",
                run.id
            ));
        }
    }
    Ok(())
}

/// Every window's sums are those of its ledger lines, and no reservation belongs to a run that is over.
fn sums_of_money(check: &mut Check<'_>) -> Done<()> {
    type Sums = BTreeMap<(String, String, String), Spend>;
    let key =
        |row: &rusqlite::Row<'_>| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?, row.get(2)?));
    let kept: Sums = check
        .db
        .all(
            "select owner, scope, key, used, reserved, calls, unpriced, input, output, cache_read, cache_write,
                    estimated
               from spend",
            [],
            |row| Ok((key(row)?, spend_of(row, 3)?)),
        )?
        .into_iter()
        .collect();
    let mut added = Sums::new();
    for sql in [
        concat!(
            "select owner, 'session', session, ",
            sums!(),
            " from ledger group by owner, session"
        ),
        concat!(
            "select owner, 'day', day, ",
            sums!(),
            " from ledger group by owner, day"
        ),
    ] {
        added.extend(
            check
                .db
                .all(sql, [], |row| Ok((key(row)?, spend_of(row, 3)?)))?,
        );
    }
    for (window, spend) in &kept {
        if added.get(window).copied().unwrap_or_default() != *spend {
            check.find(format!(
                "the sums of {} {} are not those of the ledger",
                window.1, window.2
            ));
        }
    }
    for window in added.keys().filter(|window| !kept.contains_key(*window)) {
        check.find(format!("{} {} has no sums", window.1, window.2));
    }
    let strayed: u64 = check
        .db
        .one(
            "select count(*) from ledger l
               left join spend s on s.owner = l.owner and s.scope = 'day' and s.key = l.day
              where l.place < s.first or s.last < l.place",
            [],
            |row| row.get(0),
        )?
        .unwrap_or_default();
    if strayed > 0 {
        check.find(format!(
            "{strayed} ledger lines lie where no sum looks for them"
        ));
    }
    let orphans: Vec<RunId> = check.db.all(
        "select distinct l.run from ledger l left join runs r on r.id = l.run
          where l.settled = 0 and (r.id is null or r.status = 'finished')",
        [],
        |row| col::id(row, 0),
    )?;
    for run in orphans {
        check.find(format!("{run}: is over and still holds money"));
    }
    check.looked_at("windows of money", kept.len() as u64);
    Ok(())
}

/// Cursors are the key: none is there twice.
fn events(check: &mut Check<'_>) -> Done<()> {
    let n: u64 = check
        .db
        .one("select count(*) from events", [], |row| row.get(0))?
        .unwrap_or_default();
    check.looked_at("events", n);
    Ok(())
}

fn chain(check: &mut Check<'_>) -> Done<()> {
    let mut before = CHAIN_START.to_owned();
    let mut next = 1;
    let mut statement = check.db.prepare(
        "select seq, at, owner, by, action, subject, detail, hash from audit order by seq",
    )?;
    let mut rows = statement.query([])?;
    let mut broken = None;
    while let Some(row) = rows.next()? {
        let text = |i| row.get_ref(i)?.as_str().map_err(rusqlite::Error::from);
        let line = Line {
            seq: row.get(0)?,
            at: col::at(row, 1)?,
            owner: text(2)?,
            by: text(3)?,
            action: text(4)?,
            subject: text(5)?,
            detail: text(6)?,
        };
        let hash = line.hash(&before);
        if line.seq != next || hash != text(7)? {
            broken = Some(next);
            break;
        }
        before = hash;
        next += 1;
    }
    drop(rows);
    drop(statement);
    if let Some(seq) = broken {
        check.find(format!("the audit chain is broken at {seq}"));
    }
    check.looked_at("audit records", next - 1);
    Ok(())
}
