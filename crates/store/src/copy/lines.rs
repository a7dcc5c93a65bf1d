//! Exported lines: a header, a line per row, and a last line that says how many there were.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use adjutant_domain::time::Timestamp;

use crate::copy::flow::{BATCH_BYTES, BATCH_ROWS, Batch, Outlet, Row};
use crate::copy::plan::{self, Table};
use crate::copy::{CopyError, Counts};

/// The format of the lines that this program writes.
pub const LINES_FORMAT: u32 = 1;
/// What the first line says it is.
const KIND: &str = "adjutant-export";
/// The longest line that is read: the largest message, and room.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The first line: what the others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// `adjutant-export`.
    pub kind: String,
    /// Version of the format of the lines.
    pub format: u32,
    /// When it was taken.
    pub at: Timestamp,
    /// `sqlite` or `postgresql`.
    pub database: String,
    /// Version of the schema it was taken from.
    pub schema: u32,
    /// Columns by table, in the order of the tables.
    pub tables: Vec<Shape>,
    /// Tables with rows that are not in it.
    pub left_out: Vec<String>,
}

/// A table of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Its name.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
}

impl Header {
    pub(super) fn new(
        at: Timestamp,
        database: &str,
        schema: u32,
        tables: Vec<Shape>,
        left_out: Vec<String>,
    ) -> Self {
        Self {
            kind: KIND.to_owned(),
            format: LINES_FORMAT,
            at,
            database: database.to_owned(),
            schema,
            tables,
            left_out,
        }
    }
}

#[derive(Serialize)]
struct RowLine<'a> {
    table: &'a str,
    row: &'a Row,
}

#[derive(Serialize, Deserialize)]
struct EndLine {
    end: End,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: Counts,
}

/// Writes lines.
pub(super) struct Writer<'w>(pub(super) &'w mut (dyn Write + Send));

impl Writer<'_> {
    fn line(&mut self, value: &impl Serialize) -> Result<(), CopyError> {
        let mut text = serde_json::to_vec(value)
            .map_err(|error| CopyError::Output(std::io::Error::other(error)))?;
        text.push(b'\n');
        self.0.write_all(&text).map_err(CopyError::Output)
    }

    pub(super) fn begin(&mut self, header: &Header) -> Result<(), CopyError> {
        self.line(header)
    }

    pub(super) fn rows(&mut self, table: &'static Table, rows: &[Row]) -> Result<(), CopyError> {
        let table = table.name;
        rows.iter()
            .try_for_each(|row| self.line(&RowLine { table, row }))
    }

    pub(super) fn end(&mut self, rows: Counts) -> Result<(), CopyError> {
        self.line(&EndLine { end: End { rows } })?;
        self.0.flush().map_err(CopyError::Output)
    }
}

/// A line that is not the first: a row, or the end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyLine {
    table: Option<String>,
    row: Option<Box<RawValue>>,
    end: Option<End>,
}

/// Reads lines and hands them on in batches. Whatever does not read to its end hands on no end.
pub(super) fn read(mut from: impl BufRead, outlet: &Outlet) -> Result<(), CopyError> {
    let mut number = 0;
    let wrong = |line: u64, reason: String| CopyError::Lines { line, reason };
    let first = next(&mut from, &mut number)?.ok_or(CopyError::Cut)?;
    let header: Header = serde_json::from_slice(&first)
        .map_err(|error| wrong(1, format!("the first line is no header: {error}")))?;
    if header.kind != KIND || header.format != LINES_FORMAT {
        let reason = format!(
            "it is `{}` of format {}; this program reads `{KIND}` of format {LINES_FORMAT}",
            header.kind, header.format
        );
        return Err(wrong(1, reason));
    }
    let columns: BTreeMap<String, Vec<String>> = header
        .tables
        .iter()
        .map(|shape| (shape.table.clone(), shape.columns.clone()))
        .collect();
    outlet.send(Batch::Begin(header))?;
    let mut counted = Counts::new();
    let mut waiting: Option<(&'static Table, Vec<Row>)> = None;
    let mut bytes = 0;
    while let Some(line) = next(&mut from, &mut number)? {
        let parsed: AnyLine =
            serde_json::from_slice(&line).map_err(|error| wrong(number, error.to_string()))?;
        let (name, row) = match parsed {
            AnyLine {
                table: Some(name),
                row: Some(row),
                end: None,
            } => (name, row),
            AnyLine {
                table: None,
                row: None,
                end: Some(end),
            } => {
                if let Some((table, rows)) = waiting.take() {
                    outlet.send(Batch::Rows { table, rows })?;
                }
                let found: BTreeMap<_, _> = end.rows.iter().filter(|(_, n)| **n > 0).collect();
                if found != counted.iter().collect() {
                    let reason = "the last line counts other rows than there are".to_owned();
                    return Err(wrong(number, reason));
                }
                return outlet.send(Batch::End(end.rows));
            }
            _ => {
                let reason = "a line holds `table` and `row`, or `end`".to_owned();
                return Err(wrong(number, reason));
            }
        };
        let table = plan::named(&name)
            .ok_or_else(|| wrong(number, format!("this program knows no table `{name}`")))?;
        let row: Row =
            serde_json::from_str(row.get()).map_err(|error| wrong(number, error.to_string()))?;
        if let Some(known) = columns.get(&name)
            && let Some(strange) = row.keys().find(|it| !known.contains(it))
        {
            let reason = format!("the first line names no column `{strange}` of `{name}`");
            return Err(wrong(number, reason));
        }
        *counted.entry(name).or_default() += 1;
        bytes += line.len();
        let is_full = waiting.as_ref().is_some_and(|(before, rows)| {
            before.name != table.name || BATCH_ROWS <= rows.len() || BATCH_BYTES <= bytes
        });
        if is_full && let Some((table, rows)) = waiting.take() {
            bytes = line.len();
            outlet.send(Batch::Rows { table, rows })?;
        }
        waiting
            .get_or_insert_with(|| (table, Vec::new()))
            .1
            .push(row);
    }
    Err(CopyError::Cut)
}

fn next(from: &mut impl BufRead, number: &mut u64) -> Result<Option<Vec<u8>>, CopyError> {
    let mut line = Vec::new();
    let n = from
        .by_ref()
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(CopyError::Input)?;
    *number += 1;
    if n == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        // Its end is missing: the file was cut, or the line is longer than any of ours.
        return Err(CopyError::Cut);
    }
    Ok(Some(line))
}
