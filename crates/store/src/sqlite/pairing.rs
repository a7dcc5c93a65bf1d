//! Requests of devices to be let in: bounded, short-lived, answered once.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};
use serde_json::json as object;

use adjutant_domain::device::{
    Device, Grant, NewToken, PAIRING_LIFE, PAIRING_TRIES_MAX, PAIRINGS_MAX,
    PAIRINGS_PER_SOURCE_MAX, PairingAsk, PairingReason, PairingRequest, PairingState,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Approver, Asked, StoreError};

use crate::error::Done;
use crate::sql::{Sql, col, json};
use crate::sqlite::audit;
use crate::sqlite::device::{admit, conflict};
use crate::tx::Tx;

macro_rules! columns {
    () => {
        "id, owner, ask, reason, state, tries, created_at, expires_at"
    };
}

fn request_of(row: &Row<'_>) -> rusqlite::Result<PairingRequest> {
    Ok(PairingRequest {
        id: col::id(row, 0)?,
        owner: col::id(row, 1)?,
        ask: col::json(row, 2)?,
        reason: col::word(row, 3)?,
        state: col::word(row, 4)?,
        tries: row.get(5)?,
        created_at: col::at(row, 6)?,
        expires_at: col::at(row, 7)?,
    })
}

pub(crate) fn load(
    db: &Connection,
    owner: &OwnerId,
    id: PairingId,
) -> Done<Option<PairingRequest>> {
    db.one(
        concat!(
            "select ",
            columns!(),
            " from pairings where id = ? and owner = ?"
        ),
        params![id.to_string(), owner.as_str()],
        request_of,
    )
}

pub(crate) fn open(db: &Connection, owner: &OwnerId, now: Timestamp) -> Done<Vec<PairingRequest>> {
    db.all(
        concat!(
            "select ",
            columns!(),
            " from pairings where owner = ? and expires_at > ? and state = 'open' order by id"
        ),
        params![owner.as_str(), now.as_millis()],
        request_of,
    )
}

/// How many requests count against a bound; approved ones do not.
fn counted(tx: &Tx<'_>, owner: &OwnerId, source: Option<&str>) -> Done<u32> {
    let n = tx.one(
        "select count(*) from pairings
          where owner = ?1 and expires_at > ?2 and state <> 'approved' and (?3 is null or source = ?3)",
        params![owner.as_str(), tx.now.as_millis(), source],
        |row| row.get(0),
    )?;
    Ok(n.unwrap_or_default())
}

pub(crate) fn file(
    tx: &Tx<'_>,
    owner: &OwnerId,
    ask: &PairingAsk,
    reason: PairingReason,
) -> Done<Asked> {
    tx.exec(
        "delete from pairings where owner = ? and expires_at <= ?",
        params![owner.as_str(), tx.now.as_millis()],
    )?;
    let older = open(tx, owner, tx.now)?
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
        if counted(tx, owner, source)? >= max {
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
    let request = PairingRequest {
        owner: owner.clone(),
        id: PairingId::mint(tx.now, tx.entropy.next_u128()),
        ask: ask.clone(),
        reason,
        state: PairingState::Open,
        tries: 0,
        created_at: tx.now,
        expires_at: tx.now.plus(PAIRING_LIFE),
    };
    tx.exec(
        "insert into pairings (id, owner, device, source, reason, state, tries, ask, created_at, expires_at)
         values (?, ?, ?, ?, ?, 'open', 0, ?, ?, ?)",
        params![
            request.id.to_string(),
            owner.as_str(),
            ask.device.as_str(),
            ask.source,
            crate::sql::word(&reason)?,
            json(ask)?,
            request.created_at.as_millis(),
            request.expires_at.as_millis(),
        ],
    )?;
    Ok(Asked::New(request))
}

fn set_state(tx: &Tx<'_>, id: PairingId, state: PairingState) -> Done<()> {
    tx.exec(
        "update pairings set state = ? where id = ?",
        params![crate::sql::word(&state)?, id.to_string()],
    )?;
    Ok(())
}

fn must_be_open(tx: &Tx<'_>, owner: &OwnerId, id: PairingId) -> Done<PairingRequest> {
    let Some(request) = load(tx, owner, id)? else {
        return Err(StoreError::NotFound {
            what: "pairing request",
        }
        .into());
    };
    if request.is_open(tx.now) {
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

pub(crate) fn approve(
    tx: &Tx<'_>,
    owner: &OwnerId,
    id: PairingId,
    approver: Approver<'_>,
    token: NewToken,
) -> Done<Device> {
    let request = must_be_open(tx, owner, id)?;
    set_state(tx, id, PairingState::Approved)?;
    let grant = Grant {
        owner,
        roles: &BTreeSet::from([request.ask.role]),
        scopes: request.ask.scopes,
        by: approver.by,
        via: approver.via,
        at: tx.now,
    };
    admit(tx, &request.ask, grant, vec![token])
}

pub(crate) fn reject(
    tx: &Tx<'_>,
    owner: &OwnerId,
    id: PairingId,
    by: &str,
) -> Done<PairingRequest> {
    let mut request = must_be_open(tx, owner, id)?;
    let detail = object!({ "request": id, "role": request.ask.role, "scopes": request.ask.scopes });
    let device = request.ask.device.as_str();
    audit::add(tx, owner, by, "device.pair.reject", device, &detail)?;
    set_state(tx, id, PairingState::Rejected)?;
    request.state = PairingState::Rejected;
    Ok(request)
}

pub(crate) fn wrong_code(tx: &Tx<'_>, owner: &OwnerId) -> Done<u64> {
    tx.exec(
        "update pairings
            set tries = tries + 1, state = iif(tries + 1 >= ?, 'spent', state)
          where owner = ? and expires_at > ? and state = 'open'",
        params![PAIRING_TRIES_MAX, owner.as_str(), tx.now.as_millis()],
    )?;
    Ok(open(tx, owner, tx.now)?.len() as u64)
}

/// The device was let in by another way: what it asked before needs no answer.
pub(crate) fn answered_otherwise(tx: &Tx<'_>, owner: &OwnerId, device: &DeviceId) -> Done<()> {
    for request in open(tx, owner, tx.now)? {
        if request.ask.device == *device {
            set_state(tx, request.id, PairingState::Superseded)?;
        }
    }
    Ok(())
}
