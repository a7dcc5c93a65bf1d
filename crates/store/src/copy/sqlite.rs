//! Reading and filling the SQLite file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_json::Value;

use adjutant_domain::id::RunId;
use adjutant_domain::memory::Memory;
use adjutant_domain::time::Timestamp;

use crate::copy::flow::{BATCH_BYTES, BATCH_ROWS, Batch, Outlet, Row};
use crate::copy::lines::Header;
use crate::copy::plan::{self, Column, Dialect, Table};
use crate::copy::side::{Side, cursor_in, feed_row, must_have_all};
use crate::copy::{CopyError, Counts, Selection};
use crate::error::open_error;
use crate::file::{self, FILE_NAME, Partial};
use crate::migrate;
use crate::sqlite::memory::searched_text;
use crate::sqlite::money::lines_of;
use crate::sqlite::run::LOG_PLACES;

/// What the file is called until it is whole, behind its name.
const PARTIAL_SUFFIX: &str = ".copying";

/// The file of `dir`, which has to be there.
pub(super) fn file_in(dir: &Path) -> Result<PathBuf, CopyError> {
    let path = dir.join(FILE_NAME);
    if path.exists() {
        return Ok(path);
    }
    Err(CopyError::Missing {
        at: dir.display().to_string(),
    })
}

/// The tables that hold something, without those that SQLite and its text index keep for themselves.
pub(super) fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(
        "select name from sqlite_schema
          where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let is_index = |name: &str| {
        plan::INDEXES_OF_SQLITE.iter().any(|index| {
            name.strip_prefix(index)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    names
        .filter(|name| !name.as_ref().is_ok_and(|name| is_index(name)))
        .collect()
}

fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = db.prepare(
        "select name, type, \"notnull\" = 0 or dflt_value is not null from pragma_table_info(?)",
    )?;
    let found = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            kind: row.get(1)?,
            is_optional: row.get(2)?,
        })
    })?;
    found.collect()
}

/// Reads the file of `dir` within one transaction, so as of one moment. Waits where the target is slower.
pub(super) fn read(
    dir: &Path,
    selection: &Selection,
    at: Timestamp,
    outlet: &Outlet,
) -> Result<(), CopyError> {
    let path = file_in(dir)?;
    let shown = path.display().to_string();
    let wrong = CopyError::sqlite(&shown);
    let side = Side::new(Dialect::Sqlite, shown);
    let db = file::open_reader(&path).map_err(|error| open_error(&path, &error))?;
    db.execute_batch("begin").map_err(&wrong)?;
    let found = migrate::found(&db, &path)?;
    side.must_have_schema(found)?;
    side.must_know(&tables(&db).map_err(&wrong)?)?;
    let header = side.header(at, found, selection, |table| {
        columns(&db, table.name).map_err(&wrong)
    })?;
    let shapes = header.tables.clone();
    outlet.send(Batch::Begin(header))?;
    let mut counts = Counts::new();
    for shape in shapes {
        if let Some(table) = plan::named(&shape.table) {
            let n = read_table(&db, &side, table, &shape.columns, outlet)?;
            counts.insert(shape.table, n);
        }
    }
    if *selection == Selection::Everything {
        let cursor: i64 = db
            .query_row(
                "select max((select cursor from feed where id = 1), coalesce((select max(cursor) from events), 0))",
                [],
                |row| row.get(0),
            )
            .map_err(&wrong)?;
        outlet.send(Batch::Rows {
            table: &plan::FEED,
            rows: vec![feed_row(cursor)],
        })?;
        counts.insert(plan::FEED.name.to_owned(), 1);
    }
    outlet.send(Batch::End(counts))
}

fn read_table(
    db: &Connection,
    side: &Side,
    table: &'static Table,
    columns: &[String],
    outlet: &Outlet,
) -> Result<u64, CopyError> {
    let wrong = CopyError::sqlite(side.at());
    let sql = side.query(table, columns, |expression, _name| expression);
    let mut statement = db.prepare(&sql).map_err(&wrong)?;
    let mut found = statement.query([]).map_err(&wrong)?;
    let (mut n, mut bytes, mut rows) = (0_u64, 0, Vec::new());
    while let Some(cells) = found.next().map_err(&wrong)? {
        let mut row = Row::new();
        for (index, name) in columns.iter().enumerate() {
            let cell = cells.get_ref(index).map_err(&wrong)?;
            let value = value_of(table, name, cell)?;
            bytes += name.len() + value.as_str().map_or(8, str::len);
            row.insert(name.clone(), value);
        }
        rows.push(row);
        n += 1;
        if BATCH_ROWS <= rows.len() || BATCH_BYTES <= bytes {
            bytes = 0;
            let rows = std::mem::take(&mut rows);
            outlet.send(Batch::Rows { table, rows })?;
        }
    }
    if !rows.is_empty() {
        outlet.send(Batch::Rows { table, rows })?;
    }
    Ok(n)
}

fn value_of(table: &Table, column: &str, cell: ValueRef<'_>) -> Result<Value, CopyError> {
    let wrong = |reason: &str| CopyError::Value {
        table: table.name.to_owned(),
        column: column.to_owned(),
        reason: reason.to_owned(),
    };
    match cell {
        ValueRef::Null if table.derives(Dialect::Sqlite, column) => {
            Err(wrong("the run it belongs to is not there"))
        }
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(n) if table.booleans.contains(&column) => Ok(Value::Bool(n != 0)),
        ValueRef::Integer(n) => Ok(n.into()),
        ValueRef::Text(text) => std::str::from_utf8(text)
            .map(|text| Value::String(text.to_owned()))
            .map_err(|_invalid| wrong("a text is not UTF-8")),
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(wrong("it is neither a text nor a number")),
    }
}

/// How rows of a table are put into the file.
struct Filling {
    sql: String,
    /// For each parameter, the column it comes from.
    columns: Vec<String>,
}

/// A file that is filled, and takes its place when it is whole.
pub(super) struct Sink {
    side: Side,
    path: PathBuf,
    db: Connection,
    fillings: BTreeMap<&'static str, Filling>,
    /// The run that came last, and its number: entries come by run.
    last_run: Option<(String, i64)>,
    /// Where the last line of the ledger stands: they come in the order of their runs.
    last_line: i64,
    // Last, so that the file is closed before.
    partial: Partial,
}

impl Sink {
    /// Refuses a directory with a store that is not empty.
    pub(super) fn open(dir: &Path) -> Result<Self, CopyError> {
        let path = dir.join(FILE_NAME);
        let side = Side::new(Dialect::Sqlite, path.display().to_string());
        if path.exists() {
            let db = file::open_reader(&path).map_err(|error| open_error(&path, &error))?;
            side.must_be_empty(counts(&db).map_err(CopyError::sqlite(side.at()))?)?;
        }
        let partial = Partial::at(file::with_suffix(&path, PARTIAL_SUFFIX))?;
        let mut db = file::open(partial.path())?;
        migrate::migrate(&mut db, partial.path())?;
        db.execute_batch("begin immediate")
            .map_err(CopyError::sqlite(side.at()))?;
        Ok(Self {
            side,
            path,
            db,
            fillings: BTreeMap::new(),
            last_run: None,
            last_line: 0,
            partial,
        })
    }

    pub(super) fn begin(&mut self, header: &Header) -> Result<(), CopyError> {
        for shape in &header.tables {
            let Some(table) = plan::named(&shape.table).filter(|it| it.is_in(Dialect::Sqlite))
            else {
                // Refused when a row comes.
                continue;
            };
            let filling = self.filling(table, &shape.columns)?;
            self.fillings.insert(table.name, filling);
        }
        Ok(())
    }

    fn filling(&self, table: &'static Table, sent: &[String]) -> Result<Filling, CopyError> {
        let there = columns(&self.db, table.name).map_err(CopyError::sqlite(self.side.at()))?;
        self.side.must_fit(table, &there, sent)?;
        let has = |name: &str| there.iter().any(|column| column.name == name);
        let columns: Vec<String> = sent.iter().filter(|name| has(name)).cloned().collect();
        let mut names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
        match table.name {
            "entries" | "ledger" => names.push("place".to_owned()),
            "memories" => names.push("text".to_owned()),
            _ => {}
        }
        let marks = vec!["?"; names.len()].join(", ");
        Ok(Filling {
            sql: format!(
                "insert into {} ({}) values ({marks})",
                table.name,
                names.join(", ")
            ),
            columns,
        })
    }

    pub(super) fn rows(&mut self, table: &'static Table, rows: &[Row]) -> Result<(), CopyError> {
        let wrong = CopyError::sqlite(self.side.at());
        if table.name == plan::FEED.name {
            if let Some(cursor) = cursor_in(rows) {
                self.db
                    .execute("update feed set cursor = ? where id = 1", [cursor])
                    .map_err(&wrong)?;
            }
            return Ok(());
        }
        for row in rows {
            let place = match table.name {
                "entries" => Some(Cell::Integer(self.place(row)?)),
                "ledger" => Some(Cell::Integer(self.line(row)?)),
                "memories" => Some(Cell::Text(memory_of(row)?)),
                _ => None,
            };
            let Some(filling) = self.fillings.get(table.name) else {
                return Err(self.side.no_place(table, "the rows"));
            };
            let cells = filling
                .columns
                .iter()
                .map(|name| cell_of(table, name, row.get(name).unwrap_or(&Value::Null)))
                .chain(place.clone().map(Ok))
                .collect::<Result<Vec<_>, _>>()?;
            self.db
                .prepare_cached(&filling.sql)
                .and_then(|mut statement| statement.execute(params_from_iter(cells)))
                .map_err(&wrong)?;
            if let (Some(Cell::Text(text)), "memories") = (&place, table.name) {
                let n = self.db.last_insert_rowid();
                self.db
                    .prepare_cached("insert into memories_text (rowid, text) values (?, ?)")
                    .and_then(|mut statement| statement.execute((n, text)))
                    .map_err(&wrong)?;
            }
        }
        Ok(())
    }

    /// Where an entry stands: after its run's number.
    fn place(&mut self, row: &Row) -> Result<i64, CopyError> {
        let run = row.get("run").and_then(Value::as_str).unwrap_or_default();
        let seq = row.get("seq").and_then(Value::as_i64).unwrap_or_default();
        let n = match &self.last_run {
            Some((last, n)) if last == run => *n,
            _ => {
                let n = self
                    .db
                    .prepare_cached("select n from runs where id = ?")
                    .and_then(|mut statement| statement.query_row([run], |row| row.get(0)))
                    .map_err(CopyError::sqlite(self.side.at()))?;
                self.last_run = Some((run.to_owned(), n));
                n
            }
        };
        if !(1..LOG_PLACES).contains(&seq) {
            return Err(CopyError::Value {
                table: "entries".to_owned(),
                column: "seq".to_owned(),
                reason: format!("a log in SQLite ends at {LOG_PLACES}, and this is {seq}"),
            });
        }
        Ok(n.saturating_mul(LOG_PLACES).saturating_add(seq))
    }

    /// Where a line of the ledger stands: among those of its run.
    fn line(&mut self, row: &Row) -> Result<i64, CopyError> {
        let wrong = |column: &str, reason: String| CopyError::Value {
            table: "ledger".to_owned(),
            column: column.to_owned(),
            reason,
        };
        let run = row.get("run").and_then(Value::as_str).unwrap_or_default();
        let run: RunId = run
            .parse()
            .map_err(|error| wrong("run", format!("{error}")))?;
        let [before, behind] = lines_of(run);
        let place = self.last_line.max(before).saturating_add(1);
        if behind <= place {
            let reason = "there are more lines of one run than SQLite has places for".to_owned();
            return Err(wrong("reservation", reason));
        }
        self.last_line = place;
        Ok(place)
    }

    /// Refuses other numbers of rows than were sent.
    pub(super) fn compare(&self, sent: &Counts) -> Result<(), CopyError> {
        let found = counts(&self.db).map_err(CopyError::sqlite(self.side.at()))?;
        let tables: Vec<String> = found.keys().cloned().collect();
        for table in self.side.counted(&tables) {
            must_have_all(table, sent, found.get(table).copied().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Commits, and puts the file in its place.
    pub(super) fn end(self) -> Result<(), CopyError> {
        let wrong = CopyError::sqlite(self.side.at());
        self.db
            .execute_batch(
                "update spend
                    set first = (select min(l.place) from ledger l where l.owner = spend.owner and l.day = spend.key),
                        last  = (select max(l.place) from ledger l where l.owner = spend.owner and l.day = spend.key)
                  where scope = 'day';
                 commit; pragma wal_checkpoint(truncate)",
            )
            .map_err(&wrong)?;
        self.db.close().map_err(|(_db, error)| wrong(error))?;
        // What was there is empty; its log would belong to another file now.
        file::remove_log(&self.path)?;
        self.partial.put_in_place(&self.path).map_err(|source| {
            let at = self.side.at().to_owned();
            let reason = source.to_string();
            CopyError::Unsure { at, reason }
        })
    }
}

/// Rows by table.
pub(super) fn counts(db: &Connection) -> rusqlite::Result<Counts> {
    tables(db)?
        .into_iter()
        .map(|table| {
            let sql = format!("select count(*) from \"{table}\"");
            let n = db.query_row(&sql, [], |row| row.get(0))?;
            Ok((table, n))
        })
        .collect()
}

fn memory_of(row: &Row) -> Result<String, CopyError> {
    let body = row.get("body").and_then(Value::as_str).unwrap_or_default();
    let memory: Memory = serde_json::from_str(body).map_err(|error| CopyError::Value {
        table: "memories".to_owned(),
        column: "body".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(searched_text(&memory))
}

fn cell_of(table: &Table, column: &str, value: &Value) -> Result<Cell, CopyError> {
    let wrong = |reason: &str| CopyError::Value {
        table: table.name.to_owned(),
        column: column.to_owned(),
        reason: reason.to_owned(),
    };
    Ok(match value {
        Value::Null => Cell::Null,
        Value::Bool(is) => Cell::Integer((*is).into()),
        Value::Number(n) => Cell::Integer(
            n.as_i64()
                .ok_or_else(|| wrong("the number is no integer"))?,
        ),
        Value::String(text) => Cell::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(wrong("it is neither a text nor a number"));
        }
    })
}
