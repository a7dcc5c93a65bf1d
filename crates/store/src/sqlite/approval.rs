//! Questions, lasting answers, and the trait over them and the money.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use adjutant_domain::approval::{Approval, ApprovalState, Choice, Grant};
use adjutant_domain::id::{AgentId, ApprovalId, GrantId, OwnerId, RunId};
use adjutant_domain::run::Signal;
use adjutant_ports::store::{
    CapScope, GroupBy, PolicyStore, Rate, Spend, StoreError, Stored, Take,
};

use crate::error::Done;
use crate::sql::{Sql, col, json, word};
use crate::sqlite::{Sqlite, audit, money, signal};
use crate::tx::Tx;

pub(crate) fn insert(tx: &Tx<'_>, question: &Approval) -> Done<()> {
    tx.exec(
        "insert into approvals (id, owner, run, state, expires_at, body) values (?, ?, ?, ?, ?, ?)",
        params![
            question.id.to_string(),
            question.owner.as_str(),
            question.run.to_string(),
            word(&question.state)?,
            question.expires_at.as_millis(),
            json(question)?,
        ],
    )?;
    Ok(())
}

/// What the log says is what counts; an answer that came in through [`PolicyStore::resolve_approval`] is there already.
pub(crate) fn set_resolved(
    tx: &Tx<'_>,
    run: RunId,
    id: ApprovalId,
    state: ApprovalState,
    choice: &Choice,
    by: &str,
) -> Done<()> {
    tx.exec(
        "update approvals set state = ?, choice = ?, by = ? where id = ? and run = ?",
        params![
            word(&state)?,
            json(choice)?,
            by,
            id.to_string(),
            run.to_string()
        ],
    )?;
    Ok(())
}

/// Nobody needs to answer any more (R10).
pub(crate) fn lapse(tx: &Tx<'_>, run: RunId) -> Done<()> {
    tx.exec(
        "update approvals set state = 'cancelled' where run = ? and state = 'open'",
        [run.to_string()],
    )?;
    Ok(())
}

/// The columns of [`approval_of`], in its order.
macro_rules! columns {
    () => {
        "body, state, choice, by"
    };
}

pub(crate) fn approval_of(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let question: Approval = col::json(row, 0)?;
    Ok(Approval {
        state: col::word(row, 1)?,
        choice: col::opt_json(row, 2)?,
        answered_by: row.get(3)?,
        ..question
    })
}

fn approval(db: &Connection, owner: &OwnerId, id: ApprovalId) -> Done<Option<Approval>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from approvals where id = ? and owner = ?"
        ),
        params![id.to_string(), owner.as_str()],
        approval_of,
    )
}

/// The guard is in the update: of two answers the second changes no row (S31).
fn resolve(
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
    let n = tx.exec(
        "update approvals
            set state = ?, choice = ?, by = ?
          where id = ?
            and owner = ?
            and state = 'open'
            and expires_at > ?",
        params![
            word(&state)?,
            json(choice)?,
            by,
            id.to_string(),
            owner.as_str(),
            tx.now.as_millis()
        ],
    )?;
    let question = approval(tx, owner, id)?.ok_or(StoreError::NotFound { what: "approval" })?;
    if n == 0 {
        return Err(StoreError::Conflict {
            reason: too_late(&question).to_owned(),
        }
        .into());
    }
    let detail = serde_json::json!({
        "run": question.run, "call": question.call, "tool": question.tool, "digest": question.digest, "choice": choice,
    });
    audit::add(tx, owner, by, "approval.resolve", &id.to_string(), &detail)?;
    let answer = Signal::Answer {
        approval: id,
        choice: choice.clone(),
        by: by.to_owned(),
    };
    signal::store(tx, question.run, &answer)?;
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

pub(crate) fn insert_grant(tx: &Tx<'_>, grant: &Grant) -> Done<()> {
    tx.exec(
        "insert into grants (id, owner, agent, body) values (?, ?, ?, ?)
         on conflict (id) do nothing",
        params![
            grant.id.to_string(),
            grant.owner.as_str(),
            grant.agent.as_str(),
            json(grant)?
        ],
    )?;
    Ok(())
}

#[async_trait]
impl PolicyStore for Sqlite {
    async fn approval(&self, owner: &OwnerId, id: ApprovalId) -> Stored<Option<Approval>> {
        let owner = owner.clone();
        self.glance(move |db| approval(db, &owner, id)).await
    }

    async fn approvals(
        &self,
        owner: &OwnerId,
        open_only: bool,
        limit: u32,
    ) -> Stored<Vec<Approval>> {
        let owner = owner.clone();
        let sql = if open_only {
            concat!(
                "select ",
                columns!(),
                " from approvals where owner = ? and state = 'open' order by id desc limit ?"
            )
        } else {
            concat!(
                "select ",
                columns!(),
                " from approvals where owner = ? order by id desc limit ?"
            )
        };
        self.read(move |db| db.all(sql, params![owner.as_str(), limit], approval_of))
            .await
    }

    async fn resolve_approval(
        &self,
        owner: &OwnerId,
        id: ApprovalId,
        choice: Choice,
        by: &str,
    ) -> Stored<Approval> {
        let (owner, by) = (owner.clone(), by.to_owned());
        self.flushed(move |tx| resolve(tx, &owner, id, &choice, &by))
            .await
    }

    async fn grants(&self, owner: &OwnerId, agent: Option<&AgentId>) -> Stored<Vec<Grant>> {
        let (owner, agent) = (owner.clone(), agent.map(|agent| agent.as_str().to_owned()));
        self.read(move |db| {
            db.all(
                "select body from grants where owner = ?1 and (?2 is null or agent = ?2) order by id desc",
                params![owner.as_str(), agent],
                |row| col::json(row, 0),
            )
        })
        .await
    }

    async fn put_grant(&self, grant: Grant) -> Stored<()> {
        self.flushed(move |tx| insert_grant(tx, &grant)).await
    }

    async fn revoke_grant(&self, owner: &OwnerId, id: GrantId) -> Stored<bool> {
        let owner = owner.clone();
        self.flushed(move |tx| {
            let n = tx.exec(
                "delete from grants where id = ? and owner = ?",
                params![id.to_string(), owner.as_str()],
            )?;
            Ok(n == 1)
        })
        .await
    }

    async fn spend(&self, owner: &OwnerId, scope: &CapScope) -> Stored<Spend> {
        let (owner, scope) = (owner.clone(), scope.clone());
        self.glance(move |db| money::spend(db, &owner, &scope))
            .await
    }

    async fn costs(
        &self,
        owner: &OwnerId,
        by: GroupBy,
        from: &str,
        to: &str,
    ) -> Stored<Vec<(String, Spend)>> {
        let (owner, from, to) = (owner.clone(), from.to_owned(), to.to_owned());
        self.read(move |db| money::costs(db, &owner, by, &from, &to))
            .await
    }

    async fn take(&self, bucket: &str, amount: u64, rate: Rate) -> Stored<Take> {
        Ok(self.buckets.take(bucket, amount, rate, self.steady.now()))
    }
}
