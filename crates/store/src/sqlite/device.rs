//! Devices: read whole, changed as the domain says, written whole, with the audit record in the same transaction.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde_json::json as object;

use adjutant_domain::access::Role;
use adjutant_domain::device::{
    ApprovedVia, DEVICES_MAX, Device, DeviceToken, Grant, NewToken, PairingAsk, PairingReason,
    PairingRequest, SetupCode,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{
    Approver, Asked, DeviceStore, SETUP_CODES_MAX, Seen, StoreError, Stored, TokenChange,
};

use crate::error::{Done, Fault};
use crate::sql::{Sql, col, json, word};
use crate::sqlite::{Sqlite, audit, pairing};
use crate::tx::Tx;

macro_rules! columns {
    () => {
        "owner, id, public_key, display_name, platform, device_family, client_id, client_mode, roles, scopes, claims, \
         remote_ip, approved_by, approved_via, created_at, approved_at, last_seen_at"
    };
}

fn device_of(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        owner: col::id(row, 0)?,
        id: col::id(row, 1)?,
        public_key: row.get(2)?,
        display_name: row.get(3)?,
        platform: row.get(4)?,
        device_family: row.get(5)?,
        client_id: row.get(6)?,
        client_mode: row.get(7)?,
        roles: col::json(row, 8)?,
        scopes: col::json(row, 9)?,
        claims: col::json(row, 10)?,
        tokens: vec![],
        remote_ip: row.get(11)?,
        approved_by: row.get(12)?,
        approved_via: col::word(row, 13)?,
        created_at: col::at(row, 14)?,
        approved_at: col::at(row, 15)?,
        last_seen_at: col::opt_at(row, 16)?,
    })
}

fn tokens(db: &Connection, owner: &OwnerId, device: &DeviceId) -> Done<Vec<DeviceToken>> {
    db.all(
        "select role, via, scopes, salt, digest, created_at, rotated_at, revoked_at, last_used_at
           from device_tokens where owner = ? and device = ?",
        params![owner.as_str(), device.as_str()],
        |row| {
            Ok(DeviceToken {
                role: col::word(row, 0)?,
                via: col::word(row, 1)?,
                scopes: col::json(row, 2)?,
                salt: row.get(3)?,
                digest: row.get(4)?,
                created_at: col::at(row, 5)?,
                rotated_at: col::opt_at(row, 6)?,
                revoked_at: col::opt_at(row, 7)?,
                last_used_at: col::opt_at(row, 8)?,
            })
        },
    )
    .map(|mut tokens| {
        tokens.sort_by_key(|token| token.role);
        tokens
    })
}

pub(crate) fn load(db: &Connection, owner: &OwnerId, id: &DeviceId) -> Done<Option<Device>> {
    let found = db.one(
        concat!(
            "select ",
            columns!(),
            " from devices where owner = ? and id = ?"
        ),
        params![owner.as_str(), id.as_str()],
        device_of,
    )?;
    let Some(mut device) = found else {
        return Ok(None);
    };
    device.tokens = tokens(db, owner, id)?;
    Ok(Some(device))
}

pub(crate) fn must_exist(db: &Connection, owner: &OwnerId, id: &DeviceId) -> Done<Device> {
    load(db, owner, id)?.ok_or_else(|| StoreError::NotFound { what: "device" }.into())
}

pub(crate) fn save(tx: &Tx<'_>, device: &Device) -> Done<()> {
    let (owner, id) = (device.owner.as_str(), device.id.as_str());
    tx.exec(
        concat!(
            "insert into devices (",
            columns!(),
            ") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict do update set public_key = excluded.public_key, display_name = excluded.display_name,
               platform = excluded.platform, device_family = excluded.device_family, client_id = excluded.client_id,
               client_mode = excluded.client_mode, roles = excluded.roles, scopes = excluded.scopes,
               claims = excluded.claims, remote_ip = excluded.remote_ip, approved_by = excluded.approved_by,
               approved_via = excluded.approved_via, approved_at = excluded.approved_at,
               last_seen_at = excluded.last_seen_at"
        ),
        params![
            owner,
            id,
            device.public_key,
            device.display_name,
            device.platform,
            device.device_family,
            device.client_id,
            device.client_mode,
            json(&device.roles)?,
            json(&device.scopes)?,
            json(&device.claims)?,
            device.remote_ip,
            device.approved_by,
            word(&device.approved_via)?,
            device.created_at.as_millis(),
            device.approved_at.as_millis(),
            device.last_seen_at.map(Timestamp::as_millis),
        ],
    )?;
    tx.exec(
        "delete from device_tokens where owner = ? and device = ?",
        params![owner, id],
    )?;
    for token in &device.tokens {
        tx.exec(
            "insert into device_tokens (owner, device, role, via, scopes, salt, digest, created_at, rotated_at,
                                        revoked_at, last_used_at)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                owner,
                id,
                word(&token.role)?,
                word(&token.via)?,
                json(&token.scopes)?,
                token.salt,
                token.digest,
                token.created_at.as_millis(),
                token.rotated_at.map(Timestamp::as_millis),
                token.revoked_at.map(Timestamp::as_millis),
                token.last_used_at.map(Timestamp::as_millis),
            ],
        )?;
    }
    Ok(())
}

/// Lets a device in and writes that down.
pub(crate) fn admit(
    tx: &Tx<'_>,
    ask: &PairingAsk,
    grant: Grant<'_>,
    tokens: Vec<NewToken>,
) -> Done<Device> {
    let owner = grant.owner;
    let before = load(tx, owner, &ask.device)?;
    if before.is_none() {
        let n: Option<u32> = tx.one(
            "select count(*) from devices where owner = ?",
            [owner.as_str()],
            |row| row.get(0),
        )?;
        if n.unwrap_or_default() >= DEVICES_MAX {
            return Err(StoreError::Full {
                what: "the list of devices",
                max: DEVICES_MAX.into(),
            }
            .into());
        }
    }
    let mut device = Device::admitted(before, ask, grant);
    for token in tokens {
        device.grant_token(token, grant.via, grant.at);
    }
    let detail = object!({
        "roles": grant.roles, "scopes": grant.scopes, "platform": ask.platform, "clientId": ask.client_id,
        "commands": ask.claims.commands, "from": ask.source,
    });
    audit::add(
        tx,
        owner,
        grant.by,
        grant.via.action(),
        ask.device.as_str(),
        &detail,
    )?;
    save(tx, &device)?;
    Ok(device)
}

fn put_token(
    tx: &Tx<'_>,
    owner: &OwnerId,
    id: &DeviceId,
    token: NewToken,
    change: TokenChange,
    by: &str,
) -> Done<Device> {
    let mut device = must_exist(tx, owner, id)?;
    if !device.roles.contains(&token.role) {
        return Err(StoreError::NotFound {
            what: "role of this device",
        }
        .into());
    }
    let revoked = |token: &DeviceToken| token.revoked_at.is_some();
    if device.token(token.role).is_some_and(revoked) {
        return Err(conflict(
            "this role of the device was revoked; it has to be paired anew",
        ));
    }
    let action = match change {
        TokenChange::Issued => "device.token.issue",
        TokenChange::Rotated => "device.token.rotate",
    };
    let detail = object!({ "role": token.role, "scopes": token.scopes });
    audit::add(tx, owner, by, action, id.as_str(), &detail)?;
    device.set_token(token, None, tx.now);
    save(tx, &device)?;
    Ok(device)
}

fn revoke(tx: &Tx<'_>, owner: &OwnerId, id: &DeviceId, role: Role, by: &str) -> Done<Device> {
    let mut device = must_exist(tx, owner, id)?;
    let now = tx.now;
    let Some(token) = device.tokens.iter_mut().find(|token| token.role == role) else {
        return Err(StoreError::NotFound {
            what: "role of this device",
        }
        .into());
    };
    if token.revoked_at.is_none() {
        token.revoked_at = Some(now);
        let detail = object!({ "role": role });
        audit::add(tx, owner, by, "device.token.revoke", id.as_str(), &detail)?;
        save(tx, &device)?;
    }
    Ok(device)
}

fn remove(tx: &Tx<'_>, owner: &OwnerId, id: &DeviceId, by: &str) -> Done<bool> {
    if load(tx, owner, id)?.is_none() {
        return Ok(false);
    }
    audit::add(tx, owner, by, "device.remove", id.as_str(), &object!({}))?;
    tx.exec(
        "delete from devices where owner = ? and id = ?",
        params![owner.as_str(), id.as_str()],
    )?;
    Ok(true)
}

fn rename(tx: &Tx<'_>, owner: &OwnerId, id: &DeviceId, name: &str, by: &str) -> Done<Device> {
    let mut device = must_exist(tx, owner, id)?;
    let detail = object!({ "name": name });
    audit::add(tx, owner, by, "device.rename", id.as_str(), &detail)?;
    device.display_name = Some(name.to_owned());
    save(tx, &device)?;
    Ok(device)
}

fn seen(
    tx: &Tx<'_>,
    owner: &OwnerId,
    id: &DeviceId,
    role: Role,
    remote_ip: Option<&str>,
    with_token: bool,
) -> Done<()> {
    let now = tx.now.as_millis();
    tx.exec(
        "update devices set last_seen_at = ?, remote_ip = ? where owner = ? and id = ?",
        params![now, remote_ip, owner.as_str(), id.as_str()],
    )?;
    if with_token {
        tx.exec(
            "update device_tokens set last_used_at = ? where owner = ? and device = ? and role = ?",
            params![now, owner.as_str(), id.as_str(), word(&role)?],
        )?;
    }
    Ok(())
}

fn setup_code_of(row: &Row<'_>) -> rusqlite::Result<SetupCode> {
    Ok(SetupCode {
        owner: col::id(row, 0)?,
        digest: row.get(1)?,
        roles: col::json(row, 2)?,
        scopes: col::json(row, 3)?,
        made_by: row.get(4)?,
        expires_at: col::at(row, 5)?,
    })
}

fn usable_code(
    db: &Connection,
    owner: &OwnerId,
    digest: &str,
    now: Timestamp,
) -> Done<Option<SetupCode>> {
    db.one(
        "select owner, digest, roles, scopes, made_by, expires_at from setup_codes
          where owner = ? and digest = ? and expires_at > ?",
        params![owner.as_str(), digest, now.as_millis()],
        setup_code_of,
    )
}

fn put_code(tx: &Tx<'_>, code: &SetupCode) -> Done<()> {
    let owner = code.owner.as_str();
    tx.exec(
        "delete from setup_codes where owner = ? and expires_at <= ?",
        params![owner, tx.now.as_millis()],
    )?;
    let n: Option<u32> = tx.one(
        "select count(*) from setup_codes where owner = ?",
        [owner],
        |row| row.get(0),
    )?;
    if n.unwrap_or_default() >= SETUP_CODES_MAX {
        return Err(StoreError::Full {
            what: "the list of setup codes",
            max: SETUP_CODES_MAX.into(),
        }
        .into());
    }
    let detail =
        object!({ "roles": code.roles, "scopes": code.scopes, "expiresAt": code.expires_at });
    audit::add(
        tx,
        &code.owner,
        &code.made_by,
        "device.setup.make",
        "",
        &detail,
    )?;
    tx.exec(
        "insert into setup_codes (owner, digest, roles, scopes, made_by, expires_at) values (?, ?, ?, ?, ?, ?)",
        params![
            owner,
            code.digest,
            json(&code.roles)?,
            json(&code.scopes)?,
            code.made_by,
            code.expires_at.as_millis()
        ],
    )?;
    Ok(())
}

fn redeem(
    tx: &Tx<'_>,
    owner: &OwnerId,
    digest: &str,
    ask: &PairingAsk,
    tokens: Vec<NewToken>,
) -> Done<Device> {
    let none = || Fault::from(StoreError::NotFound { what: "setup code" });
    let code = usable_code(tx, owner, digest, tx.now)?.ok_or_else(none)?;
    tx.exec(
        "delete from setup_codes where owner = ? and digest = ?",
        params![owner.as_str(), digest],
    )?;
    let grant = Grant {
        owner,
        roles: &code.roles,
        scopes: code.scopes,
        by: &code.made_by,
        via: ApprovedVia::SetupCode,
        at: tx.now,
    };
    pairing::answered_otherwise(tx, owner, &ask.device)?;
    admit(tx, ask, grant, tokens)
}

pub(crate) fn conflict(reason: &str) -> Fault {
    StoreError::Conflict {
        reason: reason.to_owned(),
    }
    .into()
}

#[async_trait]
impl DeviceStore for Sqlite {
    async fn device(&self, owner: &OwnerId, id: &DeviceId) -> Stored<Option<Device>> {
        let (owner, id) = (owner.clone(), id.clone());
        self.read(move |db| load(db, &owner, &id)).await
    }

    async fn devices(&self, owner: &OwnerId) -> Stored<Vec<Device>> {
        let owner = owner.clone();
        self.read(move |db| {
            let mut devices = db.all(
                concat!(
                    "select ",
                    columns!(),
                    " from devices where owner = ? order by approved_at desc, id"
                ),
                [owner.as_str()],
                device_of,
            )?;
            for device in &mut devices {
                device.tokens = tokens(db, &owner, &device.id)?;
            }
            Ok(devices)
        })
        .await
    }

    async fn pairing(&self, owner: &OwnerId, id: PairingId) -> Stored<Option<PairingRequest>> {
        let owner = owner.clone();
        self.read(move |db| pairing::load(db, &owner, id)).await
    }

    async fn open_pairings(&self, owner: &OwnerId) -> Stored<Vec<PairingRequest>> {
        let (owner, now) = (owner.clone(), self.steady.wall());
        self.read(move |db| pairing::open(db, &owner, now)).await
    }

    async fn ask_pairing(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        reason: PairingReason,
    ) -> Stored<Asked> {
        let (owner, ask) = (owner.clone(), ask.clone());
        self.flushed(move |tx| pairing::file(tx, &owner, &ask, reason))
            .await
    }

    async fn approve_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let (owner, by, via) = (owner.clone(), approver.by.to_owned(), approver.via);
        self.flushed(move |tx| pairing::approve(tx, &owner, id, Approver { by: &by, via }, token))
            .await
    }

    async fn reject_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        by: &str,
    ) -> Stored<PairingRequest> {
        let (owner, by) = (owner.clone(), by.to_owned());
        self.flushed(move |tx| pairing::reject(tx, &owner, id, &by))
            .await
    }

    async fn wrong_pairing_code(&self, owner: &OwnerId) -> Stored<u64> {
        let owner = owner.clone();
        self.flushed(move |tx| pairing::wrong_code(tx, &owner))
            .await
    }

    async fn pair_device(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let (owner, ask) = (owner.clone(), ask.clone());
        let (by, via) = (approver.by.to_owned(), approver.via);
        self.flushed(move |tx| {
            pairing::answered_otherwise(tx, &owner, &ask.device)?;
            let grant = Grant {
                owner: &owner,
                roles: &BTreeSet::from([ask.role]),
                scopes: ask.scopes,
                by: &by,
                via,
                at: tx.now,
            };
            admit(tx, &ask, grant, vec![token])
        })
        .await
    }

    async fn remove_device(&self, owner: &OwnerId, id: &DeviceId, by: &str) -> Stored<bool> {
        let (owner, id, by) = (owner.clone(), id.clone(), by.to_owned());
        self.flushed(move |tx| remove(tx, &owner, &id, &by)).await
    }

    async fn rename_device(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        name: &str,
        by: &str,
    ) -> Stored<Device> {
        let (owner, id) = (owner.clone(), id.clone());
        let (name, by) = (name.to_owned(), by.to_owned());
        self.flushed(move |tx| rename(tx, &owner, &id, &name, &by))
            .await
    }

    async fn put_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        token: NewToken,
        change: TokenChange,
        by: &str,
    ) -> Stored<Device> {
        let (owner, id, by) = (owner.clone(), id.clone(), by.to_owned());
        self.flushed(move |tx| put_token(tx, &owner, &id, token, change, &by))
            .await
    }

    async fn revoke_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        by: &str,
    ) -> Stored<Device> {
        let (owner, id, by) = (owner.clone(), id.clone(), by.to_owned());
        self.flushed(move |tx| revoke(tx, &owner, &id, role, &by))
            .await
    }

    async fn device_seen(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        how: Seen<'_>,
    ) -> Stored<()> {
        let (owner, id, with_token) = (owner.clone(), id.clone(), how.with_token);
        let ip = how.remote_ip.map(str::to_owned);
        self.relaxed(move |tx| seen(tx, &owner, &id, role, ip.as_deref(), with_token))
            .await
    }

    async fn put_setup_code(&self, code: &SetupCode) -> Stored<()> {
        let code = code.clone();
        self.flushed(move |tx| put_code(tx, &code)).await
    }

    async fn setup_code(&self, owner: &OwnerId, digest: &str) -> Stored<Option<SetupCode>> {
        let (owner, digest) = (owner.clone(), digest.to_owned());
        let now = self.steady.wall();
        self.read(move |db| usable_code(db, &owner, &digest, now))
            .await
    }

    async fn redeem_setup_code(
        &self,
        owner: &OwnerId,
        digest: &str,
        ask: &PairingAsk,
        tokens: Vec<NewToken>,
    ) -> Stored<Device> {
        let (owner, digest, ask) = (owner.clone(), digest.to_owned(), ask.clone());
        self.flushed(move |tx| redeem(tx, &owner, &digest, &ask, tokens))
            .await
    }
}
