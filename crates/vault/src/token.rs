//! The shared token: issued, kept in a file only the owner can read, compared in constant time.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use adjutant_ports::clock::Entropy;

use crate::digest::digest_bytes;
use crate::secret::Secret;

/// Fewest characters of a token.
pub const TOKEN_CHARS_MIN: usize = 32;
const TOKEN_CHARS_MAX: usize = 1_024;

type HmacSha256 = Hmac<Sha256>;
const PLACEHOLDERS: [&str; 10] = [
    "undefined",
    "null",
    "none",
    "changeme",
    "change-me",
    "placeholder",
    "password",
    "secret",
    "token",
    "example",
];

/// Why a text cannot serve as a token, or its file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess (S2).
    #[error("the gateway token is not usable: {reason}; let `adjutant setup` make one")]
    Weak {
        /// What is wrong with it.
        reason: String,
    },
    /// Others can read the file (S48).
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The shared token of this installation.
#[derive(Debug, Clone)]
pub struct Token {
    text: Secret<String>,
    digest: [u8; 32],
}

impl Token {
    /// A fresh one: 256 bits, unpadded base64url.
    #[must_use]
    pub fn issue(entropy: &dyn Entropy) -> Self {
        let mut bits = [0u8; 32];
        bits[..16].copy_from_slice(&entropy.next_u128().to_le_bytes());
        bits[16..].copy_from_slice(&entropy.next_u128().to_le_bytes());
        let text = URL_SAFE_NO_PAD.encode(bits);
        bits.zeroize();
        Self::known_good(text)
    }

    /// A token somebody chose.
    ///
    /// # Errors
    /// [`TokenError::Weak`] for blank, short and placeholder texts, and for characters that do not survive a header.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let weak = |reason: &str| {
            Err(TokenError::Weak {
                reason: reason.to_owned(),
            })
        };
        if text.trim().is_empty() {
            return weak("it is blank");
        }
        let lower = text.trim().to_ascii_lowercase();
        if PLACEHOLDERS.contains(&lower.as_str()) {
            return weak("it is a placeholder");
        }
        if text.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::Weak {
                reason: format!(
                    "it has {} characters, at least {TOKEN_CHARS_MIN} are needed",
                    text.len()
                ),
            });
        }
        if text.len() > TOKEN_CHARS_MAX {
            return weak("it is too long");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return weak("it has spaces, control characters or letters outside ASCII");
        }
        let mut kinds: Vec<u8> = text.bytes().collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() < 8
            || PLACEHOLDERS
                .iter()
                .any(|word| lower.replace(word, "").is_empty())
        {
            return weak("it repeats itself");
        }
        Ok(Self::known_good(text.to_owned()))
    }

    /// Reads the token from `path`; makes one, readable by the owner only, when there is no such file.
    ///
    /// # Errors
    /// [`TokenError`]; an existing weak token is never replaced silently.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, TokenError> {
        match Self::load(path) {
            Err(TokenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let token = Self::issue(entropy);
                match token.create(path) {
                    Err(TokenError::Io { source, .. })
                        if source.kind() == ErrorKind::AlreadyExists =>
                    {
                        Self::load(path)
                    }
                    other => other.map(|()| token),
                }
            }
            other => other,
        }
    }

    /// Reads the token from `path`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(io)?;
        check_mode(path, &file)?;
        let mut text = String::new();
        let mut limited = (&mut file).take(u64::try_from(TOKEN_CHARS_MAX).unwrap_or(1_024) + 2);
        limited.read_to_string(&mut text).map_err(io)?;
        let token = Self::parse(text.trim_end_matches(['\n', '\r']));
        text.zeroize();
        token
    }

    fn create(&self, path: &Path) -> Result<(), TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = crate::platform::for_owner(&mut options)
            .open(path)
            .map_err(io)?;
        file.write_all(self.text.expose().as_bytes()).map_err(io)?;
        file.write_all(b"\n").map_err(io)?;
        file.sync_all().map_err(io)
    }

    /// Whether `offered` is this token. Takes the same time wherever they differ (D4).
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        let offered = digest_bytes(offered.as_bytes());
        bool::from(self.digest.ct_eq(&offered))
    }

    /// Another secret that only holders of this token can compute: HMAC-SHA-256 over `purpose` and `parts`, each behind
    /// its length, so that no two lists read the same.
    #[must_use]
    pub fn derive(&self, purpose: &str, parts: &[&str]) -> Secret<[u8; 32]> {
        let mut mac =
            HmacSha256::new_from_slice(&self.digest).expect("HMAC takes keys of any length");
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Secret::new(mac.finalize().into_bytes().into())
    }

    /// The text, to hand to a client.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    fn known_good(text: String) -> Self {
        let digest = digest_bytes(text.as_bytes());
        Self {
            text: Secret::new(text),
            digest,
        }
    }
}

fn check_mode(path: &Path, file: &std::fs::File) -> Result<(), TokenError> {
    let exposed = crate::platform::exposed(file).map_err(|source| TokenError::Io {
        path: path.to_owned(),
        source,
    })?;
    match exposed {
        None => Ok(()),
        Some(mode) => Err(TokenError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn next_u128(&self) -> u128 {
            let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        }
    }

    #[test]
    fn an_issued_token_is_43_characters_and_matches_only_itself() {
        let entropy = Counting(AtomicU64::new(0));
        let (a, b) = (Token::issue(&entropy), Token::issue(&entropy));
        assert_eq!(a.expose().len(), 43);
        assert!(a.matches(a.expose()) && !a.matches(b.expose()) && !a.matches(""));
        assert!(Token::parse(a.expose()).is_ok());
        assert!(!format!("{a:?}").contains(a.expose()));
    }

    #[test]
    fn what_is_derived_depends_on_the_token_the_purpose_and_every_part() {
        let entropy = Counting(AtomicU64::new(0));
        let (a, b) = (Token::issue(&entropy), Token::issue(&entropy));
        let of = |token: &Token, purpose, parts: &[&str]| *token.derive(purpose, parts).expose();
        let first = of(&a, "p", &["xy", "z"]);
        assert_eq!(first, of(&a, "p", &["xy", "z"]));
        for other in [
            of(&b, "p", &["xy", "z"]),
            of(&a, "q", &["xy", "z"]),
            of(&a, "p", &["x", "yz"]),
            of(&a, "p", &["xyz"]),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn blank_short_and_placeholder_tokens_are_refused() {
        // covers: S2
        let spaced = format!("{} {}", "a1b2c3d4e5f6g7h8", "a1b2c3d4e5f6g7h8i9");
        let bad = [
            "",
            "   ",
            "undefined",
            "null",
            "ChangeMe",
            "short",
            "0123456789012345678901234567890",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "changemechangemechangemechangemechangeme",
            spaced.as_str(),
        ];
        for text in bad {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_the_owner_only_and_an_exposed_one_is_refused() {
        // covers: S48, S2
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let entropy = Counting(AtomicU64::new(7));
        let made = Token::load_or_create(&path, &entropy).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let read = Token::load_or_create(&path, &entropy).unwrap();
        assert!(made.matches(read.expose()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Token::load(&path),
            Err(TokenError::Exposed { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_weak_token_in_the_file_is_reported_and_not_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "changeme\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let entropy = Counting(AtomicU64::new(7));
        assert!(matches!(
            Token::load_or_create(&path, &entropy),
            Err(TokenError::Weak { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "changeme\n");
    }
}
