//! How much to reserve before a model call.

use adjutant_domain::money::{Micros, Price};

/// A byte-level tokenizer never makes more tokens than bytes. Real text averages 3 to 4 bytes a token, but other
/// scripts, digits and base64 come close to one, and a reservation must not be too small.
const BYTES_PER_TOKEN_MIN: u64 = 1;
/// What vendors add to a request that has tools, in tokens; the largest published figure is 346.
const PREAMBLE_TOKENS: u64 = 512;

/// An upper estimate of the prompt tokens of `bytes` of request text. Never billed, only reserved.
#[must_use]
pub fn estimate_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN_MIN) + PREAMBLE_TOKENS
}

/// The worst case of a call. An unpriced model reserves nothing: it is flagged, and whether it may run is a rule.
#[must_use]
pub fn reservation(price: Option<&Price>, prompt_bytes: u64, output_tokens_max: u32) -> Micros {
    price.map_or(Micros::ZERO, |p| {
        p.worst_case(estimate_tokens(prompt_bytes), u64::from(output_tokens_max))
    })
}
