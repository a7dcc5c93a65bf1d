//! A part of an answer that is written down once and told many times.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A value beside its JSON text. Clones share both, and writing one copies the text. On the wire it is the value.
#[derive(Debug)]
pub struct Written<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    value: T,
    text: Box<RawValue>,
}

impl<T: Serialize> Written<T> {
    /// Writes `value` down.
    ///
    /// # Errors
    /// Whatever its `Serialize` says.
    pub fn new(value: T) -> Result<Self, serde_json::Error> {
        let text = serde_json::value::to_raw_value(&value)?;
        Ok(Self(Arc::new(Inner { value, text })))
    }
}

impl<T> Clone for Written<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Written<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.text.serialize(serializer)
    }
}

impl<'de, T: Serialize + Deserialize<'de>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(T::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<T: JsonSchema> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Answer<T> {
        n: u32,
        part: T,
    }

    #[test]
    fn a_written_part_looks_like_the_part_itself() {
        let part = vec!["a\"b".to_owned()];
        let written = Answer {
            n: 1,
            part: Written::new(part.clone()).unwrap(),
        };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(text, serde_json::to_string(&Answer { n: 1, part }).unwrap());
        let read: Answer<Written<Vec<String>>> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written);
        let value = serde_json::to_value(&written).unwrap();
        assert_eq!(
            serde_json::from_value::<Answer<Written<Vec<String>>>>(value).unwrap(),
            read
        );
    }
}
