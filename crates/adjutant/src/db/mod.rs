//! `adjutant db` on this machine: which database is meant, who may touch it, and what is said about it.

mod export;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use adjutant_cli::{
    Databases, DbCopied, DbCopy, DbCopyPlan, DbExport, DbExported, DbKind, DbMigrated, DbPending,
    DbSchema, DbSchemaState, DbServer, DbStatus, Exit, Failure, KeepCopy, Rehearse, Seen,
};
use adjutant_ports::clock::Clock as _;
use adjutant_ports::store::{AuditStore as _, StoreError, VerifyReport};
use adjutant_store::copy::{self, CopyError, Database, Moved, Purpose, SchemaState};
use adjutant_store::{
    Config, LocalBus, Lock, OpenError, Postgres, PostgresError, PostgresOptions, Sqlite,
};

use crate::daemon::{self, Life};
use crate::doors::{OsEntropy, SystemClock};
use crate::host::Machine;
use crate::{failures, takeover};

/// What a person types for the SQLite file of the state directory.
const SQLITE: &str = "sqlite";

/// The variables of this process in which URLs may be.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Resolves when Ctrl-C is pressed. From the first call on, that ends the process no more.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // It cannot be heard here, so it ends the process.
        std::future::pending::<()>().await;
    }
}

/// Refuses a server's database that a gateway or a worker uses.
pub(crate) async fn must_be_unused(database: &Database) -> Result<(), CopyError> {
    copy::check_unused(database, &takeover::is_dead).await
}

/// A database, and the state directory it belongs to.
struct Place {
    home: PathBuf,
    database: Database,
}

impl Place {
    /// A file is held while it is copied or migrated, so no gateway may use it meanwhile. A server's database has no such
    /// lock, but the gateway of this directory may use it.
    fn hold(&self) -> Result<Lock, Failure> {
        Lock::acquire(&self.home).map_err(|error| failures::open(&error.into()))
    }

    /// Refuses what [`Place::hold`] would, and holds nothing.
    fn must_be_free(&self) -> Result<(), Failure> {
        daemon::must_be_free(&self.home).map_err(|error| failures::open(&error))
    }

    fn kind(&self) -> DbKind {
        match self.database {
            Database::Sqlite(_) => DbKind::Sqlite,
            Database::Postgres(_) => DbKind::Postgresql,
        }
    }

    fn shown(&self) -> Result<String, Failure> {
        self.database.shown().map_err(|error| failure(&error))
    }

    /// A file that is not there is not made by looking at it.
    fn must_exist(&self) -> Result<(), Failure> {
        match &self.database {
            Database::Sqlite(dir) if !dir.join(adjutant_store::FILE_NAME).exists() => {
                Err(failure(&CopyError::Missing {
                    at: dir.display().to_string(),
                }))
            }
            _ => Ok(()),
        }
    }
}

/// The database behind what a person typed.
pub(crate) fn typed(text: &str) -> Result<PostgresOptions, Failure> {
    let wrong = |error: PostgresError| {
        Failure::usage(error.to_string()).with_hint(
            "write `env:NAME` or `file:/path` where the URL is, or a URL without a password",
        )
    };
    let url = adjutant_store::url_of(text, &variable).map_err(wrong)?;
    let options = PostgresOptions::new(url);
    match Database::Postgres(options.clone()).shown() {
        Ok(_) => Ok(options),
        Err(CopyError::Database(error)) => Err(wrong(error)),
        Err(error) => Err(failure(&error)),
    }
}

impl Machine {
    fn database(&self, which: Option<&str>) -> Result<Place, Failure> {
        let (home, database) = match which {
            Some(SQLITE) => {
                let home = self.home()?;
                (home.clone(), Database::Sqlite(home))
            }
            Some(text) => (self.home()?, Database::Postgres(typed(text)?)),
            None => {
                let (home, settings) = self.settings()?;
                let store = &settings.current().tree.store;
                let options = adjutant_store::database(store, &variable)
                    .map_err(|error| failures::database(&error))?;
                let database =
                    options.map_or_else(|| Database::Sqlite(home.clone()), Database::Postgres);
                (home, database)
            }
        };
        Ok(Place { home, database })
    }

    fn places(&self, options: &DbCopy) -> Result<(Place, Place), Failure> {
        let (from, to) = (
            self.database(options.from.as_deref())?,
            self.database(Some(&options.to))?,
        );
        if from.shown()? == to.shown()? {
            return Err(Failure::usage(format!(
                "the source and the target are the same: {}",
                to.shown()?
            ))
            .with_hint("`--from` names another source than the settings' database"));
        }
        from.must_exist()?;
        Ok((from, to))
    }
}

#[async_trait]
impl Databases for Machine {
    async fn db_status(&self, which: Option<String>) -> Result<DbStatus, Failure> {
        let place = self.database(which.as_deref())?;
        let found = copy::status(&place.database)
            .await
            .map_err(|error| failure(&error))?;
        let in_use_by = match (&place.database, daemon::life(&place.home)) {
            (Database::Sqlite(_), Life::Up { pid, .. }) => Some(pid.map_or_else(
                || "a process of this state directory".to_owned(),
                |pid| format!("process {pid}"),
            )),
            _ => None,
        };
        Ok(DbStatus {
            kind: place.kind(),
            at: found.at,
            schema: DbSchema {
                state: match found.schema.state {
                    SchemaState::None => DbSchemaState::None,
                    SchemaState::Current => DbSchemaState::Current,
                    SchemaState::Behind => DbSchemaState::Behind,
                    SchemaState::Newer => DbSchemaState::Newer,
                    SchemaState::Foreign => DbSchemaState::Foreign,
                },
                version: found.schema.found,
                known: found.schema.known,
                pending: found.schema.pending,
            },
            bytes: found.bytes,
            tables: found.tables.into_iter().collect(),
            in_use_by,
            server: found.server.map(|it| DbServer {
                version: it.version,
                role: it.login,
                bypasses_row_security: it.bypasses_row_security,
                owns_schema: it.owns_schema,
                roles_missing: it.roles_missing,
                tables: it.tables,
                tables_with_row_security: it.tables_secured,
                tls: it.tls,
                connections: it.sessions,
                round_trip_micros: u64::try_from(it.round_trip.as_micros()).unwrap_or(u64::MAX),
            }),
        })
    }

    async fn db_pending(&self, which: Option<String>) -> Result<DbPending, Failure> {
        let place = self.database(which.as_deref())?;
        place.must_exist()?;
        let schema = schema(&place).await?;
        if place.kind() == DbKind::Sqlite && !schema.pending.is_empty() {
            place.must_be_free()?;
        }
        Ok(DbPending {
            at: place.shown()?,
            kind: place.kind(),
            version: schema.found,
            pending: schema.pending,
        })
    }

    async fn db_migrate(
        &self,
        which: Option<String>,
        keeping: KeepCopy,
    ) -> Result<DbMigrated, Failure> {
        let place = self.database(which.as_deref())?;
        place.must_exist()?;
        let _held = match place.database {
            Database::Sqlite(_) => Some(place.hold()?),
            Database::Postgres(_) => None,
        };
        let applied = schema(&place).await?.pending;
        let kept = match (&place.database, applied.first(), keeping) {
            (Database::Sqlite(dir), Some(first), KeepCopy::Yes) => Some(keep(dir, first)?),
            _ => None,
        };
        copy::migrate(&place.database)
            .await
            .map_err(|error| failure(&error))?;
        Ok(DbMigrated {
            at: place.shown()?,
            applied,
            copy: kept,
        })
    }

    async fn db_export(&self, options: DbExport, seen: Seen<'_>) -> Result<DbExported, Failure> {
        let place = self.database(options.which.as_deref())?;
        place.must_exist()?;
        let work = export::export(&place.database, options, seen);
        tokio::select! {
            done = work => done,
            // The file takes its place at the very end.
            () = interrupted() => Err(Failure::interrupted()),
        }
    }

    async fn db_copy_plan(
        &self,
        options: &DbCopy,
        rehearse: Rehearse,
        seen: Seen<'_>,
    ) -> Result<DbCopyPlan, Failure> {
        let (from, to) = self.places(options)?;
        from.must_be_free()?;
        let plan = async {
            must_be_unused(&from.database).await?;
            must_be_unused(&to.database).await?;
            let found = copy::status(&from.database).await?;
            match found.schema.state {
                SchemaState::Current => {}
                SchemaState::None => return Err(CopyError::Missing { at: found.at }),
                SchemaState::Behind | SchemaState::Newer | SchemaState::Foreign => {
                    return Err(CopyError::Schema {
                        at: found.at,
                        found: found.schema.found,
                        known: found.schema.known,
                    });
                }
            }
            copy::check_target(&to.database).await?;
            if rehearse == Rehearse::No {
                return Ok(found.tables.into_iter().collect());
            }
            let now = SystemClock::new().now();
            let tell = |moved: Moved<'_>| seen(moved.table, moved.rows);
            copy::copy(
                &from.database,
                &to.database,
                now,
                Purpose::Rehearse,
                &tell,
                interrupted(),
            )
            .await
        };
        let tables: BTreeMap<String, u64> = plan.await.map_err(|error| failure(&error))?;
        Ok(DbCopyPlan {
            from: from.shown()?,
            to: to.shown()?,
            rows: copied_only(tables),
        })
    }

    async fn db_copy(&self, options: &DbCopy, seen: Seen<'_>) -> Result<DbCopied, Failure> {
        let (from, to) = self.places(options)?;
        // Both are of one state directory, and its gateway uses one of them.
        let lock = from.hold()?;
        let work = async {
            must_be_unused(&from.database).await?;
            must_be_unused(&to.database).await?;
            let now = SystemClock::new().now();
            let tell = |moved: Moved<'_>| seen(moved.table, moved.rows);
            copy::copy(
                &from.database,
                &to.database,
                now,
                Purpose::Keep,
                &tell,
                interrupted(),
            )
            .await
        };
        let rows = work.await.map_err(|error| failure(&error))?;
        let at = to.shown()?;
        let next = match &to.database {
            Database::Sqlite(_) => "adjutant config unset store.database_url".to_owned(),
            Database::Postgres(_) => {
                format!(
                    "adjutant config set store.database_url {}",
                    quoted(&options.to)
                )
            }
        };
        // The copy is there from here on, whatever happens.
        let check = async {
            match &to.database {
                Database::Sqlite(_) => check_file(lock).await,
                Database::Postgres(server) => {
                    drop(lock);
                    check_server(server.clone()).await
                }
            }
        };
        let found = tokio::select! {
            found = check => found,
            () = interrupted() => Err(Failure::interrupted()),
        };
        let found = found.map_err(|failure| unchecked(&at, &next, failure))?;
        if let Some(first) = found.findings.first() {
            return Err(Failure::new(
                Exit::Failed,
                "CORRUPT",
                format!(
                    "everything was copied to {at}, but it is not whole: {first} ({} findings)",
                    found.findings.len()
                ),
            )
            .with_hint("do not use the copy; `adjutant verify` tells whether the source is whole")
            .with_details(serde_json::json!({ "findings": found.findings })));
        }
        Ok(DbCopied {
            from: from.shown()?,
            to: at,
            rows: copied_only(rows),
            checked: found.checked.into_iter().collect::<BTreeMap<_, _>>(),
            next,
        })
    }
}

async fn schema(place: &Place) -> Result<copy::Schema, Failure> {
    copy::schema(&place.database)
        .await
        .map_err(|error| failure(&error))
}

/// Without what is no table of an owner or the installation.
fn copied_only(mut rows: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let copied = copy::copied_tables();
    rows.retain(|table, _| copied.contains(&table.as_str()));
    rows
}

/// What kept a copy that is there from being checked.
fn unchecked(at: &str, next: &str, why: Failure) -> Failure {
    Failure {
        message: format!(
            "everything was copied to {at}, but it was not checked: {}",
            why.message
        ),
        hint: Some(format!(
            "the source is as it was; to go on with the copy: `{next}`, then `adjutant verify` checks it"
        )),
        ..why
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%=,+".contains(c);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A copy of the file beside it, as it is before a migration.
fn keep(dir: &Path, first: &str) -> Result<PathBuf, Failure> {
    let name = format!("{}.before-{first}", adjutant_store::FILE_NAME);
    let mut path = dir.join(&name);
    if path.exists() {
        let now = SystemClock::new().now().as_millis();
        path = dir.join(format!("{name}-{now}"));
    }
    adjutant_store::snapshot(dir, &path).map_err(|error| failures::open(&error))?;
    Ok(path)
}

/// Checks the file that was put in place, as `adjutant verify` does.
async fn check_file(lock: Lock) -> Result<VerifyReport, Failure> {
    let home = lock.dir().to_owned();
    let store = Sqlite::open_locked(
        lock,
        Arc::new(SystemClock::new()),
        Arc::new(LocalBus::new()),
        Arc::new(OsEntropy),
        Config::default(),
    )
    .map_err(|error| failures::open(&error))?;
    report(&home, store.verify().await)
}

/// Checks a server's database, as `adjutant verify` does.
pub(crate) async fn check_server(options: PostgresOptions) -> Result<VerifyReport, Failure> {
    let clock = Arc::new(SystemClock::new());
    let store = Postgres::open(options, clock, Arc::new(OsEntropy), Config::default())
        .await
        .map_err(|error| failures::database(&error))?;
    let shown = PathBuf::from(store.shown());
    report(&shown, store.verify().await)
}

fn report(at: &Path, found: Result<VerifyReport, StoreError>) -> Result<VerifyReport, Failure> {
    found.map_err(|error| failures::store(at, &error))
}

/// Why there is no copy, in the words and exit codes of the command line.
pub(crate) fn failure(error: &CopyError) -> Failure {
    let said = failures::chain(error);
    match error {
        CopyError::Open(error @ OpenError::Newer { .. }) => failures::open(error)
            .with_hint("nothing was changed; `adjutant version` says which program this is"),
        CopyError::Open(error) => failures::open(error),
        CopyError::Database(PostgresError::Connect { .. }) => {
            Failure::new(Exit::Failed, "STORE", said).with_hint(
                "is the server up, and are host, port, database and login right? docs/guide/postgresql.md says what it needs",
            )
        }
        CopyError::Database(error @ PostgresError::MayNotMigrate { .. }) => {
            Failure::new(Exit::Denied, "DENIED", failures::chain(error)).with_hint(
                "name the login that owns the schema: `adjutant db migrate --database env:ADJUTANT_DB_ADMIN`",
            )
        }
        CopyError::Database(error) => failures::database(error),
        CopyError::Missing { .. } => Failure::new(Exit::NotFound, "NOT_FOUND", said)
            .with_hint("`adjutant setup` makes one; `ADJUTANT_HOME` names another state directory"),
        CopyError::Schema { found, known, .. } => {
            let failure = Failure::new(Exit::Conflict, "SCHEMA", said);
            if found < known {
                failure.with_hint("bring it up to date first with `adjutant db migrate`")
            } else {
                failure.with_hint("use the newer program; nothing was changed")
            }
        }
        CopyError::NotEmpty { .. } => Failure::new(Exit::Conflict, "NOT_EMPTY", said).with_hint(
            "nothing was changed; name an empty database, or empty this one yourself: \
             `drop schema adjutant cascade` in PostgreSQL, another place for the file in SQLite",
        ),
        CopyError::InUse { .. } => Failure::new(Exit::Conflict, "CONFLICT", said).with_hint(
            "stop every gateway and worker that uses it: what they write meanwhile would get lost or mixed in. A worker that \
             died is forgotten after a minute, and a pooler may keep connections for a while",
        ),
        CopyError::NoSuchTable { .. } => Failure::usage(said),
        CopyError::Output(source) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            // The reader of stdout has gone, and wants to hear nothing more.
            Failure::reader_gone()
        }
        CopyError::Output(_) | CopyError::Input(_) => Failure::new(Exit::Failed, "IO", said),
        CopyError::UnknownTable { .. }
        | CopyError::NoPlace { .. }
        | CopyError::Incomplete { .. }
        | CopyError::Value { .. }
        | CopyError::Counts { .. }
        | CopyError::Lines { .. }
        | CopyError::Cut => {
            Failure::new(Exit::Failed, "COPY", said).with_hint("nothing was copied")
        }
        CopyError::Interrupted => Failure::interrupted().with_hint(
            "the target is as empty as before and the source was only read: it can be done again",
        ),
        CopyError::Unsure { .. } => Failure::new(Exit::Failed, "STORE", said).with_hint(
            "look with `adjutant db status`, naming it by `--database`; nothing else was changed, and before it is done \
             again the target has to be empty",
        ),
        CopyError::Failed { .. } | CopyError::Stopped => Failure::new(Exit::Failed, "STORE", said)
            .with_hint("nothing was copied; it can be done again"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_to_be_typed_next_is_one_word_for_a_shell() {
        assert_eq!(quoted("env:ADJUTANT_DB"), "env:ADJUTANT_DB");
        let url = "postgresql:///x?host=/run/pg&sslmode=disable";
        assert_eq!(quoted(url), format!("'{url}'"));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    // covers: S45
    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        let refused = typed("postgresql://me:hunter2@db.example.com/x").unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(!refused.text().contains("hunter2"), "{}", refused.text());
        assert!(refused.text().contains("env:NAME"));
        assert!(typed("postgresql://me@db.example.com/x").is_ok());
    }

    #[test]
    fn who_comes_second_or_too_early_is_told_what_to_do() {
        let behind = failure(&CopyError::Schema {
            at: "x".to_owned(),
            found: 1,
            known: 2,
        });
        assert_eq!(behind.exit, Exit::Conflict);
        assert!(behind.text().contains("adjutant db migrate"));
        let full = failure(&CopyError::NotEmpty {
            at: "x".to_owned(),
            tables: vec![("runs".to_owned(), 3)],
        });
        assert_eq!(full.exit, Exit::Conflict);
        assert!(full.text().contains("runs 3"), "{}", full.text());
    }
}
