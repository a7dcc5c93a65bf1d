//! The data of a surface of v0.9: values at JSON pointers, as the renderer keeps them.

use serde_json::{Map, Value};

/// Levels of a path.
const DEPTH_MAX: usize = 50;
/// Places of a list that a path may make.
const INDEX_MAX: usize = 10_000;

/// Sets, or removes, what is at `path`.
///
/// # Errors
/// A sentence, when the path leads through something that holds nothing.
pub(super) fn set(root: &mut Value, path: &str, value: Option<Value>) -> Result<(), String> {
    let segments: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    if DEPTH_MAX < segments.len() {
        return Err(format!("a path has at most {DEPTH_MAX} levels"));
    }
    let forbidden = ["__proto__", "constructor", "prototype"];
    if segments.iter().any(|it| forbidden.contains(&it.as_str())) {
        return Err("this name is not allowed in a path".to_owned());
    }
    let Some((last, way)) = segments.split_last() else {
        *root = value.unwrap_or_else(|| Value::Object(Map::new()));
        return Ok(());
    };
    let mut at = root;
    for segment in way.iter() {
        at = step(at, segment)?;
    }
    let place = step(at, last)?;
    match value {
        Some(value) => *place = value,
        None => match at {
            Value::Object(object) => drop(object.shift_remove(last)),
            _ => *step(at, last)? = Value::Null,
        },
    }
    Ok(())
}

/// One step down; what is absent is made.
fn step<'a>(at: &'a mut Value, segment: &str) -> Result<&'a mut Value, String> {
    let index = segment.parse::<usize>().ok();
    if at.is_null() {
        *at = if index.is_some() {
            Value::Array(Vec::new())
        } else {
            Value::Object(Map::new())
        };
    }
    match (at, index) {
        (Value::Object(object), _) => Ok(object.entry(segment).or_insert(Value::Null)),
        (Value::Array(list), Some(n)) if n <= INDEX_MAX => {
            if list.len() <= n {
                list.resize(n + 1, Value::Null);
            }
            list.get_mut(n).ok_or_else(|| "no such place".to_owned())
        }
        (Value::Array(_), _) => Err(format!("`{segment}` is no place in a list")),
        _ => Err(format!(
            "`{segment}` lies within something that holds nothing"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_set_made_and_removed_by_path() {
        let mut data = json!({});
        set(&mut data, "/user/name", Some(json!("Ada"))).unwrap();
        set(&mut data, "/list/1", Some(json!(2))).unwrap();
        assert_eq!(
            data,
            json!({ "user": { "name": "Ada" }, "list": [null, 2] })
        );
        set(&mut data, "/user/name", None).unwrap();
        set(&mut data, "/list/1", None).unwrap();
        assert_eq!(data, json!({ "user": {}, "list": [null, null] }));
        set(&mut data, "/", Some(json!([1]))).unwrap();
        assert_eq!(data, json!([1]));
    }

    #[test]
    fn a_path_through_a_value_or_too_far_is_refused() {
        let mut data = json!({ "a": 1, "l": [] });
        for path in ["/a/b", "/l/x", "/l/99999999", "/__proto__/x"] {
            assert!(set(&mut data, path, Some(json!(1))).is_err(), "{path}");
        }
    }
}
