//! How much to reserve before a model call.

use adjutant_domain::money::{Micros, Price};

/// Bytes of JSON or prose that one token stands for, at least. Real tokenizers average 3 to 4 bytes on English and code;
/// 2 keeps the estimate above the truth for almost every text, because a reservation must not be too small.
const BYTES_PER_TOKEN_MIN: u64 = 2;

/// An upper estimate of the prompt tokens of `bytes` of request text. Never billed, only reserved.
#[must_use]
pub fn estimate_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN_MIN)
}

/// The worst case of a call. An unpriced model reserves nothing: it is flagged, and whether it may run is a rule.
#[must_use]
pub fn reservation(price: Option<&Price>, prompt_bytes: u64, output_tokens_max: u32) -> Micros {
    price.map_or(Micros::ZERO, |p| {
        p.worst_case(estimate_tokens(prompt_bytes), u64::from(output_tokens_max))
    })
}
