//! Device keys and the signature over a gateway's nonce.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::digest::digest;

/// How far a client's clock may be from ours.
pub const SIGNATURE_SKEW_MS_MAX: u64 = 2 * 60 * 1_000;
/// What stands before the raw key in a PEM public key.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A device's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// Reads base64url, base64 or PEM.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(body) = text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
            let body: String = body.split("-----END").next()?.split_whitespace().collect();
            let der = STANDARD.decode(body).ok()?;
            let raw = der.strip_prefix(&SPKI_PREFIX)?;
            return raw.try_into().ok().map(Self);
        }
        decode(text)?.try_into().ok().map(Self)
    }

    /// Unpadded base64url, however it was spelled.
    #[must_use]
    pub fn base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD, &STANDARD_NO_PAD]
        .into_iter()
        .find_map(|engine| engine.decode(text).ok())
}

/// The name of a device: the hash of its key.
#[must_use]
pub fn device_id(key: &DeviceKey) -> String {
    digest(&key.0)
}

/// Whether `signature` (64 bytes) is `key`'s over `message`. Weak keys never verify.
#[must_use]
pub fn verify(key: &DeviceKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = Signature::from_slice(signature) else {
        return false;
    };
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// Which line a device signs. The version is not transmitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadVersion {
    /// Without a nonce: programs of January 2026 that saw no challenge.
    V1,
    /// With the nonce.
    V2,
    /// With platform and family, too.
    V3,
}

/// What a device says about itself, exactly as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct DeviceClaim<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its key.
    pub public_key: &'a str,
    /// Its signature.
    pub signature: &'a str,
    /// When it signed, in milliseconds.
    pub signed_at: i64,
    /// The nonce it signed.
    pub nonce: Option<&'a str>,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// The role it asks for.
    pub role: &'a str,
    /// The scopes as sent, in order.
    pub scopes: &'a [String],
    /// First present of token, device token, bootstrap token.
    pub token: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`.
    pub device_family: &'a str,
}

impl DeviceClaim<'_> {
    /// The line that is signed.
    #[must_use]
    pub fn payload(&self, version: PayloadVersion, nonce: &str) -> String {
        let tag = match version {
            PayloadVersion::V1 => "v1",
            PayloadVersion::V2 => "v2",
            PayloadVersion::V3 => "v3",
        };
        let line = format!(
            "{tag}|{}|{}|{}|{}|{}|{}|{}",
            self.id,
            self.client_id,
            self.client_mode,
            self.role,
            self.scopes.join(","),
            self.signed_at,
            self.token,
        );
        match version {
            PayloadVersion::V1 => line,
            PayloadVersion::V2 => format!("{line}|{nonce}"),
            PayloadVersion::V3 => {
                format!(
                    "{line}|{nonce}|{}|{}",
                    plain(self.platform),
                    plain(self.device_family)
                )
            }
        }
    }
}

fn plain(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// Why a device is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFault {
    /// The key cannot be read.
    #[error("device public key invalid")]
    PublicKey,
    /// The id is not the key's hash.
    #[error("device identity mismatch")]
    Identity,
    /// Signed too long ago or in the future.
    #[error("device signature expired")]
    Stale,
    /// No nonce.
    #[error("device nonce required")]
    NonceMissing,
    /// Another socket's nonce.
    #[error("device nonce mismatch")]
    Nonce,
    /// The signature is not the key's.
    #[error("device signature invalid")]
    Signature,
}

impl DeviceFault {
    /// `details.reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::PublicKey => "device-public-key",
            Self::Identity => "device-id-mismatch",
            Self::Stale => "device-signature-stale",
            Self::NonceMissing => "device-nonce-missing",
            Self::Nonce => "device-nonce-mismatch",
            Self::Signature => "device-signature",
        }
    }

    /// `details.code`.
    #[must_use]
    pub const fn detail_code(self) -> &'static str {
        match self {
            Self::PublicKey => "DEVICE_AUTH_PUBLIC_KEY_INVALID",
            Self::Identity => "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            Self::Stale => "DEVICE_AUTH_SIGNATURE_EXPIRED",
            Self::NonceMissing => "DEVICE_AUTH_NONCE_REQUIRED",
            Self::Nonce => "DEVICE_AUTH_NONCE_MISMATCH",
            Self::Signature => "DEVICE_AUTH_SIGNATURE_INVALID",
        }
    }
}

/// Whether a signature without a nonce can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceRule {
    /// Always needed.
    Required,
    /// A peer on this machine may leave it out. Whoever allows that must remember the signatures, or they can be replayed.
    OptionalOnThisMachine,
}

/// A device that proved its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenDevice {
    /// Its key.
    pub key: DeviceKey,
    /// Which line it signed.
    pub version: PayloadVersion,
}

/// Checks that the device holds its key and signed this socket's nonce just now.
///
/// # Errors
/// The first [`DeviceFault`], in the order of the protocol.
pub fn verify_device(
    claim: &DeviceClaim<'_>,
    nonce: &str,
    now_ms: i64,
    rule: NonceRule,
) -> Result<ProvenDevice, DeviceFault> {
    let key = DeviceKey::parse(claim.public_key).ok_or(DeviceFault::PublicKey)?;
    if device_id(&key) != claim.id {
        return Err(DeviceFault::Identity);
    }
    if now_ms.abs_diff(claim.signed_at) > SIGNATURE_SKEW_MS_MAX {
        return Err(DeviceFault::Stale);
    }
    let versions: &[PayloadVersion] = match claim.nonce {
        None | Some("") if rule == NonceRule::OptionalOnThisMachine => &[PayloadVersion::V1],
        None | Some("") => return Err(DeviceFault::NonceMissing),
        Some(signed) if signed != nonce => return Err(DeviceFault::Nonce),
        Some(_) => &[PayloadVersion::V3, PayloadVersion::V2],
    };
    let signature = decode(claim.signature).ok_or(DeviceFault::Signature)?;
    let signed = versions
        .iter()
        .find(|&&version| verify(&key, claim.payload(version, nonce).as_bytes(), &signature));
    match signed {
        Some(&version) => Ok(ProvenDevice { key, version }),
        None => Err(DeviceFault::Signature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
    const ID: &str = "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c";
    const NONCE: &str = "7b0a2f2e-5f3c-4d5e-9a61-0c8c5c1d2e3f";
    const V1_SIG: &str =
        "tZ6vLjwyV17ps1Qm-FGdTeUrtQvE71-bbT9iAYZmxcZAPctaT4lkG0mWW08YqzfNhzfG96gjnFiCTEV8xXXMDA";
    const V2_SIG: &str =
        "qdwO7J_BA9qvcl5vyQY5dSstu2bvE7AT2nVlm6jo3RwJkY5OGijxRdWtQNZkxvivk9-KwV7PjjfyZrM4vIdPDw";
    const V3_SIG: &str =
        "R0i6B-m27IvmyvYSi80AjIrRtDr4CsYkO97j4bxYI8uI2yNb-5WM2_zIgVMx1XyCRVLuCTBc8rb8nHXiIUNzCA";
    const NODE_SIG: &str =
        "7iFTp5CHlD_k5XRatB2wUH2e3hgNrSCBixbtyVMhLGkIkwv9iVgGbOoGIZps5eO2AoUuNjQEknMyCgfdZUsVAQ";
    const AT: i64 = 1_737_264_000_000;

    fn scopes() -> Vec<String> {
        vec!["operator.read".to_owned(), "operator.write".to_owned()]
    }

    fn claim<'a>(signature: &'a str, scopes: &'a [String]) -> DeviceClaim<'a> {
        DeviceClaim {
            id: ID,
            public_key: KEY,
            signature,
            signed_at: AT,
            nonce: Some(NONCE),
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes,
            token: "shared-secret",
            platform: "Linux",
            device_family: " Test Box ",
        }
    }

    fn checked(
        claim: &DeviceClaim<'_>,
        nonce: &str,
        now_ms: i64,
    ) -> Result<PayloadVersion, DeviceFault> {
        verify_device(claim, nonce, now_ms, NonceRule::Required).map(|proven| proven.version)
    }

    #[test]
    fn without_a_nonce_only_a_peer_on_this_machine_is_believed() {
        // covers: D4
        let scopes = scopes();
        let v1 = DeviceClaim {
            nonce: None,
            ..claim(V1_SIG, &scopes)
        };
        let local = |claim: &DeviceClaim<'_>| {
            verify_device(claim, NONCE, AT, NonceRule::OptionalOnThisMachine).map(|p| p.version)
        };
        assert_eq!(local(&v1), Ok(PayloadVersion::V1));
        assert_eq!(checked(&v1, NONCE, AT), Err(DeviceFault::NonceMissing));
        // A nonce that is there must be right, and the line with it signed.
        let nonce = Some(NONCE);
        let mixed = DeviceClaim { nonce, ..v1 };
        assert_eq!(local(&mixed), Err(DeviceFault::Signature));
        let stripped = DeviceClaim {
            nonce: None,
            ..claim(V2_SIG, &scopes)
        };
        assert_eq!(local(&stripped), Err(DeviceFault::Signature));
    }

    #[test]
    fn the_worked_vectors_of_the_protocol_verify() {
        // covers: D5
        let scopes = scopes();
        let v2 = claim(V2_SIG, &scopes);
        assert_eq!(
            digest(v2.payload(PayloadVersion::V2, NONCE).as_bytes()),
            "5e997cfc467ce78f56654f2adf1eafa41bb118ae32ff2956baaea793784a1e38"
        );
        assert_eq!(
            digest(v2.payload(PayloadVersion::V3, NONCE).as_bytes()),
            "4c22463be0b36469da37cdd033d53346c4b9ec3bd7540e82fce3785a1b8c84bf"
        );
        assert_eq!(checked(&v2, NONCE, AT), Ok(PayloadVersion::V2));
        assert_eq!(
            checked(&claim(V3_SIG, &scopes), NONCE, AT + 119_000),
            Ok(PayloadVersion::V3)
        );
        let node = DeviceClaim {
            client_id: "node-host",
            client_mode: "node",
            role: "node",
            token: "",
            ..claim(NODE_SIG, &[])
        };
        assert_eq!(checked(&node, NONCE, AT), Ok(PayloadVersion::V2));
    }

    #[test]
    fn every_check_refuses_with_its_own_reason() {
        // covers: D4, D5
        let scopes = scopes();
        let good = claim(V3_SIG, &scopes);
        let other_id = "00".repeat(32);
        let cases = [
            (
                DeviceClaim {
                    public_key: "???",
                    ..good
                },
                DeviceFault::PublicKey,
            ),
            (
                DeviceClaim {
                    id: &other_id,
                    ..good
                },
                DeviceFault::Identity,
            ),
            (
                DeviceClaim {
                    nonce: None,
                    ..good
                },
                DeviceFault::NonceMissing,
            ),
            (
                DeviceClaim {
                    nonce: Some("x"),
                    ..good
                },
                DeviceFault::Nonce,
            ),
            (
                DeviceClaim {
                    signature: NODE_SIG,
                    ..good
                },
                DeviceFault::Signature,
            ),
            (
                DeviceClaim {
                    signature: "no",
                    ..good
                },
                DeviceFault::Signature,
            ),
            (
                DeviceClaim {
                    token: "other",
                    ..good
                },
                DeviceFault::Signature,
            ),
            (
                DeviceClaim {
                    scopes: &scopes[..1],
                    ..good
                },
                DeviceFault::Signature,
            ),
        ];
        for (claim, fault) in cases {
            assert_eq!(checked(&claim, NONCE, AT), Err(fault));
        }
        assert_eq!(checked(&good, NONCE, AT + 121_000), Err(DeviceFault::Stale));
        assert_eq!(checked(&good, NONCE, AT - 121_000), Err(DeviceFault::Stale));
    }

    #[test]
    fn a_key_is_read_in_each_of_its_spellings() {
        let raw = DeviceKey::parse(KEY);
        assert!(raw.is_some());
        assert_eq!(
            DeviceKey::parse("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
            raw
        );
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n-----END PUBLIC KEY-----\n";
        assert_eq!(DeviceKey::parse(pem), raw);
        assert_eq!(DeviceKey::parse("AAAA"), None);
    }
}
