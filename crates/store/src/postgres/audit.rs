//! The audit chain and remembered answers.

use async_trait::async_trait;
use serde_json::Value;
use tokio_postgres::Row;

use adjutant_domain::id::{ClientKey, OwnerId};
use adjutant_ports::store::{AuditRecord, AuditStore, StoreError, Stored, VerifyReport};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::postgres::{Postgres, verify};
use crate::sql::json;
use crate::sqlite::audit::Line;

/// Adds a record to the chain. Its end is locked until the commit, so that each follows the one before.
pub(crate) async fn add(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    by: &str,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Done<u64> {
    let end = tx
        .one(
            "update audit_end set seq = seq + 1 where id = 1 returning seq, hash",
            vec![],
        )
        .await?
        .ok_or_else(|| Fault::Unreadable("the audit chain has no end".to_owned()))?;
    let (seq, before) = (end.count(0)?, end.text(1)?);
    // The hash is over what is kept, and a text column keeps no NUL.
    let detail = json(detail)?;
    let kept = |text: &str| text.replace('\0', "\u{fffd}");
    let (by, action, subject) = (kept(by), kept(action), kept(subject));
    let at = tx.now().await?;
    let line = Line {
        seq,
        at,
        owner: owner.as_str(),
        by: &by,
        action: &action,
        subject: &subject,
        detail: &detail,
    };
    let hash = line.hash(&before);
    tx.later(
        "insert into audit (seq, at, owner, by, action, subject, detail, hash) values ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![seq, at, owner, by, action, subject, detail, hash],
    );
    tx.later("update audit_end set hash = $1 where id = 1", params![hash]);
    Ok(seq)
}

fn record_of(row: &Row) -> Done<AuditRecord> {
    Ok(AuditRecord {
        seq: row.count(0)?,
        at: row.at(1)?,
        owner: row.id(2)?,
        by: row.text(3)?,
        action: row.text(4)?,
        subject: row.text(5)?,
        detail: row.json(6)?,
        hash: row.text(7)?,
    })
}

#[async_trait]
impl AuditStore for Postgres {
    async fn audit(
        &self,
        owner: &OwnerId,
        by: &str,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Stored<u64> {
        let args = (
            owner.clone(),
            by.to_owned(),
            action.to_owned(),
            subject.to_owned(),
            detail,
        );
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, by, action, subject, detail)| {
                Box::pin(add(tx, owner, by, action, subject, detail))
            },
        )
        .await
    }

    async fn audit_records(&self, owner: &OwnerId, limit: u32) -> Stored<Vec<AuditRecord>> {
        let sql = "select seq, at, owner, by, action, subject, detail, hash from audit
                    where owner = $1
                    order by seq desc
                    limit $2";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, limit])
            .await?;
        let records: Done<_> = rows.iter().map(record_of).collect();
        records.map_err(Fault::into_store)
    }

    async fn answered(
        &self,
        owner: &OwnerId,
        method: &str,
        key: &ClientKey,
        digest: &str,
    ) -> Stored<Option<Value>> {
        let sql =
            "select digest, answer from answers where owner = $1 and method = $2 and key = $3";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, method, key])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        if row.text(0).map_err(Fault::into_store)? == digest {
            row.json(1).map(Some).map_err(Fault::into_store)
        } else {
            Err(StoreError::KeyReused)
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
        let at = self.inner.times().rows();
        self.change(
            Who::Owner(owner.clone()),
            Durability::Flushed,
            "insert into answers (owner, method, key, digest, answer, at)
             values ($1, $2, $3, $4, $5, coalesce($6, clock_ms()))
             on conflict do nothing",
            params![owner, method, key, digest, json(answer)?, at],
        )
        .await
        .map(drop)
    }

    async fn verify(&self) -> Stored<VerifyReport> {
        let inner = std::sync::Arc::clone(&self.inner);
        self.spawned(async move { verify::verify(&inner).await.map_err(Fault::into_store) })
            .await
    }

    async fn writable(&self) -> Stored<()> {
        let sql = "select 1
                    where not pg_is_in_recovery() and not current_setting('default_transaction_read_only')::bool";
        let rows = self.read(Who::Queue, sql, params![]).await?;
        if rows.is_empty() {
            return Err(StoreError::Degraded {
                reason: "the database is read-only".to_owned(),
            });
        }
        Ok(())
    }
}
