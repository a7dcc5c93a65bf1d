//! The reference of the configuration, drawn from its schema.

use std::fmt::Write as _;

use serde_json::Value;

/// Depth of nested tables that are followed; the tree is four deep.
const DEPTH_MAX: usize = 12;

/// `docs/reference/config.md`.
pub(crate) fn config(schema: &Value) -> String {
    let mut out = String::from(
        "# Configuration keys\n\nGenerated from the schema of the configuration; do not edit.\n\
         How the file, the environment and flags work together is told in [the guide](../guide/configuration.md).\n",
    );
    let mut page = Page {
        schema,
        out: &mut out,
    };
    for (section, part) in properties(schema, schema) {
        let docs = described(schema, part);
        page.line(&format!("\n## `[{section}]`\n"));
        if !docs.is_empty() {
            page.line(&format!("{docs}\n"));
        }
        page.line("| key | takes | default | what it does |");
        page.line("|---|---|---|---|");
        page.rows(section, part, part.get("default"), 0);
    }
    out
}

struct Page<'a> {
    schema: &'a Value,
    out: &'a mut String,
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        // Writing into a String cannot fail.
        writeln!(self.out, "{text}").unwrap_or_default();
    }

    fn rows(&mut self, path: &str, part: &Value, default: Option<&Value>, depth: usize) {
        let part = resolved(self.schema, part);
        let default = default.or_else(|| part.get("default"));
        let members = properties(self.schema, part);
        for (name, member) in members {
            let key = format!("{path}.{name}");
            let default = member
                .get("default")
                .or_else(|| default.and_then(|it| it.get(name)));
            let inner = resolved(self.schema, member);
            let is_table = !properties(self.schema, inner).is_empty();
            if is_table && depth < DEPTH_MAX {
                self.rows(&key, inner, default, depth + 1);
                continue;
            }
            let row = format!(
                "| `{key}` | {} | {} | {} |",
                takes(self.schema, member),
                default.map(shown).unwrap_or_default(),
                described(self.schema, member)
                    .replace('|', "\\|")
                    .replace('\n', " "),
            );
            self.line(&row);
            if let Some(values) = inner
                .get("additionalProperties")
                .filter(|it| it.is_object())
                && depth < DEPTH_MAX
            {
                self.rows(&format!("{key}.<name>"), values, None, depth + 1);
            }
        }
    }
}

/// Follows `$ref`, and the one real part of an optional value.
fn resolved<'a>(root: &'a Value, part: &'a Value) -> &'a Value {
    let mut here = part;
    for _ in 0..DEPTH_MAX {
        let by_name = here
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|it| it.strip_prefix('#'));
        if let Some(target) = by_name.and_then(|pointer| root.pointer(pointer)) {
            here = target;
            continue;
        }
        let parts = here.get("anyOf").and_then(Value::as_array);
        let real = parts.and_then(|parts| {
            let mut real = parts
                .iter()
                .filter(|it| it.get("type") != Some(&Value::from("null")));
            real.next().filter(|_| real.next().is_none())
        });
        match real {
            Some(real) => here = real,
            None => break,
        }
    }
    here
}

fn properties<'a>(root: &'a Value, part: &'a Value) -> Vec<(&'a str, &'a Value)> {
    let part = resolved(root, part);
    let members = part.get("properties").and_then(Value::as_object);
    members
        .into_iter()
        .flatten()
        .map(|(name, member)| (name.as_str(), member))
        .collect()
}

fn described(root: &Value, part: &Value) -> String {
    let own = part
        .get("description")
        .or_else(|| resolved(root, part).get("description"));
    own.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn takes(root: &Value, part: &Value) -> String {
    let part = resolved(root, part);
    let words: Vec<String> = ["enum", "oneOf"]
        .iter()
        .filter_map(|word| part.get(*word)?.as_array())
        .flatten()
        .filter_map(|it| {
            it.as_str()
                .or_else(|| it.get("const")?.as_str())
                .map(|word| format!("`{word}`"))
        })
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    let kind = match part.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds = kinds
                .iter()
                .filter_map(Value::as_str)
                .filter(|it| *it != "null");
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ => return "any".to_owned(),
    };
    let bound = |word: &str| part.get(word).map(ToString::to_string);
    match (kind.as_str(), bound("minimum"), bound("maximum")) {
        ("object", _, _) => "table".to_owned(),
        ("array", _, _) => "list".to_owned(),
        (_, Some(min), Some(max)) => format!("{kind}, {min} to {max}"),
        (_, Some(min), None) if min != "0" => format!("{kind}, {min} or more"),
        _ => kind,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_shown_with_type_default_and_words() {
        let schema = json!({
            "properties": { "gateway": { "$ref": "#/$defs/Gateway", "default": { "port": 1, "mode": "a" } } },
            "$defs": { "Gateway": { "description": "The port of everything.", "properties": {
                "port": { "type": "integer", "minimum": 0, "maximum": 65535, "description": "Port | all." },
                "mode": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
                "deep": { "anyOf": [{ "$ref": "#/$defs/Deep" }, { "type": "null" }] },
            } }, "Deep": { "properties": { "x": { "type": ["string", "null"] } } } },
        });
        let text = config(&schema);
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert_eq!(
            rows,
            [
                "| `gateway.port` | integer, 0 to 65535 | `1` | Port \\| all. |",
                "| `gateway.mode` | `a`, `b` | `\"a\"` |  |",
                "| `gateway.deep.x` | string |  |  |",
            ]
        );
        assert!(text.contains("The port of everything."));
    }
}
