//! What people compare and pin.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` and programs of the OpenClaw family count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads 64 hex digits, with or without colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text
            .trim()
            .chars()
            .filter(|it| *it != ':')
            .map(|it| it.to_ascii_lowercase())
            .collect();
        let right = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        right.then_some(Self(text))
    }

    /// That of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(certificate)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let print = Fingerprint::of(b"certificate");
        let text = print.to_string();
        let colons: Vec<&str> = (0..32).map(|at| &text[at * 2..at * 2 + 2]).collect();
        assert_eq!(Fingerprint::parse(&text), Some(print.clone()));
        assert_eq!(
            Fingerprint::parse(&colons.join(":").to_uppercase()),
            Some(print)
        );
        assert_eq!(Fingerprint::parse("ab"), None);
        assert_eq!(Fingerprint::parse(&"g".repeat(64)), None);
    }
}
