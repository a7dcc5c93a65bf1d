//! The check of everything (R42): what is derived is derived again and compared. Read as one snapshot, by the role that
//! reads everything.

use std::collections::BTreeMap;

use adjutant_domain::approval::ApprovalState;
use adjutant_domain::id::{ApprovalId, ReservationId, RunId};
use adjutant_domain::message::Part;
use adjutant_domain::run::Run;
use adjutant_ports::store::{Spend, VerifyReport};

use crate::postgres::Inner;
use crate::postgres::error::Done;
use crate::postgres::money::{spend_of, sums};
use crate::postgres::row::{Columns, params};
use crate::postgres::run::{N_INFO, info_columns, info_of, log_of, whole_log};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::sqlite::audit::{CHAIN_START, Line};
use crate::sqlite::verify::{Expected, legal};

/// Findings that are listed; a database that is wholly wrong needs no longer list.
const FINDINGS_MAX: usize = 200;
/// Rows that are read at once.
const PAGE: u64 = 1_000;

#[derive(Default)]
struct Check {
    report: VerifyReport,
}

impl Check {
    fn looked_at(&mut self, what: &str, n: u64) {
        self.report.checked.push((what.to_owned(), n));
    }

    fn find(&mut self, sentence: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(sentence);
        }
    }
}

pub(crate) async fn verify(inner: &Inner) -> Done<VerifyReport> {
    inner
        .transaction(&Who::Auditor, Durability::Relaxed, (), |tx, ()| {
            Box::pin(all(tx))
        })
        .await
}

async fn all(tx: &mut Tx<'_>) -> Done<VerifyReport> {
    tx.snapshot();
    let mut check = Check::default();
    places(tx, &mut check).await?;
    runs(tx, &mut check).await?;
    sums_of_money(tx, &mut check).await?;
    chain(tx, &mut check).await?;
    let n = count(tx, "select count(*) from events").await?;
    check.looked_at("events", n);
    Ok(check.report)
}

async fn count(tx: &mut Tx<'_>, sql: &'static str) -> Done<u64> {
    let row = tx.one(sql, vec![]).await?;
    row.map_or(Ok(0), |row| row.count(0))
}

/// Positions are gapless per thread, and the counters in the thread's row are true (R11).
async fn places(tx: &mut Tx<'_>, check: &mut Check) -> Done<()> {
    let wrong = tx
        .rows(
            "select id, head, counted, messages, placed, highest, strangers
               from (select t.id, t.head, t.messages as counted, count(m.n) as messages, count(m.seq) as placed,
                            coalesce(max(m.seq), 0) as highest, count(m.n) filter (where m.owner <> t.owner) as strangers
                       from threads t left join messages m on m.thread = t.id
                      group by t.id) it
              where placed <> highest or head <> highest or counted <> messages or strangers > 0
              limit 200",
            vec![],
        )
        .await?;
    for row in &wrong {
        check.find(format!(
            "{}: {} messages of which {} are counted, {} positions, the highest is {}, the next would follow {}, {} of \
             another owner",
            row.text(0)?,
            row.count(3)?,
            row.count(2)?,
            row.count(4)?,
            row.count(5)?,
            row.count(1)?,
            row.count(6)?
        ));
    }
    let n = count(tx, "select count(*) from threads").await?;
    check.looked_at("threads", n);
    let n = count(tx, "select count(*) from messages").await?;
    check.looked_at("messages", n);
    Ok(())
}

async fn runs(tx: &mut Tx<'_>, check: &mut Check) -> Done<()> {
    let (mut n_runs, mut n_entries) = (0, 0);
    let mut after = String::new();
    loop {
        let sql = concat!(
            "select ",
            info_columns!(),
            ", status, head, fence from runs where id > $1 order by id limit $2"
        );
        let rows = tx.rows(sql, params![after, PAGE]).await?;
        for row in &rows {
            let (info, word) = (info_of(row)?, row.text(N_INFO)?);
            let run = &info.run;
            let (sql, params) = whole_log(run.id);
            let log = log_of(&tx.rows(sql, params).await?)?;
            n_entries += log.len() as u64;
            if row.count(N_INFO + 1)? != log.len() as u64 {
                check.find(format!("{}: its log does not end where it says", run.id));
            }
            legal(
                &mut |finding| check.find(finding),
                run,
                &log,
                row.count(N_INFO + 2)?,
            );
            let expected = Expected::of(run, &log);
            if expected.status.as_ref() != Some(&info.status) || info.status.word() != word {
                check.find(format!(
                    "{}: is `{word}`, but its log says otherwise",
                    run.id
                ));
            }
            rows_of(tx, check, run, &expected).await?;
            after = run.id.to_string();
        }
        n_runs += rows.len() as u64;
        if (rows.len() as u64) < PAGE {
            break;
        }
    }
    check.looked_at("runs", n_runs);
    check.looked_at("entries", n_entries);
    Ok(())
}

async fn rows_of(tx: &mut Tx<'_>, check: &mut Check, run: &Run, expected: &Expected) -> Done<()> {
    for (id, parts) in &expected.messages {
        let row = tx
            .one(
                "select parts, seq is not null and owner = $2 and thread = $3 from messages where id = $1",
                params![id, run.owner, run.thread],
            )
            .await?;
        let is_there = match row {
            Some(row) => row.json::<Vec<Part>>(0)? == *parts && row.bool(1)?,
            None => false,
        };
        if !is_there {
            check.find(format!(
                "{}: the message {id} is not what the log says",
                run.id
            ));
        }
    }
    for id in &expected.waits {
        let row = tx
            .one(
                "select 1 from messages where id = $1 and seq is null",
                params![id],
            )
            .await?;
        if row.is_none() {
            check.find(format!(
                "{}: the message {id} should wait for its run",
                run.id
            ));
        }
    }
    approvals_of(tx, check, run, expected).await?;
    ledger_of(tx, check, run, expected).await
}

/// An answer is in its row at once and in the log when the run takes note, so the row may be ahead.
async fn approvals_of(
    tx: &mut Tx<'_>,
    check: &mut Check,
    run: &Run,
    expected: &Expected,
) -> Done<()> {
    let rows = tx
        .rows(
            "select id, state from approvals where run = $1",
            params![run.id],
        )
        .await?;
    let rows: BTreeMap<ApprovalId, ApprovalState> = rows
        .iter()
        .map(|row| Ok((row.id(0)?, row.word(1)?)))
        .collect::<Done<_>>()?;
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

async fn ledger_of(tx: &mut Tx<'_>, check: &mut Check, run: &Run, expected: &Expected) -> Done<()> {
    let rows = tx
        .rows(
            "select reservation, settled, cost from ledger where run = $1",
            params![run.id],
        )
        .await?;
    let mut lines: BTreeMap<ReservationId, (bool, Option<u64>)> = BTreeMap::new();
    for row in &rows {
        lines.insert(row.id(0)?, (row.bool(1)?, row.opt_count(2)?));
    }
    for id in &expected.open {
        if lines.get(id).is_none_or(|(settled, _)| *settled) {
            check.find(format!("{}: the reservation {id} should be open", run.id));
        }
    }
    for (id, cost) in &expected.settled {
        if lines.get(id) != Some(&(true, *cost)) {
            check.find(format!(
                "{}: the ledger line {id} is not what the log says",
                run.id
            ));
        }
    }
    Ok(())
}

/// Every window's sums are those of its ledger lines, and no reservation belongs to a run that is over.
async fn sums_of_money(tx: &mut Tx<'_>, check: &mut Check) -> Done<()> {
    type Sums = BTreeMap<(String, String, String), Spend>;
    let sums = |rows: &[tokio_postgres::Row]| -> Done<Sums> {
        rows.iter()
            .map(|row| {
                Ok((
                    (row.text(0)?, row.text(1)?, row.text(2)?),
                    spend_of(row, 3)?,
                ))
            })
            .collect()
    };
    let kept = tx
        .rows(
            "select owner, scope, key, used, reserved, calls, unpriced, input, output, cache_read, cache_write, estimated
               from spend",
            vec![],
        )
        .await?;
    let kept = sums(&kept)?;
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
        added.extend(sums(&tx.rows(sql, vec![]).await?)?);
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
    let orphans = tx
        .rows(
            "select distinct l.run from ledger l left join runs r on r.id = l.run
              where not l.settled and (r.id is null or r.status = 'finished')",
            vec![],
        )
        .await?;
    for row in &orphans {
        let run: RunId = row.id(0)?;
        check.find(format!("{run}: is over and still holds money"));
    }
    check.looked_at("windows of money", kept.len() as u64);
    Ok(())
}

async fn chain(tx: &mut Tx<'_>, check: &mut Check) -> Done<()> {
    let mut before = CHAIN_START.to_owned();
    let mut next = 1;
    'pages: loop {
        let rows = tx
            .rows(
                "select seq, at, owner, by, action, subject, detail, hash from audit where seq >= $1 order by seq limit $2",
                params![next, PAGE],
            )
            .await?;
        for row in &rows {
            let texts: Vec<String> = (2..7).map(|i| row.text(i)).collect::<Done<_>>()?;
            let [owner, by, action, subject, detail] = &texts[..] else {
                continue;
            };
            let line = Line {
                seq: row.count(0)?,
                at: row.at(1)?,
                owner,
                by,
                action,
                subject,
                detail,
            };
            let hash = line.hash(&before);
            if line.seq != next || hash != row.text(7)? {
                check.find(format!("the audit chain is broken at {next}"));
                break 'pages;
            }
            before = hash;
            next += 1;
        }
        if (rows.len() as u64) < PAGE {
            break;
        }
    }
    let end = tx
        .one("select seq, hash from audit_end where id = 1", vec![])
        .await?;
    let is_end = match &end {
        Some(end) => end.count(0)? + 1 == next && end.text(1)? == before,
        None => false,
    };
    if !is_end {
        check.find("the audit chain does not end where it says".to_owned());
    }
    check.looked_at("audit records", next - 1);
    Ok(())
}
