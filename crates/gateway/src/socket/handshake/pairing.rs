//! Whether a proven device may come in as what it asks, and with which token it leaves.

use adjutant_domain::access::{Role, Scope, Scopes};
use adjutant_domain::device::{
    ApprovedVia, Device, PairingAsk, PairingReason, Standing, may_be_silent, standing,
};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Approver, Asked, Seen, StoreError, TokenChange};
use adjutant_protocol::frames::{ClientInfo, ConnectParams, HelloDeviceToken, Protocol};
use adjutant_vault::digest_matches;

use super::credential::Credential;
use super::refusal::{No, not_paired, scope_mismatch, too_many_requests};
use super::{Claims, Hand};
use crate::devices::{Decision, device_token};
use crate::edge::Source;

/// A device that may come in.
pub(super) struct Admitted {
    pub(super) scopes: Scopes,
    pub(super) token: String,
    pub(super) issued_at: Timestamp,
    /// Tokens for the other roles that a setup code gave.
    pub(super) others: Vec<HelloDeviceToken>,
}

/// What the handshake knows of a proven device.
pub(super) struct Proven<'a> {
    pub(super) params: &'a ConnectParams,
    pub(super) claims: &'a Claims,
    pub(super) protocol: Protocol,
    pub(super) by: &'a str,
}

impl Hand<'_> {
    pub(super) async fn admit(
        &self,
        proven: Proven<'_>,
        credential: Credential,
    ) -> Result<Admitted, No> {
        let core = self.core();
        let store = &core.deps.store;
        let device = &proven
            .claims
            .device
            .as_ref()
            .ok_or_else(super::refusal::device_required)?
            .id;
        let (known, shown) = match &credential {
            Credential::DeviceToken(known, text) => (Some((**known).clone()), Some(text.as_str())),
            _ => {
                let known = store.device(core.owner(), device).await;
                (known.map_err(|e| No::broken(e.into()))?, None)
            }
        };
        let ask = self.ask(&proven, known.as_ref())?;
        let (device, others) = match &credential {
            Credential::Setup(code) => self.redeem(&ask, code).await?,
            _ => {
                let device = self.decide(&proven, &ask, known, &credential).await?;
                (device, Vec::new())
            }
        };
        let mut scopes = device.scopes_as(ask.role).narrowed_to_set(ask.scopes);
        if let (Some(_), Some(token)) = (shown, device.token(ask.role)) {
            if let Some(missing) = token.scopes.missing_for(scopes) {
                return Err(scope_mismatch(missing));
            }
            scopes = token.scopes.narrowed_to_set(scopes);
        }
        let (token, issued_at) = self.token(&device, &ask, shown).await?;
        let ip = ask.remote_ip.as_deref();
        let seen = Seen {
            remote_ip: ip,
            with_token: shown.is_some(),
        };
        let noted = store.device_seen(core.owner(), &device.id, ask.role, seen);
        if let Err(error) = noted.await {
            tracing::warn!(%error, "cannot note that a device was seen");
        }
        Ok(Admitted {
            scopes,
            token,
            issued_at,
            others,
        })
    }

    /// What the device asks. Without scopes it asks for what it has, or for what is given to newcomers.
    fn ask(&self, proven: &Proven<'_>, known: Option<&Device>) -> Result<PairingAsk, No> {
        let Proven {
            params,
            claims,
            protocol,
            ..
        } = proven;
        let device = claims
            .device
            .as_ref()
            .ok_or_else(super::refusal::device_required)?;
        let role = claims.role;
        let scopes = match (role, &params.scopes) {
            (Role::Node, _) => Scopes::NONE,
            (Role::Operator, Some(words)) => Scopes::of_words(words.iter().map(String::as_str)),
            (Role::Operator, None) => match (known, protocol) {
                (Some(known), _) if known.roles.contains(&role) => known.scopes,
                // Programs of that time mean everything when they say nothing.
                (_, Protocol::V3) => Scopes::of(&[Scope::Admin]),
                (_, Protocol::V4) => Scopes::of(&[Scope::Read, Scope::Write]),
            },
        };
        let ClientInfo {
            id,
            mode,
            platform,
            display_name,
            device_family,
            ..
        } = &params.client;
        let offered = claims.node.as_ref();
        Ok(PairingAsk {
            device: device.id.clone(),
            public_key: device.public_key.clone(),
            display_name: display_name.clone(),
            platform: platform.clone(),
            device_family: device_family.clone(),
            client_id: id.clone(),
            client_mode: mode.word().to_owned(),
            role,
            scopes,
            claims: offered.map(|node| node.for_record()).unwrap_or_default(),
            remote_ip: self.peer.counted.map(|ip| ip.to_string()),
            source: match self.peer.counted {
                Some(ip) => ip.to_string(),
                None => "socket".to_owned(),
            },
        })
    }

    /// Lets the device in when that was decided before or needs no decision; files a request otherwise.
    async fn decide(
        &self,
        proven: &Proven<'_>,
        ask: &PairingAsk,
        known: Option<Device>,
        credential: &Credential,
    ) -> Result<Device, No> {
        let reason = match (standing(known.as_ref(), ask), known) {
            (Standing::Paired, Some(known)) => return Ok(known),
            (Standing::Needs(reason), known) => {
                if self.is_silent(proven, ask, reason, credential) {
                    return self.pair_silently(ask, proven.by).await;
                }
                return Err(self.file(proven, ask, reason, known.as_ref()).await);
            }
            (Standing::Paired, None) => PairingReason::NotPaired,
        };
        Err(self.file(proven, ask, reason, None).await)
    }

    /// The owner's own program on the owner's own machine; a page only if it is one of ours at an accepted origin.
    fn is_silent(
        &self,
        proven: &Proven<'_>,
        ask: &PairingAsk,
        reason: PairingReason,
        credential: &Credential,
    ) -> bool {
        let page = proven.params.client.is_browser();
        let own = if page {
            self.browser.origin
        } else {
            !self.browser.origin && !self.browser.cookie
        };
        self.core().config.pairing.local_auto_approve
            && self.peer.local
            && own
            && credential.is_the_owners()
            && may_be_silent(reason, ask)
    }

    async fn pair_silently(&self, ask: &PairingAsk, by: &str) -> Result<Device, No> {
        let core = self.core();
        let token = core.mint_token(&ask.device, ask.role, ask.scopes);
        let approver = Approver {
            by,
            via: ApprovedVia::Silent,
        };
        let paired = core
            .deps
            .store
            .pair_device(core.owner(), ask, approver, token);
        let device = paired.await.map_err(|e| No::broken(e.into()))?;
        tracing::info!(device = device.id.short(), role = %ask.role, "let a device on this machine in");
        core.tell_resolved(&core.uuid(), &device.id, Decision::Approved);
        Ok(device)
    }

    async fn file(
        &self,
        proven: &Proven<'_>,
        ask: &PairingAsk,
        reason: PairingReason,
        known: Option<&Device>,
    ) -> No {
        let core = self.core();
        let asked = core.deps.store.ask_pairing(core.owner(), ask, reason).await;
        match asked {
            Ok(asked) => {
                if let Asked::New(request) = &asked {
                    tracing::info!(device = ask.device.short(), role = %ask.role, "a device asks to be let in");
                    core.tell_requested(request);
                }
                not_paired(proven.protocol, &core.deps.token, asked.request(), known)
            }
            Err(StoreError::Full { what, .. }) => too_many_requests(what),
            Err(error) => No::broken(error.into()),
        }
    }

    async fn redeem(
        &self,
        ask: &PairingAsk,
        code: &adjutant_domain::device::SetupCode,
    ) -> Result<(Device, Vec<HelloDeviceToken>), No> {
        let core = self.core();
        let scopes_as = |role: Role| match role {
            Role::Operator => code.scopes,
            Role::Node => Scopes::NONE,
        };
        let tokens = code
            .roles
            .iter()
            .map(|role| core.mint_token(&ask.device, *role, scopes_as(*role)))
            .collect();
        let redeemed = core
            .deps
            .store
            .redeem_setup_code(core.owner(), &code.digest, ask, tokens);
        let device = match redeemed.await {
            Ok(device) => device,
            Err(StoreError::NotFound { .. }) => {
                return Err(super::refusal::unauthorized(
                    "setup code invalid or used",
                    "AUTH_BOOTSTRAP_TOKEN_INVALID",
                    "bootstrap_token_invalid",
                    super::refusal::NextStep::Credentials,
                ));
            }
            Err(error) => return Err(No::broken(error.into())),
        };
        tracing::info!(
            device = device.id.short(),
            "let a device in by its setup code"
        );
        core.tell_resolved(&core.uuid(), &device.id, Decision::Approved);
        let others = device
            .tokens
            .iter()
            .filter(|token| token.role != ask.role && code.roles.contains(&token.role))
            .map(|token| HelloDeviceToken {
                device_token: device_token(&core.deps.token, &device.id, token.role, &token.salt)
                    .expose()
                    .clone(),
                role: token.role.word().to_owned(),
                scopes: token
                    .scopes
                    .words()
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                issued_at_ms: token.rotated_at.unwrap_or(token.created_at),
            })
            .collect();
        Ok((device, others))
    }

    /// The token the device leaves with: the one it showed, the one it has, or another when that cannot be told again.
    async fn token(
        &self,
        device: &Device,
        ask: &PairingAsk,
        shown: Option<&str>,
    ) -> Result<(String, Timestamp), No> {
        let core = self.core();
        let held = device.token(ask.role);
        if let Some(held) = held {
            let since = held.rotated_at.unwrap_or(held.created_at);
            if let Some(shown) = shown {
                return Ok((shown.to_owned(), since));
            }
            let text = device_token(&core.deps.token, &device.id, ask.role, &held.salt);
            if digest_matches(&held.digest, text.expose()) && held.scopes.cover(ask.scopes) {
                return Ok((text.expose().clone(), since));
            }
        }
        let scopes = held
            .map_or(Scopes::NONE, |held| held.scopes)
            .with(ask.scopes);
        let new = core.mint_token(&device.id, ask.role, scopes);
        let text = device_token(&core.deps.token, &device.id, ask.role, &new.salt);
        let by = match self.peer.source {
            Source::Socket => "frames:socket",
            Source::Tcp { .. } => "frames:token",
        };
        let put = core.deps.store.put_device_token(
            core.owner(),
            &device.id,
            new,
            TokenChange::Issued,
            by,
        );
        put.await.map_err(|e| No::broken(e.into()))?;
        Ok((text.expose().clone(), core.now()))
    }
}
