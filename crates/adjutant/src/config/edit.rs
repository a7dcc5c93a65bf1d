//! Changes one key in the text of a file and leaves every other character alone.

use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::key::KeyPath;

/// Why a text cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    /// The file is not TOML.
    #[error("the file is not valid TOML: {0}")]
    Syntax(String),
    /// A key on the way is not a table.
    #[error("`{0}` is a value, not a table")]
    NotATable(KeyPath),
    /// `null`, or a number out of TOML's range.
    #[error("`{0}` cannot hold that value")]
    NoSuchValue(KeyPath),
    /// A list position.
    #[error("`{0}`: a list is set as a whole")]
    InsideList(KeyPath),
}

/// `text` with `key` set to `value`.
pub(super) fn set(text: &str, key: &KeyPath, value: &Json) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let new = to_toml(value).ok_or_else(|| EditError::NoSuchValue(key.clone()))?;
    let Some((name, above)) = key.segments().split_last() else {
        return Err(EditError::NoSuchValue(key.clone()));
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let mut at = KeyPath::root();
    for (depth, step) in above.iter().enumerate() {
        at = at.with(step);
        let last = depth + 1 == above.len();
        table = step_into(table, step, last).ok_or_else(|| EditError::NotATable(at.clone()))?;
    }
    if name.starts_with('[') {
        return Err(EditError::InsideList(key.clone()));
    }
    match table.get_mut(name) {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        Some(item @ (Item::Table(_) | Item::ArrayOfTables(_))) => {
            *item = Item::Value(new);
        }
        _ => {
            table.insert(name, Item::Value(new));
        }
    }
    Ok(document.to_string())
}

/// `text` without `key`; unchanged when it is not there.
pub(super) fn unset(text: &str, key: &KeyPath) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let Some((name, above)) = key.segments().split_last() else {
        return Ok(text.to_owned());
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for step in above {
        match table.get_mut(step).and_then(Item::as_table_like_mut) {
            Some(inner) => table = inner,
            None => return Ok(text.to_owned()),
        }
    }
    if table.remove(name).is_none() {
        return Ok(text.to_owned());
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>()
        .map_err(|error| EditError::Syntax(error.message().to_owned()))
}

/// The table `step`, made when it is missing. Only the innermost new table gets a header of its own.
fn step_into<'a>(
    table: &'a mut dyn TableLike,
    step: &str,
    innermost: bool,
) -> Option<&'a mut dyn TableLike> {
    let item = table.entry(step).or_insert_with(|| {
        let mut new = Table::new();
        new.set_implicit(!innermost);
        Item::Table(new)
    });
    if let (Item::Table(existing), true) = (&mut *item, innermost) {
        existing.set_implicit(false);
    }
    item.as_table_like_mut()
}

fn to_toml(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::from(integer),
            None if number.is_u64() => return None,
            None => Value::from(number.as_f64()?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(
            items
                .iter()
                .map(to_toml)
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .collect::<Array>(),
        ),
        Json::Object(members) => {
            let mut table = InlineTable::new();
            for (name, value) in members {
                table.insert(name, to_toml(value)?);
            }
            Value::InlineTable(table)
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str, value: Json, expect: &str) {
        assert_eq!(
            set(text, &KeyPath::parse(key).unwrap(), &value).as_deref(),
            Ok(expect)
        );
    }

    #[test]
    fn comments_and_order_of_everything_else_survive() {
        check(
            "# mine\n[b] # second\ny = 2 # two\n\n# why\n[a]\nx = 1   # one\nz = 'raw'\n",
            "a.x",
            json!(7),
            "# mine\n[b] # second\ny = 2 # two\n\n# why\n[a]\nx = 7   # one\nz = 'raw'\n",
        );
    }

    #[test]
    fn a_missing_table_is_made() {
        check("", "a.b.c", json!("x"), "[a.b]\nc = \"x\"\n");
        check(
            "[a]\nx = 1\n",
            "b.y",
            json!(true),
            "[a]\nx = 1\n\n[b]\ny = true\n",
        );
        check(
            "a = { x = 1 }\n",
            "a.y",
            json!([1, 2]),
            "a = { x = 1 , y = [1, 2] }\n",
        );
        check("a.x = 1\n", "a.y", json!(2), "a.x = 1\na.y = 2\n");
    }

    #[test]
    fn a_key_is_removed_with_its_own_line_only() {
        let text = "[a]\n# keep\nx = 1\ny = 2 # gone\n";
        let key = KeyPath::parse("a.y").unwrap();
        assert_eq!(unset(text, &key).as_deref(), Ok("[a]\n# keep\nx = 1\n"));
        assert_eq!(
            unset(text, &KeyPath::parse("a.z").unwrap()).as_deref(),
            Ok(text)
        );
        assert_eq!(
            unset(text, &KeyPath::parse("q.z").unwrap()).as_deref(),
            Ok(text)
        );
    }

    #[test]
    fn what_toml_cannot_say_is_refused() {
        let key = KeyPath::parse("a.x").unwrap();
        assert_eq!(
            set("", &key, &Json::Null),
            Err(EditError::NoSuchValue(key.clone()))
        );
        assert_eq!(
            set("a = 1\n", &key, &json!(1)),
            Err(EditError::NotATable(KeyPath::parse("a").unwrap()))
        );
    }
}
