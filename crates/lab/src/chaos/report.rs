//! What a scenario found.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::percentile::percentile;

/// Figures, and what did not come to what was promised.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) figures: Vec<(String, Value)>,
    pub(crate) broken: Vec<String>,
}

impl Report {
    /// Notes a figure.
    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.push((name.to_owned(), value.into()));
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
}

/// What became of a scenario.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran.
    Ran(Report),
    /// It cannot run here.
    Skipped(String),
}

/// One row of the summary.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

/// `held`, `BROKEN` or `skipped`.
pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ran(report) if report.broken.is_empty() => "held",
        Outcome::Ran(_) => "BROKEN",
        Outcome::Skipped(_) => "skipped",
    }
}

impl Row {
    /// For people.
    pub(crate) fn lines(&self) -> String {
        let head = format!(
            "{:<18} {} in {:.1} s",
            self.name,
            word(&self.outcome),
            self.took.as_secs_f64()
        );
        match &self.outcome {
            Outcome::Skipped(why) => format!("{:<18} skipped: {why}", self.name),
            Outcome::Ran(report) => {
                let figures: Vec<String> = report
                    .figures
                    .iter()
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect();
                let broken: String = report
                    .broken
                    .iter()
                    .map(|it| format!("\n  broken: {it}"))
                    .collect();
                format!("{head}\n  {}{broken}", figures.join(" · "))
            }
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "scenario": self.name,
            "promise": self.promise,
            "outcome": word(&self.outcome).to_lowercase(),
            "seconds": self.took.as_secs_f64(),
        });
        match &self.outcome {
            Outcome::Skipped(why) => value["why"] = json!(why),
            Outcome::Ran(report) => {
                let figures: Map<String, Value> = report.figures.iter().cloned().collect();
                value["figures"] = Value::Object(figures);
                value["broken"] = json!(report.broken);
            }
        }
        value
    }
}
