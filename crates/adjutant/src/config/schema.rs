//! What the JSON Schema of the tree says: known keys, accepted values, nearest names.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::key::KeyPath;
use super::node::{Kind, Node};
use super::problem::{Fault, Place, Problem};

/// Words at the end of a key whose string value is taken for a secret, whatever the schema says.
const SECRET_WORDS: &[&str] = &[
    "api_key",
    "apikey",
    "token",
    "secret",
    "password",
    "passphrase",
];

/// The schema of the whole tree, without references.
#[derive(Debug)]
pub(crate) struct Schema(Value);

impl Schema {
    /// The schema of `T`.
    pub(crate) fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
        Self(
            settings
                .into_generator()
                .into_root_schema_for::<T>()
                .to_value(),
        )
    }

    /// The schema of the value at `key`.
    pub(crate) fn at(&self, key: &KeyPath) -> Option<&Value> {
        key.segments()
            .iter()
            .try_fold(&self.0, |schema, name| child(schema, name))
    }

    /// The names that may stand in the table at `key`.
    pub(super) fn names(&self, key: &KeyPath) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(schema) = self.at(key) {
            collect_names(schema, &mut names);
        }
        names
    }

    /// Whether the table at `key` takes any name.
    pub(super) fn is_open(&self, key: &KeyPath) -> bool {
        self.at(key).is_some_and(open)
    }

    /// Every known key, tables included, in the order of the tree.
    pub(crate) fn keys(&self) -> Vec<KeyPath> {
        let mut keys = Vec::new();
        self.collect(&KeyPath::root(), &mut keys);
        keys
    }

    fn collect(&self, at: &KeyPath, keys: &mut Vec<KeyPath>) {
        for name in self.names(at) {
            let key = at.with(&name);
            keys.push(key.clone());
            self.collect(&key, keys);
        }
    }

    /// The known key that `key` was probably meant to be.
    pub(crate) fn nearest(&self, key: &KeyPath) -> Option<KeyPath> {
        let name = key.last()?;
        let siblings = self.names(&key.parent());
        if let Some(sibling) = closest(name, siblings.iter().map(String::as_str)) {
            return Some(key.parent().with(sibling));
        }
        let keys = self.keys();
        let elsewhere = keys.iter().find(|known| known.last() == Some(name));
        if let Some(elsewhere) = elsewhere {
            return Some(elsewhere.clone());
        }
        let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let whole = key.to_string();
        let near = closest(&whole, texts.iter().map(String::as_str))?;
        texts
            .iter()
            .position(|it| it == near)
            .and_then(|at| keys.get(at).cloned())
    }

    /// What the setting does, from its doc comment.
    pub(crate) fn docs(&self, key: &KeyPath) -> String {
        let docs = self.at(key).and_then(|schema| schema.get("description"));
        docs.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Whether a change counts only after a restart. A field says `x-live: true` when it does not.
    pub(crate) fn needs_restart(&self, key: &KeyPath) -> bool {
        let live = self
            .at(key)
            .and_then(|schema| schema.get("x-live"))
            .and_then(Value::as_bool);
        live != Some(true)
    }

    /// Whether the value must not be shown: `writeOnly` in the schema, or a name that says so.
    pub(crate) fn is_secret(&self, key: &KeyPath) -> bool {
        let declared = self
            .at(key)
            .and_then(|schema| schema.get("writeOnly"))
            .and_then(Value::as_bool);
        let named = key.last().is_some_and(|name| {
            let name = name.to_lowercase();
            SECRET_WORDS.iter().any(|word| name.ends_with(word))
        });
        let is_text = self
            .at(key)
            .is_none_or(|schema| Types::of(schema).takes_text());
        declared.unwrap_or(named && is_text)
    }

    /// Everything in `node` that the schema does not allow.
    pub(super) fn check(&self, node: &Node) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_at(&self.0, node, &KeyPath::root(), &mut problems);
        problems
    }

    fn check_at(&self, schema: &Value, node: &Node, key: &KeyPath, problems: &mut Vec<Problem>) {
        let types = Types::of(schema);
        if !types.fits(&node.kind) {
            problems.push(self.wrong(&types, node, key));
            return;
        }
        match &node.kind {
            Kind::Table(members) => {
                for member in members {
                    let key = key.with(&member.name);
                    match child(schema, &member.name) {
                        Some(schema) => self.check_at(schema, &member.node, &key, problems),
                        None if open(schema) => {}
                        None => problems.push(self.unknown(key, &member.place)),
                    }
                }
            }
            Kind::List(items) => {
                let Some(schema) = element(schema) else {
                    return;
                };
                for (index, item) in items.iter().enumerate() {
                    self.check_at(schema, item, &key.with_index(index), problems);
                }
            }
            _ => {}
        }
    }

    fn unknown(&self, key: KeyPath, place: &Place) -> Problem {
        let nearest = self.nearest(&key);
        Problem {
            key,
            place: place.clone(),
            fault: Fault::UnknownKey { nearest },
        }
    }

    fn wrong(&self, types: &Types, node: &Node, key: &KeyPath) -> Problem {
        let hidden = self.is_secret(key);
        let found = if hidden {
            node.kind.found_hidden()
        } else {
            node.kind.found()
        };
        let fault = Fault::WrongValue {
            expected: types.expected(),
            found,
        };
        Problem {
            key: key.clone(),
            place: node.place.clone(),
            fault,
        }
    }
}

/// The schemas that `schema` is made of, itself first.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|word| schema.get(word)?.as_array());
    std::iter::once(schema).chain(lists.flatten())
}

fn child<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('[') {
        return element(schema);
    }
    if let Some(found) = schema.get("properties").and_then(|it| it.get(name)) {
        return Some(found);
    }
    let deeper = parts(schema).skip(1).find_map(|part| child(part, name));
    deeper.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|it| it.is_object())
    })
}

fn element(schema: &Value) -> Option<&Value> {
    parts(schema).find_map(|part| part.get("items").filter(|it| it.is_object()))
}

fn open(schema: &Value) -> bool {
    parts(schema).any(|part| match part.get("additionalProperties") {
        Some(Value::Bool(open)) => *open,
        Some(_) => true,
        None => false,
    })
}

fn collect_names(schema: &Value, names: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        names.extend(properties.keys().cloned());
    }
    for part in parts(schema).skip(1) {
        collect_names(part, names);
    }
    names.sort_unstable();
    names.dedup();
}

/// The candidate that a tired person meant by `name`, if one is near enough.
fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = (name.chars().count() / 3).max(2);
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    candidates
        .map(|it| (strsim::damerau_levenshtein(&plain(name), &plain(it)), it))
        .filter(|(distance, it)| *distance <= near_enough && *distance < it.chars().count())
        .min()
        .map(|(_, it)| it)
}

/// The kinds of value that a setting takes.
#[derive(Debug, Default)]
pub(super) struct Types {
    text: bool,
    truth: bool,
    integer: Option<(i128, i128)>,
    float: Option<(f64, f64)>,
    list: bool,
    table: bool,
    words: Vec<String>,
    anything: bool,
}

impl Types {
    /// Reads them from a schema.
    pub(super) fn of(schema: &Value) -> Self {
        let mut types = Self::default();
        types.add(schema);
        types
    }

    fn add(&mut self, schema: &Value) {
        if *schema == Value::Bool(true) {
            self.anything = true;
            return;
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            for part in schema
                .get(word)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                self.add(part);
            }
        }
        let constant = schema.get("const").into_iter();
        let listed = schema
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let words: Vec<_> = constant.chain(listed).filter_map(Value::as_str).collect();
        if !words.is_empty() {
            self.words.extend(words.into_iter().map(str::to_owned));
            return;
        }
        let names = match schema.get("type") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for name in names {
            match name {
                "string" => self.text = true,
                "boolean" => self.truth = true,
                "integer" => self.integer = Some(integer_range(schema)),
                "number" => self.float = Some(float_range(schema)),
                "array" => self.list = true,
                "object" => self.table = true,
                _ => {}
            }
        }
    }

    /// Whether nothing but text fits, so that a variable is taken as it is.
    pub(super) fn is_only_text(&self) -> bool {
        let other = self.truth || self.integer.is_some() || self.float.is_some();
        self.takes_text() && !other && !self.list && !self.table && !self.anything
    }

    /// Whether some text fits.
    pub(super) fn takes_text(&self) -> bool {
        self.text || !self.words.is_empty() || self.anything
    }

    /// Whether `kind` is of an accepted kind and in range.
    pub(super) fn fits(&self, kind: &Kind) -> bool {
        if self.anything {
            return true;
        }
        match kind {
            Kind::Text { value, .. } => self.text || self.words.contains(value),
            Kind::Truth(_) => self.truth,
            Kind::Integer(n) => {
                let n = i128::from(*n);
                let whole = self.integer.is_some_and(|(min, max)| min <= n && n <= max);
                // A number setting takes whole numbers too; 2^53 bounds keep the comparison exact.
                #[allow(clippy::cast_precision_loss)]
                let number = self
                    .float
                    .is_some_and(|(min, max)| min <= n as f64 && n as f64 <= max);
                whole || number
            }
            Kind::Float(n) => self
                .float
                .is_some_and(|(min, max)| n.is_finite() && min <= *n && *n <= max),
            Kind::Date(_) => false,
            Kind::List(_) => self.list,
            Kind::Table(_) => self.table,
        }
    }

    /// What fits, for people.
    pub(super) fn expected(&self) -> String {
        let mut ways = Vec::new();
        if !self.words.is_empty() {
            let words: Vec<_> = self.words.iter().map(|it| format!("`{it}`")).collect();
            ways.push(match words.as_slice() {
                [word] => word.clone(),
                _ => format!("one of {}", words.join(", ")),
            });
        }
        if self.text {
            ways.push("a string".to_owned());
        }
        if let Some((min, max)) = self.integer {
            ways.push(match (min, max) {
                (_, max) if max < i128::from(i64::MAX) => format!("an integer from {min} to {max}"),
                (i128::MIN, _) => "an integer".to_owned(),
                (min, _) => format!("an integer of {min} or more"),
            });
        }
        if let Some((min, max)) = self.float {
            ways.push(if min.is_finite() && max.is_finite() {
                format!("a number from {min} to {max}")
            } else {
                "a number".to_owned()
            });
        }
        if self.truth {
            ways.push("true or false".to_owned());
        }
        if self.list {
            ways.push("a list".to_owned());
        }
        if self.table {
            ways.push("a table".to_owned());
        }
        ways.join(" or ")
    }
}

fn integer_range(schema: &Value) -> (i128, i128) {
    let bound = |word: &str| schema.get(word).and_then(Value::as_i64).map(i128::from);
    let (low, high) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, i128::from(u8::MAX)),
        Some("uint16") => (0, i128::from(u16::MAX)),
        Some("uint32") => (0, i128::from(u32::MAX)),
        Some("uint64" | "uint") => (0, i128::MAX),
        Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::MIN, i128::MAX),
    };
    let min = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|n| n + 1));
    let max = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|n| n - 1));
    (min.unwrap_or(low), max.unwrap_or(high))
}

fn float_range(schema: &Value) -> (f64, f64) {
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
    (
        bound("minimum").unwrap_or(f64::NEG_INFINITY),
        bound("maximum").unwrap_or(f64::INFINITY),
    )
}
