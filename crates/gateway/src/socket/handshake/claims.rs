//! What `connect` claims, checked for form, and the proof of a device key.

use std::collections::BTreeSet;

use serde_json::json;

use adjutant_domain::device::{CLAIM_BYTES_MAX, CLAIMS_MAX, NodeClaims};
use adjutant_domain::id::DeviceId;
use adjutant_protocol::Role;
use adjutant_protocol::frames::ConnectParams;
use adjutant_vault::{DeviceClaim, DeviceFault, NonceRule, PayloadVersion, digest, verify_device};

use super::Hand;
use super::refusal::{No, locked_out, schema};
use crate::edge::{Class, Source};

/// Bytes of the words a client uses for itself.
const WORD_BYTES_MAX: usize = 256;
/// Bytes of a PATH.
const PATH_BYTES_MAX: usize = 16 * 1024;
/// Scopes that a client may ask for.
const SCOPES_MAX: usize = 64;

/// What is claimed.
pub(super) struct Claims {
    pub(super) role: Role,
    pub(super) node: Option<NodeClaims>,
    /// Filled once the key is proven.
    pub(super) device: Option<ClaimedDevice>,
}

/// A device whose key is proven.
pub(super) struct ClaimedDevice {
    pub(super) id: DeviceId,
    /// Unpadded base64url.
    pub(super) public_key: String,
}

impl Claims {
    /// Checks the form.
    pub(super) fn of(params: &ConnectParams) -> Result<Self, No> {
        if !params.client.is_known() {
            return Err(schema("at /client/id: unknown client id"));
        }
        let role = match &params.role {
            None => Role::Operator,
            Some(word) => word
                .parse()
                .map_err(|_e| schema("at /role: must be operator or node"))?,
        };
        check_words(params)?;
        let node = match role {
            Role::Operator => None,
            Role::Node => Some(node_claims(params)?),
        };
        Ok(Self {
            role,
            node,
            device: None,
        })
    }
}

fn check_words(params: &ConnectParams) -> Result<(), No> {
    let client = &params.client;
    let words = [
        ("version", Some(&client.version)),
        ("platform", Some(&client.platform)),
        ("displayName", client.display_name.as_ref()),
        ("deviceFamily", client.device_family.as_ref()),
        ("modelIdentifier", client.model_identifier.as_ref()),
        ("instanceId", client.instance_id.as_ref()),
        ("buildId", client.build_id.as_ref()),
        ("timeZone", client.time_zone.as_ref()),
    ];
    for (name, word) in words {
        let Some(word) = word else { continue };
        if word.is_empty() || word.len() > WORD_BYTES_MAX || word.chars().any(char::is_control) {
            return Err(schema(format!(
                "at /client/{name}: must have 1 to {WORD_BYTES_MAX} printable bytes"
            )));
        }
    }
    if params.scopes.iter().flatten().count() > SCOPES_MAX {
        return Err(schema(format!("at /scopes: more than {SCOPES_MAX}")));
    }
    Ok(())
}

fn node_claims(params: &ConnectParams) -> Result<NodeClaims, No> {
    let path = params.path_env.clone();
    if path
        .as_ref()
        .is_some_and(|path| path.len() > PATH_BYTES_MAX)
    {
        let message = format!("at /pathEnv: more than {PATH_BYTES_MAX} bytes");
        return Err(schema(message));
    }
    let permissions = params.permissions.clone().unwrap_or_default();
    checked("permissions", permissions.keys())?;
    Ok(NodeClaims {
        caps: checked("caps", params.caps.iter().flatten())?,
        commands: checked("commands", params.commands.iter().flatten())?,
        permissions,
        path_env: path,
    })
}

fn checked<'a>(
    field: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeSet<String>, No> {
    let mut set = BTreeSet::new();
    for name in names {
        let printable = name.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || name.len() > CLAIM_BYTES_MAX || !printable {
            return Err(schema(format!(
                "at /{field}: a name has 1 to {CLAIM_BYTES_MAX} printable bytes"
            )));
        }
        set.insert(name.clone());
        if set.len() > CLAIMS_MAX {
            return Err(schema(format!("at /{field}: more than {CLAIMS_MAX}")));
        }
    }
    Ok(set)
}

impl Hand<'_> {
    /// The device whose key signed this socket's nonce just now; none when the client has none.
    pub(super) fn proof(
        &self,
        params: &ConnectParams,
        role: Role,
    ) -> Result<Option<ClaimedDevice>, No> {
        let Some(device) = &params.device else {
            return Ok(None);
        };
        let core = self.core();
        let now = core.deps.clock.monotonic();
        if let Some(source) = self.peer.counted
            && let Some(left) = core.throttle.locked(source, Class::Device, now)
        {
            return Err(locked_out(left));
        }
        let auth = params.auth.as_ref();
        let token = auth
            .and_then(|a| {
                a.token
                    .as_deref()
                    .or(a.device_token.as_deref())
                    .or(a.bootstrap_token.as_deref())
            })
            .unwrap_or_default();
        let claim = DeviceClaim {
            id: &device.id,
            public_key: &device.public_key,
            signature: &device.signature,
            signed_at: device.signed_at,
            nonce: device.nonce.as_deref(),
            client_id: &params.client.id,
            client_mode: params.client.mode.word(),
            role: role.word(),
            scopes: params.scopes.as_deref().unwrap_or_default(),
            token,
            platform: &params.client.platform,
            device_family: params.client.device_family.as_deref().unwrap_or_default(),
        };
        let near = self.peer.local && !self.browser.origin;
        let rule = match self.peer.source {
            Source::Tcp { .. } if near => NonceRule::OptionalOnThisMachine,
            Source::Tcp { .. } | Source::Socket => NonceRule::Required,
        };
        let proven = verify_device(&claim, self.nonce, core.now().as_millis(), rule);
        let fresh = |version| {
            // Without a nonce, nothing but memory keeps a signature from being used twice.
            version != PayloadVersion::V1
                || core
                    .signatures
                    .is_new(digest(device.signature.as_bytes()), now)
        };
        let proven = match proven {
            Ok(proven) if fresh(proven.version) => Ok(proven),
            Ok(_) => Err(DeviceFault::NonceMissing),
            Err(fault) => Err(fault),
        };
        let proven = proven.map_err(|fault| {
            if let Some(source) = self.peer.counted {
                core.throttle.failed(source, Class::Device, now);
            }
            let details = json!({ "code": fault.detail_code(), "reason": fault.reason() });
            No::with(fault.to_string(), details)
        })?;
        let id = DeviceId::parse(device.id.as_str()).map_err(schema)?;
        Ok(Some(ClaimedDevice {
            id,
            public_key: proven.key.base64url(),
        }))
    }
}
