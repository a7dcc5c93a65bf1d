//! A place in a message, and reading what stands there: every refusal says where it is.

use serde_json::{Map, Value};

/// Bytes of an id or a name.
const NAME_BYTES_MAX: usize = 256;

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) path: String,
    pub(super) reason: String,
}

pub(super) type Checked<T> = Result<T, Flaw>;

/// A place in a message, for the words about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a>(&'a str, Option<&'a At<'a>>);

impl<'a> At<'a> {
    pub(super) const ROOT: Self = Self("", None);

    pub(super) fn then(&'a self, name: &'a str) -> Self {
        Self(name, Some(self))
    }

    pub(super) fn flaw<T>(&self, reason: impl Into<String>) -> Checked<T> {
        Err(Flaw {
            path: self.pointer(),
            reason: reason.into(),
        })
    }

    fn pointer(&self) -> String {
        match self.1 {
            None => String::new(),
            Some(up) => {
                let name: String = self.0.chars().take(64).collect();
                let name = name.replace('~', "~0").replace('/', "~1");
                format!("{}/{name}", up.pointer())
            }
        }
    }
}

pub(super) fn object<'a>(value: &'a Value, at: &At<'_>) -> Checked<&'a Map<String, Value>> {
    value
        .as_object()
        .map_or_else(|| at.flaw("must be an object"), Ok)
}

pub(super) fn list<'a>(value: &'a Value, at: &At<'_>) -> Checked<&'a Vec<Value>> {
    value
        .as_array()
        .map_or_else(|| at.flaw("must be a list"), Ok)
}

pub(super) fn text<'a>(value: &'a Value, at: &At<'_>) -> Checked<&'a str> {
    value.as_str().map_or_else(|| at.flaw("must be a text"), Ok)
}

pub(super) fn id<'a>(value: &'a Value, at: &At<'_>) -> Checked<&'a str> {
    let id = text(value, at)?;
    if id.is_empty() || NAME_BYTES_MAX < id.len() {
        return at.flaw(format!("must have 1 to {NAME_BYTES_MAX} bytes"));
    }
    Ok(id)
}

pub(super) fn must<'a>(of: &'a Map<String, Value>, name: &str, at: &At<'_>) -> Checked<&'a Value> {
    of.get(name)
        .map_or_else(|| at.flaw(format!("must have `{name}`")), Ok)
}

pub(super) fn name_at<'a>(of: &'a Map<String, Value>, name: &str, at: &At<'_>) -> Checked<&'a str> {
    id(must(of, name, at)?, &at.then(name))
}

pub(super) fn only(of: &Map<String, Value>, known: &[&str], at: &At<'_>) -> Checked<()> {
    match of.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => at
            .then(key)
            .flaw(format!("is not known here; known: {}", known.join(", "))),
        None => Ok(()),
    }
}

pub(super) fn optional(
    of: &Map<String, Value>,
    name: &str,
    at: &At<'_>,
    check: fn(&Value, &At<'_>) -> Checked<()>,
) -> Checked<()> {
    of.get(name)
        .map_or(Ok(()), |value| check(value, &at.then(name)))
}
