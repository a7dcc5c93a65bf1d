//! What `deploy/` says about the program is true of it: settings, variables and command lines.
//!
//! The formats themselves are for tools that know them; `deploy/lint` runs those that are installed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::tree;

/// Every file of `deploy/` that is text, by its name and with what is in it.
fn texts() -> Vec<(String, String)> {
    let paths: Vec<PathBuf> = tree::files(&tree::root().join("deploy")).unwrap();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path
                .strip_prefix(tree::root())
                .unwrap()
                .display()
                .to_string();
            fs::read_to_string(&path).ok().map(|text| (name, text))
        })
        .collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(tree::root().join(name)).unwrap()
}

/// The words of `[gateway, run, --workers, "0"]`.
fn list(text: &str) -> Option<Vec<String>> {
    let (inner, _) = text.trim().strip_prefix('[')?.split_once(']')?;
    let words = inner
        .split(',')
        .map(|it| it.trim().trim_matches('"').to_owned());
    Some(words.collect())
}

/// The arguments of the program in a line that starts it.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let is_ours = |words: &[String]| {
        matches!(
            words.first().map(String::as_str),
            Some("gateway" | "worker")
        )
    };
    if let Some(command) = line.strip_prefix("ExecStart=/usr/bin/adjutant") {
        return Some(command.split_whitespace().map(str::to_owned).collect());
    }
    if let Some((_, command)) = line.split_once("CMD ") {
        let mut words = list(command)?;
        if words.first().is_some_and(|it| it == "/usr/bin/adjutant") {
            words.remove(0);
        }
        return Some(words);
    }
    let rest = line
        .strip_prefix("args:")
        .or_else(|| line.strip_prefix("command:"))?;
    list(rest).filter(|words| is_ours(words))
}

/// `store.database_url` for `ADJUTANT_STORE__DATABASE_URL`.
fn keys(text: &str) -> Vec<String> {
    text.split(|it: char| !(it.is_ascii_uppercase() || it == '_'))
        .filter_map(|word| word.strip_prefix("ADJUTANT_"))
        .filter(|word| word.contains("__"))
        .map(|word| word.to_ascii_lowercase().replace("__", "."))
        .collect()
}

#[test]
fn settings_of_deployments_are_valid() {
    let schema: Value = serde_json::from_str(&read("schema/config.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut seen = 0;
    for (name, text) in texts().iter().filter(|(name, _)| name.ends_with(".toml")) {
        let settings: Value = toml::from_str(text).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&settings)
            .map(|it| it.to_string())
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
        seen += 1;
    }
    assert!(0 < seen, "deploy/ has no settings any more");
}

#[test]
fn variables_of_deployments_are_settings() {
    let reference = read("docs/reference/config.md");
    for (name, text) in texts() {
        for key in keys(&text) {
            assert!(
                reference.contains(&format!("| `{key}` |")),
                "{name}: no setting `{key}`"
            );
        }
    }
}

#[test]
fn command_lines_of_deployments_are_understood() {
    let mut seen = 0;
    for (name, text) in texts() {
        for words in text.lines().filter_map(arguments) {
            let line = std::iter::once("adjutant".to_owned()).chain(words.clone());
            let parsed = adjutant_cli::command().try_get_matches_from(line);
            assert!(parsed.is_ok(), "{name}: {words:?}: {:?}", parsed.err());
            seen += 1;
        }
    }
    assert!(5 < seen, "only {seen} command lines were found in deploy/");
}
