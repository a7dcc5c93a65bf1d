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
use crate::copy::lines::{Header, Shape};
use crate::copy::plan::{self, Column, LOG_PLACES, Table};
use crate::copy::{CopyError, Counts, Selection};
use crate::error::{OpenError, open_error};
use crate::file::{self, FILE_NAME};
use crate::migrate;
use crate::sqlite::memory::searched_text;
use crate::sqlite::money::lines_of;

/// What the file is called until it is whole.
const PARTIAL: &str = "adjutant.db.copying";

/// The tables that hold something, without those that SQLite and its text index keep for themselves.
pub(crate) fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
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

pub(crate) fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
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
pub(crate) fn read(
    dir: &Path,
    selection: &Selection,
    at: Timestamp,
    outlet: &Outlet,
) -> Result<(), CopyError> {
    let path = dir.join(FILE_NAME);
    let shown = path.display().to_string();
    if !path.exists() {
        return Err(CopyError::Missing {
            at: dir.display().to_string(),
        });
    }
    let wrong = CopyError::sqlite(&shown);
    let db = file::open_reader(&path).map_err(|error| open_error(&path, &error))?;
    db.execute_batch("begin").map_err(&wrong)?;
    let found = migrate::found(&db, &path)?;
    if found != migrate::known() {
        return Err(CopyError::Schema {
            at: shown,
            found,
            known: migrate::known(),
        });
    }
    for table in tables(&db).map_err(&wrong)? {
        let is_known = plan::LEFT_IN_SQLITE.contains(&table.as_str())
            || plan::named(&table).is_some_and(|it| it.in_sqlite);
        if !is_known {
            return Err(CopyError::UnknownTable { at: shown, table });
        }
    }
    let (mut shapes, mut left_out) = (Vec::new(), Vec::new());
    for table in plan::TABLES.iter().filter(|it| it.in_sqlite) {
        if selection.takes(table) {
            let there = columns(&db, table.name).map_err(&wrong)?;
            shapes.push(Shape {
                table: table.name.to_owned(),
                columns: table.of_sqlite(&there),
            });
        } else {
            left_out.push(table.name.to_owned());
        }
    }
    let header = Header::new(at, "sqlite", found, shapes.clone(), left_out);
    outlet.send(Batch::Begin(header))?;
    let mut counts = Counts::new();
    for shape in shapes {
        if let Some(table) = plan::named(&shape.table) {
            let n = read_table(&db, &shown, table, &shape.columns, outlet)?;
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
        let mut row = Row::new();
        row.insert("cursor".to_owned(), cursor.into());
        outlet.send(Batch::Rows {
            table: &plan::FEED,
            rows: vec![row],
        })?;
        counts.insert(plan::FEED.name.to_owned(), 1);
    }
    outlet.send(Batch::End(counts))
}

fn read_table(
    db: &Connection,
    shown: &str,
    table: &'static Table,
    columns: &[String],
    outlet: &Outlet,
) -> Result<u64, CopyError> {
    let wrong = CopyError::sqlite(shown);
    let expressions: Vec<String> = columns
        .iter()
        .map(|name| table.expression(name, table.sqlite_derived))
        .collect();
    let from = if table.sqlite_from.is_empty() {
        format!("{} it", table.name)
    } else {
        table.sqlite_from.to_owned()
    };
    let order: Vec<String> = table
        .sqlite_order
        .split(", ")
        .map(|it_name| format!("it.{it_name}"))
        .collect();
    let sql = format!(
        "select {} from {from} order by {}",
        expressions.join(", "),
        order.join(", ")
    );
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
        ValueRef::Null if table.sqlite_derived.iter().any(|(name, _)| *name == column) => {
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
pub(crate) struct Sink {
    dir: PathBuf,
    shown: String,
    db: Connection,
    fillings: BTreeMap<&'static str, Filling>,
    /// The run that came last, and its number: entries come by run.
    last_run: Option<(String, i64)>,
    /// Where the last line of the ledger stands: they come in the order of their runs.
    last_line: i64,
    // Last, so that the file is closed before.
    _scrap: Scrap,
}

/// A file that goes with its log unless it was put in its place.
struct Scrap(PathBuf);

impl Drop for Scrap {
    fn drop(&mut self) {
        // The next copy tries again.
        drop(remove(&self.0));
    }
}

impl Sink {
    /// Refuses a directory with a store that is not empty.
    pub(crate) fn open(dir: &Path) -> Result<Self, CopyError> {
        let path = dir.join(FILE_NAME);
        let shown = path.display().to_string();
        if path.exists() {
            let db = file::open_reader(&path).map_err(|error| open_error(&path, &error))?;
            let rows = rows_in(&db, &shown)?;
            if !rows.is_empty() {
                return Err(CopyError::NotEmpty {
                    at: shown,
                    tables: rows,
                });
            }
        }
        let partial = dir.join(PARTIAL);
        remove(&partial)?;
        let scrap = Scrap(partial.clone());
        let mut db = file::open(&partial)?;
        migrate::migrate(&mut db, &partial)?;
        db.execute_batch("begin immediate")
            .map_err(CopyError::sqlite(&shown))?;
        Ok(Self {
            dir: dir.to_owned(),
            shown,
            db,
            fillings: BTreeMap::new(),
            last_run: None,
            last_line: 0,
            _scrap: scrap,
        })
    }

    pub(crate) fn begin(&mut self, header: &Header) -> Result<(), CopyError> {
        for shape in &header.tables {
            let Some(table) = plan::named(&shape.table).filter(|it| it.in_sqlite) else {
                // Refused when a row comes.
                continue;
            };
            let filling = self.filling(table, &shape.columns)?;
            self.fillings.insert(table.name, filling);
        }
        Ok(())
    }

    fn filling(&self, table: &'static Table, sent: &[String]) -> Result<Filling, CopyError> {
        let there = columns(&self.db, table.name).map_err(CopyError::sqlite(&self.shown))?;
        let derived = |name: &str| table.sqlite_derived.iter().any(|(it, _)| *it == name);
        let has = |name: &str| there.iter().any(|column| column.name == name);
        let lost: Vec<&str> = sent
            .iter()
            .map(String::as_str)
            .filter(|name| !has(name) && !derived(name))
            .collect();
        if !lost.is_empty() {
            return Err(CopyError::NoPlace {
                at: self.shown.clone(),
                table: table.name.to_owned(),
                what: lost.join(", "),
            });
        }
        let wanting: Vec<&str> = there
            .iter()
            .filter(|column| !column.is_optional)
            .map(|column| column.name.as_str())
            .filter(|name| !table.only_sqlite.contains(name) && !sent.iter().any(|it| it == name))
            .collect();
        if !wanting.is_empty() {
            return Err(CopyError::Incomplete {
                at: self.shown.clone(),
                table: table.name.to_owned(),
                columns: wanting.join(", "),
            });
        }
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

    pub(crate) fn rows(&mut self, table: &'static Table, rows: &[Row]) -> Result<(), CopyError> {
        let wrong = CopyError::sqlite(&self.shown);
        if table.name == plan::FEED.name {
            let cursor = rows.iter().filter_map(|row| row.get("cursor")?.as_i64());
            for cursor in cursor {
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
                return Err(CopyError::NoPlace {
                    at: self.shown.clone(),
                    table: table.name.to_owned(),
                    what: "the rows".to_owned(),
                });
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
                    .map_err(CopyError::sqlite(&self.shown))?;
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

    /// Compares, commits, flushes, and puts the file in its place.
    pub(crate) fn end(self, counts: &Counts) -> Result<(), CopyError> {
        let wrong = CopyError::sqlite(&self.shown);
        for (table, sent) in counts.iter().filter(|(_, sent)| **sent > 0) {
            let found: u64 = self
                .db
                .query_row(&format!("select count(*) from \"{table}\""), [], |row| {
                    row.get(0)
                })
                .map_err(&wrong)?;
            if found != *sent {
                return Err(CopyError::Counts {
                    table: table.clone(),
                    sent: *sent,
                    found,
                });
            }
        }
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
        let (partial, path) = (self.dir.join(PARTIAL), self.dir.join(FILE_NAME));
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        // What was there is empty; its log would belong to another file now.
        for suffix in ["-wal", "-shm"] {
            remove(&with_suffix(&path, suffix))?;
        }
        std::fs::File::open(&partial)
            .and_then(|it| it.sync_all())
            .map_err(io)?;
        std::fs::rename(&partial, &path).map_err(io)?;
        file::sync_dir(&path).map_err(io)?;
        Ok(())
    }
}

/// Rows by table, of those that have some and are copied.
fn rows_in(db: &Connection, shown: &str) -> Result<Vec<(String, u64)>, CopyError> {
    let wrong = CopyError::sqlite(shown);
    let mut found = Vec::new();
    for table in tables(db).map_err(&wrong)? {
        if plan::LEFT_IN_SQLITE.contains(&table.as_str()) {
            continue;
        }
        let n: u64 = db
            .query_row(&format!("select count(*) from \"{table}\""), [], |row| {
                row.get(0)
            })
            .map_err(&wrong)?;
        if n > 0 {
            found.push((table, n));
        }
    }
    Ok(found)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// Removes a file of a copy that did not come to its end, with its log.
fn remove(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = with_suffix(path, suffix);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(OpenError::Io { path, source }),
        }
    }
    Ok(())
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
