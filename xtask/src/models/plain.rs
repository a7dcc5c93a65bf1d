//! The schema as what every language can say: objects, closed sets of words, unions tagged by `type`, integers within
//! 2^53, lists, maps, and optional members that are absent. Everything else is a finding, unless
//! `schema/exceptions.toml` names it with a reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The largest integer that every language can hold.
pub(crate) const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// What is allowed although not every language says it well, each with its reason.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions {
    /// Members that hold any JSON.
    #[serde(default)]
    pub(crate) any: BTreeMap<String, String>,
    /// Members that may be null.
    #[serde(default)]
    pub(crate) null: BTreeMap<String, String>,
}

/// The type of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Text {
        pattern: Option<String>,
    },
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    Number,
    /// Any JSON.
    Any,
    List(Box<Type>),
    Map(Box<Type>),
    Named(String),
    /// The type, or null.
    Nullable(Box<Type>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) kind: Type,
    pub(crate) required: bool,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object {
    pub(crate) fields: Vec<Field>,
    /// Whether members that are not listed are refused.
    pub(crate) closed: bool,
}

/// One object of a union.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    /// The word in `type`.
    pub(crate) word: String,
    pub(crate) docs: String,
    pub(crate) object: Object,
}

/// What a definition is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Object(Object),
    /// Words with their comments.
    Words(Vec<(String, String)>),
    Union(Vec<Variant>),
    Alias(Type),
}

/// A definition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) shape: Shape,
}

/// A method.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) params: Type,
    pub(crate) result: Type,
}

/// An event of the frames protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) payload: Type,
}

/// The protocol.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Protocol {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) methods: Vec<Method>,
    pub(crate) events: Vec<Event>,
    pub(crate) notifications: Vec<Event>,
    /// `challenge`, `params`, `result` of the handshake.
    pub(crate) connect: Vec<(String, Type)>,
    pub(crate) codes: Vec<String>,
    pub(crate) versions: Vec<i64>,
}

impl Protocol {
    pub(crate) fn find(&self, name: &str) -> Option<&Shape> {
        let found = self.definitions.iter().find(|it| it.name == name);
        found.map(|it| &it.shape)
    }
}

/// Reads a schema that was judged before: what cannot be said is any JSON.
pub(crate) fn read_released(schema: &Value) -> Protocol {
    let mut reader = Reader {
        exceptions: &Exceptions::default(),
        used: Vec::new(),
        findings: Vec::new(),
    };
    reader.protocol(schema)
}

/// Reads the schema. `Err`: everything in it that not every language can say, a sentence each.
pub(crate) fn read(schema: &Value, exceptions: &Exceptions) -> Result<Protocol, Vec<String>> {
    let mut reader = Reader {
        exceptions,
        used: Vec::new(),
        findings: Vec::new(),
    };
    let protocol = reader.protocol(schema);
    let named = exceptions.any.keys().chain(exceptions.null.keys());
    for name in named.filter(|name| !reader.used.contains(*name)) {
        reader
            .findings
            .push(format!("schema/exceptions.toml: {name} is not needed"));
    }
    if reader.findings.is_empty() {
        Ok(protocol)
    } else {
        Err(reader.findings)
    }
}

struct Reader<'a> {
    exceptions: &'a Exceptions,
    used: Vec<String>,
    findings: Vec<String>,
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text_of(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

impl Reader<'_> {
    fn protocol(&mut self, schema: &Value) -> Protocol {
        let mut protocol = Protocol::default();
        for (name, definition) in members(&schema["$defs"]) {
            let shape = self.shape(name, definition);
            let docs = text_of(definition, "description");
            let name = name.clone();
            protocol.definitions.push(Definition { name, docs, shape });
        }
        for (name, row) in members(&schema["methods"]) {
            let params = self.kind(&format!("{name}.params"), &row["params"]);
            let result = self.kind(&format!("{name}.result"), &row["result"]);
            let (name, docs) = (name.clone(), text_of(row, "summary"));
            protocol.methods.push(Method {
                name,
                docs,
                params,
                result,
            });
        }
        for (name, row) in members(&schema["events"]) {
            let payload = self.kind(name, &row["payload"]);
            let (name, docs) = (name.clone(), text_of(row, "summary"));
            protocol.events.push(Event {
                name,
                docs,
                payload,
            });
        }
        for (name, payload) in members(&schema["notifications"]) {
            let payload = self.kind(name, payload);
            let (name, docs) = (name.clone(), String::new());
            protocol.notifications.push(Event {
                name,
                docs,
                payload,
            });
        }
        for (name, part) in members(&schema["connect"]) {
            let kind = self.kind(&format!("connect.{name}"), part);
            protocol.connect.push((name.clone(), kind));
        }
        protocol.codes = members(&schema["codes"])
            .map(|(name, _)| name.clone())
            .collect();
        let versions = schema["protocols"].as_array().into_iter().flatten();
        protocol.versions = versions.filter_map(Value::as_i64).collect();
        protocol
    }

    fn shape(&mut self, name: &str, schema: &Value) -> Shape {
        if !is_type_name(name) {
            self.findings
                .push(format!("{name}: not a name for a type in every language"));
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str);
            let words = words.map(|word| (word.to_owned(), text_of(&schema["x-words"], word)));
            return Shape::Words(words.collect());
        }
        if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
            let variants = options.iter().map(|option| self.variant(name, option));
            return Shape::Union(variants.collect());
        }
        if schema.get("properties").is_some() || is_plain_object(schema) {
            return Shape::Object(self.object(name, schema, false));
        }
        Shape::Alias(self.kind(name, schema))
    }

    fn variant(&mut self, of: &str, schema: &Value) -> Variant {
        let word = schema
            .pointer("/properties/type/const")
            .and_then(Value::as_str);
        if word.is_none() {
            self.findings.push(format!(
                "{of}: a union whose objects are not told apart by `type`"
            ));
        }
        let word = word.unwrap_or_default().to_owned();
        let object = self.object(&format!("{of}.{word}"), schema, true);
        Variant {
            docs: text_of(schema, "description"),
            word,
            object,
        }
    }

    fn object(&mut self, at: &str, schema: &Value, tagged: bool) -> Object {
        let empty = Vec::new();
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .unwrap_or(&empty);
        let mut fields = Vec::new();
        for (name, property) in members(&schema["properties"]) {
            if tagged && name == "type" {
                continue;
            }
            let at = format!("{at}.{name}");
            if !is_member_name(name) {
                self.findings
                    .push(format!("{at}: not a name for a member in every language"));
            }
            fields.push(Field {
                name: name.clone(),
                docs: text_of(property, "description"),
                kind: self.kind(&at, property),
                required: required.iter().any(|it| it == name),
            });
        }
        match schema.get("additionalProperties") {
            None | Some(Value::Bool(_)) => {}
            Some(_) => self
                .findings
                .push(format!("{at}: an object that is a map as well")),
        }
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        Object { fields, closed }
    }

    /// Whether an exception allows it; remembers that it was needed.
    fn allowed(&mut self, at: &str, null: bool) -> bool {
        let list = if null {
            &self.exceptions.null
        } else {
            &self.exceptions.any
        };
        let found = list.contains_key(at);
        if found {
            self.used.push(at.to_owned());
        }
        found
    }

    fn any(&mut self, at: &str) -> Type {
        if !self.allowed(at, false) {
            self.findings.push(format!(
                "{at}: any JSON; give it a type, or a reason in schema/exceptions.toml"
            ));
        }
        Type::Any
    }

    fn nullable(&mut self, at: &str, kind: Type) -> Type {
        if !self.allowed(at, true) {
            self.findings.push(format!(
                "{at}: may be null; leave it out instead, or give a reason in schema/exceptions.toml"
            ));
        }
        Type::Nullable(Box::new(kind))
    }

    fn kind(&mut self, at: &str, schema: &Value) -> Type {
        let Some(all) = schema.as_object() else {
            return self.any(at);
        };
        if let Some(path) = all.get("$ref").and_then(Value::as_str) {
            let name = path.strip_prefix("#/$defs/").unwrap_or_default();
            return Type::Named(name.to_owned());
        }
        if let Some(options) = all.get("anyOf").and_then(Value::as_array) {
            if let [one, null] = options.as_slice()
                && null.get("type").and_then(Value::as_str) == Some("null")
            {
                let kind = self.kind(at, one);
                return self.nullable(at, kind);
            }
            self.findings.push(format!("{at}: several types at once"));
            return Type::Any;
        }
        match all.get("type") {
            Some(Value::String(word)) => self.simple(at, word, all),
            Some(Value::Array(words)) => match words.as_slice() {
                [Value::String(word), Value::String(null)] if null == "null" => {
                    let kind = self.simple(at, word, all);
                    self.nullable(at, kind)
                }
                _ => {
                    self.findings.push(format!("{at}: several types at once"));
                    Type::Any
                }
            },
            _ => self.any(at),
        }
    }

    fn simple(&mut self, at: &str, word: &str, schema: &Map<String, Value>) -> Type {
        match word {
            "string" if schema.contains_key("enum") => {
                self.findings
                    .push(format!("{at}: a set of words without a name"));
                Type::Any
            }
            "string" => {
                let pattern = schema.get("pattern").and_then(Value::as_str);
                Type::Text {
                    pattern: pattern.map(str::to_owned),
                }
            }
            "boolean" => Type::Boolean,
            "number" => Type::Number,
            "integer" => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
                match (bound("minimum"), bound("maximum")) {
                    (Some(min), Some(max)) if -INTEGER_MAX <= min && max <= INTEGER_MAX => {
                        Type::Integer { min, max }
                    }
                    _ => {
                        self.findings
                            .push(format!("{at}: an integer that may pass 2^53"));
                        Type::Number
                    }
                }
            }
            "array" => {
                let items = schema.get("items").unwrap_or(&Value::Null);
                Type::List(Box::new(self.kind(at, items)))
            }
            "object" if schema.contains_key("properties") => {
                self.findings
                    .push(format!("{at}: an object without a name"));
                Type::Any
            }
            "object" => {
                let values = schema.get("additionalProperties").unwrap_or(&Value::Null);
                Type::Map(Box::new(self.kind(at, values)))
            }
            _ => {
                self.findings.push(format!("{at}: the type {word}"));
                Type::Any
            }
        }
    }
}

/// An object without members of its own, that is not a map either.
fn is_plain_object(schema: &Value) -> bool {
    let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
    is_object
        && schema
            .get("additionalProperties")
            .is_none_or(Value::is_boolean)
}

fn is_type_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_member_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn findings(property: &Value) -> Vec<String> {
        let schema =
            json!({ "$defs": { "A": { "type": "object", "properties": { "x": property } } } });
        read(&schema, &Exceptions::default())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn what_every_language_can_say_passes() {
        for property in [
            json!({ "type": "string" }),
            json!({ "type": "array", "items": { "$ref": "#/$defs/A" } }),
            json!({ "type": "object", "additionalProperties": { "type": "boolean" } }),
            json!({ "type": "integer", "minimum": 0, "maximum": INTEGER_MAX }),
        ] {
            assert_eq!(findings(&property), Vec::<String>::new());
        }
    }

    #[test]
    fn what_some_language_cannot_say_is_named() {
        for (property, word) in [
            (json!({}), "any JSON"),
            (json!({ "type": ["string", "null"] }), "may be null"),
            (json!({ "type": ["string", "integer"] }), "several types"),
            (
                json!({ "anyOf": [{ "type": "string" }, { "type": "boolean" }] }),
                "several types",
            ),
            (json!({ "type": "integer", "minimum": 0 }), "2^53"),
            (
                json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
                "2^53",
            ),
            (
                json!({ "type": "object", "properties": {} }),
                "without a name",
            ),
            (json!({ "type": "string", "enum": ["a"] }), "without a name"),
        ] {
            let found = findings(&property);
            assert!(
                found.len() == 1 && found[0].contains(word),
                "{property}: {found:?}"
            );
        }
        let untagged =
            json!({ "$defs": { "U": { "oneOf": [{ "type": "object", "properties": {} }] } } });
        let found = read(&untagged, &Exceptions::default()).unwrap_err();
        assert!(found[0].contains("told apart"), "{found:?}");
    }

    #[test]
    fn an_exception_that_nothing_needs_is_named() {
        let mut exceptions = Exceptions::default();
        exceptions.any.insert("A.x".to_owned(), "why".to_owned());
        let found = read(&json!({}), &exceptions).unwrap_err();
        assert_eq!(found, ["schema/exceptions.toml: A.x is not needed"]);
    }
}
