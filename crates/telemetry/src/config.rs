//! The `[logging]` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing.
    Off,
    /// Someone must act.
    Error,
    /// We coped; look if it repeats.
    Warn,
    /// Lifecycle, a handful of lines per run.
    #[default]
    Info,
    /// Decisions.
    Debug,
    /// Frames.
    Trace,
}

impl Level {
    /// The word that filters understand.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How much is written. `ADJUTANT_LOG` overrides it for one process and takes filters per module.
    pub level: Level,
    /// The log file of the gateway. Absent means `logs/gateway.log` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size in bytes at which a new file is begun, 65536 or more.
    #[schemars(range(min = 65_536))]
    pub max_bytes: u64,
    /// Old files that are kept, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub keep: u32,
    /// How a line looks.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: Level::Info,
            path: None,
            max_bytes: 10 << 20,
            keep: 5,
            format: Format::Text,
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key below this section.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Config {
    /// Values that parse but make no sense; empty when the section is fine.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.max_bytes < 65_536 {
            let message = format!("must be at least 65536: {}", self.max_bytes);
            findings.push(Finding {
                key: "max_bytes",
                message,
            });
        }
        if 100 < self.keep {
            findings.push(Finding {
                key: "keep",
                message: format!("must be at most 100: {}", self.keep),
            });
        }
        if self.path.as_deref() == Some("") {
            findings.push(Finding {
                key: "path",
                message: "must not be empty; leave it out instead".to_owned(),
            });
        }
        findings
    }
}
