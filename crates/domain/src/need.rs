//! What a run needs of the worker that does it, and what workers offer.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::Need;

/// Most needs of one run, and offers of one worker.
pub const NEEDS_MAX: usize = 32;

/// Needs of a run, or offers of a worker: a set, written in the order of the alphabet.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Needs(#[schemars(length(max = 32))] BTreeSet<Need>);

impl Needs {
    /// Whether nothing is needed, or offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds one.
    pub fn insert(&mut self, need: Need) {
        self.0.insert(need);
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self(&self.0 | &more.0)
    }

    /// Whether a worker with these offers may take a run with these needs.
    #[must_use]
    pub fn met_by(&self, offers: &Self) -> bool {
        self.0.is_subset(&offers.0)
    }
}

impl FromIterator<Need> for Needs {
    fn from_iter<I: IntoIterator<Item = Need>>(needs: I) -> Self {
        Self(needs.into_iter().collect())
    }
}

impl fmt::Display for Needs {
    /// With commas: `computer-use, machine:studio`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, need) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{need}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn needs(words: &[&str]) -> Needs {
        words.iter().map(|it| Need::parse(*it).unwrap()).collect()
    }

    #[test]
    fn a_run_is_for_workers_that_offer_all_it_needs() {
        let offers = needs(&["machine:studio", "gpu"]);
        assert!(needs(&[]).met_by(&needs(&[])));
        assert!(needs(&["gpu"]).met_by(&offers));
        assert!(!needs(&["gpu", "computer-use"]).met_by(&offers));
        assert!(!offers.met_by(&needs(&[])));
    }

    #[test]
    fn they_are_written_as_a_sorted_list_and_read_back() {
        let some = needs(&["machine:studio", "gpu", "gpu"]);
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"["gpu","machine:studio"]"#);
        assert_eq!(serde_json::from_str::<Needs>(&text).unwrap(), some);
        assert_eq!(some.to_string(), "gpu, machine:studio");
        serde_json::from_str::<Needs>(r#"["Not This"]"#).unwrap_err();
    }

    #[test]
    fn a_machine_is_called_by_its_host() {
        for (host, expected) in [
            ("studio", "machine:studio"),
            ("Anna's Laptop.local", "machine:anna-s-laptop.local"),
            ("", "machine:unnamed"),
            ("--", "machine:unnamed"),
            (&"x".repeat(300), &format!("machine:{}", "x".repeat(56))),
        ] {
            assert_eq!(Need::machine(host).as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            ":",
            "a:",
            ":a",
            "a b",
            "A",
            "a::b",
            "-a",
            &"x".repeat(65),
        ] {
            Need::parse(bad).unwrap_err();
        }
        for good in [
            "gpu",
            "computer-use",
            "machine:studio.lan",
            "os:linux:arm64",
            "py3.12",
        ] {
            Need::parse(good).unwrap();
        }
    }
}
