//! The environment: `${NAME}` in string values, and settings given as `ADJUTANT_<SECTION>__<KEY>`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::key::KeyPath;
use super::node::{Kind, Node};
use super::problem::{Fault, Place, Problem};
use super::schema::{Schema, Types};

/// The environment as read at start.
pub(crate) type Variables = BTreeMap<String, String>;

/// Prefix of every variable of ours.
const PREFIX: &str = "ADJUTANT_";

/// Variables with a meaning of their own, which are not settings.
const RESERVED: &[&str] = &[
    "ADJUTANT_HOME",
    "ADJUTANT_CONFIG",
    "ADJUTANT_GATEWAY_TOKEN",
    "ADJUTANT_LOG",
    "ADJUTANT_PROFILE",
    "ADJUTANT_VAULT_KEY",
    "ADJUTANT_NO_UPDATE",
];

/// Prefix of variables that belong to the tests.
const RESERVED_PREFIX: &str = "ADJUTANT_TEST_";

/// Replaces `${NAME}` and `${NAME:-fallback}`; `$${` stands for a literal `${`.
pub(super) fn replace(text: &str, variables: &Variables) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let body = after.get(2..).unwrap_or_default();
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = body;
            continue;
        }
        out.push_str(before);
        let Some((inner, tail)) = body.split_once('}') else {
            return Err(Fault::Nonsense {
                said: "`${` without a closing `}`".to_owned(),
            });
        };
        let (name, fallback) = match inner.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(Fault::Nonsense {
                said: format!("`${{{inner}}}` names no variable"),
            });
        }
        let value = variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty());
        match value.or(fallback) {
            Some(value) => out.push_str(value),
            None => {
                return Err(Fault::UnsetVariable {
                    name: name.to_owned(),
                });
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The settings in the environment as one layer.
pub(super) fn layer(variables: &Variables, schema: &Schema) -> (Node, Vec<Problem>) {
    let mut layer = Node::empty();
    let mut problems = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if RESERVED.contains(&name.as_str()) || name.starts_with(RESERVED_PREFIX) {
            continue;
        }
        let place = Place::Environment { name: name.clone() };
        if !rest.contains("__") {
            if let Some(key) = single_underscore(rest, schema) {
                problems.push(meant_as_setting(key, place));
            }
            continue;
        }
        let words: Vec<&str> = rest.split("__").collect();
        match resolve(&words, schema) {
            Ok(key) => {
                let accepts = schema.at(&key).map(Types::of).unwrap_or_default();
                let node = Node {
                    place,
                    kind: value(text, &accepts),
                };
                layer.merge(Node::nested(key.segments(), node));
            }
            Err(key) => {
                let nearest = schema.nearest(&key);
                problems.push(Problem {
                    key,
                    place,
                    fault: Fault::UnknownKey { nearest },
                });
            }
        }
    }
    (layer, problems)
}

/// `GATEWAY_PORT` for `GATEWAY__PORT`: a name that would otherwise be ignored without a word.
fn single_underscore(rest: &str, schema: &Schema) -> Option<KeyPath> {
    let (section, key) = rest.split_once('_')?;
    resolve(&[section, key], schema).ok()
}

fn meant_as_setting(key: KeyPath, place: Place) -> Problem {
    let words: Vec<_> = key.segments().iter().map(|it| it.to_uppercase()).collect();
    let said = format!("write `{PREFIX}{}`, with two underscores", words.join("__"));
    Problem {
        key,
        place,
        fault: Fault::Nonsense { said },
    }
}

/// Finds the key that `words` name, letter case and underscores aside; `Err` is the key as it was understood.
fn resolve(words: &[&str], schema: &Schema) -> Result<KeyPath, KeyPath> {
    let mut key = KeyPath::root();
    let mut known = true;
    for word in words {
        let plain = plain(word);
        let found = schema
            .names(&key)
            .into_iter()
            .find(|name| self::plain(name) == plain);
        let lower = word.to_lowercase();
        known &= found.is_some() || schema.is_open(&key);
        key = key.with(found.as_deref().unwrap_or(&lower));
    }
    if known { Ok(key) } else { Err(key) }
}

fn plain(word: &str) -> String {
    word.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// A variable is text. What it says is read as TOML where the setting takes more than text.
fn value(text: &str, accepts: &Types) -> Kind {
    if accepts.is_only_text() {
        return Node::text(text);
    }
    let parsed: Option<serde_json::Map<String, Value>> =
        toml::from_str(&format!("it = {text}")).ok();
    let json = parsed
        .filter(|members| members.len() == 1)
        .and_then(|mut it| it.remove("it"));
    match json.and_then(|json| Node::from_json(&json, &Place::Default)) {
        Some(node) if accepts.fits(&node.kind) || !accepts.takes_text() => node.kind,
        _ => Node::text(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(text: &str, expect: Result<&str, Fault>) {
        let variables = [("HOME", "/h"), ("EMPTY", "")];
        let variables = variables
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(replace(text, &variables), expect.map(str::to_owned));
    }

    #[test]
    fn variables_are_replaced_in_text() {
        check("plain", Ok("plain"));
        check("${HOME}/x and ${HOME}", Ok("/h/x and /h"));
        check("${NONE:-other}", Ok("other"));
        check("${EMPTY:-other}", Ok("other"));
        check("${NONE:-}", Ok(""));
        check("$${HOME} costs $5", Ok("${HOME} costs $5"));
    }

    #[test]
    fn an_unset_variable_is_an_error() {
        check(
            "${NONE}",
            Err(Fault::UnsetVariable {
                name: "NONE".to_owned(),
            }),
        );
    }

    #[test]
    fn a_broken_reference_is_an_error() {
        check(
            "${HOME",
            Err(Fault::Nonsense {
                said: "`${` without a closing `}`".to_owned(),
            }),
        );
        check(
            "${a b}",
            Err(Fault::Nonsense {
                said: "`${a b}` names no variable".to_owned(),
            }),
        );
    }
}
