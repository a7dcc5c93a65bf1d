//! Mailboxes of nodes: one row a request, with its answer.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json as object;
use tokio_postgres::Row;

use adjutant_domain::device::{Device, NodeClaims};
use adjutant_domain::id::{DeviceId, InvokeId, OwnerId};
use adjutant_domain::node::{
    ANSWERS_KEPT, Invoke, InvokeAnswer, MAILBOX_BYTES_MAX, MAILBOX_ITEMS_MAX, OPEN_INVOKES_MAX,
};
use adjutant_ports::store::{NewInvoke, NodeStore, Posted, StoreError, Stored};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Tx, Who, millis};
use crate::postgres::{Postgres, audit, device};
use crate::sql::json;

macro_rules! columns {
    () => {
        "id, owner, node, command, params, key, digest, asked_by, created_at, deadline_at, answer"
    };
}

fn invoke_of(row: &Row) -> Done<Invoke> {
    Ok(Invoke {
        id: row.id(0)?,
        owner: row.id(1)?,
        node: row.id(2)?,
        command: row.text(3)?,
        params: row.opt_text(4)?,
        key: row.text(5)?,
        digest: row.text(6)?,
        asked_by: row.text(7)?,
        created_at: row.at(8)?,
        deadline_at: row.at(9)?,
        answer: row.opt_json(10)?,
    })
}

const BY_ID: &str = concat!(
    "select ",
    columns!(),
    " from node_invokes where id = $1 and owner = $2"
);
const BY_KEY: &str = concat!(
    "select ",
    columns!(),
    " from node_invokes where owner = $1 and key = $2"
);
const OPEN: &str = concat!(
    "select ",
    columns!(),
    " from node_invokes where owner = $1 and node = $2 and answer is null and deadline_at > coalesce($3, clock_ms())
       order by id"
);

/// Forgets what is too old, and of this node what is too much; never what still waits.
fn forget(tx: &mut Tx<'_>, owner: &OwnerId, node: &DeviceId) {
    let kept: Duration = ANSWERS_KEPT;
    let now = tx.row_time();
    tx.later(
        "delete from node_invokes
          where owner = $1 and created_at <= coalesce($2, clock_ms()) - $3 and deadline_at <= coalesce($2, clock_ms())",
        params![owner, now, millis(kept)],
    );
    tx.later(
        "delete from node_invokes
          where owner = $1 and (answer is not null or deadline_at <= coalesce($3, clock_ms())) and id = any (array(
             select id from (
                 select id, row_number() over newest as place,
                        sum(coalesce(octet_length(answer), 0)) over newest as bytes
                   from node_invokes where owner = $1 and node = $2 window newest as (order by id desc)) counted
              where place >= $4 or bytes > $5))",
        params![owner, node, now, MAILBOX_ITEMS_MAX, MAILBOX_BYTES_MAX],
    );
}

async fn post(tx: &mut Tx<'_>, new: &NewInvoke) -> Done<Posted> {
    // Whoever posts for the same node waits here, so that the mailbox is counted one after another.
    tx.later(
        "select pg_advisory_xact_lock(hashtextextended($1, 4164067477))",
        params![format!("{} {}", new.owner, new.node)],
    );
    if let Some(row) = tx.one(BY_KEY, params![new.owner, new.key]).await? {
        let seen = invoke_of(&row)?;
        if seen.digest != new.digest {
            return Err(StoreError::KeyReused.into());
        }
        return Ok(Posted::Seen(seen));
    }
    forget(tx, &new.owner, &new.node);
    let now = tx.row_time();
    let open = tx.rows(OPEN, params![new.owner, new.node, now]).await?;
    if open.len() >= OPEN_INVOKES_MAX as usize {
        return Err(StoreError::Full {
            what: "the mailbox of the node",
            max: OPEN_INVOKES_MAX.into(),
        }
        .into());
    }
    let at = tx.now().await?;
    let invoke = Invoke {
        owner: new.owner.clone(),
        id: InvokeId::mint(at, tx.entropy()),
        node: new.node.clone(),
        command: new.command.clone(),
        params: new.params.clone(),
        key: new.key.clone(),
        digest: new.digest.clone(),
        asked_by: new.asked_by.clone(),
        created_at: at,
        deadline_at: new.deadline_at,
        answer: None,
    };
    tx.later(
        concat!(
            "insert into node_invokes (",
            columns!(),
            ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null)"
        ),
        params![
            invoke.id,
            invoke.owner,
            invoke.node,
            invoke.command,
            invoke.params,
            invoke.key,
            invoke.digest,
            invoke.asked_by,
            invoke.created_at,
            invoke.deadline_at,
        ],
    );
    Ok(Posted::New(invoke))
}

/// The guard is in the update: of two answers the second changes nothing.
async fn answer(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    node: &DeviceId,
    id: InvokeId,
    answer: &InvokeAnswer,
) -> Done<Option<Invoke>> {
    let now = tx.row_time();
    let row = tx
        .one(
            concat!(
                "update node_invokes set answer = $1, answered_at = coalesce($2, clock_ms())
                  where id = $3 and owner = $4 and node = $5 and answer is null
                    and deadline_at > coalesce($2, clock_ms())
                 returning ",
                columns!()
            ),
            params![json(answer)?, now, id, owner, node],
        )
        .await?;
    row.as_ref().map(invoke_of).transpose()
}

async fn approve(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    node: &DeviceId,
    claims: &NodeClaims,
    by: &str,
) -> Done<Device> {
    let mut device = device::must_exist(tx, owner, node).await?;
    let detail = object!({ "caps": claims.caps, "commands": claims.commands });
    audit::add(tx, owner, by, "node.pair.approve", node.as_str(), &detail).await?;
    device.claims = claims.for_record();
    device::save(tx, &device)?;
    Ok(device)
}

fn all(rows: &[Row]) -> Stored<Vec<Invoke>> {
    let invokes: Done<_> = rows.iter().map(invoke_of).collect();
    invokes.map_err(Fault::into_store)
}

#[async_trait]
impl NodeStore for Postgres {
    async fn post_invoke(&self, invoke: &NewInvoke) -> Stored<Posted> {
        let who = Who::Owner(invoke.owner.clone());
        self.write(who, invoke.clone(), |tx, invoke| Box::pin(post(tx, invoke)))
            .await
    }

    async fn invoke_of_key(&self, owner: &OwnerId, key: &str) -> Stored<Option<Invoke>> {
        let rows = self
            .read(Who::Owner(owner.clone()), BY_KEY, params![owner, key])
            .await?;
        Ok(all(&rows)?.pop())
    }

    async fn invoke(&self, owner: &OwnerId, id: InvokeId) -> Stored<Option<Invoke>> {
        let rows = self
            .read(Who::Owner(owner.clone()), BY_ID, params![id, owner])
            .await?;
        Ok(all(&rows)?.pop())
    }

    async fn open_invokes(&self, owner: &OwnerId, node: &DeviceId) -> Stored<Vec<Invoke>> {
        let now = self.inner.times().rows();
        let rows = self
            .read(Who::Owner(owner.clone()), OPEN, params![owner, node, now])
            .await?;
        all(&rows)
    }

    async fn answer_invoke(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        id: InvokeId,
        said: &InvokeAnswer,
    ) -> Stored<Option<Invoke>> {
        let args = (owner.clone(), node.clone(), id, said.clone());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, node, id, said)| Box::pin(answer(tx, owner, node, *id, said)),
        )
        .await
    }

    async fn approve_claims(
        &self,
        owner: &OwnerId,
        node: &DeviceId,
        claims: &NodeClaims,
        by: &str,
    ) -> Stored<Device> {
        let args = (owner.clone(), node.clone(), claims.clone(), by.to_owned());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, node, claims, by)| Box::pin(approve(tx, owner, node, claims, by)),
        )
        .await
    }
}
