//! Devices, what an operator decided about them, and the pure rules over both (S10, S13, D5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Role, Scopes};
use crate::id::{DeviceId, OwnerId, PairingId};
use crate::time::Timestamp;

/// How long a request waits for an answer.
pub const PAIRING_LIFE: Duration = Duration::from_secs(5 * 60);
/// Wrong codes before the open requests lapse.
pub const PAIRING_TRIES_MAX: u32 = 5;
/// Requests of one source within [`PAIRING_LIFE`], answered ones included unless they were approved.
pub const PAIRINGS_PER_SOURCE_MAX: u32 = 3;
/// Requests of all sources within [`PAIRING_LIFE`], counted the same way.
pub const PAIRINGS_MAX: u32 = 20;
/// Devices of one owner.
pub const DEVICES_MAX: u32 = 1_000;
/// Commands, and capabilities, of one node.
pub const CLAIMS_MAX: usize = 256;
/// Bytes of the name of a command or capability.
pub const CLAIM_BYTES_MAX: usize = 128;

/// What a node says of itself. Never trusted for policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeClaims {
    /// Broad kinds of what it can do.
    pub caps: BTreeSet<String>,
    /// Commands it says it will run.
    pub commands: BTreeSet<String>,
    /// What its system allows it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub permissions: BTreeMap<String, bool>,
    /// Its PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
}

/// Capabilities and commands that lend neither shell nor camera, screen, microphone, location or personal data.
const HARMLESS_CAPS: [&str; 3] = ["canvas", "device", "notify"];
const HARMLESS_COMMANDS: [&str; 4] = [
    "device.info",
    "device.status",
    "system.notify",
    "system.which",
];

impl NodeClaims {
    /// What is kept of it when the node is approved.
    #[must_use]
    pub fn for_record(&self) -> Self {
        Self {
            caps: self.caps.clone(),
            commands: self.commands.clone(),
            ..Self::default()
        }
    }

    /// Whether nothing in it needs a person's eyes first: everything else counts as shell, camera, screen or location.
    #[must_use]
    pub fn are_harmless(&self) -> bool {
        let canvas = |name: &str| name.starts_with("canvas.") && name != "canvas.eval";
        self.caps
            .iter()
            .all(|cap| HARMLESS_CAPS.contains(&cap.as_str()))
            && self
                .commands
                .iter()
                .all(|name| HARMLESS_COMMANDS.contains(&name.as_str()) || canvas(name))
    }
}

/// Which operating system a client says it runs on, by the beginning of what it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlatformKind {
    /// `iOS 18`, `iPhone`, `iPad`.
    Ios,
    /// `android 15`.
    Android,
    /// `darwin`, `macOS`, `MacIntel`.
    Macos,
    /// `linux`, `Linux x86_64`.
    Linux,
    /// `win32`, `Windows`.
    Windows,
    /// Anything else.
    Other,
}

impl PlatformKind {
    /// What `platform` begins with; versions and processors do not count.
    #[must_use]
    pub fn of(platform: &str) -> Self {
        let text = platform.trim().to_ascii_lowercase();
        let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
        if begins(&["ios", "iphone", "ipad"]) {
            Self::Ios
        } else if begins(&["android"]) {
            Self::Android
        } else if begins(&["darwin", "mac"]) {
            Self::Macos
        } else if begins(&["linux"]) {
            Self::Linux
        } else if begins(&["win"]) {
            Self::Windows
        } else {
            Self::Other
        }
    }
}

/// Who decided that a device is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovedVia {
    /// Nobody was asked: an operator on this machine that held the gateway token.
    Silent,
    /// A person.
    Operator,
    /// A setup code that a person made.
    SetupCode,
}

/// A fresh token for a role; whoever stores it never sees the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// For which role.
    pub role: Role,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Random.
    pub salt: String,
    /// Hex SHA-256 of the text.
    pub digest: String,
}

/// What a device may show instead of the gateway token. The text itself is never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceToken {
    /// For which role.
    pub role: Role,
    /// How the role was given.
    pub via: ApprovedVia,
    /// What it may be used for, within the device's own scopes.
    pub scopes: Scopes,
    /// Random; the text is derived from it and the gateway's own token.
    pub salt: String,
    /// Hex SHA-256 of the text.
    pub digest: String,
    /// When the first one was made.
    pub created_at: Timestamp,
    /// When it was replaced last.
    pub rotated_at: Option<Timestamp>,
    /// Since when it is void. Only a new pairing makes another.
    pub revoked_at: Option<Timestamp>,
    /// When it was shown last.
    pub last_used_at: Option<Timestamp>,
}

/// A device that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Whose it is.
    pub owner: OwnerId,
    /// The hash of its key.
    pub id: DeviceId,
    /// Unpadded base64url of its key.
    pub public_key: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// As it was when it was approved.
    pub platform: String,
    /// As it was when it was approved.
    pub device_family: Option<String>,
    /// The program it came with last.
    pub client_id: String,
    /// What that program is.
    pub client_mode: String,
    /// The roles it was approved for.
    pub roles: BTreeSet<Role>,
    /// What it may do as an operator.
    pub scopes: Scopes,
    /// What it offered as a node when that was approved.
    pub claims: NodeClaims,
    /// Its tokens, one per role.
    pub tokens: Vec<DeviceToken>,
    /// Where it came from last.
    pub remote_ip: Option<String>,
    /// Who let it in: surface and principal.
    pub approved_by: String,
    /// How.
    pub approved_via: ApprovedVia,
    /// When it was first let in.
    pub created_at: Timestamp,
    /// When that was last decided.
    pub approved_at: Timestamp,
    /// When it last connected.
    pub last_seen_at: Option<Timestamp>,
}

impl ApprovedVia {
    /// The word in the audit trail: `device.pair.<word>`.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Silent => "device.pair.silent",
            Self::Operator => "device.pair.approve",
            Self::SetupCode => "device.pair.setup",
        }
    }
}

impl Device {
    /// The token for a role.
    #[must_use]
    pub fn token(&self, role: Role) -> Option<&DeviceToken> {
        self.tokens.iter().find(|token| token.role == role)
    }

    /// The device as it is when `ask` was granted: what is given on top of what it has, or in its place when it is not what
    /// it was. Tokens for the roles come with [`Self::set_token`].
    #[must_use]
    pub fn admitted(before: Option<Self>, ask: &PairingAsk, grant: Grant<'_>) -> Self {
        let fresh = matches!(
            standing(before.as_ref(), ask),
            Standing::Needs(PairingReason::NotPaired | PairingReason::MetadataUpgrade)
        );
        let created_at = before.as_ref().map_or(grant.at, |d| d.created_at);
        let kept = before.filter(|_| !fresh);
        let (mut roles, mut tokens, had, claims, last_seen_at) = match kept {
            Some(d) => (d.roles, d.tokens, d.scopes, d.claims, d.last_seen_at),
            None => Default::default(),
        };
        let operator = |role: &Role| *role == Role::Operator;
        // A role that was taken away begins from nothing.
        let lost = |token: &DeviceToken| token.revoked_at.is_some();
        let had = if tokens.iter().any(|t| operator(&t.role) && lost(t)) {
            Scopes::NONE
        } else {
            had
        };
        tokens.retain(|token| !(lost(token) && grant.roles.contains(&token.role)));
        roles.extend(grant.roles.iter().copied());
        let scopes = if grant.roles.iter().any(operator) {
            had.with(grant.scopes)
        } else {
            had
        };
        Self {
            owner: grant.owner.clone(),
            id: ask.device.clone(),
            public_key: ask.public_key.clone(),
            display_name: ask.display_name.clone(),
            platform: ask.platform.clone(),
            device_family: ask.device_family.clone(),
            client_id: ask.client_id.clone(),
            client_mode: ask.client_mode.clone(),
            roles,
            scopes,
            claims: if ask.role == Role::Node {
                ask.claims.clone()
            } else {
                claims
            },
            tokens,
            remote_ip: ask.remote_ip.clone(),
            approved_by: grant.by.to_owned(),
            approved_via: grant.via,
            created_at,
            approved_at: grant.at,
            last_seen_at,
        }
    }

    /// Gives a token for a role that was granted. One that the device may still hold stays, and covers more: a device that
    /// has nothing but its token would be locked out by the very approval.
    pub fn grant_token(&mut self, new: NewToken, via: ApprovedVia, at: Timestamp) {
        let valid = |token: &&mut DeviceToken| token.role == new.role && token.revoked_at.is_none();
        match self.tokens.iter_mut().find(valid) {
            Some(token) => {
                token.scopes = token.scopes.with(new.scopes);
                token.via = via;
            }
            None => self.set_token(new, Some(via), at),
        }
    }

    /// Puts a token in the place of the role's older one.
    pub fn set_token(&mut self, new: NewToken, via: Option<ApprovedVia>, at: Timestamp) {
        let old = self.tokens.iter().position(|token| token.role == new.role);
        let old = old.map(|place| self.tokens.remove(place));
        self.tokens.push(DeviceToken {
            role: new.role,
            via: via
                .or(old.as_ref().map(|token| token.via))
                .unwrap_or(self.approved_via),
            scopes: new.scopes,
            salt: new.salt,
            digest: new.digest,
            created_at: old.as_ref().map_or(at, |token| token.created_at),
            rotated_at: old.as_ref().map(|_| at),
            revoked_at: None,
            last_used_at: old.and_then(|token| token.last_used_at),
        });
        self.tokens.sort_by_key(|token| token.role);
    }

    /// What it may do in this role (S10).
    #[must_use]
    pub fn scopes_as(&self, role: Role) -> Scopes {
        match role {
            Role::Operator => self.scopes,
            Role::Node => Scopes::NONE,
        }
    }
}

/// What is given to a device, by whom.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// Whose device it becomes.
    pub owner: &'a OwnerId,
    /// The roles.
    pub roles: &'a BTreeSet<Role>,
    /// The scopes as an operator.
    pub scopes: Scopes,
    /// Surface and principal.
    pub by: &'a str,
    /// How.
    pub via: ApprovedVia,
    /// When.
    pub at: Timestamp,
}

/// What a device asks for when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingAsk {
    /// The hash of its key.
    pub device: DeviceId,
    /// Unpadded base64url of its key.
    pub public_key: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Operating system or browser.
    pub platform: String,
    /// Kind of device.
    pub device_family: Option<String>,
    /// The program.
    pub client_id: String,
    /// What that program is.
    pub client_mode: String,
    /// The role it wants.
    pub role: Role,
    /// The scopes it wants; none for a node.
    pub scopes: Scopes,
    /// What it offers; empty for an operator.
    pub claims: NodeClaims,
    /// Where it comes from, for people.
    pub remote_ip: Option<String>,
    /// Where it comes from, for counting: an address or `socket`.
    pub source: String,
}

/// Why a device must be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PairingReason {
    /// It is not known.
    NotPaired,
    /// Its token was revoked.
    Revoked,
    /// It says it runs on another system than when it was approved.
    MetadataUpgrade,
    /// It wants a role it does not have.
    RoleUpgrade,
    /// It wants scopes it does not have.
    ScopeUpgrade,
    /// It was let in without a question and now offers more than is given that way.
    ClaimsUpgrade,
}

impl PairingReason {
    /// `details.reason`, in words that clients know.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotPaired | Self::Revoked => "not-paired",
            Self::MetadataUpgrade => "metadata-upgrade",
            Self::RoleUpgrade => "role-upgrade",
            Self::ScopeUpgrade => "scope-upgrade",
            Self::ClaimsUpgrade => "claims-upgrade",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotPaired => "device is not approved yet",
            Self::Revoked => "device was revoked",
            Self::MetadataUpgrade => "device reports another system than when it was approved",
            Self::RoleUpgrade => "device is asking for another role than it has",
            Self::ScopeUpgrade => "device is asking for more scopes than it has",
            Self::ClaimsUpgrade => "device offers more than it did when it was let in",
        }
    }
}

/// Where a device stands with what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Paired,
    /// A decision is needed first.
    Needs(PairingReason),
}

/// Compares what a device asks with what was decided.
#[must_use]
pub fn standing(device: Option<&Device>, ask: &PairingAsk) -> Standing {
    let Some(device) = device.filter(|d| d.id == ask.device && d.public_key == ask.public_key)
    else {
        return Standing::Needs(PairingReason::NotPaired);
    };
    let revoked = |token: &DeviceToken| token.revoked_at.is_some();
    if device.token(ask.role).is_some_and(revoked) {
        return Standing::Needs(PairingReason::Revoked);
    }
    if has_changed(device, ask) {
        return Standing::Needs(PairingReason::MetadataUpgrade);
    }
    if !device.roles.contains(&ask.role) {
        return Standing::Needs(PairingReason::RoleUpgrade);
    }
    if ask.role == Role::Operator && !device.scopes.cover(ask.scopes) {
        return Standing::Needs(PairingReason::ScopeUpgrade);
    }
    let silent = |token: &DeviceToken| token.via == ApprovedVia::Silent;
    if ask.role == Role::Node
        && device.token(Role::Node).is_some_and(silent)
        && !ask.claims.are_harmless()
    {
        return Standing::Needs(PairingReason::ClaimsUpgrade);
    }
    Standing::Paired
}

/// Versions change with every update and are no reason; another system under the same key is one.
fn has_changed(device: &Device, ask: &PairingAsk) -> bool {
    let plain = |text: &str| text.trim().to_ascii_lowercase();
    let families = (
        device.device_family.as_deref(),
        ask.device_family.as_deref(),
    );
    let family = matches!(families, (Some(then), Some(now)) if plain(then) != plain(now));
    family || PlatformKind::of(&device.platform) != PlatformKind::of(&ask.platform)
}

/// Whether an authenticated device on this machine may have this without a question.
///
/// What a person took away or what looks like a stolen key is never given back that way, and neither is a machine's
/// shell, camera, screen or location.
#[must_use]
pub fn may_be_silent(reason: PairingReason, ask: &PairingAsk) -> bool {
    match reason {
        PairingReason::Revoked | PairingReason::MetadataUpgrade | PairingReason::ClaimsUpgrade => {
            false
        }
        PairingReason::NotPaired | PairingReason::RoleUpgrade | PairingReason::ScopeUpgrade => {
            match ask.role {
                Role::Operator => true,
                Role::Node => ask.claims.are_harmless(),
            }
        }
    }
}

/// Where a request stands. Whether it has lapsed is a matter of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairingState {
    /// Nobody has answered.
    Open,
    /// Answered yes.
    Approved,
    /// Answered no.
    Rejected,
    /// The same device asked for something else.
    Superseded,
    /// Too many wrong codes.
    Spent,
}

/// A request of a device to be let in. What it asks never changes; another ask is another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRequest {
    /// Whose gateway it wants into.
    pub owner: OwnerId,
    /// Its name.
    pub id: PairingId,
    /// What it asks.
    pub ask: PairingAsk,
    /// Why a decision is needed.
    pub reason: PairingReason,
    /// Where it stands.
    pub state: PairingState,
    /// Wrong codes since it was made.
    pub tries: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
}

impl PairingRequest {
    /// Whether it can be answered.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == PairingState::Open && now < self.expires_at
    }

    /// Whether this is the same wish: what a person saw is what they would approve.
    #[must_use]
    pub fn asks_the_same(&self, ask: &PairingAsk, reason: PairingReason) -> bool {
        let own = &self.ask;
        self.reason == reason
            && own.device == ask.device
            && own.public_key == ask.public_key
            && own.role == ask.role
            && own.scopes == ask.scopes
            && own.claims.caps == ask.claims.caps
            && own.claims.commands == ask.claims.commands
            && own.platform == ask.platform
            && own.device_family == ask.device_family
            && own.display_name == ask.display_name
            && own.client_id == ask.client_id
            && own.client_mode == ask.client_mode
    }
}

/// A code that lets one new device in, made by an operator for a device that is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupCode {
    /// Whose gateway.
    pub owner: OwnerId,
    /// Hex SHA-256 of its secret.
    pub digest: String,
    /// The roles it gives.
    pub roles: BTreeSet<Role>,
    /// The scopes it gives.
    pub scopes: Scopes,
    /// Who made it.
    pub made_by: String,
    /// Until when it can be used, once.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests;
