//! Parameters and columns: a thin layer that keeps every value typed and no statement prepared.
//!
//! Statements are sent with their parameter types and parsed where they run. Nothing outlives a transaction, so a pooler that
//! hands every transaction to another connection changes nothing, and each statement is one message there and one back.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use adjutant_domain::id::{
    AgentId, ApprovalId, ClientKey, DeviceId, GrantId, InvokeId, MemoryId, MessageId, OwnerId,
    PairingId, ReservationId, RunId, SessionId, SessionKey, ThreadId, WorkerId,
};
use adjutant_domain::money::Micros;
use adjutant_domain::run::{Fence, Seq};
use adjutant_domain::time::Timestamp;

use crate::postgres::error::{Done, Fault};

/// A parameter.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bool(bool),
    Texts(Vec<String>),
}

impl Value {
    pub(crate) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Int(n) => (n, Type::INT8),
            Self::Bool(is) => (is, Type::BOOL),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
        }
    }
}

/// What can be a parameter.
pub(crate) trait Param {
    fn value(&self) -> Value;
    /// Null.
    fn none() -> Value
    where
        Self: Sized,
    {
        Value::Text(None)
    }
}

/// A text column holds everything but NUL.
fn text(it: &str) -> Value {
    let kept = if it.contains('\0') {
        it.replace('\0', "\u{fffd}")
    } else {
        it.to_owned()
    };
    Value::Text(Some(kept))
}

impl Param for &str {
    fn value(&self) -> Value {
        text(self)
    }
}

impl Param for String {
    fn value(&self) -> Value {
        text(self)
    }
}

impl Param for bool {
    fn value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Param for Vec<String> {
    fn value(&self) -> Value {
        Value::Texts(self.clone())
    }
}

impl Param for i64 {
    fn none() -> Value {
        Value::Int(None)
    }

    fn value(&self) -> Value {
        Value::Int(Some(*self))
    }
}

impl Param for u64 {
    fn none() -> Value {
        Value::Int(None)
    }

    fn value(&self) -> Value {
        Value::Int(Some(i64::try_from(*self).unwrap_or(i64::MAX)))
    }
}

impl<T: Param> Param for &T {
    fn none() -> Value {
        T::none()
    }

    fn value(&self) -> Value {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Value {
        match self {
            Some(it) => it.value(),
            None => T::none(),
        }
    }
}

macro_rules! as_int {
    ($($name:ty: $it:ident => $int:expr;)+) => {
        $(impl Param for $name {
            fn value(&self) -> Value {
                let $it = self;
                $int.value()
            }

            fn none() -> Value {
                Value::Int(None)
            }
        })+
    };
}

as_int! {
    u32: it => i64::from(*it);
    i32: it => i64::from(*it);
    Timestamp: it => it.as_millis();
    Micros: it => it.0;
    Fence: it => it.0;
    Seq: it => it.0;
}

macro_rules! as_text {
    ($($name:ty),+ $(,)?) => {
        $(impl Param for $name {
            fn value(&self) -> Value {
                Value::Text(Some(self.to_string()))
            }
        })+
    };
}

as_text!(
    AgentId,
    ApprovalId,
    ClientKey,
    DeviceId,
    GrantId,
    InvokeId,
    MemoryId,
    MessageId,
    OwnerId,
    PairingId,
    ReservationId,
    RunId,
    SessionId,
    SessionKey,
    ThreadId,
    WorkerId,
);

/// A list of parameters.
macro_rules! params {
    ($($it:expr),* $(,)?) => {
        vec![$($crate::postgres::row::Param::value(&$it)),*]
    };
}
pub(crate) use params;

/// Typed columns of a row that we wrote.
pub(crate) trait Columns {
    fn text(&self, index: usize) -> Done<String>;
    fn opt_text(&self, index: usize) -> Done<Option<String>>;
    fn int(&self, index: usize) -> Done<i64>;
    fn opt_int(&self, index: usize) -> Done<Option<i64>>;
    fn bool(&self, index: usize) -> Done<bool>;

    /// A count or a sum.
    fn count(&self, index: usize) -> Done<u64> {
        u64::try_from(self.int(index)?).map_err(|error| Fault::unreadable(index, &error))
    }

    /// A count or a sum, or null.
    fn opt_count(&self, index: usize) -> Done<Option<u64>> {
        self.opt_int(index)?
            .map(|n| u64::try_from(n).map_err(|error| Fault::unreadable(index, &error)))
            .transpose()
    }

    /// An identifier or a name.
    fn id<T>(&self, index: usize) -> Done<T>
    where
        T: FromStr,
        T::Err: std::error::Error,
    {
        let text = self.text(index)?;
        text.parse()
            .map_err(|error| Fault::unreadable(index, &error))
    }

    /// An identifier or a name, or null.
    fn opt_id<T>(&self, index: usize) -> Done<Option<T>>
    where
        T: FromStr,
        T::Err: std::error::Error,
    {
        self.opt_text(index)?
            .map(|text| {
                text.parse()
                    .map_err(|error| Fault::unreadable(index, &error))
            })
            .transpose()
    }

    /// A value kept as JSON.
    fn json<T: DeserializeOwned>(&self, index: usize) -> Done<T> {
        serde_json::from_str(&self.text(index)?).map_err(|error| Fault::unreadable(index, &error))
    }

    /// A value kept as JSON, or null.
    fn opt_json<T: DeserializeOwned>(&self, index: usize) -> Done<Option<T>> {
        self.opt_text(index)?
            .map(|text| {
                serde_json::from_str(&text).map_err(|error| Fault::unreadable(index, &error))
            })
            .transpose()
    }

    /// A closed enum that serde writes as one word.
    fn word<T: DeserializeOwned>(&self, index: usize) -> Done<T> {
        serde_json::from_value(serde_json::Value::String(self.text(index)?))
            .map_err(|error| Fault::unreadable(index, &error))
    }

    /// A moment.
    fn at(&self, index: usize) -> Done<Timestamp> {
        self.int(index).map(Timestamp::from_millis)
    }

    /// A moment, or null.
    fn opt_at(&self, index: usize) -> Done<Option<Timestamp>> {
        Ok(self.opt_int(index)?.map(Timestamp::from_millis))
    }
}

impl Columns for Row {
    fn text(&self, index: usize) -> Done<String> {
        Ok(self.try_get(index)?)
    }

    fn opt_text(&self, index: usize) -> Done<Option<String>> {
        Ok(self.try_get(index)?)
    }

    fn int(&self, index: usize) -> Done<i64> {
        Ok(self.try_get(index)?)
    }

    fn opt_int(&self, index: usize) -> Done<Option<i64>> {
        Ok(self.try_get(index)?)
    }

    fn bool(&self, index: usize) -> Done<bool> {
        Ok(self.try_get(index)?)
    }
}

/// Words of a query that count.
const QUERY_WORDS_MAX: usize = 32;
/// Letters of a text that the index sees: its rows have a bound, and a text has none.
const INDEXED_MAX: usize = 256 * 1_024;

fn words(it: &str) -> impl Iterator<Item = &str> {
    it.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// A text as the index gets it: words and nothing between them that a parser could take for an address or a number.
pub(crate) fn indexed(it: &str) -> String {
    let mut text = String::with_capacity(it.len().min(INDEXED_MAX));
    for word in words(it) {
        if INDEXED_MAX < text.len() + word.len() {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// What a person typed as a query: letters and digits only, so that nothing in it is an operator.
pub(crate) fn text_query(it: &str, between: &str) -> Option<String> {
    let words: Vec<&str> = words(it).take(QUERY_WORDS_MAX).collect();
    (!words.is_empty()).then(|| words.join(between))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_person_types_is_an_operator_of_the_text_index() {
        let query = text_query("a\" | b:* <-> !(c) -d's", " & ");
        assert_eq!(query.as_deref(), Some("a & b & c & d & s"));
        assert_eq!(text_query("|&!", " & "), None);
    }

    #[test]
    fn a_text_has_no_nul_and_a_bound_in_the_index() {
        assert!(matches!("a\0b".value(), Value::Text(Some(it)) if it == "a\u{fffd}b"));
        assert!(indexed(&"word ".repeat(100_000)).len() <= INDEXED_MAX);
    }
}
