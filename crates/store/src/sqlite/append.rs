//! Appends: the one write path of a run that is claimed.

use rusqlite::params;

use adjutant_domain::approval::Grant;
use adjutant_domain::run::{Entry, Fence, Logged, Run, Seq};
use adjutant_ports::store::{Append, Appended, Cap, StoreError, Stored};

use crate::error::Done;
use crate::sql::Sql;
use crate::sqlite::approval;
use crate::sqlite::project;
use crate::sqlite::run::{LogNo, head};
use crate::sqlite::signal;
use crate::writer::Tx;

/// An append that owns what it writes.
pub(crate) struct Work {
    run: Run,
    fence: Fence,
    entries: Vec<Entry>,
    caps: Vec<Cap>,
    grants: Vec<Grant>,
}

impl Work {
    /// Refuses what no claim holder may write (R3).
    pub(crate) fn new(append: Append<'_>) -> Stored<Self> {
        let Append {
            run,
            fence,
            entries,
            caps,
            grants,
        } = append;
        let last = entries.len().saturating_sub(1);
        for (i, entry) in entries.iter().enumerate() {
            let illegal = match entry {
                Entry::Accepted { .. } | Entry::Claimed { .. } => Some("is written by the store"),
                Entry::Parked { .. } | Entry::Finished { .. } if i < last => {
                    Some("gives the claim back")
                }
                _ => None,
            };
            if let Some(why) = illegal {
                let reason = format!("`{}` {why}: nothing else goes there", entry.word());
                return Err(StoreError::Conflict { reason });
            }
        }
        if grants.iter().any(|grant| grant.owner != run.owner) {
            return Err(StoreError::Conflict {
                reason: "a grant of another owner".to_owned(),
            });
        }
        Ok(Self {
            run: run.clone(),
            fence,
            entries,
            caps,
            grants,
        })
    }
}

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
