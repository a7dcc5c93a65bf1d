//! Which credential a client showed. What is compared with what decides where a failure counts, not the name of the
//! field it came in (S7).

use adjutant_domain::access::Role;
use adjutant_domain::device::{Device, SetupCode};
use adjutant_domain::id::DeviceId;
use adjutant_protocol::frames::ConnectAuth;
use adjutant_vault::{digest, digest_matches};

use super::Hand;
use super::refusal::{NextStep, No, locked_out, unauthorized};
use crate::edge::Class;

/// What a client showed.
pub(super) enum Credential {
    /// The socket file: only the owner can open it.
    Socket,
    /// The gateway token.
    Shared,
    /// The token of a device that proved its key, with the text.
    DeviceToken(Box<Device>, String),
    /// A setup code, unused so far.
    Setup(Box<SetupCode>),
}

impl Credential {
    /// Whether it stands for the owner.
    pub(super) fn is_the_owners(&self) -> bool {
        matches!(self, Self::Socket | Self::Shared)
    }
}

/// What was offered.
struct Offered<'a> {
    auth: &'a ConnectAuth,
    texts: Vec<&'a str>,
    setup: Option<&'a str>,
}

impl<'a> Offered<'a> {
    fn of(auth: &'a ConnectAuth) -> Self {
        let filled = |field: &'a Option<String>| field.as_deref().filter(|text| !text.is_empty());
        let texts = [&auth.token, &auth.password, &auth.device_token];
        Self {
            auth,
            texts: texts.into_iter().filter_map(filled).collect(),
            setup: filled(&auth.bootstrap_token),
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.setup.is_none()
    }

    /// The error that fits what the client meant to show.
    fn refusal(&self, device: bool) -> No {
        let auth = self.auth;
        let own = auth.device_token.is_some()
            && (auth.token.is_none() || auth.token == auth.device_token)
            && auth.password.is_none();
        if own {
            return unauthorized(
                "device token mismatch",
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "device_token_mismatch",
                NextStep::Credentials,
            );
        }
        if self.texts.is_empty() {
            return unauthorized(
                "setup code invalid or used",
                "AUTH_BOOTSTRAP_TOKEN_INVALID",
                "bootstrap_token_invalid",
                NextStep::Credentials,
            );
        }
        if auth.token.is_none() && auth.password.is_some() {
            return unauthorized(
                "gateway password mismatch",
                "AUTH_PASSWORD_MISMATCH",
                "password_mismatch",
                NextStep::Credentials,
            );
        }
        let next = if device && auth.device_token.is_none() {
            NextStep::DeviceToken
        } else {
            NextStep::Credentials
        };
        unauthorized(
            "gateway token mismatch",
            "AUTH_TOKEN_MISMATCH",
            "token_mismatch",
            next,
        )
    }
}

impl Hand<'_> {
    /// The shared token, the device's own token for this role, or a setup code.
    pub(super) async fn credential(
        &self,
        auth: &ConnectAuth,
        device: Option<&DeviceId>,
        role: Role,
    ) -> Result<Credential, No> {
        let offered = Offered::of(auth);
        if offered.is_empty() {
            return match self.peer.counted {
                None => Ok(Credential::Socket),
                Some(_) => Err(unauthorized(
                    "gateway token missing",
                    "AUTH_TOKEN_MISSING",
                    "token_missing",
                    NextStep::Credentials,
                )),
            };
        }
        let mut attempt = Attempt::default();
        if !offered.texts.is_empty() && attempt.may(self, Class::Shared) {
            let shared = &self.core().deps.token;
            // Every field is compared, whichever matches.
            let hits = offered.texts.iter().filter(|text| shared.matches(text));
            if hits.count() > 0 {
                return Ok(Credential::Shared);
            }
        }
        if let Some(device) = device {
            if let Some(found) = self
                .device_token(&offered, device, role, &mut attempt)
                .await?
            {
                return Ok(found);
            }
            if let Some(found) = self.setup_code(&offered, role, &mut attempt).await? {
                return Ok(found);
            }
        }
        let Attempt { compared, locked } = attempt;
        let core = self.core();
        if let Some(source) = self.peer.counted {
            let now = core.deps.clock.monotonic();
            for class in compared {
                core.throttle.failed(source, class, now);
            }
            tracing::warn!(%source, "wrong credential");
        }
        // What could not be compared may have been right.
        if let Some(left) = locked {
            return Err(locked_out(left));
        }
        Err(offered.refusal(device.is_some()))
    }

    async fn device_token(
        &self,
        offered: &Offered<'_>,
        device: &DeviceId,
        role: Role,
        attempt: &mut Attempt,
    ) -> Result<Option<Credential>, No> {
        if offered.texts.is_empty() || !attempt.may(self, Class::DeviceToken) {
            return Ok(None);
        }
        let core = self.core();
        let known = core.deps.store.device(core.owner(), device).await;
        let Some(known) = known.map_err(|e| No::broken(e.into()))? else {
            return Ok(None);
        };
        let Some(token) = known.token(role).filter(|t| t.revoked_at.is_none()) else {
            return Ok(None);
        };
        let shown = [&offered.auth.token, &offered.auth.device_token];
        let text = shown
            .into_iter()
            .flatten()
            .find(|text| digest_matches(&token.digest, text));
        let text = text.cloned();
        Ok(text.map(|text| Credential::DeviceToken(Box::new(known), text)))
    }

    async fn setup_code(
        &self,
        offered: &Offered<'_>,
        role: Role,
        attempt: &mut Attempt,
    ) -> Result<Option<Credential>, No> {
        let Some(text) = offered.setup else {
            return Ok(None);
        };
        if !attempt.may(self, Class::Setup) {
            return Ok(None);
        }
        let core = self.core();
        let digest = digest(text.as_bytes());
        let code = core.deps.store.setup_code(core.owner(), &digest).await;
        let code = code.map_err(|e| No::broken(e.into()))?;
        let code = code.filter(|code| code.roles.contains(&role));
        Ok(code.map(|code| Credential::Setup(Box::new(code))))
    }
}

/// What was compared in this attempt, and what could not be because its source is locked out.
#[derive(Default)]
struct Attempt {
    compared: Vec<Class>,
    locked: Option<std::time::Duration>,
}

impl Attempt {
    /// Whether a comparison of this class may be made. The socket file is never locked, so that the owner cannot be
    /// locked out on their own machine.
    fn may(&mut self, hand: &Hand<'_>, class: Class) -> bool {
        let Some(source) = hand.peer.counted else {
            return true;
        };
        let core = hand.core();
        let now = core.deps.clock.monotonic();
        match core.throttle.locked(source, class, now) {
            Some(left) => {
                self.locked = Some(self.locked.map_or(left, |other| other.min(left)));
                false
            }
            None => {
                self.compared.push(class);
                true
            }
        }
    }
}
