//! `config.*`: settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::ClientKey;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// Return the settings in force, or one of them. Secrets are references and masked.
    ConfigGet = "config.get" (ConfigGetParams) -> ConfigShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Change one setting in the file.
    ConfigSet = "config.set" (ConfigSetParams) -> ConfigChanged
        { access: Admin, kind: Write, order: Order::Global("config"), reply: Once }

    /// Remove one setting from the file.
    ConfigUnset = "config.unset" (ConfigUnsetParams) -> ConfigChanged
        { access: Admin, kind: Write, order: Order::Global("config"), reply: Once }

    /// Say where a setting's value comes from and what it does.
    ConfigExplain = "config.explain" (ConfigExplainParams) -> ConfigExplained
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the JSON Schema of the settings.
    ConfigSchema = "config.schema" (NoParams) -> ConfigSchemaShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `config.get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigGetParams {
    /// Dotted key; the whole tree by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Result of `config.get`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigShown {
    /// Path of the file.
    pub path: String,
    /// Whether the file is there; without one, defaults are in force.
    pub exists: bool,
    /// The whole tree as JSON text: the file itself is TOML. Only without `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The whole tree. Only without `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parsed: Option<Value>,
    /// Whether the settings in force are valid; always true, others never come into force.
    pub valid: bool,
    /// Hash of the file, for `baseHash`.
    pub hash: String,
    /// The key that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value of that key, or the whole tree.
    pub config: Value,
    /// What is wrong; always empty.
    pub issues: Vec<String>,
}

/// Parameters of `config.set`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigSetParams {
    /// Dotted key.
    pub key: String,
    /// The new value.
    pub value: Value,
    /// Hash of the file the caller saw; `CONFLICT` when it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_hash: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `config.unset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigUnsetParams {
    /// Dotted key.
    pub key: String,
    /// Hash of the file the caller saw; `CONFLICT` when it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_hash: Option<String>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `config.set` and `config.unset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigChanged {
    /// Keys that changed.
    pub keys: Vec<String>,
    /// Keys that count only after a restart.
    pub needs_restart: Vec<String>,
    /// Hash of the file now.
    pub hash: String,
}

/// Parameters of `config.explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigExplainParams {
    /// Dotted key.
    pub key: String,
}

/// Result of `config.explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigExplained {
    /// Dotted key.
    pub key: String,
    /// Value in force.
    pub value: Value,
    /// `default`, `file`, `environment`, `flag`.
    pub layer: String,
    /// File, when it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Built-in default.
    pub default: Value,
    /// What it does.
    pub docs: String,
    /// Whether a change needs a restart.
    pub restart: bool,
}

/// Result of `config.schema`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSchemaShown {
    /// JSON Schema.
    pub schema: Value,
    /// Hints for forms, by dotted key; empty, the schema has the words.
    pub ui_hints: serde_json::Map<String, Value>,
    /// When this answer was made.
    pub generated_at: Timestamp,
    /// Version of this program.
    pub version: String,
}
