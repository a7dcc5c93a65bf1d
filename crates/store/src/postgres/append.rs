//! Appends: the one write path of a run that is claimed.

use adjutant_domain::run::{Entry, Logged, Seq, Signal, Wake};
use adjutant_ports::store::{Appended, StoreError};

use crate::postgres::error::Done;
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::Tx;
use crate::postgres::{approval, project, signal};
use crate::work::Work;

/// Two round trips: the fence with the signals, and everything else with the commit.
pub(crate) async fn append(tx: &mut Tx<'_>, work: &Work) -> Done<Appended> {
    let Work {
        run,
        fence,
        entries,
        caps,
        grants,
    } = work;
    let n = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let found = tx
        .several(vec![
            (
                "update runs
                    set head = head + $1
                  where id = $2
                    and owner = $3
                    and fence = $4
                    and status = 'running'
                 returning head",
                params![n, run.id, run.owner, fence],
            ),
            signal::hearing(run.id, *fence),
        ])
        .await?;
    let [held, heard] = &found[..] else {
        return Err(StoreError::Fenced.into());
    };
    let head = held.first().ok_or(StoreError::Fenced)?.count(0)?;
    let mut signals = signal::heard(heard)?;
    let now = tx.now().await?;
    let mut logged = Vec::with_capacity(entries.len());
    for (seq, entry) in (head - n + 1..).zip(entries) {
        signals.retain(|signal| !is_written_by(signal, entry));
        let fact = Logged {
            seq: Seq(seq),
            at: now,
            entry: entry.clone(),
        };
        project::write(tx, run, &fact, caps, !signals.is_empty()).await?;
        logged.push(fact);
    }
    for grant in grants {
        approval::insert_grant(tx, grant)?;
    }
    Ok(Appended { logged, signals })
}

/// A signal that is in the log now was heard; one of a run that is over is for nobody.
fn is_written_by(signal: &Signal, entry: &Entry) -> bool {
    match (signal, entry) {
        (_, Entry::Finished { .. }) | (Signal::Cancel { .. }, Entry::CancelAsked { .. }) => true,
        (
            Signal::Answer { approval, .. },
            Entry::ApprovalResolved {
                approval: written, ..
            },
        ) => approval == written,
        (
            Signal::Steer { message, .. },
            Entry::Steered {
                message: written, ..
            },
        ) => message == written,
        (
            Signal::Move { .. },
            Entry::Parked {
                until: Wake::Handover { to: Some(_), .. },
            },
        ) => true,
        _ => false,
    }
}
