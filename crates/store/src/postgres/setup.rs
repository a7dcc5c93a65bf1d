//! Setup codes: made by an operator, used once.

use serde_json::json as object;
use tokio_postgres::Row;

use adjutant_domain::device::{ApprovedVia, Device, Grant, NewToken, PairingAsk, SetupCode};
use adjutant_domain::id::OwnerId;
use adjutant_ports::store::{SETUP_CODES_MAX, StoreError};

use crate::postgres::error::Done;
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::Tx;
use crate::postgres::{audit, device, pairing};
use crate::sql::json;

macro_rules! columns {
    () => {
        "owner, digest, roles, scopes, made_by, expires_at"
    };
}

fn code_of(row: &Row) -> Done<SetupCode> {
    Ok(SetupCode {
        owner: row.id(0)?,
        digest: row.text(1)?,
        roles: row.json(2)?,
        scopes: row.json(3)?,
        made_by: row.text(4)?,
        expires_at: row.at(5)?,
    })
}

/// A code that can still be used.
pub(crate) async fn usable(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    digest: &str,
) -> Done<Option<SetupCode>> {
    let now = tx.row_time();
    let sql = concat!(
        "select ",
        columns!(),
        " from setup_codes where owner = $1 and digest = $2 and expires_at > coalesce($3, clock_ms())"
    );
    let row = tx.one(sql, params![owner, digest, now]).await?;
    row.as_ref().map(code_of).transpose()
}

pub(crate) async fn put(tx: &mut Tx<'_>, code: &SetupCode) -> Done<()> {
    let owner = &code.owner;
    pairing::one_at_a_time(tx, owner);
    let now = tx.row_time();
    tx.later(
        "delete from setup_codes where owner = $1 and expires_at <= coalesce($2, clock_ms())",
        params![owner, now],
    );
    let n = tx
        .one(
            "select count(*) from setup_codes where owner = $1",
            params![owner],
        )
        .await?
        .map_or(Ok(0), |row| row.count(0))?;
    if n >= u64::from(SETUP_CODES_MAX) {
        return Err(StoreError::Full {
            what: "the list of setup codes",
            max: SETUP_CODES_MAX.into(),
        }
        .into());
    }
    let detail =
        object!({ "roles": code.roles, "scopes": code.scopes, "expiresAt": code.expires_at });
    audit::add(tx, owner, &code.made_by, "device.setup.make", "", &detail).await?;
    tx.later(
        concat!(
            "insert into setup_codes (",
            columns!(),
            ") values ($1, $2, $3, $4, $5, $6)"
        ),
        params![
            owner,
            code.digest,
            json(&code.roles)?,
            json(&code.scopes)?,
            code.made_by,
            code.expires_at
        ],
    );
    Ok(())
}

/// Uses a code. It is taken out by the statement that reads it, so of two at once one finds nothing.
pub(crate) async fn redeem(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    digest: &str,
    ask: &PairingAsk,
    tokens: &[NewToken],
) -> Done<Device> {
    pairing::one_at_a_time(tx, owner);
    let now = tx.row_time();
    let sql = concat!(
        "delete from setup_codes where owner = $1 and digest = $2 and expires_at > coalesce($3, clock_ms()) returning ",
        columns!()
    );
    let row = tx.one(sql, params![owner, digest, now]).await?;
    let code = row
        .as_ref()
        .map(code_of)
        .transpose()?
        .ok_or(StoreError::NotFound { what: "setup code" })?;
    let grant = Grant {
        owner,
        roles: &code.roles,
        scopes: code.scopes,
        by: &code.made_by,
        via: ApprovedVia::SetupCode,
        at: tx.now().await?,
    };
    pairing::answered_otherwise(tx, owner, &ask.device).await?;
    device::admit(tx, ask, grant, tokens).await
}
