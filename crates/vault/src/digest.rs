//! SHA-256.

use sha2::{Digest, Sha256};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), expected);
    }
}
