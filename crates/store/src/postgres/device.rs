//! Devices: read whole, changed as the domain says, written whole, with the audit record in the same transaction.
//!
//! A device's row is locked when it is read to be changed, and one owner's bounds are counted under one lock.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::json as object;
use tokio_postgres::Row;

use adjutant_domain::access::Role;
use adjutant_domain::device::{
    DEVICES_MAX, Device, DeviceToken, Grant, NewToken, PairingAsk, PairingReason, PairingRequest,
    SetupCode,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_ports::store::{Approver, Asked, DeviceStore, Seen, StoreError, Stored, TokenChange};

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, params};
use crate::postgres::tx::{Durability, Tx, Who};
use crate::postgres::{Postgres, audit, pairing, setup};
use crate::sql::{json, word};

macro_rules! columns {
    () => {
        "owner, id, public_key, display_name, platform, device_family, client_id, client_mode, roles, scopes, claims, \
         remote_ip, approved_by, approved_via, created_at, approved_at, last_seen_at"
    };
}

fn device_of(row: &Row) -> Done<Device> {
    Ok(Device {
        owner: row.id(0)?,
        id: row.id(1)?,
        public_key: row.text(2)?,
        display_name: row.opt_text(3)?,
        platform: row.text(4)?,
        device_family: row.opt_text(5)?,
        client_id: row.text(6)?,
        client_mode: row.text(7)?,
        roles: row.json(8)?,
        scopes: row.json(9)?,
        claims: row.json(10)?,
        tokens: vec![],
        remote_ip: row.opt_text(11)?,
        approved_by: row.text(12)?,
        approved_via: row.word(13)?,
        created_at: row.at(14)?,
        approved_at: row.at(15)?,
        last_seen_at: row.opt_at(16)?,
    })
}

fn token_of(row: &Row) -> Done<DeviceToken> {
    Ok(DeviceToken {
        role: row.word(0)?,
        via: row.word(1)?,
        scopes: row.json(2)?,
        salt: row.text(3)?,
        digest: row.text(4)?,
        created_at: row.at(5)?,
        rotated_at: row.opt_at(6)?,
        revoked_at: row.opt_at(7)?,
        last_used_at: row.opt_at(8)?,
    })
}

const DEVICES: &str = concat!(
    "select ",
    columns!(),
    " from devices where owner = $1 and ($2 is null or id = $2) order by approved_at desc, id"
);
const HELD: &str = concat!(
    "select ",
    columns!(),
    " from devices where owner = $1 and id = $2 for update"
);
const TOKENS: &str = "select role, via, scopes, salt, digest, created_at, rotated_at, revoked_at, last_used_at, device
                        from device_tokens where owner = $1 and ($2 is null or device = $2)";

fn whole(devices: &[Row], tokens: &[Row]) -> Done<Vec<Device>> {
    let mut devices: Vec<Device> = devices.iter().map(device_of).collect::<Done<_>>()?;
    for row in tokens {
        let of: DeviceId = row.id(9)?;
        if let Some(device) = devices.iter_mut().find(|device| device.id == of) {
            device.tokens.push(token_of(row)?);
        }
    }
    for device in &mut devices {
        device.tokens.sort_by_key(|token| token.role);
    }
    Ok(devices)
}

/// Devices as they are at one moment.
async fn read(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: Option<&DeviceId>,
    devices: &'static str,
) -> Done<Vec<Device>> {
    let found = tx
        .several(vec![
            (devices, params![owner, id]),
            (TOKENS, params![owner, id]),
        ])
        .await?;
    match &found[..] {
        [devices, tokens] => whole(devices, tokens),
        _ => Ok(vec![]),
    }
}

/// A device that nobody else changes until this is done.
async fn held(tx: &mut Tx<'_>, owner: &OwnerId, id: &DeviceId) -> Done<Option<Device>> {
    Ok(read(tx, owner, Some(id), HELD).await?.pop())
}

pub(crate) async fn must_exist(tx: &mut Tx<'_>, owner: &OwnerId, id: &DeviceId) -> Done<Device> {
    let found = held(tx, owner, id).await?;
    found.ok_or_else(|| StoreError::NotFound { what: "device" }.into())
}

pub(crate) fn save(tx: &mut Tx<'_>, device: &Device) -> Done<()> {
    let (owner, id) = (&device.owner, &device.id);
    tx.later(
        concat!(
            "insert into devices (",
            columns!(),
            ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             on conflict (owner, id) do update set public_key = excluded.public_key,
               display_name = excluded.display_name,
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
            device.created_at,
            device.approved_at,
            device.last_seen_at,
        ],
    );
    tx.later(
        "delete from device_tokens where owner = $1 and device = $2",
        params![owner, id],
    );
    for token in &device.tokens {
        tx.later(
            "insert into device_tokens (owner, device, role, via, scopes, salt, digest, created_at, rotated_at,
                                        revoked_at, last_used_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            params![
                owner,
                id,
                word(&token.role)?,
                word(&token.via)?,
                json(&token.scopes)?,
                token.salt,
                token.digest,
                token.created_at,
                token.rotated_at,
                token.revoked_at,
                token.last_used_at,
            ],
        );
    }
    Ok(())
}

/// Lets a device in and writes that down.
pub(crate) async fn admit(
    tx: &mut Tx<'_>,
    ask: &PairingAsk,
    grant: Grant<'_>,
    tokens: &[NewToken],
) -> Done<Device> {
    let owner = grant.owner;
    let before = held(tx, owner, &ask.device).await?;
    if before.is_none() {
        let n = tx
            .one(
                "select count(*) from devices where owner = $1",
                params![owner],
            )
            .await?
            .map_or(Ok(0), |row| row.count(0))?;
        if n >= u64::from(DEVICES_MAX) {
            return Err(StoreError::Full {
                what: "the list of devices",
                max: DEVICES_MAX.into(),
            }
            .into());
        }
    }
    let detail = object!({
        "roles": grant.roles, "scopes": grant.scopes, "platform": ask.platform, "clientId": ask.client_id,
        "commands": ask.claims.commands, "from": ask.source,
    });
    let (by, via, at) = (grant.by, grant.via, grant.at);
    audit::add(tx, owner, by, via.action(), ask.device.as_str(), &detail).await?;
    let mut device = Device::admitted(before, ask, grant);
    for token in tokens {
        device.grant_token(token.clone(), via, at);
    }
    save(tx, &device)?;
    Ok(device)
}

async fn put_token(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: &DeviceId,
    token: &NewToken,
    change: TokenChange,
    by: &str,
) -> Done<Device> {
    let mut device = must_exist(tx, owner, id).await?;
    if !device.roles.contains(&token.role) {
        return Err(no_role());
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
    audit::add(tx, owner, by, action, id.as_str(), &detail).await?;
    let now = tx.now().await?;
    device.set_token(token.clone(), None, now);
    save(tx, &device)?;
    Ok(device)
}

fn no_role() -> Fault {
    StoreError::NotFound {
        what: "role of this device",
    }
    .into()
}

async fn revoke(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: &DeviceId,
    role: Role,
    by: &str,
) -> Done<Device> {
    let mut device = must_exist(tx, owner, id).await?;
    let now = tx.now().await?;
    let token = device.tokens.iter_mut().find(|token| token.role == role);
    let token = token.ok_or_else(no_role)?;
    if token.revoked_at.is_none() {
        token.revoked_at = Some(now);
        let detail = object!({ "role": role });
        audit::add(tx, owner, by, "device.token.revoke", id.as_str(), &detail).await?;
        save(tx, &device)?;
    }
    Ok(device)
}

async fn remove(tx: &mut Tx<'_>, owner: &OwnerId, id: &DeviceId, by: &str) -> Done<bool> {
    if held(tx, owner, id).await?.is_none() {
        return Ok(false);
    }
    audit::add(tx, owner, by, "device.remove", id.as_str(), &object!({})).await?;
    tx.later(
        "delete from devices where owner = $1 and id = $2",
        params![owner, id],
    );
    Ok(true)
}

async fn rename(
    tx: &mut Tx<'_>,
    owner: &OwnerId,
    id: &DeviceId,
    name: &str,
    by: &str,
) -> Done<Device> {
    let mut device = must_exist(tx, owner, id).await?;
    let detail = object!({ "name": name });
    audit::add(tx, owner, by, "device.rename", id.as_str(), &detail).await?;
    device.display_name = Some(name.to_owned());
    save(tx, &device)?;
    Ok(device)
}

pub(crate) fn conflict(reason: &str) -> Fault {
    StoreError::Conflict {
        reason: reason.to_owned(),
    }
    .into()
}

#[async_trait]
impl DeviceStore for Postgres {
    async fn device(&self, owner: &OwnerId, id: &DeviceId) -> Stored<Option<Device>> {
        let args = (owner.clone(), id.clone());
        let devices = self.write(Who::Owner(owner.clone()), args, |tx, (owner, id)| {
            Box::pin(read(tx, owner, Some(id), DEVICES))
        });
        Ok(devices.await?.pop())
    }

    async fn devices(&self, owner: &OwnerId) -> Stored<Vec<Device>> {
        self.write(Who::Owner(owner.clone()), owner.clone(), |tx, owner| {
            Box::pin(read(tx, owner, None, DEVICES))
        })
        .await
    }

    async fn pairing(&self, owner: &OwnerId, id: PairingId) -> Stored<Option<PairingRequest>> {
        let args = (owner.clone(), id);
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, id)| {
            Box::pin(pairing::load(tx, owner, *id))
        })
        .await
    }

    async fn open_pairings(&self, owner: &OwnerId) -> Stored<Vec<PairingRequest>> {
        self.write(Who::Owner(owner.clone()), owner.clone(), |tx, owner| {
            Box::pin(pairing::open(tx, owner))
        })
        .await
    }

    async fn ask_pairing(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        reason: PairingReason,
    ) -> Stored<Asked> {
        let args = (owner.clone(), ask.clone(), reason);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, ask, reason)| Box::pin(pairing::file(tx, owner, ask, *reason)),
        )
        .await
    }

    async fn approve_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let args = (
            owner.clone(),
            id,
            approver.by.to_owned(),
            approver.via,
            token,
        );
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, id, by, via, token)| {
                let approver = Approver { by, via: *via };
                Box::pin(pairing::approve(tx, owner, *id, approver, token))
            },
        )
        .await
    }

    async fn reject_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        by: &str,
    ) -> Stored<PairingRequest> {
        let args = (owner.clone(), id, by.to_owned());
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, id, by)| {
            Box::pin(pairing::reject(tx, owner, *id, by))
        })
        .await
    }

    async fn wrong_pairing_code(&self, owner: &OwnerId) -> Stored<u64> {
        self.write(Who::Owner(owner.clone()), owner.clone(), |tx, owner| {
            Box::pin(pairing::wrong_code(tx, owner))
        })
        .await
    }

    async fn pair_device(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let args = (
            owner.clone(),
            ask.clone(),
            approver.by.to_owned(),
            approver.via,
            token,
        );
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, ask, by, via, token)| {
                Box::pin(async move {
                    pairing::answered_otherwise(tx, owner, &ask.device).await?;
                    let grant = Grant {
                        owner,
                        roles: &BTreeSet::from([ask.role]),
                        scopes: ask.scopes,
                        by,
                        via: *via,
                        at: tx.now().await?,
                    };
                    admit(tx, ask, grant, std::slice::from_ref(token)).await
                })
            },
        )
        .await
    }

    async fn remove_device(&self, owner: &OwnerId, id: &DeviceId, by: &str) -> Stored<bool> {
        let args = (owner.clone(), id.clone(), by.to_owned());
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, id, by)| {
            Box::pin(remove(tx, owner, id, by))
        })
        .await
    }

    async fn rename_device(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        name: &str,
        by: &str,
    ) -> Stored<Device> {
        let args = (owner.clone(), id.clone(), name.to_owned(), by.to_owned());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, id, name, by)| Box::pin(rename(tx, owner, id, name, by)),
        )
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
        let args = (owner.clone(), id.clone(), token, change, by.to_owned());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, id, token, change, by)| {
                Box::pin(put_token(tx, owner, id, token, *change, by))
            },
        )
        .await
    }

    async fn revoke_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        by: &str,
    ) -> Stored<Device> {
        let args = (owner.clone(), id.clone(), role, by.to_owned());
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, id, role, by)| Box::pin(revoke(tx, owner, id, *role, by)),
        )
        .await
    }

    async fn device_seen(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        how: Seen<'_>,
    ) -> Stored<()> {
        let role = word(&role)?;
        let now = self.inner.times().rows();
        self.change(
            Who::Owner(owner.clone()),
            Durability::Relaxed,
            "with used as (
                 update device_tokens set last_used_at = coalesce($6, clock_ms())
                  where $5 and owner = $1 and device = $2 and role = $4)
             update devices set last_seen_at = coalesce($6, clock_ms()), remote_ip = $3 where owner = $1 and id = $2",
            params![owner, id, how.remote_ip, role, how.with_token, now],
        )
        .await
        .map(drop)
    }

    async fn put_setup_code(&self, code: &SetupCode) -> Stored<()> {
        self.write(Who::Owner(code.owner.clone()), code.clone(), |tx, code| {
            Box::pin(setup::put(tx, code))
        })
        .await
    }

    async fn setup_code(&self, owner: &OwnerId, digest: &str) -> Stored<Option<SetupCode>> {
        let args = (owner.clone(), digest.to_owned());
        self.write(Who::Owner(owner.clone()), args, |tx, (owner, digest)| {
            Box::pin(setup::usable(tx, owner, digest))
        })
        .await
    }

    async fn redeem_setup_code(
        &self,
        owner: &OwnerId,
        digest: &str,
        ask: &PairingAsk,
        tokens: Vec<NewToken>,
    ) -> Stored<Device> {
        let args = (owner.clone(), digest.to_owned(), ask.clone(), tokens);
        self.write(
            Who::Owner(owner.clone()),
            args,
            |tx, (owner, digest, ask, tokens)| {
                Box::pin(setup::redeem(tx, owner, digest, ask, tokens))
            },
        )
        .await
    }
}
