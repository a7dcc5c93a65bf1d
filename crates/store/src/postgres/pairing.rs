//! Requests of devices to be let in: bounded, short-lived, answered once.

use std::collections::BTreeSet;

use serde_json::json as object;
use tokio_postgres::Row;

use adjutant_domain::device::{
    Device, Grant, NewToken, PAIRING_LIFE, PAIRING_TRIES_MAX, PAIRINGS_MAX,
    PAIRINGS_PER_SOURCE_MAX, PairingAsk, PairingReason, PairingRequest, PairingState,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_ports::store::{Approver, Asked, StoreError};

use crate::postgres::audit;
use crate::postgres::device::{admit, conflict};
use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::Tx;
use crate::sql::{json, word};

macro_rules! columns {
    () => {
        "id, owner, ask, reason, state, tries::bigint, created_at, expires_at"
    };
}

fn request_of(row: &Row) -> Done<PairingRequest> {
    Ok(PairingRequest {
        id: row.id(0)?,
        owner: row.id(1)?,
        ask: row.json(2)?,
        reason: row.word(3)?,
        state: row.word(4)?,
        tries: u32::try_from(row.int(5)?).map_err(|error| Fault::unreadable(5, &error))?,
        created_at: row.at(6)?,
        expires_at: row.at(7)?,
    })
}

/// Decisions about one owner's devices are made one after another: they are rare, and their bounds are counts.
pub(crate) fn one_at_a_time(tx: &mut Tx<'_>, owner: &OwnerId) {
    tx.later(
        "select pg_advisory_xact_lock(hashtextextended($1, 4164067476))",
        params![owner],
    );
}

pub(crate) async fn load(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: PairingId,
) -> Done<Option<PairingRequest>> {
    let sql = concat!(
        "select ",
        columns!(),
        " from pairings where id = $1 and owner = $2"
    );
    let row = tx.one(sql, params![id, owner]).await?;
    row.as_ref().map(request_of).transpose()
}

pub(crate) async fn open(tx: &mut Tx<'_>, owner: &OwnerId) -> Done<Vec<PairingRequest>> {
    let now = tx.row_time();
    let sql = concat!(
        "select ",
        columns!(),
        " from pairings where owner = $1 and expires_at > coalesce($2, clock_ms()) and state = 'open' order by id"
    );
    let rows = tx.rows(sql, params![owner, now]).await?;
    rows.iter().map(request_of).collect()
}

/// How many requests count against a bound; approved ones do not.
async fn counted(tx: &mut Tx<'_>, owner: &OwnerId, source: Option<&str>) -> Done<u64> {
    let now = tx.row_time();
    let row = tx
        .one(
            "select count(*) from pairings
              where owner = $1 and expires_at > coalesce($2, clock_ms()) and state <> 'approved'
                and ($3 is null or source = $3)",
            params![owner, now, source],
        )
        .await?;
    row.map_or(Ok(0), |row| row.count(0))
}

pub(crate) async fn file(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    ask: &PairingAsk,
    reason: PairingReason,
) -> Done<Asked> {
    one_at_a_time(tx, owner);
    let now = tx.row_time();
    tx.later(
        "delete from pairings where owner = $1 and expires_at <= coalesce($2, clock_ms())",
        params![owner, now],
    );
    let older = open(tx, owner)
        .await?
        .into_iter()
        .find(|request| request.ask.device == ask.device);
    if let Some(older) = &older
        && older.asks_the_same(ask, reason)
    {
        return Ok(Asked::Again(older.clone()));
    }
    let bounds = [
        (
            Some(ask.source.as_str()),
            PAIRINGS_PER_SOURCE_MAX,
            "the list of pairing requests from there",
        ),
        (None, PAIRINGS_MAX, "the list of pairing requests"),
    ];
    for (source, max, what) in bounds {
        if counted(tx, owner, source).await? >= u64::from(max) {
            return Err(StoreError::Full {
                what,
                max: max.into(),
            }
            .into());
        }
    }
    if let Some(older) = older {
        set_state(tx, older.id, PairingState::Superseded)?;
    }
    let at = tx.now().await?;
    let request = PairingRequest {
        owner: owner.clone(),
        id: PairingId::mint(at, tx.entropy()),
        ask: ask.clone(),
        reason,
        state: PairingState::Open,
        tries: 0,
        created_at: at,
        expires_at: at.plus(PAIRING_LIFE),
    };
    tx.later(
        "insert into pairings (id, owner, device, source, reason, state, tries, ask, created_at, expires_at)
         values ($1, $2, $3, $4, $5, 'open', 0, $6, $7, $8)",
        params![
            request.id,
            owner,
            ask.device,
            ask.source,
            word(&reason)?,
            json(ask)?,
            request.created_at,
            request.expires_at,
        ],
    );
    Ok(Asked::New(request))
}

fn set_state(tx: &mut Tx<'_>, id: PairingId, state: PairingState) -> Done<()> {
    tx.later(
        "update pairings set state = $1 where id = $2",
        params![word(&state)?, id],
    );
    Ok(())
}

async fn must_be_open(tx: &mut Tx<'_>, owner: &OwnerId, id: PairingId) -> Done<PairingRequest> {
    one_at_a_time(tx, owner);
    let Some(request) = load(tx, owner, id).await? else {
        return Err(StoreError::NotFound {
            what: "pairing request",
        }
        .into());
    };
    if request.is_open(tx.now().await?) {
        return Ok(request);
    }
    Err(conflict(match request.state {
        PairingState::Open => "the pairing request has lapsed; let the device ask again",
        PairingState::Approved => "the pairing request was approved before",
        PairingState::Rejected => "the pairing request was rejected before",
        PairingState::Superseded => "the device has asked for something else since",
        PairingState::Spent => "too many wrong codes; let the device ask again",
    }))
}

pub(crate) async fn approve(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: PairingId,
    approver: Approver<'_>,
    token: &NewToken,
) -> Done<Device> {
    let request = must_be_open(tx, owner, id).await?;
    set_state(tx, id, PairingState::Approved)?;
    let grant = Grant {
        owner,
        roles: &BTreeSet::from([request.ask.role]),
        scopes: request.ask.scopes,
        by: approver.by,
        via: approver.via,
        at: tx.now().await?,
    };
    admit(tx, &request.ask, grant, std::slice::from_ref(token)).await
}

pub(crate) async fn reject(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: PairingId,
    by: &str,
) -> Done<PairingRequest> {
    let mut request = must_be_open(tx, owner, id).await?;
    let detail = object!({ "request": id, "role": request.ask.role, "scopes": request.ask.scopes });
    let device = request.ask.device.as_str();
    audit::add(tx, owner, by, "device.pair.reject", device, &detail).await?;
    set_state(tx, id, PairingState::Rejected)?;
    request.state = PairingState::Rejected;
    Ok(request)
}

pub(crate) async fn wrong_code(tx: &mut Tx<'_>, owner: &OwnerId) -> Done<u64> {
    one_at_a_time(tx, owner);
    let now = tx.row_time();
    tx.later(
        "update pairings
            set tries = tries + 1, state = case when tries + 1 >= $1 then 'spent' else state end
          where owner = $2 and expires_at > coalesce($3, clock_ms()) and state = 'open'",
        params![PAIRING_TRIES_MAX, owner, now],
    );
    Ok(open(tx, owner).await?.len() as u64)
}

/// The device was let in by another way: what it asked before needs no answer.
pub(crate) async fn answered_otherwise(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    device: &DeviceId,
) -> Done<()> {
    one_at_a_time(tx, owner);
    let now = tx.row_time();
    tx.later(
        "update pairings set state = 'superseded'
          where owner = $1 and device = $2 and expires_at > coalesce($3, clock_ms()) and state = 'open'",
        params![owner, device, now],
    );
    Ok(())
}
