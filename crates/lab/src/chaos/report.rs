//! What a scenario found, and what that is called.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::percentile::percentile;

/// Figures, what did not come to what was promised, and what did not come about at all.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) figures: Vec<(String, Value)>,
    pub(crate) broken: Vec<String>,
    /// What was to be tried and was not: a promise that nothing was done to is not held.
    pub(crate) untried: Vec<String>,
    /// Whether anything was tried.
    is_tried: bool,
}

impl Report {
    /// Notes a figure.
    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.push((name.to_owned(), value.into()));
    }

    /// Notes how often something was tried that the scenario is about.
    pub(crate) fn tried(&mut self, name: &str, n: u64) {
        self.figure(name, n);
        self.needs(0 < n, format!("{name}: 0"));
    }

    /// Something must have come about, or else nothing was shown.
    pub(crate) fn needs(&mut self, came_about: bool, what: impl Into<String>) {
        if came_about {
            self.is_tried = true;
        } else {
            self.untried.push(what.into());
        }
    }

    /// Notes the middle and the tail of some lengths of time, in milliseconds.
    pub(crate) fn spans(&mut self, name: &str, spans: &[u64]) {
        self.figure(&format!("{name} n"), spans.len() as u64);
        for (label, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
            if let Some(ms) = percentile(spans, percent) {
                self.figure(&format!("{name} {label} ms"), ms);
            }
        }
    }

    /// Breaks a promise.
    pub(crate) fn breaks(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// Breaks a promise once a case.
    pub(crate) fn break_all<'a>(&mut self, kind: &str, cases: impl Iterator<Item = &'a String>) {
        self.broken
            .extend(cases.map(|case| format!("{kind}: {case}")));
    }

    /// Breaks a promise unless `held`.
    pub(crate) fn must(&mut self, held: bool, what: impl Into<String>) {
        if !held {
            self.breaks(what);
        }
    }

    /// Takes in what a part of the scenario found: figures of one name are added up.
    pub(crate) fn adds(&mut self, part: &str, found: Self) {
        for (name, value) in found.figures {
            let known = self.figures.iter_mut().find(|(it, _)| *it == name);
            match (known, value.as_u64()) {
                (Some((_, total)), Some(more)) => {
                    *total = json!(total.as_u64().unwrap_or(0) + more);
                }
                (Some(_), None) => {}
                (None, _) => self.figures.push((name, value)),
            }
        }
        self.break_all(part, found.broken.iter());
        let untried = found.untried.iter().map(|it| format!("{part}: {it}"));
        self.untried.extend(untried);
        self.is_tried |= found.is_tried;
    }
}

/// What became of a scenario.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran.
    Ran(Report),
    /// This machine lacks what it needs.
    NotHere(String),
    /// There was no time for it, or not enough to judge it.
    NoTime(String),
}

/// What that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Everything was tried, and came to what was promised.
    Held,
    /// Something did not come to what was promised.
    Broken,
    /// Nothing broke, and not everything was tried.
    NotTried,
    /// The same, because it cannot be tried here.
    NotHere,
}

impl Standing {
    /// For people and programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "BROKEN",
            Self::NotTried => "NOT TRIED",
            Self::NotHere => "not tried here",
        }
    }
}

impl Outcome {
    /// The only place that says `held`.
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::Ran(report) if !report.broken.is_empty() => Standing::Broken,
            Self::Ran(report) if report.is_tried && report.untried.is_empty() => Standing::Held,
            Self::Ran(_) | Self::NoTime(_) => Standing::NotTried,
            Self::NotHere(_) => Standing::NotHere,
        }
    }

    /// Why not, where it was not tried.
    fn untried(&self) -> Vec<&str> {
        match self {
            Self::Ran(report) => report.untried.iter().map(String::as_str).collect(),
            Self::NotHere(why) | Self::NoTime(why) => vec![why],
        }
    }
}

/// One row of the summary.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

impl Row {
    /// For people.
    pub(crate) fn lines(&self) -> String {
        let mut lines = format!(
            "{:<18} {} in {:.1} s",
            self.name,
            self.outcome.standing().word(),
            self.took.as_secs_f64()
        );
        if let Outcome::Ran(report) = &self.outcome {
            let figures: Vec<String> = report
                .figures
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            lines.push_str(&format!("\n  {}", figures.join(" · ")));
            for it in &report.broken {
                lines.push_str(&format!("\n  broken: {it}"));
            }
        }
        for it in self.outcome.untried() {
            lines.push_str(&format!("\n  not tried: {it}"));
        }
        lines
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "scenario": self.name,
            "promise": self.promise,
            "outcome": self.outcome.standing().word().to_lowercase(),
            "seconds": self.took.as_secs_f64(),
            "notTried": self.outcome.untried(),
        });
        if let Outcome::Ran(report) = &self.outcome {
            let figures: Map<String, Value> = report.figures.iter().cloned().collect();
            value["figures"] = Value::Object(figures);
            value["broken"] = json!(report.broken);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried() -> Report {
        let mut report = Report::default();
        report.tried("kills", 3);
        report
    }

    #[test]
    fn only_what_was_tried_is_held() {
        assert_eq!(Outcome::Ran(tried()).standing(), Standing::Held);
        let nothing = Outcome::Ran(Report::default());
        assert_eq!(nothing.standing(), Standing::NotTried);
        let mut in_vain = tried();
        in_vain.tried("take-overs", 0);
        assert_eq!(Outcome::Ran(in_vain).standing(), Standing::NotTried);
    }

    #[test]
    fn what_broke_is_broken_whatever_was_not_tried() {
        let mut report = Report::default();
        report.tried("kills", 0);
        report.breaks("the gateway ended");
        assert_eq!(Outcome::Ran(report).standing(), Standing::Broken);
    }

    #[test]
    fn no_time_and_no_means_are_told_apart() {
        let no_time = Outcome::NoTime("no time".to_owned());
        assert_eq!(no_time.standing(), Standing::NotTried);
        let not_here = Outcome::NotHere("no strace".to_owned());
        assert_eq!(not_here.standing(), Standing::NotHere);
    }

    #[test]
    fn what_parts_found_is_added_up() {
        let mut report = tried();
        let mut part = tried();
        part.breaks("lost: a");
        part.needs(false, "never reached");
        report.adds("point", part);
        assert_eq!(report.figures, [("kills".to_owned(), json!(6))]);
        assert_eq!(report.broken, ["point: lost: a"]);
        assert_eq!(report.untried, ["point: never reached"]);
    }
}
