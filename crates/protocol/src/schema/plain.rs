//! Makes schemas plain: one way to say each thing, and only what every language has a word for.
//!
//! Optional means absent, not null. Integers stay within what a double holds exactly. A set of words is an `enum`; a
//! union is a list of whole objects, each with its word in `type`.

use serde_json::{Map, Value, json};

/// The largest integer that every language can hold: 2^53 - 1.
const INTEGER_MAX: i64 = 9_007_199_254_740_991;
/// A member that keeps its null although it is optional: null clears what was set, absence leaves it.
const KEEPS_NULL: &str = "x-null";

/// Rewrites a schema and everything in it.
pub(super) fn make_plain(schema: &mut Value) {
    match schema {
        Value::Bool(true) => *schema = json!({}),
        Value::Object(members) => plain_object(members),
        _ => {}
    }
}

fn plain_object(members: &mut Map<String, Value>) {
    members.remove("title");
    words_to_enum(members);
    integers(members);
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name).filter(|it| it.is_object()) {
            make_plain(inner);
        }
    }
    for name in ["oneOf", "anyOf"] {
        if let Some(Value::Array(options)) = members.get_mut(name) {
            options.iter_mut().for_each(make_plain);
        }
    }
    if members.get("items") == Some(&Value::Bool(true)) {
        members.insert("items".to_owned(), json!({}));
    }
    absent_not_null(members);
    unflatten(members);
}

/// `oneOf` of constants, each with its comment, becomes an `enum`.
fn words_to_enum(members: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = members.get("oneOf") else {
        return;
    };
    let words: Option<Vec<(String, Value)>> = options
        .iter()
        .map(|option| {
            let word = option.get("const")?.as_str()?.to_owned();
            let docs = option.get("description").cloned().unwrap_or_default();
            Some((word, docs))
        })
        .collect();
    let Some(words) = words else { return };
    members.remove("oneOf");
    members.insert("type".to_owned(), json!("string"));
    let names: Vec<&String> = words.iter().map(|(word, _)| word).collect();
    members.insert("enum".to_owned(), json!(names));
    let docs: Map<String, Value> = words.into_iter().filter(|(_, it)| it.is_string()).collect();
    members.insert("x-words".to_owned(), Value::Object(docs));
}

fn is_type(members: &Map<String, Value>, name: &str) -> bool {
    match members.get("type") {
        Some(Value::String(word)) => word == name,
        Some(Value::Array(words)) => words.iter().any(|word| word == name),
        _ => false,
    }
}

fn integers(members: &mut Map<String, Value>) {
    if is_type(members, "number") {
        members.remove("format");
    }
    if !is_type(members, "integer") {
        return;
    }
    let format = members.remove("format");
    let (min, max) = match format.as_ref().and_then(Value::as_str) {
        Some("uint8") => (0, i64::from(u8::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("uint64" | "uint") => (0, INTEGER_MAX),
        _ => (-INTEGER_MAX, INTEGER_MAX),
    };
    members
        .entry("minimum".to_owned())
        .or_insert_with(|| json!(min));
    members
        .entry("maximum".to_owned())
        .or_insert_with(|| json!(max));
}

/// Takes null from optional members.
fn absent_not_null(members: &mut Map<String, Value>) {
    let required: Vec<String> = members
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str))
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    let Some(Value::Object(properties)) = members.get_mut("properties") else {
        return;
    };
    for (name, property) in properties.iter_mut() {
        make_plain(property);
        let Value::Object(property) = property else {
            continue;
        };
        if property.get("default") == Some(&Value::Null) {
            property.remove("default");
        }
        let keeps = property.remove(KEEPS_NULL).is_some();
        if !keeps && !required.contains(name) {
            not_null(property);
        }
    }
}

fn not_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(words)) = property.get_mut("type") {
        words.retain(|word| word != "null");
        if let [word] = words.as_slice() {
            let word = word.clone();
            property.insert("type".to_owned(), word);
        }
    }
    if let Some(Value::Array(options)) = property.get_mut("anyOf") {
        options.retain(|option| option.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            property.remove("anyOf");
            for (name, value) in only {
                property.entry(name).or_insert(value);
            }
        }
    }
}

/// Members beside a union (a flattened enum) move into each of its objects.
fn unflatten(members: &mut Map<String, Value>) {
    let Some(Value::Object(shared)) = members.get("properties").cloned() else {
        return;
    };
    let Some(Value::Array(mut options)) = members.remove("oneOf") else {
        return;
    };
    let required = members.get("required").cloned().unwrap_or(json!([]));
    for option in options.iter_mut().filter_map(Value::as_object_mut) {
        let mut properties = shared.clone();
        if let Some(Value::Object(own)) = option.remove("properties") {
            properties.extend(own);
        }
        option.insert("properties".to_owned(), Value::Object(properties));
        let own = option.remove("required").unwrap_or(json!([]));
        let all: Vec<Value> = [&required, &own]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .cloned()
            .collect();
        option.insert("required".to_owned(), Value::Array(all));
    }
    for name in ["properties", "required", "type"] {
        members.remove(name);
    }
    members.insert("oneOf".to_owned(), Value::Array(options));
}

/// Puts the definitions of what is said beside those of what is heard. A type that differs between the two keeps its
/// name for what is heard and gets `Input` at its end for what is said; `said` is rewritten to match.
pub(super) fn merge(
    said_definitions: Map<String, Value>,
    heard_definitions: Map<String, Value>,
    said: &mut [&mut Value],
) -> Map<String, Value> {
    let mut differ: Vec<String> = said_definitions
        .iter()
        .filter(|(name, schema)| heard_definitions.get(*name).is_some_and(|it| it != *schema))
        .map(|(name, _)| name.clone())
        .collect();
    // A type that holds one that differs, differs too.
    loop {
        let more: Vec<String> = said_definitions
            .iter()
            .filter(|(name, _)| heard_definitions.contains_key(*name) && !differ.contains(name))
            .filter(|(_, schema)| differ.iter().any(|name| refers_to(schema, name)))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        differ.extend(more);
    }
    let mut all = heard_definitions;
    for (name, mut schema) in said_definitions {
        rename(&mut schema, &differ);
        let name = if differ.contains(&name) {
            format!("{name}Input")
        } else {
            name
        };
        all.insert(name, schema);
    }
    for schema in said {
        rename(schema, &differ);
    }
    all.sort_keys();
    all
}

fn refers_to(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            key == "$ref" && value.as_str().and_then(|it| it.rsplit('/').next()) == Some(name)
                || refers_to(value, name)
        }),
        Value::Array(items) => items.iter().any(|item| refers_to(item, name)),
        _ => false,
    }
}

fn rename(schema: &mut Value, differ: &[String]) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match value {
                    Value::String(path) if key == "$ref" => {
                        let name = path.rsplit('/').next().unwrap_or_default();
                        if differ.iter().any(|it| it == name) {
                            path.push_str("Input");
                        }
                    }
                    _ => rename(value, differ),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, differ)),
        _ => {}
    }
}

/// Moves every reference from `#/$defs/` to another place.
pub(super) fn move_references(schema: &mut Value, to: &str) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match value {
                    Value::String(path) if key == "$ref" => {
                        *path = path.replace("#/$defs/", to);
                    }
                    _ => move_references(value, to),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, to)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(mut schema: Value) -> Value {
        make_plain(&mut schema);
        schema
    }

    #[test]
    fn optional_members_lose_their_null_and_required_ones_keep_it() {
        let schema = plain(json!({
            "type": "object",
            "required": ["kept"],
            "properties": {
                "kept": { "type": ["string", "null"] },
                "word": { "type": ["string", "null"], "default": null },
                "other": { "anyOf": [{ "$ref": "#/$defs/X" }, { "type": "null" }], "description": "d" },
                "cleared": { "type": ["string", "null"], "x-null": "clears" },
            }
        }));
        let properties = &schema["properties"];
        assert_eq!(properties["kept"]["type"], json!(["string", "null"]));
        assert_eq!(properties["word"], json!({ "type": "string" }));
        assert_eq!(
            properties["other"],
            json!({ "description": "d", "$ref": "#/$defs/X" })
        );
        assert_eq!(properties["cleared"], json!({ "type": ["string", "null"] }));
    }

    #[test]
    fn integers_stay_within_what_a_double_holds() {
        let schema = plain(json!({ "type": "integer", "format": "uint64", "minimum": 0 }));
        assert_eq!(
            schema,
            json!({ "type": "integer", "minimum": 0, "maximum": INTEGER_MAX })
        );
        let schema = plain(json!({ "type": "integer", "minimum": 1, "maximum": 5 }));
        assert_eq!(schema["maximum"], 5);
    }

    #[test]
    fn shared_members_move_into_the_objects_of_a_union() {
        let schema = plain(json!({
            "type": "object", "properties": { "at": { "type": "boolean" } }, "required": ["at"],
            "oneOf": [{ "type": "object", "properties": { "type": { "const": "a" } }, "required": ["type"] }],
        }));
        assert_eq!(schema.get("properties"), None);
        let only = &schema["oneOf"][0];
        assert_eq!(only["required"], json!(["at", "type"]));
        assert_eq!(only["properties"]["at"], json!({ "type": "boolean" }));
    }

    #[test]
    fn a_type_that_is_said_otherwise_than_it_is_heard_gets_a_second_name() {
        let said = json!({ "A": { "items": { "$ref": "#/$defs/B" } }, "B": { "type": "string" }, "C": {} });
        let heard = json!({ "A": { "items": { "$ref": "#/$defs/B" } }, "B": { "type": "boolean" }, "C": {} });
        let (Value::Object(said), Value::Object(heard)) = (said, heard) else {
            unreachable!()
        };
        let mut params = json!({ "$ref": "#/$defs/A" });
        let all = merge(said, heard, &mut [&mut params]);
        assert_eq!(params["$ref"], "#/$defs/AInput");
        assert_eq!(all["AInput"]["items"]["$ref"], "#/$defs/BInput");
        assert_eq!(
            all.keys().collect::<Vec<_>>(),
            ["A", "AInput", "B", "BInput", "C"]
        );
    }
}
