//! The gate before every parser: depth, counts and unique keys are checked in one pass that keeps nothing (D7).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use adjutant_domain::code::Code;

use crate::fault::Fault;

/// How deep arrays and objects may nest.
pub const JSON_DEPTH_MAX: usize = 64;
/// Keys per object.
pub const OBJECT_KEYS_MAX: usize = 10_000;
/// Items per array.
pub const ARRAY_ITEMS_MAX: usize = 100_000;

/// Checks that `bytes` are one JSON document within the bounds, and gives them back as text.
///
/// # Errors
/// [`Code::Unparsable`] for invalid UTF-8, bad syntax, too deep nesting, too many members and repeated keys.
pub fn check(bytes: &[u8]) -> Result<&str, Fault> {
    let refuse = |reason: String| Fault::new(Code::Unparsable, format!("invalid JSON: {reason}"));
    let text = std::str::from_utf8(bytes)
        .map_err(|e| refuse(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    if deeper_than(text.as_bytes(), JSON_DEPTH_MAX) {
        return Err(refuse(format!("nested deeper than {JSON_DEPTH_MAX}")));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    Checked
        .deserialize(&mut json)
        .map_err(|e| refuse(short(&e.to_string())))?;
    json.end().map_err(|e| refuse(short(&e.to_string())))?;
    Ok(text)
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Whether brackets outside of strings nest deeper than `max`. Does not mind whether they match.
fn deeper_than(bytes: &[u8], max: usize) -> bool {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[derive(Clone, Copy)]
struct Checked;

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut n_items = 0;
        while items.next_element_seed(self)?.is_some() {
            n_items += 1;
            if n_items > ARRAY_ITEMS_MAX {
                return Err(A::Error::custom(format!(
                    "more than {ARRAY_ITEMS_MAX} array items"
                )));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(Key(key)) = members.next_key::<Key<'de>>()? {
            if seen.contains(&key) {
                let key: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format!("key `{key}` appears twice")));
            }
            seen.insert(key);
            if seen.len() > OBJECT_KEYS_MAX {
                return Err(A::Error::custom(format!(
                    "more than {OBJECT_KEYS_MAX} keys"
                )));
            }
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn sixty_four_deep_passes_and_sixty_five_does_not() {
        // covers: D7, R29
        assert!(check(nested(64).as_bytes()).is_ok());
        assert_eq!(
            check(nested(65).as_bytes()).unwrap_err().code,
            Code::Unparsable
        );
        assert!(check(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        let text = format!(r#"{{"a":"{}\" {}"}}"#, "[".repeat(500), "{".repeat(500));
        assert!(check(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_that_appears_twice_is_refused_even_when_it_is_spelled_differently() {
        // covers: D7
        assert!(check(br#"{"a":1,"a":2}"#).is_err());
        assert!(check(br#"{"a":1,"\u0061":2}"#).is_err());
        assert!(check(br#"[{"x":{"k":1,"k":1}}]"#).is_err());
        assert!(check(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn counts_have_their_bounds() {
        // covers: D7, R29
        let keys: Vec<String> = (0..=OBJECT_KEYS_MAX)
            .map(|i| format!("\"k{i}\":0"))
            .collect();
        let text = format!("{{{}}}", keys.join(","));
        assert!(check(text.as_bytes()).is_err());
        let items = vec!["0"; ARRAY_ITEMS_MAX + 1].join(",");
        assert!(check(format!("[{items}]").as_bytes()).is_err());
    }

    #[test]
    fn invalid_utf_8_and_trailing_text_are_refused() {
        assert!(check(b"\"\xff\"").is_err());
        assert!(check(b"{} {}").is_err());
        assert!(check(b"").is_err());
    }
}
