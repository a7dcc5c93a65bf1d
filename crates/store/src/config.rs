//! The store's section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The store's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Days that events stay in the feed, 1 to 3650. Messages and run logs are not touched by this.
    #[schemars(range(min = 1, max = 3650))]
    pub retain_events_days: u32,
    /// Hours that the answers of write methods are remembered for repeated keys, 24 to 8760.
    #[schemars(range(min = 24, max = 8760))]
    pub idempotency_hours: u32,
    /// Threads that read, 1 to 16.
    #[schemars(range(min = 1, max = 16))]
    pub readers: u32,
    /// A PostgreSQL database instead of the SQLite file, which several gateways and workers may share: `env:NAME` or
    /// `file:/path`, where its URL is, or a URL without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// The same database without a pooler in transaction mode, for hearing of other processes. Absent means the same URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_listen_url: Option<String>,
    /// Connections to that database at once, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub database_connections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retain_events_days: 90,
            idempotency_hours: 48,
            readers: 2,
            database_url: None,
            database_listen_url: None,
            database_connections: 8,
        }
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`store.{key}` must be between {min} and {max}, not {found}")]
pub struct ConfigError {
    /// Which setting.
    pub key: &'static str,
    /// Smallest value.
    pub min: u32,
    /// Largest value.
    pub max: u32,
    /// What was set.
    pub found: u32,
}

impl Config {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first setting outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("retain_events_days", self.retain_events_days, 1, 3650),
            ("idempotency_hours", self.idempotency_hours, 24, 8760),
            ("readers", self.readers, 1, 16),
            ("database_connections", self.database_connections, 1, 100),
        ];
        for (key, found, min, max) in ranges {
            if !(min..=max).contains(&found) {
                return Err(ConfigError {
                    key,
                    min,
                    max,
                    found,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_not_be_forgotten_within_a_day() {
        let config = Config {
            idempotency_hours: 23,
            ..Config::default()
        };
        assert_eq!(config.check().map_err(|e| e.key), Err("idempotency_hours"));
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"readerz": 2}"#).is_err());
    }
}
