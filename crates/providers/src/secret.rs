//! Keys in memory: no `Display`, no `Serialize`, wiped when dropped (S45).

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// Shortest key that is looked for in texts; shorter ones would redact ordinary words.
const REDACT_BYTES_MIN: usize = 4;

/// A credential for one endpoint.
pub(crate) struct Key(Zeroizing<String>);

impl Key {
    /// From text with surrounding white space removed; none if nothing is left or it cannot be sent in a header.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sendable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        sendable.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The key behind `prefix`, marked so that no log of a library shows it.
    pub(crate) fn header(&self, prefix: &str) -> HeaderValue {
        let text = Zeroizing::new([prefix, self.0.as_str()].concat());
        let mut value = HeaderValue::from_str(&text)
            .expect("a key holds printable ASCII only, which `new` has checked");
        value.set_sensitive(true);
        value
    }

    /// `text` without this key.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.len() < REDACT_BYTES_MIN {
            return text.to_owned();
        }
        text.replace(self.0.as_str(), "[redacted]")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // covers: S45
    #[test]
    fn a_key_shows_itself_to_nobody() {
        let key = Key::new(" sk-planted-4711\n").unwrap();
        assert_eq!(format!("{key:?}"), "Key([redacted])");
        assert_eq!(format!("{:?}", key.header("Bearer ")), "Sensitive");
        assert_eq!(
            key.redact("bad key sk-planted-4711!"),
            "bad key [redacted]!"
        );
    }

    #[test]
    fn what_cannot_be_sent_is_no_key() {
        assert!(Key::new("  ").is_none());
        assert!(Key::new("a\nb").is_none());
        assert!(Key::new("schlüssel").is_none());
    }
}
