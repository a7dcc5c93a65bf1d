//! Devices and their requests in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};

use adjutant_domain::access::Role;
use adjutant_domain::device::{
    ApprovedVia, DEVICES_MAX, Device, Grant, NewToken, PAIRING_LIFE, PAIRING_TRIES_MAX,
    PAIRINGS_MAX, PAIRINGS_PER_SOURCE_MAX, PairingAsk, PairingReason, PairingRequest, PairingState,
    SetupCode,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{
    Approver, Asked, DeviceStore, SETUP_CODES_MAX, Seen, StoreError, Stored, TokenChange,
};

use super::{Inner, MemoryStore};

impl Inner {
    pub(super) fn device_of(&self, owner: &OwnerId, id: &DeviceId) -> Stored<Device> {
        let found = self.devices.get(&(owner.clone(), id.clone())).cloned();
        found.ok_or(StoreError::NotFound { what: "device" })
    }

    pub(super) fn keep(&mut self, device: &Device) {
        let key = (device.owner.clone(), device.id.clone());
        self.devices.insert(key, device.clone());
    }

    fn admit(
        &mut self,
        ask: &PairingAsk,
        grant: Grant<'_>,
        tokens: Vec<NewToken>,
    ) -> Stored<Device> {
        let before = self.device_of(grant.owner, &ask.device).ok();
        let n = self
            .devices
            .keys()
            .filter(|(owner, _)| owner == grant.owner)
            .count();
        if before.is_none() && n >= DEVICES_MAX as usize {
            return Err(full("the list of devices", DEVICES_MAX));
        }
        let mut device = Device::admitted(before, ask, grant);
        for token in tokens {
            device.grant_token(token, grant.via, grant.at);
        }
        let detail = json!({ "roles": grant.roles, "scopes": grant.scopes });
        self.note(
            grant.owner,
            grant.by,
            grant.via.action(),
            ask.device.as_str(),
            (grant.at, detail),
        );
        self.keep(&device);
        Ok(device)
    }

    fn open_requests(&self, owner: &OwnerId, now: Timestamp) -> Vec<PairingRequest> {
        self.pairings
            .values()
            .filter(|request| request.owner == *owner && request.is_open(now))
            .cloned()
            .collect()
    }

    fn set_state(&mut self, id: PairingId, state: PairingState) {
        if let Some(request) = self.pairings.get_mut(&id) {
            request.state = state;
        }
    }

    fn must_be_open(
        &self,
        owner: &OwnerId,
        id: PairingId,
        now: Timestamp,
    ) -> Stored<PairingRequest> {
        let found = self.pairings.get(&id).filter(|r| r.owner == *owner);
        let request = found.ok_or(StoreError::NotFound {
            what: "pairing request",
        })?;
        if request.is_open(now) {
            return Ok(request.clone());
        }
        Err(conflict("the pairing request is not open any more"))
    }

    fn answered_otherwise(&mut self, owner: &OwnerId, device: &DeviceId, now: Timestamp) {
        for request in self.open_requests(owner, now) {
            if request.ask.device == *device {
                self.set_state(request.id, PairingState::Superseded);
            }
        }
    }

    fn has_room_for_wish(&self, owner: &OwnerId, source: &str, now: Timestamp) -> Stored<()> {
        let counts = |r: &&PairingRequest| {
            r.owner == *owner && now < r.expires_at && r.state != PairingState::Approved
        };
        let all = self.pairings.values().filter(counts);
        let there = all.clone().filter(|r| r.ask.source == source).count();
        if there >= PAIRINGS_PER_SOURCE_MAX as usize {
            return Err(full(
                "the list of pairing requests from there",
                PAIRINGS_PER_SOURCE_MAX,
            ));
        }
        if all.count() >= PAIRINGS_MAX as usize {
            return Err(full("the list of pairing requests", PAIRINGS_MAX));
        }
        Ok(())
    }

    fn usable_code(&self, owner: &OwnerId, digest: &str, now: Timestamp) -> Option<SetupCode> {
        let key = (owner.clone(), digest.to_owned());
        self.setup_codes
            .get(&key)
            .filter(|code| now < code.expires_at)
            .cloned()
    }

    pub(super) fn note(
        &mut self,
        owner: &OwnerId,
        by: &str,
        action: &str,
        subject: &str,
        (at, detail): (Timestamp, Value),
    ) {
        let seq = self.audit.len() as u64 + 1;
        self.audit.push(adjutant_ports::store::AuditRecord {
            seq,
            at,
            owner: owner.clone(),
            by: by.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
            hash: format!("{seq:064x}"),
        });
    }
}

fn full(what: &'static str, max: u32) -> StoreError {
    StoreError::Full {
        what,
        max: max.into(),
    }
}

fn conflict(reason: &str) -> StoreError {
    StoreError::Conflict {
        reason: reason.to_owned(),
    }
}

const NO_ROLE: StoreError = StoreError::NotFound {
    what: "role of this device",
};

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn device(&self, owner: &OwnerId, id: &DeviceId) -> Stored<Option<Device>> {
        Ok(self.lock().device_of(owner, id).ok())
    }

    async fn devices(&self, owner: &OwnerId) -> Stored<Vec<Device>> {
        let inner = self.lock();
        let mut devices: Vec<Device> = inner
            .devices
            .values()
            .filter(|device| device.owner == *owner)
            .cloned()
            .collect();
        devices.sort_by(|a, b| {
            b.approved_at
                .cmp(&a.approved_at)
                .then_with(|| a.id.cmp(&b.id))
        });
        Ok(devices)
    }

    async fn pairing(&self, owner: &OwnerId, id: PairingId) -> Stored<Option<PairingRequest>> {
        let inner = self.lock();
        let found = inner.pairings.get(&id).filter(|r| r.owner == *owner);
        Ok(found.cloned())
    }

    async fn open_pairings(&self, owner: &OwnerId) -> Stored<Vec<PairingRequest>> {
        Ok(self.lock().open_requests(owner, self.now()))
    }

    async fn ask_pairing(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        reason: PairingReason,
    ) -> Stored<Asked> {
        let now = self.now();
        let id = PairingId::mint(now, self.entropy());
        let mut inner = self.lock();
        let mine = |r: &PairingRequest| r.owner == *owner;
        inner.pairings.retain(|_, r| !mine(r) || now < r.expires_at);
        let older = inner
            .open_requests(owner, now)
            .into_iter()
            .find(|r| r.ask.device == ask.device);
        match older {
            Some(older) if older.asks_the_same(ask, reason) => return Ok(Asked::Again(older)),
            // Refused or not, the device has changed its mind.
            older => {
                inner.has_room_for_wish(owner, &ask.source, now)?;
                if let Some(older) = older {
                    inner.set_state(older.id, PairingState::Superseded);
                }
            }
        }
        let request = PairingRequest {
            owner: owner.clone(),
            id,
            ask: ask.clone(),
            reason,
            state: PairingState::Open,
            tries: 0,
            created_at: now,
            expires_at: now.plus(PAIRING_LIFE),
        };
        inner.pairings.insert(id, request.clone());
        Ok(Asked::New(request))
    }

    async fn approve_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let request = inner.must_be_open(owner, id, now)?;
        let grant = Grant {
            owner,
            roles: &BTreeSet::from([request.ask.role]),
            scopes: request.ask.scopes,
            by: approver.by,
            via: approver.via,
            at: now,
        };
        let device = inner.admit(&request.ask, grant, vec![token])?;
        inner.set_state(id, PairingState::Approved);
        Ok(device)
    }

    async fn reject_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        by: &str,
    ) -> Stored<PairingRequest> {
        let now = self.now();
        let mut inner = self.lock();
        let mut request = inner.must_be_open(owner, id, now)?;
        let device = request.ask.device.as_str();
        let detail = (now, json!({ "request": id }));
        inner.note(owner, by, "device.pair.reject", device, detail);
        inner.set_state(id, PairingState::Rejected);
        request.state = PairingState::Rejected;
        Ok(request)
    }

    async fn wrong_pairing_code(&self, owner: &OwnerId) -> Stored<u64> {
        let now = self.now();
        let mut inner = self.lock();
        for request in inner.pairings.values_mut() {
            if request.owner == *owner && request.is_open(now) {
                request.tries += 1;
                if request.tries >= PAIRING_TRIES_MAX {
                    request.state = PairingState::Spent;
                }
            }
        }
        Ok(inner.open_requests(owner, now).len() as u64)
    }

    async fn pair_device(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let grant = Grant {
            owner,
            roles: &BTreeSet::from([ask.role]),
            scopes: ask.scopes,
            by: approver.by,
            via: approver.via,
            at: now,
        };
        let device = inner.admit(ask, grant, vec![token])?;
        inner.answered_otherwise(owner, &ask.device, now);
        Ok(device)
    }

    async fn remove_device(&self, owner: &OwnerId, id: &DeviceId, by: &str) -> Stored<bool> {
        let now = self.now();
        let mut inner = self.lock();
        let gone = inner.devices.remove(&(owner.clone(), id.clone())).is_some();
        if gone {
            inner.note(owner, by, "device.remove", id.as_str(), (now, json!({})));
        }
        Ok(gone)
    }

    async fn rename_device(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        name: &str,
        by: &str,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let mut device = inner.device_of(owner, id)?;
        device.display_name = Some(name.to_owned());
        let detail = (now, json!({ "name": name }));
        inner.note(owner, by, "device.rename", id.as_str(), detail);
        inner.keep(&device);
        Ok(device)
    }

    async fn put_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        token: NewToken,
        change: TokenChange,
        by: &str,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let mut device = inner.device_of(owner, id)?;
        if !device.roles.contains(&token.role) {
            return Err(NO_ROLE);
        }
        if device
            .token(token.role)
            .is_some_and(|t| t.revoked_at.is_some())
        {
            return Err(conflict("this role of the device was revoked"));
        }
        let action = match change {
            TokenChange::Issued => "device.token.issue",
            TokenChange::Rotated => "device.token.rotate",
        };
        let detail = (now, json!({ "role": token.role, "scopes": token.scopes }));
        inner.note(owner, by, action, id.as_str(), detail);
        device.set_token(token, None, now);
        inner.keep(&device);
        Ok(device)
    }

    async fn revoke_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        by: &str,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let mut device = inner.device_of(owner, id)?;
        let token = device.tokens.iter_mut().find(|t| t.role == role);
        let token = token.ok_or(NO_ROLE)?;
        if token.revoked_at.is_none() {
            token.revoked_at = Some(now);
            let detail = (now, json!({ "role": role }));
            inner.note(owner, by, "device.token.revoke", id.as_str(), detail);
            inner.keep(&device);
        }
        Ok(device)
    }

    async fn device_seen(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        seen: Seen<'_>,
    ) -> Stored<()> {
        let now = self.now();
        let mut inner = self.lock();
        if let Some(device) = inner.devices.get_mut(&(owner.clone(), id.clone())) {
            device.last_seen_at = Some(now);
            device.remote_ip = seen.remote_ip.map(str::to_owned);
            let token = device.tokens.iter_mut().find(|t| t.role == role);
            if let Some(token) = token.filter(|_| seen.with_token) {
                token.last_used_at = Some(now);
            }
        }
        Ok(())
    }

    async fn put_setup_code(&self, code: &SetupCode) -> Stored<()> {
        let now = self.now();
        let mut inner = self.lock();
        inner
            .setup_codes
            .retain(|_, other| other.owner != code.owner || now < other.expires_at);
        let mine = inner.setup_codes.values().filter(|c| c.owner == code.owner);
        if mine.count() >= SETUP_CODES_MAX as usize {
            return Err(full("the list of setup codes", SETUP_CODES_MAX));
        }
        let detail = (now, json!({ "roles": code.roles, "scopes": code.scopes }));
        inner.note(&code.owner, &code.made_by, "device.setup.make", "", detail);
        let key = (code.owner.clone(), code.digest.clone());
        inner.setup_codes.insert(key, code.clone());
        Ok(())
    }

    async fn setup_code(&self, owner: &OwnerId, digest: &str) -> Stored<Option<SetupCode>> {
        Ok(self.lock().usable_code(owner, digest, self.now()))
    }

    async fn redeem_setup_code(
        &self,
        owner: &OwnerId,
        digest: &str,
        ask: &PairingAsk,
        tokens: Vec<NewToken>,
    ) -> Stored<Device> {
        let now = self.now();
        let mut inner = self.lock();
        let code = inner
            .usable_code(owner, digest, now)
            .ok_or(StoreError::NotFound { what: "setup code" })?;
        let grant = Grant {
            owner,
            roles: &code.roles,
            scopes: code.scopes,
            by: &code.made_by,
            via: ApprovedVia::SetupCode,
            at: now,
        };
        let device = inner.admit(ask, grant, tokens)?;
        let key = (owner.clone(), digest.to_owned());
        inner.setup_codes.remove(&key);
        inner.answered_otherwise(owner, &ask.device, now);
        Ok(device)
    }
}
