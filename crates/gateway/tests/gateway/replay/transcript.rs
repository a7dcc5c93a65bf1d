//! A recorded conversation, line by line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// Who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Direction {
    /// The client.
    #[serde(rename = "c2s")]
    Client,
    /// The server.
    #[serde(rename = "s2c")]
    Server,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Upgrade,
    Text,
    Close,
    Ping,
    Pong,
}

/// One line of a transcript.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) conn: u64,
    pub(crate) dir: Direction,
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) headers: Value,
    #[serde(default)]
    pub(crate) frame: Value,
    #[serde(default)]
    pub(crate) code: Option<u16>,
    #[serde(default)]
    pub(crate) reason: String,
}

impl Line {
    pub(crate) fn is_request(&self) -> bool {
        self.frame["type"] == "req"
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.frame
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// `<release>--<action>` of every recorded conversation, sorted.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".jsonl").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The lines of one. Notes about lines that were left out are not lines.
pub(crate) fn read(name: &str) -> Vec<Line> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    text.lines()
        .filter_map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value.get("kind")?;
            Some(serde_json::from_value(value).unwrap())
        })
        .collect()
}

/// `2026.2.26` of `2026.2.26--tui`.
pub(crate) fn release(name: &str) -> &str {
    name.split("--").next().unwrap()
}
