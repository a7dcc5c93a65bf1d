//! SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 as lowercase hex.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(digest_bytes(bytes))
}

/// SHA-256.
#[must_use]
pub fn digest_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes as unpadded base64url.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether the SHA-256 of `text` is `digest` (hex). Takes the same time wherever they differ (D4).
#[must_use]
pub fn digest_matches(digest: &str, text: &str) -> bool {
    let Ok(expected) = hex::decode(digest) else {
        return false;
    };
    bool::from(expected.ct_eq(&digest_bytes(text.as_bytes())[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), expected);
        assert!(digest_matches(expected, "abc") && !digest_matches(expected, "abd"));
        assert!(!digest_matches("no hex", "abc") && !digest_matches("", "abc"));
    }
}
