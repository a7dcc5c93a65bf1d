//! Everything cryptographic: tokens, device signatures, digests, secrets.
//!
//! This crate never learns what a secret is for.

mod device;
mod digest;
mod identity;
mod platform;
mod secret;
mod token;

pub use device::{
    DeviceClaim, DeviceFault, DeviceKey, NonceRule, PayloadVersion, ProvenDevice,
    SIGNATURE_SKEW_MS_MAX, device_id, verify, verify_device,
};
pub use digest::{base64url, digest, digest_bytes, digest_matches};
pub use identity::{DeviceIdentity, IdentityError};
pub use secret::Secret;
pub use token::{TOKEN_CHARS_MIN, Token, TokenError};
