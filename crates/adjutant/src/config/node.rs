//! Values that remember where they were written, and how layers of them are merged.

use serde_json::{Map, Number, Value};

use super::key::KeyPath;
use super::problem::Place;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where the value begins.
    pub(crate) place: Place,
    /// The value.
    pub(crate) kind: Kind,
}

/// What a value can be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A string.
    Text {
        /// As written.
        raw: String,
        /// With variables replaced.
        value: String,
    },
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Truth(bool),
    /// A date or time, which no setting takes.
    Date(String),
    /// A list.
    List(Vec<Node>),
    /// A table, in the order it was written.
    Table(Vec<Member>),
}

/// A key of a table with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    /// The key.
    pub(crate) name: String,
    /// Where the key is written.
    pub(crate) place: Place,
    /// Its value.
    pub(crate) node: Node,
}

impl Node {
    /// A table without members.
    pub(crate) fn empty() -> Self {
        Self {
            place: Place::Default,
            kind: Kind::Table(Vec::new()),
        }
    }

    /// A plain string that needs no replacement.
    pub(crate) fn text(text: &str) -> Kind {
        Kind::Text {
            raw: text.to_owned(),
            value: text.to_owned(),
        }
    }

    /// The value of a flag, all of it at one place. `null` has no form in a configuration.
    pub(crate) fn from_json(value: &Value, place: &Place) -> Option<Self> {
        let kind = match value {
            Value::Null => return None,
            Value::Bool(truth) => Kind::Truth(*truth),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Kind::Integer(integer),
                (None, Some(float)) => Kind::Float(float),
                (None, None) => return None,
            },
            Value::String(text) => Self::text(text),
            Value::Array(items) => Kind::List(
                items
                    .iter()
                    .map(|item| Self::from_json(item, place))
                    .collect::<Option<_>>()?,
            ),
            Value::Object(members) => Kind::Table(
                members
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(name, value)| {
                        let node = Self::from_json(value, place)?;
                        Some(Member {
                            name: name.clone(),
                            place: place.clone(),
                            node,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
        };
        Some(Self {
            place: place.clone(),
            kind,
        })
    }

    /// `node` wrapped into tables so that it sits at `key`.
    pub(crate) fn nested(key: &[String], node: Self) -> Self {
        key.iter().rev().fold(node, |inner, name| {
            let place = inner.place.clone();
            let member = Member {
                name: name.clone(),
                place: place.clone(),
                node: inner,
            };
            Self {
                place,
                kind: Kind::Table(vec![member]),
            }
        })
    }

    /// Lays `later` over this: tables are merged, everything else is replaced.
    pub(crate) fn merge(&mut self, later: Self) {
        match (&mut self.kind, later.kind) {
            (Kind::Table(mine), Kind::Table(theirs)) => {
                for member in theirs {
                    match mine.iter_mut().find(|it| it.name == member.name) {
                        Some(it) => it.node.merge(member.node),
                        None => mine.push(member),
                    }
                }
            }
            (kind, other) => {
                *kind = other;
                self.place = later.place;
            }
        }
    }

    /// The value at `key`, if a layer gave it.
    pub(crate) fn at(&self, key: &KeyPath) -> Option<&Self> {
        let mut here = self;
        for segment in key.segments() {
            here = match &here.kind {
                Kind::Table(members) => &members.iter().find(|it| it.name == *segment)?.node,
                Kind::List(items) => {
                    let index = segment.strip_prefix('[')?.strip_suffix(']')?;
                    items.get(index.parse::<usize>().ok()?)?
                }
                _ => return None,
            };
        }
        Some(here)
    }

    /// The place of `key`, or of the innermost table around it that some layer wrote.
    pub(crate) fn place_of(&self, key: &KeyPath) -> Place {
        let mut key = key.clone();
        loop {
            if let Some(node) = self.at(&key) {
                return node.place.clone();
            }
            if key.segments().is_empty() {
                return self.place.clone();
            }
            key = key.parent();
        }
    }

    /// As JSON, variables replaced; dates and numbers that JSON cannot say become text, which the checks refuse.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Text { value, .. } => Value::String(value.clone()),
            Kind::Integer(integer) => Value::from(*integer),
            Kind::Float(float) => Number::from_f64(*float)
                .map_or_else(|| Value::String(float.to_string()), Value::Number),
            Kind::Truth(truth) => Value::Bool(*truth),
            Kind::Date(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Table(members) => Value::Object(
                members
                    .iter()
                    .map(|member| (member.name.clone(), member.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

impl Kind {
    /// How a person would name the value.
    pub(crate) fn found(&self) -> String {
        match self {
            Self::Text { raw, .. } => {
                let shown: String = raw.chars().take(40).collect();
                let cut = if shown.len() < raw.len() { "…" } else { "" };
                format!("the string `{}{cut}`", shown.escape_debug())
            }
            Self::Integer(integer) => format!("the integer {integer}"),
            Self::Float(float) => format!("the number {float}"),
            Self::Truth(truth) => format!("{truth}"),
            Self::Date(text) => format!("the date {text}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// The same without the value, for fields that may hold a secret.
    pub(crate) fn found_hidden(&self) -> String {
        match self {
            Self::Text { .. } => "a string".to_owned(),
            Self::Integer(_) => "an integer".to_owned(),
            Self::Float(_) => "a number".to_owned(),
            Self::Truth(_) => "true or false".to_owned(),
            Self::Date(_) => "a date".to_owned(),
            Self::List(_) | Self::Table(_) => self.found(),
        }
    }
}
