//! What a database is, how old its schema is, and what is in it. Looks, and changes nothing.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::copy::{CopyError, Database, postgres as pg, sqlite as file};
use crate::error::{OpenError, open_error};
use crate::file::{FILE_NAME, open as open_file, open_reader};
use crate::postgres::{Address, PostgresError, PostgresOptions};

/// How the schema of a database compares with this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// There is none yet.
    None,
    /// The same.
    Current,
    /// Older: migrations wait.
    Behind,
    /// A newer program has changed it.
    Newer,
    /// It comes from another program.
    Foreign,
}

/// The schema of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// How it compares.
    pub state: SchemaState,
    /// Its version.
    pub found: u32,
    /// The version of this program.
    pub known: u32,
    /// Names of the migrations that wait, in order.
    pub pending: Vec<String>,
}

impl Schema {
    fn new(found: u32, known: u32, pending: Vec<String>) -> Self {
        let state = match found {
            0 => SchemaState::None,
            _ if found == known => SchemaState::Current,
            _ if found < known => SchemaState::Behind,
            _ => SchemaState::Newer,
        };
        Self {
            state,
            found,
            known,
            pending,
        }
    }

    fn unusable(state: SchemaState, found: u32, known: u32) -> Self {
        Self {
            state,
            found,
            known,
            pending: Vec::new(),
        }
    }
}

/// What a server says of itself and of this login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// The login.
    pub login: String,
    /// Whether row security does not bind the login: a superuser, or one that may bypass it.
    pub bypasses_row_security: bool,
    /// Whether the login owns the schema, and so may migrate it.
    pub owns_schema: bool,
    /// Roles of the program that the login may not take.
    pub roles_missing: Vec<String>,
    /// Tables in the schema.
    pub tables: u64,
    /// Of those, tables with row security enabled and forced.
    pub tables_secured: u64,
    /// Protocol and cipher of the connection; none: it is not encrypted.
    pub tls: Option<String>,
    /// Connections to this database, this one left out.
    pub sessions: u64,
    /// One question and its answer.
    pub round_trip: Duration,
}

/// A database as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it is, without user and password.
    pub at: String,
    /// Its schema.
    pub schema: Schema,
    /// Bytes of it on the disk.
    pub bytes: u64,
    /// Rows by table; empty where the schema is not known.
    pub tables: Vec<(String, u64)>,
    /// Of a server.
    pub server: Option<Server>,
}

/// Looks at a database.
///
/// # Errors
/// [`CopyError`]: it is not there or cannot be read.
pub async fn status(database: &Database) -> Result<Status, CopyError> {
    match database {
        Database::Sqlite(dir) => of_file(dir),
        Database::Postgres(options) => of_server(options).await,
    }
}

/// The migrations that wait, without applying them.
///
/// # Errors
/// [`CopyError`]: it cannot be looked at, is newer, or comes from another program.
pub async fn migrations_pending(database: &Database) -> Result<Vec<String>, CopyError> {
    let found = match database {
        Database::Sqlite(dir) => {
            let path = dir.join(FILE_NAME);
            if !path.exists() {
                return Err(CopyError::Missing {
                    at: dir.display().to_string(),
                });
            }
            let db = open_reader(&path).map_err(|error| open_error(&path, &error))?;
            let found = crate::migrate::found(&db, &path)?;
            let known = crate::migrate::known();
            if known < found {
                return Err(OpenError::Newer { path, found, known }.into());
            }
            return Ok(crate::migrate::after(found));
        }
        Database::Postgres(options) => {
            let address = Address::parse(&options.url)?;
            let client = pg::connect(&address).await?;
            crate::postgres::migrate::found(&client, &address.shown()).await?
        }
    };
    Ok(crate::postgres::migrate::after(found))
}

/// Applies the migrations that wait; the way every start does it. Who migrates a file holds its directory's lock.
///
/// # Errors
/// [`CopyError`]: as [`migrations_pending`], and what the database said to the migration, which was undone.
pub async fn migrate(database: &Database) -> Result<(), CopyError> {
    match database {
        Database::Sqlite(dir) => {
            let path = dir.join(FILE_NAME);
            if !path.exists() {
                return Err(CopyError::Missing {
                    at: dir.display().to_string(),
                });
            }
            let mut db = open_file(&path)?;
            crate::migrate::migrate(&mut db, &path)?;
        }
        Database::Postgres(options) => {
            let address = Address::parse(&options.url)?;
            let pool = crate::postgres::pool(&address, 1);
            let done = crate::postgres::migrate::migrate(&pool, &address.shown()).await;
            pool.close();
            done?;
        }
    }
    Ok(())
}

fn of_file(dir: &std::path::Path) -> Result<Status, CopyError> {
    let path = dir.join(FILE_NAME);
    let at = path.display().to_string();
    if !path.exists() {
        return Err(CopyError::Missing {
            at: dir.display().to_string(),
        });
    }
    let wrong = CopyError::sqlite(&at);
    let db = open_reader(&path).map_err(|error| open_error(&path, &error))?;
    let known = crate::migrate::known();
    let schema = match crate::migrate::found(&db, &path) {
        Ok(found) => Schema::new(found, known, crate::migrate::after(found)),
        Err(OpenError::Foreign { number, .. }) => {
            Schema::unusable(SchemaState::Foreign, number, known)
        }
        Err(error) => return Err(error.into()),
    };
    let mut tables = Vec::new();
    if schema.state != SchemaState::Foreign {
        db.execute_batch("begin").map_err(&wrong)?;
        for table in file::tables(&db).map_err(&wrong)? {
            let sql = format!("select count(*) from \"{table}\"");
            let n = db.query_row(&sql, [], |row| row.get(0)).map_err(&wrong)?;
            tables.push((table, n));
        }
    }
    let size = |suffix: &str| {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |it| it.len())
    };
    Ok(Status {
        at,
        schema,
        bytes: size("").saturating_add(size("-wal")),
        tables,
        server: None,
    })
}

async fn of_server(options: &PostgresOptions) -> Result<Status, CopyError> {
    let address = Address::parse(&options.url)?;
    let at = address.shown();
    let wrong = CopyError::postgres(&at);
    let client = pg::connect(&address).await?;
    let begun = Instant::now();
    client.query_typed("select 1", &[]).await.map_err(&wrong)?;
    let round_trip = begun.elapsed();
    let known = crate::postgres::migrate::known();
    let schema = match crate::postgres::migrate::found(&client, &at).await {
        Ok(found) => Schema::new(found, known, crate::postgres::migrate::after(found)),
        Err(PostgresError::Newer { found, .. }) => {
            Schema::unusable(SchemaState::Newer, found, known)
        }
        Err(PostgresError::Foreign { number, .. }) => {
            Schema::unusable(SchemaState::Foreign, number, known)
        }
        Err(error) => return Err(error.into()),
    };
    let server = server(&client, round_trip).await.map_err(&wrong)?;
    let bytes = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
                   from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = 'adjutant' and c.relkind in ('r', 'p')";
    let row = client.query_typed_one(bytes, &[]).await.map_err(&wrong)?;
    let bytes = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
    let auditor = "adjutant_auditor".to_owned();
    let may_count = schema.state != SchemaState::None && !server.roles_missing.contains(&auditor);
    let mut tables = Vec::new();
    if may_count {
        client
            .batch_execute("begin transaction isolation level repeatable read read only")
            .await
            .map_err(&wrong)?;
        pg::become_role(&client, &auditor, None)
            .await
            .map_err(&wrong)?;
        let names = pg::catalogue(&client).await.map_err(&wrong)?;
        for table in names.into_keys() {
            let n = pg::count(&client, &table).await.map_err(&wrong)?;
            tables.push((table, n));
        }
        client.batch_execute("commit").await.map_err(&wrong)?;
    }
    Ok(Status {
        at,
        schema,
        bytes,
        tables,
        server: Some(server),
    })
}

async fn server(client: &Client, round_trip: Duration) -> Result<Server, tokio_postgres::Error> {
    let sql = "select current_setting('server_version'), current_user::text,
                      (select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user),
                      (select count(*) from pg_catalog.pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()),
                      (select version || ' ' || cipher from pg_catalog.pg_stat_ssl
                        where pid = pg_backend_pid() and ssl),
                      coalesce((select pg_has_role(nspowner, 'usage') from pg_catalog.pg_namespace
                                 where nspname = 'adjutant'), has_database_privilege(current_database(), 'create'))";
    let row = client.query_typed_one(sql, &[]).await?;
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let secured = "select count(*), count(*) filter (where c.relrowsecurity and c.relforcerowsecurity)
                     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = 'adjutant' and c.relkind in ('r', 'p')";
    let tables = client.query_typed_one(secured, &[]).await?;
    let roles = "select wanted from unnest(array['adjutant_app', 'adjutant_worker', 'adjutant_auditor']) wanted
                  where not exists (select 1 from pg_catalog.pg_roles where rolname = wanted)
                     or not pg_has_role(wanted, 'member')";
    let missing = client.query_typed(roles, &[]).await?;
    Ok(Server {
        version: row.get(0),
        login: row.get(1),
        bypasses_row_security: row.get::<_, Option<bool>>(2).unwrap_or_default(),
        sessions: number(row.get(3)),
        tls: row.get(4),
        owns_schema: row.get(5),
        roles_missing: missing.iter().map(|row| row.get(0)).collect(),
        tables: number(tables.get(0)),
        tables_secured: number(tables.get(1)),
        round_trip,
    })
}

/// Refuses a server's database that somebody works with: what they write after the snapshot would not be in a copy. A file
/// has its directory's lock for that.
///
/// # Errors
/// [`CopyError::InUse`], and all that keeps it from being looked at.
pub async fn check_unused(database: &Database) -> Result<(), CopyError> {
    let Database::Postgres(options) = database else {
        return Ok(());
    };
    let address = Address::parse(&options.url)?;
    let at = address.shown();
    let wrong = CopyError::postgres(&at);
    let client = pg::connect(&address).await?;
    if crate::postgres::migrate::found(&client, &at).await? == 0 {
        return Ok(());
    }
    let sql = "select count(*) filter (where pid <> pg_backend_pid()), count(*) filter (where pid = pg_backend_pid())
                 from pg_catalog.pg_stat_activity
                where datname = current_database() and application_name = 'adjutant'";
    let found = client.query_typed_one(sql, &[]).await.map_err(&wrong)?;
    let (connections, own): (i64, i64) = (found.get(0), found.get(1));
    if connections > 0 {
        return Err(CopyError::InUse {
            at,
            who: format!("{connections} connections of this program"),
        });
    }
    if own > 0 {
        return Ok(());
    }
    // Connections have other names here, behind a pooler for example: whoever works says so now and then.
    client
        .batch_execute("begin transaction read only")
        .await
        .map_err(&wrong)?;
    pg::become_role(&client, "adjutant_worker", None)
        .await
        .map_err(&wrong)?;
    let sql = "select count(*) from adjutant.workers where seen_at > adjutant.clock_ms() - 60000";
    let workers: i64 = client
        .query_typed_one(sql, &[])
        .await
        .map_err(&wrong)?
        .get(0);
    client.batch_execute("commit").await.map_err(&wrong)?;
    match workers {
        0 => Ok(()),
        _ => Err(CopyError::InUse {
            at,
            who: format!("{workers} workers were seen within a minute"),
        }),
    }
}
