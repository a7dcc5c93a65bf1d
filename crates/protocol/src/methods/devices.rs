//! `device.*`: who may come in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::access::{Role, Scope, Scopes};
use adjutant_domain::device::{ApprovedVia, PairingReason};
use adjutant_domain::id::{ClientKey, DeviceId, PairingId};
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List devices and the requests that wait for an answer.
    DevicePairList = "device.pair.list" (NoParams) -> DeviceList
        { access: Pairing, kind: Read, order: Order::Free, reply: Once }

    /// Let a device in with exactly the role and scopes it asks for. The caller needs every one of these scopes, and
    /// `operator.admin` for a node; a device cannot approve itself.
    DevicePairApprove = "device.pair.approve" (PairingApproveParams) -> PairingApproved
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Refuse a device.
    DevicePairReject = "device.pair.reject" (PairingParams) -> PairingRejected
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Remove a device and end its connections. Its key has to be approved anew.
    DevicePairRemove = "device.pair.remove" (DeviceParams) -> DeviceRemoved
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Give a device another name for people.
    DeviceRename = "device.pair.rename" (DeviceRenameParams) -> DeviceRenamed
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Replace the token of a device for a role and end the connections that used the old one. The caller needs every scope
    /// of the new token. A repeat with the same key tells everything but the token.
    DeviceTokenRotate = "device.token.rotate" (TokenRotateParams) -> TokenRotated
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Take a role away from a device and end its connections. Only an approval gives it back.
    DeviceTokenRevoke = "device.token.revoke" (TokenParams) -> TokenRevoked
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }

    /// Make a code that lets one new device in, once, without a further question. The caller needs every scope it gives, and
    /// `operator.admin` for a node. A repeat with the same key tells everything but the code.
    DeviceSetupCode = "device.setup.code" (SetupCodeParams) -> SetupCodeMade
        { access: Pairing, kind: Write, order: Order::Global("devices"), reply: Once }
}

/// Result of `device.pair.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceList {
    /// Requests that wait for an answer, oldest first.
    pub pending: Vec<PendingPairing>,
    /// Devices, last approved first.
    pub paired: Vec<PairedDevice>,
}

/// A request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingPairing {
    /// Its name.
    pub request_id: PairingId,
    /// The device: the hash of its key.
    pub device_id: DeviceId,
    /// Its key, unpadded base64url.
    pub public_key: String,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Operating system or browser, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Kind of device, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What that program is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// The role it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The same as a list.
    pub roles: Vec<Role>,
    /// The scopes it asks for.
    pub scopes: Scopes,
    /// What a node says it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Commands that a node says it will run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Always false: who needs no question does not wait.
    pub silent: bool,
    /// Whether the device is known and asks for something else.
    pub is_repair: bool,
    /// Why it must be approved.
    pub reason: PairingReason,
    /// The code that the device shows, too.
    pub code: String,
    /// The beginning of the hash of its key, in groups.
    pub fingerprint: String,
    /// Until when it can be answered.
    pub expires_at_ms: Timestamp,
    /// When it asked.
    pub ts: Timestamp,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairedDevice {
    /// The hash of its key.
    pub device_id: DeviceId,
    /// Its key, unpadded base64url.
    pub public_key: String,
    /// The beginning of the hash of its key, in groups.
    pub fingerprint: String,
    /// What it calls itself, or what it was called here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Operating system or browser when it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Kind of device when it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What that program is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// One of its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// All of them.
    pub roles: Vec<Role>,
    /// What it may do as an operator.
    pub scopes: Scopes,
    /// Where it came from last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// How it was let in.
    pub approved_via: ApprovedVia,
    /// By whom.
    pub approved_by: String,
    /// When it was first let in.
    pub created_at_ms: Timestamp,
    /// When that was last decided.
    pub approved_at_ms: Timestamp,
    /// When it last connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<Timestamp>,
    /// Whether it is connected now.
    pub connected: bool,
    /// Its tokens, without their texts.
    pub tokens: Vec<TokenShown>,
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenShown {
    /// For which role.
    pub role: Role,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When the first one was made.
    pub created_at_ms: Timestamp,
    /// When it was replaced last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<Timestamp>,
    /// Since when it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<Timestamp>,
    /// When it was shown last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<Timestamp>,
}

/// Parameters of `device.pair.approve`: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingApproveParams {
    /// Which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The code that the device shows. Five wrong ones make every open request lapse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.pair.approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingApproved {
    /// The request.
    pub request_id: PairingId,
    /// The device as it is now.
    pub device: PairedDevice,
}

/// Which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingParams {
    /// Which request.
    pub request_id: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.pair.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingRejected {
    /// The request.
    pub request_id: PairingId,
    /// The device.
    pub device_id: DeviceId,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceParams {
    /// The hash of its key.
    pub device_id: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.pair.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRemoved {
    /// The device.
    pub device_id: DeviceId,
}

/// Parameters of `device.pair.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceRenameParams {
    /// The hash of its key.
    pub device_id: String,
    /// The name, 1 to 256 bytes.
    pub display_name: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.pair.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRenamed {
    /// The device.
    pub device_id: DeviceId,
    /// Its name now.
    pub display_name: String,
}

/// Parameters of `device.token.rotate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRotateParams {
    /// The hash of its key.
    pub device_id: String,
    /// For which role.
    pub role: Role,
    /// What the new token may be used for, within what the device may do; all of that when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.token.rotate`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRotated {
    /// The device.
    pub device_id: DeviceId,
    /// For which role.
    pub role: Role,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When.
    pub rotated_at_ms: Timestamp,
    /// The token. Not told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl std::fmt::Debug for TokenRotated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRotated")
            .field("device_id", &self.device_id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Parameters of `device.token.revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenParams {
    /// The hash of its key.
    pub device_id: String,
    /// For which role.
    pub role: Role,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.token.revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRevoked {
    /// The device.
    pub device_id: DeviceId,
    /// Which role it lost.
    pub role: Role,
    /// When.
    pub revoked_at_ms: Timestamp,
}

/// Parameters of `device.setup.code`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetupCodeParams {
    /// The roles it gives; `operator` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    /// The scopes it gives as an operator; read and write when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Where the device reaches the gateway: `ws://` on this machine only, `wss://` elsewhere. The gateway's own address
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How long it can be used, in milliseconds; 10 s to 10 min, by default 5 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `device.setup.code`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupCodeMade {
    /// The code: base64url of JSON with `url`, `bootstrapToken` and `expiresAtMs`. Not told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_code: Option<String>,
    /// Where the device reaches the gateway.
    pub url: String,
    /// The roles it gives.
    pub roles: Vec<Role>,
    /// The scopes it gives.
    pub scopes: Scopes,
    /// Until when it can be used.
    pub expires_at_ms: Timestamp,
}

impl std::fmt::Debug for SetupCodeMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetupCodeMade")
            .field("url", &self.url)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}
