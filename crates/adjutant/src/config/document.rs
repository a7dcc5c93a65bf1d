//! From the text of a file to values with places.

use std::ops::Range;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, TomlError, Value};

use super::key::KeyPath;
use super::node::{Kind, Member, Node};
use super::problem::{Fault, Place, Problem};
use super::variables::{self, Variables};

/// Reads `text`, which came from `path`. Variables are replaced in string values.
///
/// Returns what could be read together with the unset variables; a syntax error is the only thing returned as `Err`.
pub(super) fn read(
    path: &Path,
    text: &str,
    variables: &Variables,
) -> Result<(Node, Vec<Problem>), Problem> {
    let lines = Lines { path, text };
    let document = Document::parse(text).map_err(|error| lines.syntax(&error))?;
    let mut reader = Reader {
        lines: &lines,
        variables,
        problems: Vec::new(),
    };
    let kind = reader.table(document.as_table(), &KeyPath::root());
    let node = Node {
        place: lines.place(None),
        kind,
    };
    Ok((node, reader.problems))
}

/// Turns offsets into lines and columns.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, span: Option<Range<usize>>) -> Place {
        let offset = span.map_or(0, |span| span.start);
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Place::File {
            path: self.path.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    fn syntax(&self, error: &TomlError) -> Problem {
        let span = error.span();
        let said = error.message().lines().collect::<Vec<_>>().join(", ");
        let written_twice = said.contains("duplicate key");
        let key = match &span {
            Some(span) => self.key_at(span),
            None => KeyPath::root(),
        };
        let fault = if written_twice {
            Fault::Duplicate
        } else {
            Fault::Syntax { said }
        };
        Problem {
            key,
            place: self.place(span),
            fault,
        }
    }

    /// The full key whose own text is at `span`: the table header above it, then itself.
    fn key_at(&self, span: &Range<usize>) -> KeyPath {
        let before = self.text.get(..span.start).unwrap_or_default();
        let (above, line_start) = before.rsplit_once('\n').unwrap_or(("", before));
        let rest = self.text.get(span.start..).unwrap_or_default();
        let line_rest = rest.lines().next().unwrap_or_default();
        let line = format!("{line_start}{line_rest}");
        if let Some(header) = header(&line) {
            return header;
        }
        let section = above.lines().rev().find_map(header).unwrap_or_default();
        let own = line
            .split('=')
            .next()
            .and_then(KeyPath::parse)
            .unwrap_or_default();
        let segments = [section.segments(), own.segments()].concat();
        KeyPath::from(segments)
    }
}

/// The key of a line that is a table header.
fn header(line: &str) -> Option<KeyPath> {
    let inner = line.trim().trim_start_matches('[');
    let is_header = line.trim_start().starts_with('[');
    let end = inner.find(']')?;
    is_header
        .then(|| KeyPath::parse(inner.get(..end)?))
        .flatten()
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    variables: &'a Variables,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, path: &KeyPath) -> Kind {
        let mut members = Vec::new();
        for (name, item) in table.iter() {
            let key_span = table.key(name).and_then(toml_edit::Key::span);
            let place = self.lines.place(key_span.or_else(|| item.span()));
            if let Some(node) = self.item(item, &path.with(name), &place) {
                members.push(Member {
                    name: name.to_owned(),
                    place,
                    node,
                });
            }
        }
        Kind::Table(members)
    }

    fn item(&mut self, item: &Item, path: &KeyPath, key_place: &Place) -> Option<Node> {
        let (place, kind) = match item {
            Item::None => return None,
            // A table's own span covers its header only sometimes (dotted keys); its key always has a place.
            Item::Table(table) => (key_place.clone(), self.table(table, path)),
            Item::ArrayOfTables(tables) => {
                let nodes = tables.iter().enumerate().map(|(index, table)| Node {
                    place: self.lines.place(table.span()),
                    kind: self.table(table, &path.with_index(index)),
                });
                (key_place.clone(), Kind::List(nodes.collect()))
            }
            Item::Value(value) => return Some(self.value(value, path)),
        };
        Some(Node { place, kind })
    }

    fn value(&mut self, value: &Value, path: &KeyPath) -> Node {
        let place = self.lines.place(value.span());
        let kind = match value {
            Value::String(text) => self.text(text.value(), path, &place),
            Value::Integer(integer) => Kind::Integer(*integer.value()),
            Value::Float(float) => Kind::Float(*float.value()),
            Value::Boolean(truth) => Kind::Truth(*truth.value()),
            Value::Datetime(date) => Kind::Date(date.value().to_string()),
            Value::Array(items) => Kind::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.value(item, &path.with_index(index)))
                    .collect(),
            ),
            Value::InlineTable(table) => self.table(table, path),
        };
        Node { place, kind }
    }

    fn text(&mut self, raw: &str, path: &KeyPath, place: &Place) -> Kind {
        match variables::replace(raw, self.variables) {
            Ok(value) => Kind::Text {
                raw: raw.to_owned(),
                value,
            },
            Err(fault) => {
                self.problems.push(Problem {
                    key: path.clone(),
                    place: place.clone(),
                    fault,
                });
                Node::text(raw)
            }
        }
    }
}
