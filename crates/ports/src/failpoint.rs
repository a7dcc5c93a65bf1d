//! Places where a test may end the process: one at every arrow of a run's life.
//!
//! Without the feature `failpoints`, which no release has, [`reach`] does nothing and is not there. With it, the variable
//! `ADJUTANT_FAILPOINTS` says where to die: `after-claim=kill@3,before-finish=kill` ends the process the third time that
//! somebody reaches the first place, or the first time that somebody reaches the second.

/// Declares the places, so that none is missing from the list of them.
macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A place where the process may end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $name,)+
        }

        impl Point {
            /// All of them, in the order in which a run comes past.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What the variable calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What the code calls it.
            #[must_use]
            pub const fn variant(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

points! {
    /// The run is in the store, and nobody was told.
    AfterAccept = "after-accept",
    /// The claim is in the store, and nothing was done under it.
    AfterClaim = "after-claim",
    /// The question is in the log, and no byte of it has left.
    BeforeModel = "before-model",
    /// The model has answered, and nothing of it is in the log.
    AfterModel = "after-model",
    /// The question to the owner is in the log and the claim is given back.
    AfterPark = "after-park",
    /// The owner's answer is in the store, and nobody was told.
    AfterApproval = "after-approval",
    /// The owner's answer is in the log, and nothing has come of it.
    AfterResolution = "after-resolution",
    /// The intent is in the log, and nothing has happened.
    AfterIntent = "after-intent",
    /// It has happened, and no result is in the log.
    AfterEffect = "after-effect",
    /// The result is in the log.
    AfterResult = "after-result",
    /// The end is decided, and not in the log.
    BeforeFinish = "before-finish",
    /// The end is in the log, and nobody was told.
    AfterFinish = "after-finish",
    /// Events were read, and no client has them.
    BeforeEvents = "before-events",
}

/// Says that somebody is here. Does not return when a test wants the process to end here.
#[inline]
pub fn reach(point: Point) {
    #[cfg(feature = "failpoints")]
    armed::reach(point);
    #[cfg(not(feature = "failpoints"))]
    let _nothing = point;
}

#[cfg(feature = "failpoints")]
pub use armed::{VARIABLE, refusal};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, OnceLock};

    use super::Point;

    /// The variable that says where to die.
    pub const VARIABLE: &str = "ADJUTANT_FAILPOINTS";

    /// How many more times a place may be passed.
    type Places = BTreeMap<Point, Arc<AtomicU64>>;

    /// What is wrong with the value of the variable.
    #[must_use]
    pub fn refusal() -> Option<&'static str> {
        places().as_ref().err().map(String::as_str)
    }

    fn places() -> &'static Result<Places, String> {
        static PLACES: OnceLock<Result<Places, String>> = OnceLock::new();
        PLACES.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()))
    }

    pub(super) fn reach(point: Point) {
        let Ok(places) = places() else { return };
        let Some(left) = places.get(&point) else {
            return;
        };
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // As `kill -9`: nothing is unwound, nothing is flushed, nobody is told.
            eprintln!("failpoint {}: the process ends here", point.name());
            std::process::abort();
        }
    }

    pub(super) fn parse(text: &str) -> Result<Places, String> {
        let mut places = Places::new();
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let wrong = || format!("`{part}` is not of the form point=kill@n");
            let (name, action) = part.split_once('=').ok_or_else(wrong)?;
            let count = match action.split_once('@') {
                None if action == "kill" => 1,
                Some(("kill", n)) => n.parse().ok().filter(|n| 0 < *n).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            };
            let point = Point::ALL
                .iter()
                .find(|it| it.name() == name)
                .ok_or_else(|| format!("there is no fail point `{name}`"))?;
            places.insert(*point, Arc::new(AtomicU64::new(count)));
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|it| it == "rs") {
                into.push(path);
            }
        }
    }

    #[test]
    fn every_point_has_a_name_of_its_own_and_is_reached_somewhere() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        for name in ["engine", "gateway", "store"] {
            sources(&crates.join(name).join("src"), &mut files);
        }
        let text: String = files
            .iter()
            .map(|it| std::fs::read_to_string(it).unwrap())
            .collect();
        let mut names: Vec<&str> = Point::ALL.iter().map(|it| it.name()).collect();
        for point in Point::ALL {
            let call = format!("Point::{}", point.variant());
            let is_used = text
                .match_indices(&call)
                .any(|(at, _)| !text[at + call.len()..].starts_with(char::is_alphanumeric));
            assert!(is_used, "{} is reached nowhere", point.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn the_variable_names_points_and_counts_and_nothing_else() {
        let found = armed::parse("after-claim=kill@3, before-finish=kill").unwrap();
        assert_eq!(found.len(), 2);
        for wrong in [
            "nowhere=kill",
            "after-claim",
            "after-claim=kill@0",
            "after-claim=sleep",
        ] {
            assert!(armed::parse(wrong).is_err(), "{wrong}");
        }
    }
}
