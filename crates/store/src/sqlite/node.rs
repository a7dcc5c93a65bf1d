//! Mailboxes of nodes: one row a request, with its answer.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde_json::json as object;

use adjutant_domain::device::{Device, NodeClaims};
use adjutant_domain::id::{DeviceId, InvokeId, OwnerId};
use adjutant_domain::node::{
    ANSWERS_KEPT, Invoke, InvokeAnswer, MAILBOX_BYTES_MAX, MAILBOX_ITEMS_MAX, OPEN_INVOKES_MAX,
};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{NewInvoke, NodeStore, Posted, StoreError, Stored};

use crate::error::Done;
use crate::sql::{Sql, col, from_json, json};
use crate::sqlite::{Sqlite, audit, device};
use crate::tx::Tx;

macro_rules! columns {
    () => {
        "id, owner, node, command, params, key, digest, asked_by, created_at, deadline_at, answer"
    };
}

fn invoke_of(row: &Row<'_>) -> rusqlite::Result<(Invoke, Option<String>)> {
    let invoke = Invoke {
        id: col::id(row, 0)?,
        owner: col::id(row, 1)?,
        node: col::id(row, 2)?,
        command: row.get(3)?,
        params: row.get(4)?,
        key: row.get(5)?,
        digest: row.get(6)?,
        asked_by: row.get(7)?,
        created_at: col::at(row, 8)?,
        deadline_at: col::at(row, 9)?,
        answer: None,
    };
    Ok((invoke, row.get(10)?))
}

fn whole((mut invoke, answer): (Invoke, Option<String>)) -> Done<Invoke> {
    invoke.answer = answer.as_deref().map(from_json).transpose()?;
    Ok(invoke)
}

fn load(db: &Connection, owner: &OwnerId, id: InvokeId) -> Done<Option<Invoke>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from node_invokes where id = ? and owner = ?"
        ),
        params![id.to_string(), owner.as_str()],
        invoke_of,
    )?
    .map(whole)
    .transpose()
}

fn by_key(db: &Connection, owner: &OwnerId, key: &str) -> Done<Option<Invoke>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from node_invokes where owner = ? and key = ?"
        ),
        params![owner.as_str(), key],
        invoke_of,
    )?
    .map(whole)
    .transpose()
}

fn open(db: &Connection, owner: &OwnerId, node: &DeviceId, now: Timestamp) -> Done<Vec<Invoke>> {
    db.all(
        concat!(
            "select ",
            columns!(),
            " from node_invokes where owner = ? and node = ? and answer is null and deadline_at > ? order by id"
        ),
        params![owner.as_str(), node.as_str(), now.as_millis()],
        invoke_of,
    )?
    .into_iter()
    .map(whole)
    .collect()
}

/// Forgets what is too old, and of this node what is too much; never what still waits.
fn forget(tx: &Tx<'_>, owner: &OwnerId, node: &DeviceId) -> Done<()> {
    let now = tx.now.as_millis();
    let kept = i64::try_from(ANSWERS_KEPT.as_millis()).unwrap_or(i64::MAX);
    tx.exec(
        "delete from node_invokes where owner = ? and created_at <= ? and deadline_at <= ?",
        params![owner.as_str(), now.saturating_sub(kept), now],
    )?;
    let bytes_max = i64::try_from(MAILBOX_BYTES_MAX).unwrap_or(i64::MAX);
    tx.exec(
        "delete from node_invokes where owner = ?1 and node = ?2 and (answer is not null or deadline_at <= ?3) and id in (
             select id from (
                 select id, row_number() over newest as place, sum(ifnull(length(answer), 0)) over newest as bytes
                   from node_invokes where owner = ?1 and node = ?2 window newest as (order by id desc))
              where place >= ?4 or bytes > ?5)",
        params![owner.as_str(), node.as_str(), now, MAILBOX_ITEMS_MAX, bytes_max],
    )?;
    Ok(())
}

fn post(tx: &Tx<'_>, new: &NewInvoke) -> Done<Posted> {
    if let Some(seen) = by_key(tx, &new.owner, &new.key)? {
        if seen.digest != new.digest {
            return Err(StoreError::KeyReused.into());
        }
        return Ok(Posted::Seen(seen));
    }
    forget(tx, &new.owner, &new.node)?;
    if open(tx, &new.owner, &new.node, tx.now)?.len() >= OPEN_INVOKES_MAX as usize {
        return Err(StoreError::Full {
            what: "the mailbox of the node",
            max: OPEN_INVOKES_MAX.into(),
        }
        .into());
    }
    let invoke = Invoke {
        owner: new.owner.clone(),
        id: InvokeId::mint(tx.now, tx.entropy.next_u128()),
        node: new.node.clone(),
        command: new.command.clone(),
        params: new.params.clone(),
        key: new.key.clone(),
        digest: new.digest.clone(),
        asked_by: new.asked_by.clone(),
        created_at: tx.now,
        deadline_at: new.deadline_at,
        answer: None,
    };
    tx.exec(
        concat!(
            "insert into node_invokes (",
            columns!(),
            ") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, null)"
        ),
        params![
            invoke.id.to_string(),
            invoke.owner.as_str(),
            invoke.node.as_str(),
            invoke.command,
            invoke.params,
            invoke.key,
            invoke.digest,
            invoke.asked_by,
            invoke.created_at.as_millis(),
            invoke.deadline_at.as_millis(),
        ],
    )?;
    Ok(Posted::New(invoke))
}

fn answer(
    tx: &Tx<'_>,
    owner: &OwnerId,
    node: &DeviceId,
    id: InvokeId,
    answer: InvokeAnswer,
) -> Done<Option<Invoke>> {
    let Some(mut invoke) = load(tx, owner, id)? else {
        return Ok(None);
    };
    if invoke.node != *node || !invoke.is_open(tx.now) {
        return Ok(None);
    }
    tx.exec(
        "update node_invokes set answer = ?, answered_at = ? where id = ?",
        params![json(&answer)?, tx.now.as_millis(), id.to_string()],
    )?;
    invoke.answer = Some(answer);
    Ok(Some(invoke))
}

fn approve(
    tx: &Tx<'_>,
    owner: &OwnerId,
    node: &DeviceId,
    claims: &NodeClaims,
    by: &str,
) -> Done<Device> {
    let mut device = device::must_exist(tx, owner, node)?;
    let detail = object!({ "caps": claims.caps, "commands": claims.commands });
    audit::add(tx, owner, by, "node.pair.approve", node.as_str(), &detail)?;
    device.claims = claims.for_record();
    device::save(tx, &device)?;
    Ok(device)
}

#[async_trait]
impl NodeStore for Sqlite {
    async fn post_invoke(&self, invoke: &NewInvoke) -> Stored<Posted> {
        let invoke = invoke.clone();
        self.flushed(move |tx| post(tx, &invoke)).await
    }

    async fn invoke_of_key(&self, owner: &OwnerId, key: &str) -> Stored<Option<Invoke>> {
        let (owner, key) = (owner.clone(), key.to_owned());
        self.read(move |db| by_key(db, &owner, &key)).await
    }

    async fn invoke(&self, owner: &OwnerId, id: InvokeId) -> Stored<Option<Invoke>> {
        let owner = owner.clone();
        self.read(move |db| load(db, &owner, id)).await
    }

    async fn open_invokes(&self, owner: &OwnerId, node: &DeviceId) -> Stored<Vec<Invoke>> {
        let (owner, node, now) = (owner.clone(), node.clone(), self.steady.wall());
        self.read(move |db| open(db, &owner, &node, now)).await
    }

    async fn answer_invoke(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        id: InvokeId,
        said: &InvokeAnswer,
    ) -> Stored<Option<Invoke>> {
        let (owner, node, said) = (owner.clone(), node.clone(), said.clone());
        self.flushed(move |tx| answer(tx, &owner, &node, id, said))
            .await
    }

    async fn approve_claims(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        claims: &NodeClaims,
        by: &str,
    ) -> Stored<Device> {
        let (owner, node, claims) = (owner.clone(), node.clone(), claims.clone());
        let by = by.to_owned();
        self.flushed(move |tx| approve(tx, &owner, &node, &claims, &by))
            .await
    }
}
