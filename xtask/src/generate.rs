//! Generated files: the schemas and the reference manual. They are committed; a test regenerates and compares.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{manual, models, tree};

/// Where the schema of the configuration is kept. The binary makes it, and the binary's own tests compare it.
const CONFIG_SCHEMA: &str = "schema/config.json";

/// Writes everything.
pub(crate) fn write() -> Result<ExitCode> {
    let schema = config_schema()?;
    put(CONFIG_SCHEMA, &pretty(&schema))?;
    for (path, text) in drawn(&schema)? {
        put(path, &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn put(path: &str, text: &str) -> Result<()> {
    let file = tree::root().join(path);
    if fs::read_to_string(&file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, text).with_context(|| format!("writing {path}"))?;
    eprintln!("wrote {path}");
    Ok(())
}

/// Asks the binary, the only place that knows the whole tree.
fn config_schema() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_unset| "cargo".to_owned());
    let out = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--package",
            "adjutant",
            "--",
            "config",
            "schema",
        ])
        .current_dir(tree::root())
        .output()
        .context("running adjutant config schema")?;
    ensure!(
        out.status.success(),
        "adjutant config schema: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).context("reading the schema of the configuration")
}

/// Files that follow from the protocol, the command line and the schema of the configuration.
fn drawn(config: &Value) -> Result<Vec<(&'static str, String)>> {
    let version = env!("CARGO_PKG_VERSION");
    let protocol = adjutant_protocol::schema::schema();
    let mut files = vec![
        ("schema/protocol.json", pretty(&protocol)),
        (
            "schema/openrpc.json",
            by_line(&adjutant_protocol::schema::openrpc(version)),
        ),
        (
            "docs/reference/methods.md",
            adjutant_protocol::schema::reference(),
        ),
        ("docs/reference/cli.md", adjutant_cli::reference_markdown()),
        ("docs/reference/config.md", manual::config(config)),
    ];
    files.extend(models::drawn(&protocol)?);
    Ok(files)
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a JSON value has string keys only");
    text.push('\n');
    text
}

/// A line for each method and each schema: short enough to go into the program, and a change still shows where it is.
fn by_line(value: &Value) -> String {
    let mut text = String::new();
    lines(value, 3, &mut text);
    text.push('\n');
    text
}

fn lines(value: &Value, depth: u32, text: &mut String) {
    let (open, close, members): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(members) if depth > 0 && !members.is_empty() => {
            let named = |(name, member): (&String, _)| (format!("{}:", json!(name)), member);
            ('{', '}', members.iter().map(named).collect())
        }
        Value::Array(items) if depth > 0 && !items.is_empty() => {
            let plain = items.iter().map(|item| (String::new(), item));
            ('[', ']', plain.collect())
        }
        _ => return text.push_str(&value.to_string()),
    };
    text.push(open);
    for (n, (name, member)) in members.into_iter().enumerate() {
        text.push_str(if n == 0 { "\n" } else { ",\n" });
        text.push_str(&name);
        // Methods and schemas are as deep as lines go.
        let deeper = if value.is_array() { 0 } else { depth - 1 };
        lines(member, deeper, text);
    }
    text.push('\n');
    text.push(close);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn committed_files_are_what_the_tables_say() {
        let read = |path: &str| fs::read_to_string(tree::root().join(path)).unwrap_or_default();
        let config: Value = serde_json::from_str(&read(CONFIG_SCHEMA)).unwrap();
        for (path, text) in drawn(&config).unwrap() {
            assert!(
                read(path) == text,
                "{path} is out of date: run `cargo xtask gen`"
            );
        }
    }

    #[test]
    fn every_error_code_has_a_page_that_names_it() {
        let folder = tree::root().join("docs/reference/errors");
        let mut missing = Vec::new();
        let mut words = Vec::new();
        for code in adjutant_protocol::fault::CODES {
            let word = adjutant_protocol::wire(*code).word;
            let page = fs::read_to_string(folder.join(format!("{word}.md"))).unwrap_or_default();
            if !page.starts_with(&format!("# {word}\n")) || page.lines().count() < 5 {
                missing.push(word);
            }
            words.push(format!("{word}.md"));
        }
        assert_eq!(missing, Vec::<&str>::new());
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                words.contains(&name) || name == "README.md",
                "{name} is a page for no code"
            );
        }
    }
}
