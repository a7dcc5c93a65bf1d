//! What a database is, how old its schema is, and what is in it. Looks, and changes nothing.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use adjutant_ports::store::WorkerInfo;

use crate::copy::side::Side;
use crate::copy::{CopyError, Database, postgres as pg, sqlite};
use crate::error::{OpenError, open_error};
use crate::file::{open as open_file, open_reader, with_suffix};
use crate::postgres::{
    APPLICATION, Address, PostgresError, PostgresOptions, Who, row::Columns as _,
};

/// Whoever said within this time that it works is taken to be at work: a worker says so every few seconds.
const ALIVE_FOR: Duration = Duration::from_secs(60);

/// Whether the login may change the schema, or make it where there is none.
macro_rules! owns_schema {
    () => {
        "coalesce((select pg_has_role(nspowner, 'usage') from pg_catalog.pg_namespace
                    where nspname = 'adjutant'), has_database_privilege(current_database(), 'create'))"
    };
}

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

/// The schema of a database, and the migrations that wait, without applying them.
///
/// # Errors
/// [`CopyError`]: it cannot be looked at, is newer, comes from another program, or this login may not apply what waits.
pub async fn schema(database: &Database) -> Result<Schema, CopyError> {
    match database {
        Database::Sqlite(dir) => {
            let path = sqlite::file_in(dir)?;
            let db = open_reader(&path).map_err(|error| open_error(&path, &error))?;
            let found = crate::migrate::found(&db, &path)?;
            let known = crate::migrate::known();
            if known < found {
                return Err(OpenError::Newer { path, found, known }.into());
            }
            Ok(Schema::new(found, known, crate::migrate::after(found)))
        }
        Database::Postgres(options) => {
            let address = Address::parse(&options.url)?;
            let at = address.shown();
            let client = pg::connect(&address).await?;
            let found = crate::postgres::migrate::found(&client, &at).await?;
            let pending = crate::postgres::migrate::after(found);
            if !pending.is_empty() {
                let owns = concat!("select ", owns_schema!());
                let row = client.query_typed_one(owns, &[]).await;
                let may: bool = row.map_err(CopyError::postgres(&at))?.get(0);
                if !may {
                    return Err(may_not_migrate(at));
                }
            }
            let known = crate::postgres::migrate::known();
            Ok(Schema::new(found, known, pending))
        }
    }
}

fn may_not_migrate(at: String) -> CopyError {
    let reason = "it does not own the schema".to_owned();
    PostgresError::MayNotMigrate { at, reason }.into()
}

/// Whether a copy could be put into `to`: it can be used, and nothing is in it. Changes nothing. Returns the state of its
/// schema, which a copy makes or brings up to date.
///
/// # Errors
/// [`CopyError::NotEmpty`], and all that keeps it from being used.
pub async fn check_target(to: &Database) -> Result<SchemaState, CopyError> {
    let found = match (status(to).await, to) {
        // A file that is made.
        (Err(CopyError::Missing { .. }), Database::Sqlite(_)) => return Ok(SchemaState::None),
        (found, _) => found?,
    };
    let state = found.schema.state;
    if matches!(state, SchemaState::Newer | SchemaState::Foreign) {
        return Err(CopyError::Schema {
            at: found.at,
            found: found.schema.found,
            known: found.schema.known,
        });
    }
    if let Some(server) = &found.server {
        let must_migrate = matches!(state, SchemaState::None | SchemaState::Behind);
        if must_migrate && !server.owns_schema {
            return Err(may_not_migrate(found.at));
        }
        let missing = |role: &&str| server.roles_missing.iter().any(|it| it == role);
        if state != SchemaState::None
            && let Some(role) = Who::ROLES.into_iter().find(missing)
        {
            let reason = "it is no member of it".to_owned();
            let at = found.at;
            return Err(PostgresError::Role { at, role, reason }.into());
        }
    }
    Side::new(to.dialect(), found.at).must_be_empty(found.tables)?;
    Ok(state)
}

/// Applies the migrations that wait; the way every start does it. Who migrates a file holds its directory's lock.
///
/// # Errors
/// [`CopyError`]: as [`schema`], and what the database said to the migration, which was undone.
pub async fn migrate(database: &Database) -> Result<(), CopyError> {
    match database {
        Database::Sqlite(dir) => {
            let path = sqlite::file_in(dir)?;
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
    let path = sqlite::file_in(dir)?;
    let at = path.display().to_string();
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
        tables.extend(sqlite::counts(&db).map_err(&wrong)?);
    }
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |it| it.len());
    Ok(Status {
        at,
        schema,
        bytes: size(&path).saturating_add(size(&with_suffix(&path, "-wal"))),
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
        let counts = pg::counts(&client, names.keys()).await;
        tables.extend(counts.map_err(&wrong)?);
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
    let sql = concat!(
        "select current_setting('server_version'), current_user::text,
                (select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user),
                (select count(*) from pg_catalog.pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid()),
                (select version || ' ' || cipher from pg_catalog.pg_stat_ssl where pid = pg_backend_pid() and ssl), ",
        owns_schema!()
    );
    let row = client.query_typed_one(sql, &[]).await?;
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let secured = "select count(*), count(*) filter (where c.relrowsecurity and c.relforcerowsecurity)
                     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = 'adjutant' and c.relkind in ('r', 'p')";
    let tables = client.query_typed_one(secured, &[]).await?;
    let roles = format!(
        "select wanted from unnest(array['{}']) wanted
          where not exists (select 1 from pg_catalog.pg_roles where rolname = wanted)
             or not pg_has_role(wanted, 'member')",
        Who::ROLES.join("', '")
    );
    let missing = client.query_typed(&roles, &[]).await?;
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

/// Refuses a server's database that somebody works with: what they write after the snapshot would not be in a copy, and
/// what they write into a target would be among it. A file has its directory's lock for that.
///
/// A gateway or a worker is known by its connections, whose names begin alike whatever the URL says, and a worker by the
/// register, too: a pooler may give connections other names, or keep them when nobody is behind them any more. `is_dead` is
/// asked about the workers of the register, for who knows better than that.
///
/// # Errors
/// [`CopyError::InUse`], and all that keeps it from being looked at.
pub async fn check_unused(
    database: &Database,
    is_dead: &(dyn Fn(&WorkerInfo) -> bool + Send + Sync),
) -> Result<(), CopyError> {
    let Database::Postgres(options) = database else {
        return Ok(());
    };
    let address = Address::parse(&options.url)?;
    let at = address.shown();
    let wrong = CopyError::postgres(&at);
    let client = pg::connect(&address).await?;
    // Also where there is no schema: the first start of a gateway may be under way.
    let sql = format!(
        "select application_name, count(*) from pg_catalog.pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()
            and starts_with(application_name, '{APPLICATION}')
          group by 1 order by 1"
    );
    let connected = client.query_typed(&sql, &[]).await.map_err(&wrong)?;
    let mut who: Vec<String> = connected
        .iter()
        .map(|row| {
            let (name, n): (String, i64) = (row.get(0), row.get(1));
            format!("connections named `{name}`: {n}")
        })
        .collect();
    if crate::postgres::migrate::found(&client, &at).await? > 0 {
        who.extend(workers(&client, &at, is_dead).await?);
    }
    if who.is_empty() {
        return Ok(());
    }
    let who = who.join(", ");
    Err(CopyError::InUse { at, who })
}

/// The workers that were heard of lately.
async fn workers(
    client: &Client,
    at: &str,
    is_dead: &(dyn Fn(&WorkerInfo) -> bool + Send + Sync),
) -> Result<Vec<String>, CopyError> {
    let wrong = CopyError::postgres(at);
    client
        .batch_execute("begin transaction read only")
        .await
        .map_err(&wrong)?;
    pg::become_role(client, "adjutant_worker", None)
        .await
        .map_err(&wrong)?;
    let sql = format!(
        "select body, (clock_ms - seen_at) / 1000 from adjutant.workers, adjutant.clock_ms()
          where clock_ms - {} < seen_at order by id",
        ALIVE_FOR.as_millis()
    );
    let rows = client.query_typed(&sql, &[]).await.map_err(&wrong)?;
    client.batch_execute("commit").await.map_err(&wrong)?;
    let mut found = Vec::new();
    for row in rows {
        let unreadable = |fault: crate::postgres::Fault| CopyError::Failed {
            at: at.to_owned(),
            reason: fault.into_store().to_string(),
        };
        let info: WorkerInfo = row.json(0).map_err(unreadable)?;
        if !is_dead(&info) {
            let seconds: i64 = row.get(1);
            found.push(format!(
                "a worker on `{}` (process {}), heard of {} s ago",
                info.host,
                info.pid,
                seconds.max(0)
            ));
        }
    }
    Ok(found)
}
