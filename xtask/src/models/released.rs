//! The protocol against its last release, in `schema/released/<version>/`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::models::{compat, exceptions, plain};
use crate::tree;

/// What was removed or narrowed since the last release, unless the changelog says so under *Breaking*.
pub(crate) fn check() -> Result<Vec<String>> {
    let now = fs::read_to_string(tree::root().join("schema/protocol.json"))?;
    let now: Value = serde_json::from_str(&now).context("reading schema/protocol.json")?;
    let changelog = fs::read_to_string(tree::root().join("CHANGELOG.md"))?;
    let Some((version, before)) = latest()? else {
        return Ok(Vec::new());
    };
    let found = compare(&before, &now)?;
    if says_breaking(&changelog) {
        return Ok(Vec::new());
    }
    let what = |it| {
        format!("{it} (it was so in {version}; say it in CHANGELOG.md under Unreleased, Breaking)")
    };
    Ok(found.into_iter().map(what).collect())
}

fn compare(before: &Value, now: &Value) -> Result<Vec<String>> {
    let unreadable = |findings: Vec<String>| anyhow!(findings.join("\n"));
    let now = plain::read(now, &exceptions()?).map_err(unreadable)?;
    // A release is what it is: its exceptions were judged when it was made.
    let before = plain::read_released(before);
    Ok(compat::breaks(&before, &now))
}

/// The newest release and its schema.
fn latest() -> Result<Option<(String, Value)>> {
    let folder = tree::root().join("schema/released");
    let mut versions: Vec<(Vec<u64>, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&folder).context("reading schema/released")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let numbers: Option<Vec<u64>> = name.split('.').map(|it| it.parse().ok()).collect();
        if let Some(numbers) = numbers {
            versions.push((numbers, path));
        }
    }
    let Some((_, path)) = versions.into_iter().max() else {
        return Ok(None);
    };
    let text =
        fs::read_to_string(path.join("protocol.json")).context("reading the released schema")?;
    let version = path
        .file_name()
        .map(|it| it.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Some((version, serde_json::from_str(&text)?)))
}

/// Whether the unreleased part of the changelog has an entry under `### Breaking`.
fn says_breaking(changelog: &str) -> bool {
    let unreleased = changelog
        .split("\n## [")
        .find(|it| it.starts_with("Unreleased]"));
    let breaking =
        unreleased.and_then(|it| it.split("\n### ").find(|it| it.starts_with("Breaking")));
    breaking.is_some_and(|it| it.lines().any(|line| line.starts_with("- ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_was_removed_or_narrowed_since_the_last_release_without_saying_so() {
        assert_eq!(check().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn only_an_entry_under_breaking_says_so() {
        assert!(says_breaking(
            "# Changelog\n\n## [Unreleased]\n\n### Breaking\n\n- `x` is gone.\n\n## [0.1.0]\n"
        ));
        assert!(!says_breaking(
            "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- x\n\n## [0.1.0]\n\n### Breaking\n\n- y\n"
        ));
        assert!(!says_breaking(
            "# Changelog\n\n## [Unreleased]\n\n### Breaking\n"
        ));
    }

    /// The released schema with one change.
    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let (_, before) = latest().unwrap().unwrap();
        let mut now = before.clone();
        change(&mut now);
        compat::breaks(&plain::read_released(&before), &plain::read_released(&now))
    }

    #[test]
    fn every_way_to_remove_or_narrow_is_found() {
        let remove = |at: &'static str, name: &'static str| {
            changed(|it| {
                drop(
                    it.pointer_mut(at)
                        .unwrap()
                        .as_object_mut()
                        .unwrap()
                        .remove(name),
                )
            })
        };
        let set = |at: &'static str, value: Value| {
            let (parent, name) = at.rsplit_once('/').unwrap();
            changed(|it| it.pointer_mut(parent).unwrap()[name] = value)
        };
        let cases = [
            (
                remove("/methods", "chat.send"),
                "the method chat.send is gone",
            ),
            (remove("/events", "agent"), "the event agent is gone"),
            (remove("/codes", "NOT_FOUND"), "the code NOT_FOUND is gone"),
            (set("/protocols", json!([4])), "protocol version 3 is gone"),
            (
                remove("/$defs/ChatSendParams/properties", "timeoutMs"),
                "chat.send.params.timeoutMs is gone",
            ),
            (
                remove("/$defs/ChatSent/properties", "error"),
                "chat.send.result.error is gone",
            ),
            (
                set("/$defs/ChatSent/required", json!(["runId"])),
                "chat.send.result.status may be absent now",
            ),
            (
                set("/$defs/PageParams/required", json!(["limit"])),
                "limit is required now",
            ),
            (
                set(
                    "/$defs/ChatSendParams/properties/message/type",
                    json!("boolean"),
                ),
                "chat.send.params.message: the type is another one",
            ),
            (
                set(
                    "/$defs/ChatHistoryParams/properties/limit/maximum",
                    json!(10),
                ),
                "chat.history.params.limit: 0 to 4294967295 became 0 to 10",
            ),
            (
                set("/$defs/ChatSendStatus/enum", json!(["started"])),
                "the word in_flight is gone",
            ),
        ];
        for (found, expected) in cases {
            assert!(
                found.iter().any(|it| it.ends_with(expected)),
                "{expected}: {found:?}"
            );
        }
        let required = changed(|it| {
            it["$defs"]["ChatSendParams"]["properties"]["extra"] = json!({ "type": "string" });
            it["$defs"]["ChatSendParams"]["required"]
                .as_array_mut()
                .unwrap()
                .push(json!("extra"));
        });
        assert_eq!(required, ["chat.send.params.extra is new and required"]);
    }

    #[test]
    fn widening_is_not_a_break() {
        let found = changed(|it| {
            it["methods"]["new.method"] = it["methods"]["health"].clone();
            it["$defs"]["ChatSendParams"]["properties"]["extra"] = json!({ "type": "string" });
            it["$defs"]["ChatSent"]["properties"]["extra"] = json!({ "type": "string" });
            it["$defs"]["ChatSendStatus"]["enum"]
                .as_array_mut()
                .unwrap()
                .push(json!("new"));
        });
        assert_eq!(found, Vec::<String>::new());
    }
}
