//! Tokens and money. Integer micro-dollars everywhere: no floating point near a ledger.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Millionths of a US dollar.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole dollars.
    #[must_use]
    pub const fn dollars(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// The difference, not below zero.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads `1`, `0.25`, `$3.5`: dollars with at most six decimals.
    #[must_use]
    pub fn parse_dollars(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('$');
        let (whole, frac) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || 6 < frac.len() || !digits(whole) || !digits(frac) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let frac: u64 = format!("{frac:0<6}").parse().ok()?;
        whole.checked_mul(1_000_000)?.checked_add(frac).map(Self)
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Dollars with four decimals, rounded half up.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths_of_mills = self.0.saturating_add(50) / 100;
        write!(
            f,
            "${}.{:04}",
            tenths_of_mills / 10_000,
            tenths_of_mills % 10_000
        )
    }
}

/// Token counts of one model call, in four disjoint kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Prompt tokens that were not read from a cache.
    pub input: u64,
    /// Generated tokens, reasoning included.
    pub output: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: u64,
    /// Whether the counts are our estimate because the provider sent none.
    pub estimated: bool,
}

impl Usage {
    /// All tokens together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input
            .saturating_add(self.output)
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
    }

    /// Both together; estimated if either is.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            estimated: self.estimated || other.estimated,
        }
    }
}

/// Micro-dollars per million tokens, per kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Price {
    /// For [`Usage::input`].
    pub input: u64,
    /// For [`Usage::output`].
    pub output: u64,
    /// For [`Usage::cache_read`].
    pub cache_read: u64,
    /// For [`Usage::cache_write`].
    pub cache_write: u64,
}

impl Price {
    /// What `usage` costs, rounded half up to one micro-dollar, once.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Micros {
        let sum = u128::from(usage.input) * u128::from(self.input)
            + u128::from(usage.output) * u128::from(self.output)
            + u128::from(usage.cache_read) * u128::from(self.cache_read)
            + u128::from(usage.cache_write) * u128::from(self.cache_write);
        Micros(u64::try_from((sum + 500_000) / 1_000_000).unwrap_or(u64::MAX))
    }

    /// The most that `input` prompt tokens and `output` generated tokens can cost: every prompt token at the dearest
    /// prompt kind.
    #[must_use]
    pub fn worst_case(&self, input: u64, output: u64) -> Micros {
        let dearest = self.input.max(self.cache_read).max(self.cache_write);
        let sum =
            u128::from(input) * u128::from(dearest) + u128::from(output) * u128::from(self.output);
        Micros(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// What a call cost: an amount, or the honest statement that no price is known. Never a silent zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Cost {
    /// The price was known.
    Priced {
        /// The amount.
        micros: Micros,
    },
    /// The catalogue has no price for this model.
    Unpriced,
}

impl Cost {
    /// The amount, if known.
    #[must_use]
    pub fn micros(&self) -> Option<Micros> {
        match self {
            Self::Priced { micros } => Some(*micros),
            Self::Unpriced => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_rounded_half_up_once() {
        let price = Price {
            input: 150_000,
            output: 600_000,
            cache_read: 75_000,
            cache_write: 0,
        };
        let usage = Usage {
            input: 3,
            output: 1,
            ..Usage::default()
        };
        assert_eq!(price.cost(&usage), Micros(1)); // 1.05 µ$
        let usage = Usage {
            input: 10,
            ..Usage::default()
        };
        assert_eq!(price.cost(&usage), Micros(2)); // 1.5 µ$
    }

    #[test]
    fn the_worst_case_is_never_below_the_cost() {
        let price = Price {
            input: 3_000_000,
            output: 15_000_000,
            cache_read: 300_000,
            cache_write: 3_750_000,
        };
        let usage = Usage {
            input: 100,
            output: 7,
            cache_read: 50,
            cache_write: 11,
            estimated: false,
        };
        assert!(price.cost(&usage) <= price.worst_case(161, 7));
    }

    #[test]
    fn dollars_are_read_and_shown() {
        assert_eq!(Micros::parse_dollars("$1.25"), Some(Micros(1_250_000)));
        assert_eq!(Micros::parse_dollars("-1"), None);
        assert_eq!(Micros::parse_dollars("1.0000001"), None);
        assert_eq!(Micros(1_234_567).to_string(), "$1.2346");
    }
}
