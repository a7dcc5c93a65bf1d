//! The protocol in other languages, from `schema/protocol.json` and nothing else.

mod compat;
mod kotlin;
mod plain;
pub(crate) mod released;
#[cfg(test)]
mod samples;
mod swift;
mod text;
mod typescript;

use std::fs;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::tree;

/// What the schema may say although not every language says it well.
fn exceptions() -> Result<plain::Exceptions> {
    let text = fs::read_to_string(tree::root().join("schema/exceptions.toml"))
        .context("reading schema/exceptions.toml")?;
    toml::from_str(&text).context("reading schema/exceptions.toml")
}

/// The models, each with its place.
pub(crate) fn drawn(schema: &Value) -> Result<Vec<(&'static str, String)>> {
    let protocol = plain::read(schema, &exceptions()?)
        .map_err(|findings| anyhow!("not every language can say this:\n{}", findings.join("\n")))?;
    Ok(vec![
        (
            "web/packages/protocol/src/gen.ts",
            typescript::write(&protocol),
        ),
        (
            "apps/mobile/models/kotlin/Protocol.kt",
            kotlin::write(&protocol),
        ),
        (
            "apps/mobile/models/swift/Protocol.swift",
            swift::write(&protocol),
        ),
    ])
}
