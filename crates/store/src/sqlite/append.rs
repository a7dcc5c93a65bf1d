//! Appends: the one write path of a run that is claimed.

use rusqlite::params;

use adjutant_domain::run::{Logged, Seq};
use adjutant_ports::store::{Appended, StoreError};

use crate::error::Done;
use crate::sql::Sql;
use crate::sqlite::approval;
use crate::sqlite::project;
use crate::sqlite::run::{LogNo, head};
use crate::sqlite::signal;
use crate::tx::Tx;
use crate::work::Work;

pub(crate) fn append(tx: &mut Tx<'_>, work: Work) -> Done<Appended> {
    let Work {
        run,
        fence,
        entries,
        caps,
        grants,
    } = work;
    // One writer: nobody can take the run between this look and the writes.
    let log = tx
        .one(
            "select n from runs
              where id = ?
                and owner = ?
                and fence = ?
                and status = 'running'",
            params![run.id.to_string(), run.owner.as_str(), fence.0],
            |row| row.get(0).map(LogNo),
        )?
        .ok_or(StoreError::Fenced)?;
    let head = head(tx, log)?;
    let mut logged = Vec::with_capacity(entries.len());
    for (seq, entry) in (head + 1..).zip(entries) {
        let fact = Logged {
            seq: Seq(seq),
            at: tx.now,
            entry,
        };
        project::write(tx, &run, log, &fact, &caps)?;
        logged.push(fact);
    }
    for grant in &grants {
        approval::insert_grant(tx, grant)?;
    }
    let signals = signal::hear(tx, run.id, fence)?;
    Ok(Appended { logged, signals })
}
