//! The `[sandbox]` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::Span;
use adjutant_ports::sandbox::ProcessLimits;

/// Which walls stand around a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// bubblewrap if it passes its probe on this machine, else the walls of this program, else none.
    #[default]
    Auto,
    /// bubblewrap or nothing.
    Bubblewrap,
    /// The walls of this program or nothing.
    Native,
    /// No driver: commands are refused. Commands never run without walls.
    None,
}

/// Settings of the walls. Sizes in bytes, times as `500ms`, `30s`, `10m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which driver is used.
    pub driver: Driver,
    /// Wall-clock time of one command.
    pub wall: Span,
    /// Memory of one command, all its processes together where the machine allows it.
    pub memory_bytes: u64,
    /// Processes and threads of one command.
    pub pids: u32,
    /// Output kept of each stream.
    pub kept_output_bytes: u64,
    /// Output after which the command is killed.
    pub output_bytes_max: u64,
    /// Largest file a command may write.
    pub file_bytes_max: u64,
    /// Size of the private `/tmp` of one command.
    pub tmp_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        let limits = ProcessLimits::default();
        Self {
            driver: Driver::Auto,
            wall: limits.wall.into(),
            memory_bytes: limits.memory_bytes,
            pids: limits.pids,
            kept_output_bytes: limits.kept_output_bytes,
            output_bytes_max: limits.output_bytes_max,
            file_bytes_max: limits.file_bytes_max,
            tmp_bytes: 256 << 20,
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
    /// Ceilings for one call, as configured.
    #[must_use]
    pub fn limits(&self) -> ProcessLimits {
        ProcessLimits {
            wall: self.wall.duration(),
            memory_bytes: self.memory_bytes,
            pids: self.pids,
            kept_output_bytes: self.kept_output_bytes,
            output_bytes_max: self.output_bytes_max,
            file_bytes_max: self.file_bytes_max,
        }
    }

    /// Values that parse but make no sense; empty when the section is fine.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        const MIB: u64 = 1 << 20;
        let bounds = [
            ("memory_bytes", self.memory_bytes, 16 * MIB, 1 << 46),
            ("pids", u64::from(self.pids), 4, 65_536),
            ("kept_output_bytes", self.kept_output_bytes, 1024, 64 * MIB),
            ("output_bytes_max", self.output_bytes_max, 1024, 1 << 40),
            ("file_bytes_max", self.file_bytes_max, 4096, 1 << 46),
            ("tmp_bytes", self.tmp_bytes, 64 << 10, 1 << 40),
        ];
        let mut findings: Vec<Finding> = bounds
            .into_iter()
            .filter(|(_, value, min, max)| value < min || max < value)
            .map(|(key, value, min, max)| Finding {
                key,
                message: format!("must be between {min} and {max}: {value}"),
            })
            .collect();
        let (wall_min, wall_max) = (Span::from_millis(100), Span::from_secs(24 * 3600));
        if self.wall < wall_min || wall_max < self.wall {
            findings.push(Finding {
                key: "wall",
                message: format!("must be between {wall_min} and {wall_max}: {}", self.wall),
            });
        }
        if self.output_bytes_max < self.kept_output_bytes {
            findings.push(Finding {
                key: "output_bytes_max",
                message: format!(
                    "must not be less than `kept_output_bytes`: {}",
                    self.output_bytes_max
                ),
            });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_threat_model_and_pass_the_check() {
        let config = Config::default();
        assert_eq!(config.limits(), ProcessLimits::default());
        assert_eq!(config.check(), Vec::new());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"wall":"30s"}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"walls":"30s"}"#).is_err());
    }

    #[test]
    fn values_out_of_range_are_named_with_their_key() {
        let config = Config {
            pids: 1,
            wall: Span::from_millis(1),
            kept_output_bytes: 1 << 20,
            output_bytes_max: 2048,
            ..Config::default()
        };
        let keys: Vec<_> = config.check().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["pids", "wall", "output_bytes_max"]);
    }
}
