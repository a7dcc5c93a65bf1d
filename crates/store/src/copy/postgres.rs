//! Reading and filling a PostgreSQL database, on one connection, in one transaction.
//!
//! The roles are those that the program always takes: the auditor reads everything, an owner's rows are written as their
//! owner, what belongs to the installation as the worker. So a login that may change nothing else may copy, too.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use adjutant_domain::memory::Memory;
use adjutant_domain::message::{Part, text_of};
use adjutant_domain::time::Timestamp;

use crate::copy::flow::{BATCH_ROWS, Batch, Outlet, Row};
use crate::copy::lines::Header;
use crate::copy::plan::{self, Column, Dialect, Kind, Table};
use crate::copy::side::{Side, cursor_in, feed_row, must_have_all};
use crate::copy::{CopyError, Counts, Selection};
use crate::postgres::row::indexed;
use crate::postgres::{Address, Fault, PostgresError, PostgresOptions, chain, migrate};
use crate::sqlite::memory::searched_text;

/// What connections of a copy are called at the server. It does not begin like those of gateways and workers, among which
/// they are not counted.
const APPLICATION: &str = "copy by adjutant";

/// A connection of its own.
pub(super) async fn connect(address: &Address) -> Result<Client, PostgresError> {
    let mut config = address.config.clone();
    config.application_name(APPLICATION);
    let connected = config.connect(address.tls.clone()).await;
    let (client, connection) = connected.map_err(|error| PostgresError::Connect {
        at: address.shown(),
        reason: match error.as_db_error() {
            // Its details may hold values, so they stay out.
            Some(db) => format!("{} ({})", db.message(), db.code().code()),
            None => chain(&error),
        },
    })?;
    // It ends with the client.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection of a copy ended");
        }
    });
    Ok(client)
}

/// The columns of every table of the schema.
pub(super) async fn catalogue(
    client: &Client,
) -> Result<BTreeMap<String, Vec<Column>>, tokio_postgres::Error> {
    let sql = "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
                      a.atthasdef or a.attidentity <> '' or not a.attnotnull
                 from pg_catalog.pg_class c
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 join pg_catalog.pg_attribute a on a.attrelid = c.oid
                where n.nspname = 'adjutant' and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
                order by c.relname, a.attnum";
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for row in client.query_typed(sql, &[]).await? {
        let column = Column {
            name: row.get(1),
            kind: row.get(2),
            is_optional: row.get(3),
        };
        tables.entry(row.get(0)).or_default().push(column);
    }
    Ok(tables)
}

/// Takes a role until the transaction ends.
pub(super) async fn become_role(
    client: &Client,
    role: &str,
    owner: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let claims = owner.map_or_else(String::new, |owner| {
        serde_json::json!({ "sub": owner, "role": role }).to_string()
    });
    let sql = "select set_config('request.jwt.claims', $2, true), set_config('role', $1, true)";
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&role, Type::TEXT), (&claims, Type::TEXT)];
    client.query_typed(sql, &params).await.map(drop)
}

/// Reads everything within one snapshot, by a cursor.
pub(super) async fn read(
    options: &PostgresOptions,
    selection: &Selection,
    at: Timestamp,
    outlet: &Outlet,
) -> Result<(), CopyError> {
    let address = Address::parse(&options.url)?;
    let side = Side::new(Dialect::Postgres, address.shown());
    let wrong = CopyError::postgres(side.at());
    let client = connect(&address).await?;
    let found = migrate::found(&client, side.at()).await?;
    if found == 0 {
        return Err(CopyError::Missing {
            at: side.at().to_owned(),
        });
    }
    side.must_have_schema(found)?;
    client
        .batch_execute(
            "begin transaction isolation level repeatable read read only; set local search_path to adjutant",
        )
        .await
        .map_err(&wrong)?;
    become_role(&client, "adjutant_auditor", None)
        .await
        .map_err(&wrong)?;
    let there = catalogue(&client).await.map_err(&wrong)?;
    side.must_know(there.keys())?;
    let header = side.header(at, found, selection, |table| {
        Ok(there.get(table.name).cloned().unwrap_or_default())
    })?;
    let shapes = header.tables.clone();
    outlet.pass(Batch::Begin(header)).await?;
    let mut counts = Counts::new();
    for shape in shapes {
        if let Some(table) = plan::named(&shape.table) {
            let n = read_table(&client, &side, table, &shape.columns, outlet).await?;
            counts.insert(shape.table, n);
        }
    }
    if *selection == Selection::Everything {
        // A sequence knows no snapshot; a later number is as good. The auditor may not look at it.
        become_role(&client, "adjutant_app", None)
            .await
            .map_err(&wrong)?;
        let sql = "select coalesce(pg_sequence_last_value('adjutant.events_cursor'::regclass), 0)";
        let cursor: i64 = client
            .query_typed_one(sql, &[])
            .await
            .map_err(&wrong)?
            .get(0);
        let table = &plan::FEED;
        let rows = vec![feed_row(cursor)];
        outlet.pass(Batch::Rows { table, rows }).await?;
        counts.insert(plan::FEED.name.to_owned(), 1);
    }
    client.batch_execute("commit").await.map_err(&wrong)?;
    outlet.pass(Batch::End(counts)).await
}

async fn read_table(
    client: &Client,
    side: &Side,
    table: &'static Table,
    columns: &[String],
    outlet: &Outlet,
) -> Result<u64, CopyError> {
    let wrong = CopyError::postgres(side.at());
    let rows = side.query(table, columns, |expression, name| {
        format!("{expression} as \"{name}\"")
    });
    let declare =
        format!("declare copied no scroll cursor for select row_to_json(r)::text from ({rows}) r");
    let fetch = format!("fetch forward {BATCH_ROWS} from copied");
    client.batch_execute(&declare).await.map_err(&wrong)?;
    let mut n = 0_u64;
    loop {
        let found = client.query_typed(&fetch, &[]).await.map_err(&wrong)?;
        if found.is_empty() {
            break;
        }
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            let text: &str = row.try_get(0).map_err(&wrong)?;
            rows.push(
                serde_json::from_str(text).map_err(|error| CopyError::Value {
                    table: table.name.to_owned(),
                    column: "*".to_owned(),
                    reason: error.to_string(),
                })?,
            );
        }
        n = n.saturating_add(rows.len() as u64);
        outlet.pass(Batch::Rows { table, rows }).await?;
    }
    client.batch_execute("close copied").await.map_err(&wrong)?;
    Ok(n)
}

/// How rows of a table are put into the database: the statement takes them as one JSON text.
struct Filling {
    sql: String,
    has_owner: bool,
}

/// A database that is filled, and committed when it is whole.
pub(super) struct Sink {
    side: Side,
    client: Client,
    there: BTreeMap<String, Vec<Column>>,
    fillings: BTreeMap<&'static str, Filling>,
    /// As whom it writes at the moment: the role, and whose rows.
    who: (&'static str, Option<String>),
    audit_end: Option<(i64, String)>,
}

impl Sink {
    /// Brings the schema up to date, and refuses a database that is not empty.
    pub(super) async fn open(options: &PostgresOptions) -> Result<Self, CopyError> {
        let address = Address::parse(&options.url)?;
        let side = Side::new(Dialect::Postgres, address.shown());
        let wrong = CopyError::postgres(side.at());
        let pool = crate::postgres::pool(&address, 1);
        let migrated = migrate::migrate(&pool, side.at()).await;
        pool.close();
        migrated?;
        let client = connect(&address).await?;
        // The lock of the migrations: nobody changes the schema meanwhile, and two copies take turns.
        let begin = format!(
            "begin; set local search_path to adjutant; set local lock_timeout to '10s';
             set local synchronous_commit to on; set local idle_in_transaction_session_timeout to 0;
             select pg_advisory_xact_lock({})",
            migrate::LOCK
        );
        client.batch_execute(&begin).await.map_err(&wrong)?;
        become_role(&client, "adjutant_auditor", None)
            .await
            .map_err(&wrong)?;
        let there = catalogue(&client).await.map_err(&wrong)?;
        side.must_be_empty(counts(&client, there.keys()).await.map_err(&wrong)?)?;
        Ok(Self {
            side,
            client,
            there,
            fillings: BTreeMap::new(),
            who: ("adjutant_auditor", None),
            audit_end: None,
        })
    }

    pub(super) fn begin(&mut self, header: &Header) -> Result<(), CopyError> {
        for shape in &header.tables {
            if let Some(table) = plan::named(&shape.table) {
                let filling = self.filling(table, &shape.columns)?;
                self.fillings.insert(table.name, filling);
            }
        }
        Ok(())
    }

    fn filling(&self, table: &'static Table, sent: &[String]) -> Result<Filling, CopyError> {
        let there = self.there.get(table.name).map_or(&[][..], Vec::as_slice);
        self.side.must_fit(table, there, sent)?;
        let is_made = |name: &str| table.makes(Dialect::Postgres, name);
        let (mut names, mut values, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for column in there {
            let name = &column.name;
            if name == "words" && is_made(name) {
                values.push("to_tsvector('words', x.words)".to_owned());
                kinds.push("words text".to_owned());
            } else if sent.contains(name) && !is_made(name) {
                values.push(match (table.name, name.as_str()) {
                    // What rests has a moment; what ran is over, and anybody may go on.
                    ("runs", "due_at") => "coalesce(x.due_at, 0)".to_owned(),
                    _ => format!("x.\"{name}\""),
                });
                kinds.push(format!("\"{name}\" {}", column.kind));
            } else {
                continue;
            }
            names.push(format!("\"{name}\""));
        }
        Ok(Filling {
            sql: format!(
                "insert into {} ({}) select {} from json_to_recordset($1::text::json) as x ({})",
                table.name,
                names.join(", "),
                values.join(", "),
                kinds.join(", ")
            ),
            has_owner: table.kind != Kind::Installation,
        })
    }

    /// Writes rows; those of another owner as that owner.
    pub(super) async fn rows(
        &mut self,
        table: &'static Table,
        mut rows: Vec<Row>,
    ) -> Result<(), CopyError> {
        if table.name == plan::FEED.name {
            return self.feed(&rows).await;
        }
        for row in &mut rows {
            prepare(table, row)?;
        }
        if table.name == "audit"
            && let Some(last) = rows.last()
        {
            let seq = last.get("seq").and_then(Value::as_i64).unwrap_or_default();
            let hash = last.get("hash").and_then(Value::as_str).unwrap_or_default();
            self.audit_end = Some((seq, hash.to_owned()));
        }
        let mut left = rows.as_slice();
        while let Some(first) = left.first() {
            let owner = |row: &Row| {
                let text = row.get("owner").and_then(Value::as_str);
                text.unwrap_or_default().to_owned()
            };
            let has_owner = self.fillings.get(table.name).is_none_or(|it| it.has_owner);
            let whose = has_owner.then(|| owner(first));
            let n = match &whose {
                Some(whose) => left.iter().take_while(|row| owner(row) == *whose).count(),
                None => left.len(),
            };
            let (now, rest) = left.split_at(n);
            self.put(table, now, whose).await?;
            left = rest;
        }
        Ok(())
    }

    async fn put(
        &mut self,
        table: &'static Table,
        rows: &[Row],
        whose: Option<String>,
    ) -> Result<(), CopyError> {
        let wrong = CopyError::postgres(self.side.at());
        let role = if whose.is_some() {
            "adjutant_app"
        } else {
            "adjutant_worker"
        };
        if self.who != (role, whose.clone()) {
            become_role(&self.client, role, whose.as_deref())
                .await
                .map_err(&wrong)?;
            self.who = (role, whose);
        }
        let Some(filling) = self.fillings.get(table.name) else {
            return Err(self.side.no_place(table, "the rows"));
        };
        let text = serde_json::to_string(rows).map_err(|error| CopyError::Value {
            table: table.name.to_owned(),
            column: "*".to_owned(),
            reason: error.to_string(),
        })?;
        self.client
            .query_typed(&filling.sql, &[(&text, Type::TEXT)])
            .await
            .map(drop)
            .map_err(&wrong)
    }

    /// Moves the sequence, so that no cursor is given out twice. Its owner may set it; others have to count.
    async fn feed(&mut self, rows: &[Row]) -> Result<(), CopyError> {
        let wrong = CopyError::postgres(self.side.at());
        let Some(cursor) = cursor_in(rows).filter(|it| *it > 0) else {
            return Ok(());
        };
        self.client
            .batch_execute("select set_config('role', 'none', true)")
            .await
            .map_err(&wrong)?;
        // By its number: to find it by its name, a login needs the schema.
        let may = "select coalesce(bool_or(has_sequence_privilege(c.oid, 'update')), false)
                     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = 'adjutant' and c.relname = 'events_cursor'";
        let may_set: bool = match self.client.query_typed_one(may, &[]).await {
            Ok(row) => row.get(0),
            Err(error) => return Err(wrong(error)),
        };
        let sql = if may_set {
            "select setval('adjutant.events_cursor', $1)"
        } else {
            become_role(&self.client, "adjutant_app", None)
                .await
                .map_err(&wrong)?;
            "select max(nextval('adjutant.events_cursor')) from generate_series(1, $1)"
        };
        self.client
            .query_typed(sql, &[(&cursor, Type::INT8)])
            .await
            .map_err(&wrong)?;
        self.who = ("", None);
        Ok(())
    }

    /// Refuses other numbers of rows than were sent.
    pub(super) async fn compare(&mut self, sent: &Counts) -> Result<(), CopyError> {
        let wrong = CopyError::postgres(self.side.at());
        become_role(&self.client, "adjutant_auditor", None)
            .await
            .map_err(&wrong)?;
        self.who = ("adjutant_auditor", None);
        for table in self.side.counted(self.there.keys()) {
            let found = count(&self.client, table).await.map_err(&wrong)?;
            must_have_all(table, sent, found)?;
        }
        Ok(())
    }

    /// Moves the end of the audit chain, and commits.
    pub(super) async fn end(self) -> Result<(), CopyError> {
        let wrong = CopyError::postgres(self.side.at());
        if let Some((seq, hash)) = &self.audit_end {
            become_role(&self.client, "adjutant_app", None)
                .await
                .map_err(&wrong)?;
            let sql = "update audit_end set seq = $1, hash = $2 where id = 1";
            self.client
                .query_typed(sql, &[(seq, Type::INT8), (hash, Type::TEXT)])
                .await
                .map_err(&wrong)?;
        }
        let committed = self.client.batch_execute("commit").await;
        committed.map_err(|error| {
            let fault = Fault::Sql(error);
            let (at, is_cut) = (self.side.at().to_owned(), fault.is_cut());
            let reason = fault.into_store().to_string();
            if is_cut {
                CopyError::Unsure { at, reason }
            } else {
                CopyError::Failed { at, reason }
            }
        })
    }
}

/// Rows by table, as the role that reads everything.
pub(super) async fn counts<'t>(
    client: &Client,
    tables: impl IntoIterator<Item = &'t String>,
) -> Result<Counts, tokio_postgres::Error> {
    let mut counts = Counts::new();
    for table in tables {
        counts.insert(table.clone(), count(client, table).await?);
    }
    Ok(counts)
}

/// Rows of a table, as the role that reads everything.
async fn count(client: &Client, table: &str) -> Result<u64, tokio_postgres::Error> {
    let sql = format!("select count(*) from adjutant.\"{table}\"");
    let n: i64 = client.query_typed_one(&sql, &[]).await?.get(0);
    Ok(u64::try_from(n).unwrap_or_default())
}

/// What PostgreSQL keeps in another form: words for its index, and no NUL.
fn prepare(table: &'static Table, row: &mut Row) -> Result<(), CopyError> {
    let wrong = |column: &str, reason: String| CopyError::Value {
        table: table.name.to_owned(),
        column: column.to_owned(),
        reason,
    };
    for (name, value) in row.iter_mut() {
        if let Value::String(text) = value
            && text.contains('\0')
        {
            if table.name == "audit" {
                let reason = "a text holds a NUL, which PostgreSQL cannot keep, and a changed one would break the chain";
                return Err(wrong(name, reason.to_owned()));
            }
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    let text_in = |row: &Row, column: &str| {
        let text = row.get(column).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let words = match table.name {
        "messages" => {
            let parts: Vec<Part> = serde_json::from_str(&text_in(row, "parts"))
                .map_err(|error| wrong("parts", error.to_string()))?;
            text_of(&parts)
        }
        "memories" => {
            let memory: Memory = serde_json::from_str(&text_in(row, "body"))
                .map_err(|error| wrong("body", error.to_string()))?;
            searched_text(&memory)
        }
        _ => return Ok(()),
    };
    row.insert("words".to_owned(), indexed(&words).into());
    Ok(())
}
