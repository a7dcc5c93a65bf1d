//! Questions, lasting answers, and the trait over them and the money.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use adjutant_domain::approval::{Approval, ApprovalState, Choice, Grant};
use adjutant_domain::id::{AgentId, ApprovalId, GrantId, OwnerId, RunId};
use adjutant_domain::run::Signal;
use adjutant_ports::store::{
    CapScope, GroupBy, PolicyStore, Rate, Spend, StoreError, Stored, Take,
};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::postgres::{Postgres, audit, money, signal};
use crate::sql::{json, word};

pub(crate) fn insert(tx: &mut Tx<'_>, question: &Approval) -> Done<()> {
    tx.later(
        "insert into approvals (id, owner, run, state, expires_at, body) values ($1, $2, $3, $4, $5, $6)",
        params![
            question.id,
            question.owner,
            question.run,
            word(&question.state)?,
            question.expires_at,
            json(question)?,
        ],
    );
    Ok(())
}

/// What the log says is what counts; an answer that came in through [`PolicyStore::resolve_approval`] is there already.
pub(crate) fn set_resolved(
    tx: &mut Tx<'_>,
    run: RunId,
    id: ApprovalId,
    state: ApprovalState,
    choice: &Choice,
    by: &str,
) -> Done<()> {
    tx.later(
        "update approvals set state = $1, choice = $2, by = $3 where id = $4 and run = $5",
        params![word(&state)?, json(choice)?, by, id, run],
    );
    Ok(())
}

/// Nobody needs to answer any more (R10).
pub(crate) fn lapse(tx: &mut Tx<'_>, run: RunId) {
    tx.later(
        "update approvals set state = 'cancelled' where run = $1 and state = 'open'",
        params![run],
    );
}

/// The columns of [`approval_of`], in its order.
macro_rules! columns {
    () => {
        "body, state, choice, by"
    };
}

fn approval_of(row: &Row) -> Done<Approval> {
    let question: Approval = row.json(0)?;
    Ok(Approval {
        state: row.word(1)?,
        choice: row.opt_json(2)?,
        answered_by: row.opt_text(3)?,
        ..question
    })
}

const BY_ID: &str = concat!(
    "select ",
    columns!(),
    " from approvals where id = $1 and owner = $2"
);

/// The guard is in the update: of two answers the second changes no row (S31). The run is locked before its question, as
/// everywhere.
async fn resolve(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: ApprovalId,
    choice: &Choice,
    by: &str,
) -> Done<Approval> {
    let state = if choice.allows() {
        ApprovalState::Allowed
    } else {
        ApprovalState::Denied
    };
    let now = tx.row_time();
    let found = tx
        .several(vec![
            (
                "select 1 from runs
                  where id = (select run from approvals where id = $1 and owner = $2)
                    for no key update",
                params![id, owner],
            ),
            (
                "update approvals
                    set state = $1, choice = $2, by = $3
                  where id = $4
                    and owner = $5
                    and state = 'open'
                    and expires_at > coalesce($6, clock_ms())
                 returning 1",
                params![word(&state)?, json(choice)?, by, id, owner, now],
            ),
            (BY_ID, params![id, owner]),
        ])
        .await?;
    let [_run, changed, question] = &found[..] else {
        return Err(StoreError::NotFound { what: "approval" }.into());
    };
    let question = question
        .first()
        .map(approval_of)
        .transpose()?
        .ok_or(StoreError::NotFound { what: "approval" })?;
    if changed.is_empty() {
        return Err(StoreError::Conflict {
            reason: too_late(&question).to_owned(),
        }
        .into());
    }
    let answer = Signal::Answer {
        approval: id,
        choice: choice.clone(),
        by: by.to_owned(),
    };
    signal::store(tx, owner, question.run, &answer).await?;
    let detail = serde_json::json!({
        "run": question.run, "call": question.call, "tool": question.tool, "digest": question.digest, "choice": choice,
    });
    audit::add(tx, owner, by, "approval.resolve", &id.to_string(), &detail).await?;
    Ok(question)
}

fn too_late(question: &Approval) -> &'static str {
    match question.state {
        ApprovalState::Allowed | ApprovalState::Denied => "this question was answered before",
        ApprovalState::Cancelled => "the run ended before the answer",
        // Open, and yet not updated: its time is over, and the run has not taken note.
        ApprovalState::Expired | ApprovalState::Open => "this question has expired",
    }
}

pub(crate) fn insert_grant(tx: &mut Tx<'_>, grant: &Grant) -> Done<()> {
    tx.later(
        "insert into grants (id, owner, agent, body) values ($1, $2, $3, $4) on conflict (id) do nothing",
        params![grant.id, grant.owner, grant.agent, json(grant)?],
    );
    Ok(())
}

/// What one token per minute gains in a minute: the unit of a bucket's level.
const UNITS_PER_TOKEN: u64 = 60_000;
/// Bounds that keep the arithmetic of the database away from its own.
const BURST_MAX: u64 = 1_000_000_000_000;
const PER_MINUTE_MAX: u64 = 1_000_000_000;
const ELAPSED_MAX_MS: i64 = 1_000_000_000;

async fn take(store: &Postgres, bucket: &str, amount: u64, rate: Rate) -> Stored<Take> {
    let full = rate.burst.min(BURST_MAX) * UNITS_PER_TOKEN;
    let per_minute = rate.per_minute.min(PER_MINUTE_MAX);
    let wanted = amount.saturating_mul(UNITS_PER_TOKEN);
    if wanted > full {
        return Ok(Take::Wait(Duration::from_millis(u64::MAX)));
    }
    // The level that would be there now is what is compared and what is told.
    let sql = "with w as (select coalesce($5, clock_ms()) as at),
         there as (
             select least($2, b.level + least(greatest(w.at - b.at, 0), $6) * $4) as level
               from buckets b, w where b.name = $1),
         taken as (
             insert into buckets as b (name, level, at) select $1, $2 - $3, w.at from w
             on conflict (name) do update
                set level = least($2, b.level + least(greatest(excluded.at - b.at, 0), $6) * $4) - $3, at = excluded.at
              where least($2, b.level + least(greatest(excluded.at - b.at, 0), $6) * $4) >= $3
             returning 1)
         select (select count(*) from taken), coalesce((select level from there), $2)";
    let rows = store
        .change(
            Who::Queue,
            Durability::Relaxed,
            sql,
            params![
                bucket,
                full,
                wanted,
                per_minute,
                store.inner.times().waits(),
                ELAPSED_MAX_MS
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Take::Wait(Duration::from_secs(1)));
    };
    if row.count(0).map_err(Fault::into_store)? > 0 {
        return Ok(Take::Taken);
    }
    // Somebody may have taken what was there when we looked: then the wait is short.
    let level = row.count(1).map_err(Fault::into_store)?;
    let missing = wanted.saturating_sub(level).max(1);
    let ms = if per_minute == 0 {
        u64::MAX
    } else {
        missing.div_ceil(per_minute)
    };
    Ok(Take::Wait(Duration::from_millis(ms)))
}

#[async_trait]
impl PolicyStore for Postgres {
    async fn approval(&self, owner: &OwnerId, id: ApprovalId) -> Stored<Option<Approval>> {
        let rows = self
            .read(Who::Owner(owner.clone()), BY_ID, params![id, owner])
            .await?;
        let approval = rows.first().map(approval_of).transpose();
        approval.map_err(Fault::into_store)
    }

    async fn approvals(
        &self,
        owner: &OwnerId,
        open_only: bool,
        limit: u32,
    ) -> Stored<Vec<Approval>> {
        let sql = concat!(
            "select ",
            columns!(),
            " from approvals where owner = $1 and (not $2 or state = 'open') order by id desc limit $3"
        );
        let rows = self
            .read(
                Who::Owner(owner.clone()),
                sql,
                params![owner, open_only, limit],
            )
            .await?;
        let approvals: Done<_> = rows.iter().map(approval_of).collect();
        approvals.map_err(Fault::into_store)
    }

    async fn resolve_approval(
        &self,
        owner: &OwnerId,
        id: ApprovalId,
        choice: Choice,
        by: &str,
    ) -> Stored<Approval> {
        let args = (owner.clone(), id, choice, by.to_owned());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, id, choice, by)| Box::pin(resolve(tx, owner, *id, choice, by)),
        )
        .await
    }

    async fn grants(&self, owner: &OwnerId, agent: Option<&AgentId>) -> Stored<Vec<Grant>> {
        let sql = "select body from grants where owner = $1 and ($2 is null or agent = $2) order by id desc";
        let rows = self
            .read(Who::Owner(owner.clone()), sql, params![owner, agent])
            .await?;
        let grants: Done<_> = rows.iter().map(|row| row.json(0)).collect();
        grants.map_err(Fault::into_store)
    }

    async fn put_grant(&self, grant: Grant) -> Stored<()> {
        let who = Who::Owner(grant.owner.clone());
        self.write(who, grant, |tx, grant| {
            Box::pin(async move { insert_grant(tx, grant) })
        })
        .await
    }

    async fn revoke_grant(&self, owner: &OwnerId, id: GrantId) -> Stored<bool> {
        let rows = self
            .change(
                Who::Owner(owner.clone()),
                Durability::Flushed,
                "delete from grants where id = $1 and owner = $2 returning 1",
                params![id, owner],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    async fn spend(&self, owner: &OwnerId, scope: &CapScope) -> Stored<Spend> {
        money::spend(self, owner, scope).await
    }

    async fn costs(
        &self,
        owner: &OwnerId,
        by: GroupBy,
        from: &str,
        to: &str,
    ) -> Stored<Vec<(String, Spend)>> {
        money::costs(self, owner, by, from, to).await
    }

    async fn take(&self, bucket: &str, amount: u64, rate: Rate) -> Stored<Take> {
        take(self, bucket, amount, rate).await
    }
}
