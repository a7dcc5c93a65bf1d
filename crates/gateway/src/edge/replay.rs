//! Signatures without a nonce, remembered for as long as they would be believed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Twice the skew: from the earliest to the latest moment at which a signature is accepted.
const KEPT: Duration = Duration::from_secs(4 * 60);
/// Signatures remembered; beyond, none is accepted until old ones lapse.
const SIGNATURES_MAX: usize = 1_024;

/// The memory.
#[derive(Default)]
pub(crate) struct Signatures(Mutex<BTreeMap<String, Duration>>);

impl Signatures {
    /// Remembers a signature by its digest; false when it was used before, or when too many are remembered.
    pub(crate) fn is_new(&self, digest: String, now: Duration) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| now.saturating_sub(*at) < KEPT);
        seen.len() < SIGNATURES_MAX && seen.insert(digest, now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_accepted_once_and_the_memory_is_bounded() {
        // covers: D4, S8
        let seen = Signatures::default();
        assert!(seen.is_new("a".to_owned(), Duration::ZERO));
        assert!(!seen.is_new("a".to_owned(), Duration::from_secs(1)));
        for n in 0..2 * SIGNATURES_MAX {
            seen.is_new(n.to_string(), Duration::from_secs(2));
        }
        assert!(!seen.is_new("b".to_owned(), Duration::from_secs(3)));
        assert!(seen.is_new("b".to_owned(), KEPT + Duration::from_secs(3)));
    }
}
