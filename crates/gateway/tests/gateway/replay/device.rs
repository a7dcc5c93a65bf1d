//! Devices of recorded clients, with keys of our own: private keys are not recorded.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use adjutant_domain::time::Timestamp;
use adjutant_vault::{DeviceClaim, DeviceKey, PayloadVersion, device_id};

/// The key that stands for a recorded device: always the same one.
pub(crate) fn key_of(recorded_id: &str) -> SigningKey {
    let mut seed = [7u8; 32];
    for (at, byte) in recorded_id.bytes().enumerate() {
        seed[at % 32] ^= byte.rotate_left(u32::try_from(at / 32).unwrap());
    }
    SigningKey::from_bytes(&seed)
}

/// The identifier of that key.
pub(crate) fn id_of(recorded_id: &str) -> String {
    let public = public_text(&key_of(recorded_id));
    device_id(&DeviceKey::parse(&public).unwrap())
}

fn public_text(key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes())
}

/// Puts a proof of our key where the recorded one was, over this socket's nonce.
pub(crate) fn prove(params: &mut Value, nonce: &str, now: Timestamp) {
    let Some(recorded) = params["device"]["id"].as_str().map(str::to_owned) else {
        return;
    };
    let key = key_of(&recorded);
    let (id, public) = (id_of(&recorded), public_text(&key));
    let text = |pointer: &str| {
        params
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let scopes: Vec<String> = params["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|scope| scope.as_str().unwrap().to_owned())
        .collect();
    let token = ["/auth/token", "/auth/deviceToken", "/auth/bootstrapToken"]
        .iter()
        .map(|pointer| text(pointer))
        .find(|token| !token.is_empty())
        .unwrap_or_default();
    let (client_id, mode) = (text("/client/id"), text("/client/mode"));
    let (role, platform, family) = (
        text("/role"),
        text("/client/platform"),
        text("/client/deviceFamily"),
    );
    let claim = DeviceClaim {
        id: &id,
        public_key: &public,
        signature: "",
        signed_at: now.as_millis(),
        nonce: Some(nonce),
        client_id: &client_id,
        client_mode: &mode,
        role: &role,
        scopes: &scopes,
        token: &token,
        platform: &platform,
        device_family: &family,
    };
    // As the recorded programs do: the Control UI and the January release sign version 2.
    let version =
        if client_id.ends_with("control-ui") || text("/client/version").starts_with("2026.1.") {
            PayloadVersion::V2
        } else {
            PayloadVersion::V3
        };
    let signature = key.sign(claim.payload(version, nonce).as_bytes());
    params["device"] = json!({
        "id": id, "publicKey": public, "signedAt": now, "nonce": nonce,
        "signature": URL_SAFE_NO_PAD.encode(signature.to_bytes()),
    });
}
