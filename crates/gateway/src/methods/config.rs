//! `config.*`.

use serde_json::{Value, json};

use adjutant_ports::config::ConfigChange;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::config::{
    ConfigChanged, ConfigExplain, ConfigExplainParams, ConfigExplained, ConfigGet, ConfigGetParams,
    ConfigSchema, ConfigSchemaShown, ConfigSet, ConfigSetParams, ConfigShown, ConfigUnset,
    ConfigUnsetParams,
};
use adjutant_protocol::{Caller, Fault, Handle};
use adjutant_telemetry::redact;

use crate::core::Core;

/// What stands for a secret.
const MASK: &str = "<masked>";
/// Parts of names that mean a secret, whatever the section.
const SECRET_WORDS: [&str; 6] = [
    "token",
    "secret",
    "password",
    "api_key",
    "apikey",
    "private_key",
];
/// References to secrets, which may be shown.
const REFERENCES: [&str; 3] = ["vault:", "env:", "file:"];

impl Handle<ConfigGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ConfigGetParams,
    ) -> Result<ConfigShown, Fault> {
        let door = &self.deps.config;
        let mut config = door.get(params.key.as_deref())?;
        let name = params
            .key
            .as_deref()
            .and_then(|key| key.rsplit('.').next())
            .unwrap_or_default();
        mask(name, &mut config);
        let whole = params.key.is_none().then(|| config.clone());
        let path = door.path();
        Ok(ConfigShown {
            exists: std::path::Path::new(&path).is_file(),
            path,
            raw: whole
                .as_ref()
                .and_then(|tree| serde_json::to_string_pretty(tree).ok()),
            parsed: whole,
            valid: true,
            hash: door.hash(),
            key: params.key,
            config,
            issues: Vec::new(),
        })
    }
}

impl Handle<ConfigSet> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ConfigSetParams,
    ) -> Result<ConfigChanged, Fault> {
        let mut shown = params.value.clone();
        mask(
            params.key.rsplit('.').next().unwrap_or_default(),
            &mut shown,
        );
        // Saving what was shown must not replace a secret by its mask (S46).
        if contains_mask(&params.value) {
            return Err(Fault::params(
                "config.set",
                "the value holds a masked secret; leave that key out",
            ));
        }
        self.audit(caller, "config.set", &params.key, json!({ "value": shown }))
            .await?;
        let change =
            self.deps
                .config
                .set(&params.key, Some(params.value), params.base_hash.as_deref())?;
        self.changed("config", &params.key).await?;
        Ok(wired(change))
    }
}

impl Handle<ConfigUnset> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ConfigUnsetParams,
    ) -> Result<ConfigChanged, Fault> {
        self.audit(caller, "config.unset", &params.key, json!({}))
            .await?;
        let change = self
            .deps
            .config
            .set(&params.key, None, params.base_hash.as_deref())?;
        self.changed("config", &params.key).await?;
        Ok(wired(change))
    }
}

impl Handle<ConfigExplain> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ConfigExplainParams,
    ) -> Result<ConfigExplained, Fault> {
        let mut it = self.deps.config.explain(&params.key)?;
        mask(it.key.rsplit('.').next().unwrap_or_default(), &mut it.value);
        Ok(ConfigExplained {
            key: it.key,
            value: it.value,
            layer: it.layer,
            file: it.file,
            line: it.line,
            default: it.default,
            docs: it.docs,
            restart: it.restart,
        })
    }
}

impl Handle<ConfigSchema> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: NoParams,
    ) -> Result<ConfigSchemaShown, Fault> {
        Ok(ConfigSchemaShown {
            schema: self.deps.config.schema(),
            version: self.deps.version.clone(),
            ui_hints: serde_json::Map::new(),
            generated_at: self.now(),
        })
    }
}

fn wired(change: ConfigChange) -> ConfigChanged {
    ConfigChanged {
        keys: change.keys,
        needs_restart: change.needs_restart,
        hash: change.hash,
    }
}

/// Hides secrets: values of fields that are called like one, unless they only refer to it, and anything that looks like
/// a credential wherever it stands.
fn mask(name: &str, value: &mut Value) {
    match value {
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(name, value)| mask(name, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(name, item)),
        Value::String(text) => {
            let lower = name.to_ascii_lowercase();
            let secret =
                SECRET_WORDS.iter().any(|word| lower.contains(word)) && !lower.contains("tokens");
            let refers = REFERENCES.iter().any(|prefix| text.starts_with(prefix));
            if secret && !refers && !text.is_empty() {
                *text = MASK.to_owned();
            } else if !refers {
                *text = redact(text).to_string();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn contains_mask(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(contains_mask),
        Value::Array(items) => items.iter().any(contains_mask),
        Value::String(text) => text.contains(MASK),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_references_and_counts_are_not() {
        // covers: S46
        let mut tree = json!({
            "gateway": { "token": "abc", "port": 1 },
            "providers": { "openai": { "api_key": "env:OPENAI_API_KEY", "max_tokens": "many" } },
            "list": [{ "password": "x" }],
        });
        mask("", &mut tree);
        assert_eq!(tree["gateway"]["token"], MASK);
        assert_eq!(tree["gateway"]["port"], 1);
        assert_eq!(tree["providers"]["openai"]["api_key"], "env:OPENAI_API_KEY");
        assert_eq!(tree["providers"]["openai"]["max_tokens"], "many");
        assert_eq!(tree["list"][0]["password"], MASK);
        assert!(contains_mask(&tree) && !contains_mask(&json!({ "a": ["b"] })));
    }
}
