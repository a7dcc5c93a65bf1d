//! Which crate may import which: the table in `crates/floors.toml` against the real graph.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metadata::{Metadata, Use};
use crate::tree;

/// One row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    floor: u8,
    /// Crates of ours that the product may import.
    #[serde(default)]
    may: Vec<String>,
    /// Further ones for tests.
    #[serde(default)]
    tests: Vec<String>,
}

/// Rows by crate, without the `adjutant-` in front.
pub(crate) type Table = BTreeMap<String, Row>;

/// Reads the table.
pub(crate) fn table() -> Result<Table> {
    let path = tree::root().join("crates/floors.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).context("reading crates/floors.toml")
}

/// Every edge and row that is wrong.
pub(crate) fn check(metadata: &Metadata, table: &Table) -> Vec<String> {
    let short = |name: &str| name.strip_prefix("adjutant-").unwrap_or(name).to_owned();
    let ours = metadata.ours();
    let names: Vec<String> = ours.iter().map(|(name, _)| short(name)).collect();
    let mut wrong = Vec::new();
    for name in table.keys().filter(|name| !names.contains(name)) {
        wrong.push(format!("floors: `{name}` has a row and no crate"));
    }
    for (package, imports) in &ours {
        let name = short(package);
        let Some(row) = table.get(&name) else {
            wrong.push(format!("floors: `{name}` has no row"));
            continue;
        };
        for (import, purpose) in imports {
            let import = short(import);
            // Its own tests may ask for more of it.
            if import == name {
                continue;
            }
            let Some(below) = table.get(&import) else {
                continue;
            };
            let allowed =
                row.may.contains(&import) || *purpose == Use::Tests && row.tests.contains(&import);
            if !allowed {
                wrong.push(format!("floors: `{name}` must not import `{import}`"));
            } else if row.floor < below.floor && *purpose == Use::Product {
                wrong.push(format!(
                    "floors: `{name}` imports `{import}` from a higher floor"
                ));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::metadata;

    #[test]
    fn every_crate_imports_only_what_its_row_allows() {
        assert_eq!(
            check(&metadata::read().unwrap(), &table().unwrap()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_forbidden_edge_and_a_missing_row_are_named() {
        let mut table = table().unwrap();
        table.get_mut("policy").unwrap().may.clear();
        table.remove("cli");
        let wrong = check(&metadata::read().unwrap(), &table);
        assert!(
            wrong.contains(&"floors: `policy` must not import `domain`".to_owned()),
            "{wrong:#?}"
        );
        assert!(
            wrong.contains(&"floors: `cli` has no row".to_owned()),
            "{wrong:#?}"
        );
    }

    #[test]
    fn the_gateway_never_sees_the_engine_and_the_engine_never_the_protocol() {
        let table = table().unwrap();
        let may = |name: &str, import: &str| table[name].may.iter().any(|it| it == import);
        assert!(!may("gateway", "engine") && !may("engine", "protocol") && !may("cli", "engine"));
    }
}
