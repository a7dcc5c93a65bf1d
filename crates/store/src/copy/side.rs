//! A database at one end of a copy, whichever it is: what it has to be, what will come from it, and whether it has a place
//! for what comes.

use adjutant_domain::time::Timestamp;

use crate::copy::flow::Row;
use crate::copy::lines::{Header, Shape};
use crate::copy::plan::{self, Column, Dialect, Table};
use crate::copy::{CopyError, Counts, Selection};

/// One end of a copy.
#[derive(Debug, Clone)]
pub(super) struct Side {
    dialect: Dialect,
    /// Where it is, for people.
    at: String,
}

impl Side {
    pub(super) fn new(dialect: Dialect, at: String) -> Self {
        Self { dialect, at }
    }

    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Refuses another schema than this program's.
    pub(super) fn must_have_schema(&self, found: u32) -> Result<(), CopyError> {
        let known = self.dialect.known();
        if found == known {
            return Ok(());
        }
        Err(CopyError::Schema {
            at: self.at.clone(),
            found,
            known,
        })
    }

    /// Refuses a table that nobody knows how to copy.
    pub(super) fn must_know<'t>(
        &self,
        tables: impl IntoIterator<Item = &'t String>,
    ) -> Result<(), CopyError> {
        for table in tables {
            let is_known = !self.dialect.copies(table)
                || plan::named(table).is_some_and(|it| it.is_in(self.dialect));
            if !is_known {
                return Err(CopyError::UnknownTable {
                    at: self.at.clone(),
                    table: table.clone(),
                });
            }
        }
        Ok(())
    }

    /// What will come from it. `columns` are those that it has of a table.
    pub(super) fn header(
        &self,
        at: Timestamp,
        schema: u32,
        selection: &Selection,
        mut columns: impl FnMut(&Table) -> Result<Vec<Column>, CopyError>,
    ) -> Result<Header, CopyError> {
        let (mut shapes, mut left_out) = (Vec::new(), Vec::new());
        for table in plan::TABLES.iter().filter(|it| it.is_in(self.dialect)) {
            if selection.takes(table) {
                let there = columns(table)?;
                shapes.push(Shape {
                    table: table.name.to_owned(),
                    columns: table.columns(self.dialect, &there),
                });
            } else {
                left_out.push(table.name.to_owned());
            }
        }
        let word = self.dialect.word();
        Ok(Header::new(at, word, schema, shapes, left_out))
    }

    /// The query for the rows of a table; `as_value` is what it takes of a column.
    pub(super) fn query(
        &self,
        table: &Table,
        columns: &[String],
        as_value: impl Fn(String, &str) -> String,
    ) -> String {
        let values: Vec<String> = columns
            .iter()
            .map(|name| as_value(table.expression(self.dialect, name), name))
            .collect();
        format!("select {} {}", values.join(", "), table.rows(self.dialect))
    }

    /// Refuses a target in which there is something.
    pub(super) fn must_be_empty(
        &self,
        rows: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<(), CopyError> {
        let tables: Vec<(String, u64)> = rows
            .into_iter()
            .filter(|(table, n)| *n > 0 && self.dialect.copies(table))
            .collect();
        if tables.is_empty() {
            return Ok(());
        }
        Err(CopyError::NotEmpty {
            at: self.at.clone(),
            tables,
        })
    }

    /// Refuses columns that have no place in a table with these, and those it needs and that do not come.
    pub(super) fn must_fit(
        &self,
        table: &Table,
        there: &[Column],
        sent: &[String],
    ) -> Result<(), CopyError> {
        let has = |name: &str| there.iter().any(|it| it.name == name);
        let lost: Vec<&str> = sent
            .iter()
            .map(String::as_str)
            .filter(|name| !has(name) && !table.derives(self.dialect, name))
            .collect();
        if !lost.is_empty() {
            return Err(self.no_place(table, &lost.join(", ")));
        }
        let wanting: Vec<&str> = there
            .iter()
            .filter(|it| !it.is_optional && !table.makes(self.dialect, &it.name))
            .filter(|it| !sent.contains(&it.name))
            .map(|it| it.name.as_str())
            .collect();
        if wanting.is_empty() {
            return Ok(());
        }
        Err(CopyError::Incomplete {
            at: self.at.clone(),
            table: table.name.to_owned(),
            columns: wanting.join(", "),
        })
    }

    /// There is no place for `what` of a table.
    pub(super) fn no_place(&self, table: &Table, what: &str) -> CopyError {
        CopyError::NoPlace {
            at: self.at.clone(),
            table: table.name.to_owned(),
            what: what.to_owned(),
        }
    }

    /// The tables in which as many rows have to be as were sent.
    pub(super) fn counted<'t>(
        &self,
        tables: impl IntoIterator<Item = &'t String>,
    ) -> impl Iterator<Item = &'t String> {
        let dialect = self.dialect;
        tables.into_iter().filter(move |it| dialect.copies(it))
    }
}

/// Refuses a table that has not got as many rows as were sent.
pub(super) fn must_have_all(table: &str, sent: &Counts, found: u64) -> Result<(), CopyError> {
    let sent = sent.get(table).copied().unwrap_or_default();
    if found == sent {
        return Ok(());
    }
    Err(CopyError::Counts {
        table: table.to_owned(),
        sent,
        found,
    })
}

/// The highest cursor of the feed that was given out, as its one row.
pub(super) fn feed_row(cursor: i64) -> Row {
    let mut row = Row::new();
    row.insert("cursor".to_owned(), cursor.into());
    row
}

/// The cursor in such rows.
pub(super) fn cursor_in(rows: &[Row]) -> Option<i64> {
    rows.iter()
        .filter_map(|row| row.get("cursor")?.as_i64())
        .max()
}
