//! Configuration: one tree, many owners.
//!
//! Each crate owns its section beside the code that reads it; [`tree`] is nothing but their list. Everything else here is
//! machinery that works for any tree: layers that remember where a value was written, checks against the JSON Schema,
//! and one path for changes. Nothing is ever replaced by a default in silence.

mod document;
mod edit;
mod key;
mod load;
mod node;
mod problem;
mod replace;
mod schema;
mod settings;
mod tree;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use load::Sources;
pub(crate) use problem::ConfigError;
pub(crate) use tree::Config;

/// The settings of this installation, behind the door for `config.*` methods.
pub(crate) type Settings = settings::Settings<Config>;

/// JSON Schema of the whole tree.
pub(crate) fn schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}
