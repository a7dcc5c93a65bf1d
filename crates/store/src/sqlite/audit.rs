//! The audit chain, remembered answers, and workers.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use adjutant_domain::id::{ClientKey, OwnerId};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{AuditRecord, AuditStore, StoreError, Stored, VerifyReport};

use crate::error::Done;
use crate::file;
use crate::health::Look;
use crate::sql::{Sql, col, from_json, json};
use crate::sqlite::{Sqlite, VERIFY_THREAD, verify};
use crate::tx::Tx;

/// What the hash of the first record follows.
pub(crate) const CHAIN_START: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// The fields of a record as they are kept; the hash is over exactly these texts.
pub(crate) struct Line<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) owner: &'a str,
    pub(crate) by: &'a str,
    pub(crate) action: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) detail: &'a str,
}

impl Line<'_> {
    /// Hex SHA-256 over the hash before and every field behind its length, so that no two records read the same.
    pub(crate) fn hash(&self, before: &str) -> String {
        let (seq, at) = (self.seq.to_string(), self.at.as_millis().to_string());
        let mut hasher = Sha256::new();
        for field in [
            before,
            &seq,
            &at,
            self.owner,
            self.by,
            self.action,
            self.subject,
            self.detail,
        ] {
            hasher.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(field);
        }
        hex::encode(hasher.finalize())
    }
}

/// Adds a record to the chain.
pub(crate) fn add(
    tx: &Tx<'_>,
    owner: &OwnerId,
    by: &str,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Done<u64> {
    let last = tx.one(
        "select seq, hash from audit where seq = (select max(seq) from audit)",
        [],
        |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let (seq, before) = last.map_or_else(
        || (1, CHAIN_START.to_owned()),
        |(seq, hash)| (seq + 1, hash),
    );
    let detail = json(detail)?;
    let line = Line {
        seq,
        at: tx.now,
        owner: owner.as_str(),
        by,
        action,
        subject,
        detail: &detail,
    };
    tx.exec(
        "insert into audit (seq, at, owner, by, action, subject, detail, hash) values (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            seq,
            tx.now.as_millis(),
            line.owner,
            by,
            action,
            subject,
            detail,
            line.hash(&before)
        ],
    )?;
    Ok(seq)
}

fn record_of(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord {
        seq: row.get(0)?,
        at: col::at(row, 1)?,
        owner: col::id(row, 2)?,
        by: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        detail: col::json(row, 6)?,
        hash: row.get(7)?,
    })
}

/// The worker's row, made or renewed. Rows of workers that are long gone are removed.
fn remember(
    tx: &Tx<'_>,
    owner: &OwnerId,
    method: &str,
    key: &ClientKey,
    digest: &str,
    answer: &Value,
) -> Done<()> {
    tx.exec(
        "insert into answers (owner, method, key, digest, answer, at) values (?, ?, ?, ?, ?, ?)
         on conflict do nothing",
        params![
            owner.as_str(),
            method,
            key.as_str(),
            digest,
            json(answer)?,
            tx.now.as_millis()
        ],
    )?;
    Ok(())
}

#[async_trait]
impl AuditStore for Sqlite {
    async fn audit(
        &self,
        owner: &OwnerId,
        by: &str,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Stored<u64> {
        let (owner, by) = (owner.clone(), by.to_owned());
        let (action, subject) = (action.to_owned(), subject.to_owned());
        self.flushed(move |tx| add(tx, &owner, &by, &action, &subject, &detail))
            .await
    }

    async fn audit_records(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<AuditRecord>> {
        let owner = owner.clone();
        self.read(move |db| {
            db.all(
                "select seq, at, owner, by, action, subject, detail, hash from audit
                  where owner = ?
                  order by seq desc
                  limit ?",
                params![owner.as_str(), limit],
                record_of,
            )
        })
        .await
    }

    async fn answered(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
    ) -> Stored<Option<Value>> {
        let (owner, method, key) = (owner.clone(), method.to_owned(), key.clone());
        let row = self
            .read(move |db| {
                db.one(
                    "select digest, answer from answers where owner = ? and method = ? and key = ?",
                    params![owner.as_str(), method, key.as_str()],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
                )
            })
            .await?;
        match row {
            None => Ok(None),
            Some((seen, answer)) if seen == digest => from_json(&answer).map(Some),
            Some(_) => Err(StoreError::KeyReused),
        }
    }

    async fn remember_answer(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
        answer: &Value,
    ) -> Stored<()> {
        let (owner, method, key) = (owner.clone(), method.to_owned(), key.clone());
        let (digest, answer) = (digest.to_owned(), answer.clone());
        self.flushed(move |tx| remember(tx, &owner, &method, &key, &digest, &answer))
            .await
    }

    /// Reads everything, so it has a thread and a connection of its own.
    async fn verify(&self) -> Stored<VerifyReport> {
        let path = self.path.clone();
        let (reply, answer) = futures::channel::oneshot::channel();
        let work = move || {
            let report = file::open_reader(&path)
                .map_err(Into::into)
                .and_then(|db| verify::verify(&db));
            // An error only says that nobody waits any more.
            drop(reply.send(report.map_err(crate::error::Fault::into_store)));
        };
        std::thread::Builder::new()
            .name(VERIFY_THREAD.to_owned())
            .spawn(work)
            .map_err(|error| StoreError::Failed {
                reason: "cannot start a thread".to_owned(),
                source: Some(Box::new(error)),
            })?;
        answer.await.map_err(|_canceled| StoreError::Failed {
            reason: "the check panicked".to_owned(),
            source: None,
        })?
    }

    async fn writable(&self) -> Stored<()> {
        let health = self.writer.health();
        let one = match health.look() {
            Look::Well => {
                let look =
                    |db: &Connection| db.one("select 1 from feed where id = 1", [], |_row| Ok(()));
                return self.read(look).await.map(|_found| ());
            }
            Look::Ill(why) => {
                return Err(StoreError::Degraded {
                    reason: why.to_owned(),
                });
            }
            Look::Try(one) => one,
        };
        // To and fro: a value that stays the same is not written at all.
        self.flushed(move |tx| {
            let _one = one;
            tx.exec("update feed set cursor = cursor + 1 where id = 1", [])?;
            tx.exec("update feed set cursor = cursor - 1 where id = 1", [])
        })
        .await?;
        health.heal();
        Ok(())
    }
}
