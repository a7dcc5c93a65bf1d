//! The door to settings, for `config.*` methods. The tree itself lives in the binary.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::code::{Code, Coded};

/// Where a value came from and what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Dotted key.
    pub key: String,
    /// Value in force.
    pub value: Value,
    /// `default`, `file`, `environment`, `flag`.
    pub layer: String,
    /// File, when it came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Built-in default.
    pub default: Value,
    /// What it does.
    pub docs: String,
    /// Whether a change needs a restart.
    pub restart: bool,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigChange {
    /// Keys that changed.
    pub keys: Vec<String>,
    /// Keys that count only after a restart.
    pub needs_restart: Vec<String>,
    /// Hash of the file now.
    pub hash: String,
}

/// Why a setting cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// No such key; the nearest one is named.
    #[error("unknown setting `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// What was asked for.
        key: String,
        /// The nearest known key.
        nearest: Option<String>,
    },
    /// The new tree would not be valid; the old one stays in force.
    #[error("{reason}")]
    Invalid {
        /// Key, place, expected, found.
        reason: String,
    },
    /// The file changed since the caller read it.
    #[error("the configuration changed since it was read (expected {expected}, found {found})")]
    Conflict {
        /// Hash the caller saw.
        expected: String,
        /// Hash now.
        found: String,
    },
    /// The file cannot be read or written.
    #[error("the configuration file cannot be used: {reason}")]
    Io {
        /// Why.
        reason: String,
    },
}

impl Coded for ConfigFault {
    fn code(&self) -> Code {
        match self {
            Self::UnknownKey { .. } => Code::NotFound,
            Self::Invalid { .. } => Code::InvalidParams,
            Self::Conflict { .. } => Code::Conflict,
            Self::Io { .. } => Code::Unavailable,
        }
    }
}

/// The settings of this installation.
pub trait ConfigDoor: Send + Sync {
    /// The value of a dotted key, or the whole tree. Secret fields hold references, never values.
    ///
    /// # Errors
    /// [`ConfigFault::UnknownKey`].
    fn get(&self, key: Option<&str>) -> Result<Value, ConfigFault>;
    /// Where a value came from.
    ///
    /// # Errors
    /// [`ConfigFault::UnknownKey`].
    fn explain(&self, key: &str) -> Result<Explained, ConfigFault>;
    /// Changes one key in the file (`None` removes it): load, patch, validate the whole tree, replace atomically.
    ///
    /// # Errors
    /// Any [`ConfigFault`]; the old file and tree stay in force.
    fn set(
        &self,
        key: &str,
        value: Option<Value>,
        base_hash: Option<&str>,
    ) -> Result<ConfigChange, ConfigFault>;
    /// JSON Schema of the tree.
    fn schema(&self) -> Value;
    /// Hash of the file now.
    fn hash(&self) -> String;
    /// Path of the file.
    fn path(&self) -> String;
}
