//! Documents as values: JSON, JSON Lines, CSV and TSV.

use jaq_json::{Num, Val};
use serde_json::Value;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    JsonLines,
    Separated(u8),
}

impl Form {
    /// By the name, else by the first look.
    pub(super) fn of(path: &str, text: &str) -> Self {
        let ending = path
            .rsplit_once('.')
            .map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("json" | "geojson" | "ipynb") => Self::Json,
            Some("jsonl" | "ndjson") => Self::JsonLines,
            Some("csv") => Self::Separated(separator(text)),
            Some("tsv" | "tab") => Self::Separated(b'\t'),
            _ => Self::guess(text),
        }
    }

    fn guess(text: &str) -> Self {
        let start = text.trim_start();
        let is_json = start.starts_with(['{', '[', '"', '-'])
            || start.starts_with(|it: char| it.is_ascii_digit());
        if ["true", "false", "null"].contains(&start.trim_end()) {
            return Self::Json;
        }
        match start.lines().next() {
            Some(line)
                if is_json
                    && serde_json::from_str::<Value>(line).is_ok()
                    && start.trim_end().contains('\n') =>
            {
                Self::JsonLines
            }
            _ if is_json => Self::Json,
            _ => Self::Separated(separator(text)),
        }
    }
}

/// The separator that the header line uses most.
fn separator(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |separator: u8| header.bytes().filter(|it| *it == separator).count();
    // The last of equals wins: a comma.
    [b';', b'\t', b',']
        .into_iter()
        .max_by_key(|it| count(*it))
        .unwrap_or(b',')
}

/// Reads a document. Rows and lines become one array.
pub(super) fn read(text: &str, form: Form) -> Result<Val, String> {
    let text = text.trim_start_matches('\u{feff}');
    match form {
        Form::Json => {
            let value =
                serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
            Ok(from_json(value))
        }
        Form::JsonLines => text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| {
                let value = serde_json::from_str(line);
                value
                    .map(from_json)
                    .map_err(|error| format!("line {} is not valid JSON: {error}", index + 1))
            })
            .collect(),
        Form::Separated(separator) => rows(text, separator),
    }
}

/// The value as the filter sees it. The JSON reader bounds the depth, so this may recurse.
pub(super) fn from_json(value: Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(it) => Val::Bool(it),
        Value::Number(it) => number(&it.to_string()),
        Value::String(it) => Val::utf8_str(it),
        Value::Array(items) => items.into_iter().map(from_json).collect(),
        Value::Object(members) => Val::obj(
            members
                .into_iter()
                .map(|(key, value)| (Val::utf8_str(key), from_json(value)))
                .collect(),
        ),
    }
}

fn number(text: &str) -> Val {
    Val::Num(
        text.parse()
            .map_or_else(|_error| Num::from_dec_str(text), Num::Int),
    )
}

/// Rows as objects named by the header line.
fn rows(text: &str, separator: u8) -> Result<Val, String> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|error| format!("not a readable table: {error}"))?;
    let names = names(header);
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record =
            record.map_err(|error| format!("row {} is not readable: {error}", index + 1))?;
        let extra =
            (names.len()..record.len()).map(|at| Val::utf8_str(format!("column{}", at + 1)));
        let keys = names.iter().cloned().chain(extra);
        rows.push(Val::obj(keys.zip(record.iter().map(cell)).collect()));
    }
    Ok(rows.into_iter().collect())
}

/// Column names; one that is empty or was used before gets its number.
fn names(header: &csv::StringRecord) -> Vec<Val> {
    let mut seen = std::collections::BTreeSet::new();
    header
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let name = name.trim();
            let own = if name.is_empty() || seen.contains(name) {
                format!("column{}", index + 1)
            } else {
                name.to_owned()
            };
            seen.insert(own.clone());
            Val::utf8_str(own)
        })
        .collect()
}

/// A cell: a number when it is written as JSON would write it (so `007` stays text), nothing when it is empty.
fn cell(text: &str) -> Val {
    let bare = text.trim();
    if bare.is_empty() {
        Val::Null
    } else if is_number(bare) {
        number(bare)
    } else {
        Val::utf8_str(text.to_owned())
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    !leading_zero
        && digits.starts_with(|it: char| it.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shown(text: &str, path: &str) -> String {
        read(text, Form::of(path, text)).unwrap().to_string()
    }

    #[test]
    fn rows_become_objects_with_numbers() {
        assert_eq!(
            shown("name;amount;zip\nA;12.50;00123\n\"B;C\";-3;\n", "t.csv"),
            r#"[{"name":"A","amount":12.5,"zip":"00123"},{"name":"B;C","amount":-3,"zip":null}]"#
        );
        assert_eq!(
            shown("a\t\ta\n1\t2\t3\t4\n", "t.tsv"),
            r#"[{"a":1,"column2":2,"column3":3,"column4":4}]"#
        );
    }

    #[test]
    fn the_form_is_found_without_a_name() {
        assert_eq!(shown("{\"a\":1}\n{\"a\":2}\n", ""), r#"[{"a":1},{"a":2}]"#);
        assert_eq!(shown("{\n\"a\":1}\n", ""), r#"{"a":1}"#);
        assert_eq!(shown("[1,2]", ""), "[1,2]");
        assert_eq!(shown("a,b\n1,x\n", ""), r#"[{"a":1,"b":"x"}]"#);
    }

    #[test]
    fn what_is_not_readable_is_named() {
        assert!(read("{", Form::Json).unwrap_err().contains("line 1"));
        assert!(
            read("1\n{\n", Form::JsonLines)
                .unwrap_err()
                .contains("line 2")
        );
        assert!(read(&"[".repeat(100_000), Form::Json).is_err());
    }
}
