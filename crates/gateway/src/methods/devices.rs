//! `device.*`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use adjutant_domain::code::Code;
use adjutant_domain::device::{ApprovedVia, Device, PairingRequest, SetupCode};
use adjutant_domain::id::{DeviceId, PairingId};
use adjutant_ports::store::{Approver, TokenChange};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::devices::{
    DeviceList, DevicePairApprove, DevicePairList, DevicePairReject, DevicePairRemove,
    DeviceParams, DeviceRemoved, DeviceRename, DeviceRenameParams, DeviceRenamed, DeviceSetupCode,
    DeviceTokenRevoke, DeviceTokenRotate, PairedDevice, PairingApproveParams, PairingApproved,
    PairingParams, PairingRejected, SetupCodeMade, SetupCodeParams, TokenParams, TokenRevoked,
    TokenRotateParams, TokenRotated, TokenShown,
};
use adjutant_protocol::{Caller, Fault, Handle, Role, Scope, Scopes};
use adjutant_vault::{Token, base64url, digest};

use crate::core::Core;
use crate::devices::{Decision, device_token, fingerprint, pairing_code, plain_code, revoked};

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;
/// How long a caller may go on that took its own credential away: until it has its answer.
const OWN_ANSWER: Duration = Duration::from_millis(500);
const SETUP_LIFE: Duration = Duration::from_secs(5 * 60);
const SETUP_LIFE_MS_MIN: u64 = 10_000;
const SETUP_LIFE_MS_MAX: u64 = 10 * 60 * 1_000;

impl Handle<DevicePairList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<DeviceList, Fault> {
        let store = &self.deps.store;
        let pending = store.open_pairings(self.owner()).await?;
        let devices = store.devices(self.owner()).await?;
        Ok(DeviceList {
            pending: pending
                .iter()
                .map(|request| self.pending(request))
                .collect(),
            paired: self.paired(devices),
        })
    }
}

impl Handle<DevicePairApprove> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: PairingApproveParams,
    ) -> Result<PairingApproved, Fault> {
        let request = match (&params.request_id, &params.code) {
            (Some(id), None) => self.request(id).await?,
            (None, Some(code)) => self.request_by_code(code).await?,
            _ => {
                let reason = "takes either `requestId` or `code`";
                return Err(Fault::params("device.pair.approve", reason));
            }
        };
        may_grant(caller, request.ask.role, request.ask.scopes).map_err(denied)?;
        if caller.device.as_ref() == Some(&request.ask.device) {
            return Err(Fault::new(
                Code::Forbidden,
                "a device cannot approve itself",
            ));
        }
        let token = self.mint_token(&request.ask.device, request.ask.role, request.ask.scopes);
        let by = caller.name();
        let approver = Approver {
            by: &by,
            via: ApprovedVia::Operator,
        };
        let store = &self.deps.store;
        let device = store
            .approve_pairing(self.owner(), request.id, approver, token)
            .await?;
        self.tell_resolved(&request.id.to_string(), &device.id, Decision::Approved);
        let device = self.paired(vec![device]).pop();
        let device = device.ok_or_else(|| Fault::new(Code::Internal, "the device is gone"))?;
        Ok(PairingApproved {
            request_id: request.id,
            device,
        })
    }
}

impl Handle<DevicePairReject> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: PairingParams,
    ) -> Result<PairingRejected, Fault> {
        let request = self.request(&params.request_id).await?;
        let store = &self.deps.store;
        let request = store
            .reject_pairing(self.owner(), request.id, &caller.name())
            .await?;
        let device_id = request.ask.device;
        self.tell_resolved(&request.id.to_string(), &device_id, Decision::Rejected);
        Ok(PairingRejected {
            request_id: request.id,
            device_id,
        })
    }
}

impl Handle<DevicePairRemove> for Core {
    async fn handle(&self, caller: &Caller, params: DeviceParams) -> Result<DeviceRemoved, Fault> {
        let device_id = self.device_id("device.pair.remove", &params.device_id)?;
        let store = &self.deps.store;
        let removed = store
            .remove_device(self.owner(), &device_id, &caller.name())
            .await?;
        if !removed {
            return Err(unknown_device());
        }
        self.cut(caller, &device_id, None);
        Ok(DeviceRemoved { device_id })
    }
}

impl Handle<DeviceRename> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: DeviceRenameParams,
    ) -> Result<DeviceRenamed, Fault> {
        let device_id = self.device_id("device.pair.rename", &params.device_id)?;
        let name = params.display_name.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let reason = format!("`displayName` must have 1 to {NAME_BYTES_MAX} printable bytes");
            return Err(Fault::params("device.pair.rename", reason));
        }
        self.known(&device_id).await?;
        let store = &self.deps.store;
        store
            .rename_device(self.owner(), &device_id, name, &caller.name())
            .await?;
        Ok(DeviceRenamed {
            device_id,
            display_name: name.to_owned(),
        })
    }
}

impl Handle<DeviceTokenRotate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: TokenRotateParams,
    ) -> Result<TokenRotated, Fault> {
        let TokenRotateParams { role, scopes, .. } = params;
        let device_id = self.device_id("device.token.rotate", &params.device_id)?;
        let device = self.known(&device_id).await?;
        let all = device.scopes_as(role);
        let scopes = scopes.map_or(all, |scopes| Scopes::of(&scopes));
        if let Some(scope) = all.missing_for(scopes) {
            let reason = format!("the device does not have {scope}");
            return Err(Fault::params("device.token.rotate", reason));
        }
        may_grant(caller, role, scopes)?;
        let new = self.mint_token(&device_id, role, scopes);
        let text = device_token(&self.deps.token, &device_id, role, &new.salt);
        let store = &self.deps.store;
        let by = caller.name();
        store
            .put_device_token(self.owner(), &device_id, new, TokenChange::Rotated, &by)
            .await?;
        self.cut(caller, &device_id, Some(role));
        Ok(TokenRotated {
            device_id,
            role,
            scopes,
            rotated_at_ms: self.now(),
            token: Some(text.expose().clone()),
        })
    }
}

impl Handle<DeviceTokenRevoke> for Core {
    async fn handle(&self, caller: &Caller, params: TokenParams) -> Result<TokenRevoked, Fault> {
        let role = params.role;
        let device_id = self.device_id("device.token.revoke", &params.device_id)?;
        self.known(&device_id).await?;
        let store = &self.deps.store;
        let device = store
            .revoke_device_token(self.owner(), &device_id, role, &caller.name())
            .await?;
        self.cut(caller, &device_id, Some(role));
        let at = device.token(role).and_then(|token| token.revoked_at);
        Ok(TokenRevoked {
            device_id,
            role,
            revoked_at_ms: at.unwrap_or_else(|| self.now()),
        })
    }
}

impl Handle<DeviceSetupCode> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SetupCodeParams,
    ) -> Result<SetupCodeMade, Fault> {
        let refuse = |reason: &str| Fault::params("device.setup.code", reason);
        let roles: BTreeSet<Role> = match &params.roles {
            None => [Role::Operator].into(),
            Some(roles) if roles.is_empty() => return Err(refuse("`roles` must not be empty")),
            Some(roles) => roles.iter().copied().collect(),
        };
        let scopes = match &params.scopes {
            _ if !roles.contains(&Role::Operator) => Scopes::NONE,
            None => Scopes::of(&[Scope::Read, Scope::Write]),
            Some(scopes) => Scopes::of(scopes),
        };
        for role in &roles {
            may_grant(caller, *role, scopes)?;
        }
        let life = match params.ttl_ms {
            None => SETUP_LIFE,
            Some(ms) if (SETUP_LIFE_MS_MIN..=SETUP_LIFE_MS_MAX).contains(&ms) => {
                Duration::from_millis(ms)
            }
            Some(_) => return Err(refuse("`ttlMs` must be between 10 s and 10 min")),
        };
        let url = match &params.url {
            None => {
                let scheme = if self.tls.is_some() { "wss" } else { "ws" };
                format!("{scheme}://127.0.0.1:{}", self.port())
            }
            Some(url) if is_gateway_url(url) => url.clone(),
            Some(_) => {
                let reason = "`url` must begin with wss://, or with ws:// on this machine";
                return Err(refuse(reason));
            }
        };
        let secret = Token::issue(&*self.deps.entropy);
        let expires_at = self.now().plus(life);
        let code = SetupCode {
            owner: self.owner().clone(),
            digest: digest(secret.expose().as_bytes()),
            roles,
            scopes,
            made_by: caller.name(),
            expires_at,
        };
        self.deps.store.put_setup_code(&code).await?;
        let body = json!({
            "url": url, "bootstrapToken": secret.expose(), "expiresAtMs": expires_at,
        });
        Ok(SetupCodeMade {
            setup_code: Some(base64url(body.to_string().as_bytes())),
            url,
            roles: code.roles.into_iter().collect(),
            scopes,
            expires_at_ms: expires_at,
        })
    }
}

/// Nobody gives what they do not have (S12, S13), and a node, which may lend a shell, is for administrators to admit.
fn may_grant(caller: &Caller, role: Role, scopes: Scopes) -> Result<(), Fault> {
    let needed = match role {
        Role::Node if !caller.scopes.allow(Scope::Admin) => Some(Scope::Admin),
        Role::Node | Role::Operator => caller.scopes.missing_for(scopes),
    };
    match needed {
        None => Ok(()),
        Some(scope) => {
            let details = json!({
                "code": "MISSING_SCOPE", "missingScope": scope.word(), "requiredScopes": [scope.word()],
            });
            let fault = Fault::new(Code::Forbidden, format!("missing scope: {scope}"));
            Err(fault.with_details(details))
        }
    }
}

/// The refusal that programs of the `OpenClaw` family know: they ask once more with every scope they may have.
fn denied(missing: Fault) -> Fault {
    let fault = Fault::new(Code::InvalidRequest, "device pairing approval denied");
    match missing.details.as_ref().map(|it| &it["missingScope"]) {
        Some(scope) => fault.with_details(json!({ "missingScope": scope })),
        None => fault,
    }
}

/// Secrets go over plain connections on this machine only (S6).
fn is_gateway_url(url: &str) -> bool {
    let printable = url.len() <= 512 && url.bytes().all(|b| b.is_ascii_graphic());
    let host = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = &rest[..end];
        !host.is_empty() && !host.contains('@')
    };
    let near = |rest: &str| {
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
            rest.strip_prefix(own)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        })
    };
    printable
        && (url.strip_prefix("wss://").is_some_and(host)
            || url
                .strip_prefix("ws://")
                .is_some_and(|rest| host(rest) && near(rest)))
}

fn unknown_device() -> Fault {
    Fault::new(Code::InvalidRequest, "unknown deviceId")
}

impl Core {
    fn device_id(&self, method: &str, text: &str) -> Result<DeviceId, Fault> {
        DeviceId::parse(text).map_err(|e| Fault::params(method, e))
    }

    async fn known(&self, id: &DeviceId) -> Result<Device, Fault> {
        let found = self.deps.store.device(self.owner(), id).await?;
        found.ok_or_else(unknown_device)
    }

    async fn request(&self, id: &str) -> Result<PairingRequest, Fault> {
        let unknown = || Fault::new(Code::InvalidRequest, "unknown requestId");
        let id: PairingId = id.parse().map_err(|_e| unknown())?;
        let found = self.deps.store.pairing(self.owner(), id).await?;
        found.filter(|r| r.is_open(self.now())).ok_or_else(unknown)
    }

    async fn request_by_code(&self, typed: &str) -> Result<PairingRequest, Fault> {
        let store = &self.deps.store;
        let code = plain_code(typed);
        let open = store.open_pairings(self.owner()).await?;
        let found = open
            .into_iter()
            .find(|request| pairing_code(&self.deps.token, request.id) == code);
        if let Some(request) = found {
            return Ok(request);
        }
        let left = store.wrong_pairing_code(self.owner()).await?;
        let hint = format!("{left} requests are open; after five wrong codes they all lapse");
        Err(Fault::new(Code::NotFound, "no open request has this code").with_hint(hint))
    }

    /// Ends the connections of a device whose credential was taken away (S14).
    fn cut(&self, caller: &Caller, device: &DeviceId, role: Option<Role>) {
        self.note_revocation();
        let own = caller.device.as_ref() == Some(device);
        let (Some(core), true) = (self.shared(), own) else {
            return self.hub.cut_device(device, role, &revoked());
        };
        let device = device.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OWN_ANSWER).await;
            core.hub.cut_device(&device, role, &revoked());
        });
    }

    fn paired(&self, devices: Vec<Device>) -> Vec<PairedDevice> {
        let connected: BTreeSet<DeviceId> = self
            .hub
            .connected_devices()
            .into_iter()
            .map(|(device, _)| device)
            .collect();
        devices
            .into_iter()
            .map(|device| PairedDevice {
                fingerprint: fingerprint(&device.id),
                connected: connected.contains(&device.id),
                role: device.roles.first().copied(),
                roles: device.roles.into_iter().collect(),
                tokens: device
                    .tokens
                    .into_iter()
                    .map(|token| TokenShown {
                        role: token.role,
                        scopes: token.scopes,
                        created_at_ms: token.created_at,
                        rotated_at_ms: token.rotated_at,
                        revoked_at_ms: token.revoked_at,
                        last_used_at_ms: token.last_used_at,
                    })
                    .collect(),
                device_id: device.id,
                public_key: device.public_key,
                display_name: device.display_name,
                platform: Some(device.platform),
                device_family: device.device_family,
                client_id: Some(device.client_id),
                client_mode: Some(device.client_mode),
                scopes: device.scopes,
                remote_ip: device.remote_ip,
                approved_via: device.approved_via,
                approved_by: device.approved_by,
                created_at_ms: device.created_at,
                approved_at_ms: device.approved_at,
                last_seen_at_ms: device.last_seen_at,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_code_sends_secrets_over_plain_connections_on_this_machine_only() {
        // covers: S6
        for good in [
            "wss://box.example",
            "wss://box.example:8443/x",
            "ws://127.0.0.1:1",
            "ws://[::1]:1/",
        ] {
            assert!(is_gateway_url(good), "{good}");
        }
        for bad in [
            "ws://box.example",
            "ws://127.0.0.1.evil.example",
            "ws://127.0.0.1@evil.example",
            "wss://user@box.example",
            "https://box.example",
            "wss://",
            "",
        ] {
            assert!(!is_gateway_url(bad), "{bad}");
        }
    }
}
