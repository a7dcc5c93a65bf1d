//! Numbered migrations: forward only, one transaction each, with a checksum (R38). Side by side with those of SQLite.

use deadpool_postgres::Pool;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::postgres::error::{Done, Fault, PostgresError};

/// One step from a schema to the next.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All of them; the number is the place, from 1. Never edit one that was released.
const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_start",
        sql: include_str!("../../migrations/0001_start.postgres.sql"),
    },
    Migration {
        name: "0002_workers",
        sql: include_str!("../../migrations/0002_workers.postgres.sql"),
    },
    Migration {
        name: "0003_plans",
        sql: include_str!("../../migrations/0003_plans.postgres.sql"),
    },
    Migration {
        name: "0004_needs",
        sql: include_str!("../../migrations/0004_needs.postgres.sql"),
    },
];

/// The advisory lock of whoever changes the schema, or fills an empty one.
pub(crate) const LOCK: i64 = 4_164_067_474;

/// The oldest server that will do, as it names itself.
const OLDEST: i64 = 150_000;

fn checksum(sql: &str) -> String {
    hex::encode(Sha256::digest(sql))
}

/// The newest version that this program has.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The names of those that a schema of this version lacks, in order.
pub(crate) fn after(version: u32) -> Vec<String> {
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let names = MIGRATIONS.iter().map(|it| it.name.to_owned());
    names.skip(done).collect()
}

/// The version of the schema, which is only read; 0 when there is none.
///
/// # Errors
/// [`PostgresError`]: too old a server, a newer or a foreign schema.
pub(crate) async fn found(client: &Client, shown: &str) -> Result<u32, PostgresError> {
    version(client, shown).await?;
    let missing = pending(client, shown).await?.len();
    Ok(known().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX)))
}

/// Brings the schema to the newest version.
pub(crate) async fn migrate(pool: &Pool, shown: &str) -> Result<(), PostgresError> {
    let connect = |fault: Fault| PostgresError::Connect {
        at: shown.to_owned(),
        reason: fault.into_store().to_string(),
    };
    let client = pool.get().await.map_err(|error| connect(error.into()))?;
    version(&client, shown).await?;
    // Most starts find everything done, and need no right to do it.
    if pending(&client, shown).await?.is_empty() {
        return Ok(());
    }
    let done = apply(&client, shown).await;
    match done {
        Ok(outcome) => outcome,
        Err(fault) => {
            // What is half done ends with the connection.
            drop(deadpool_postgres::Object::take(client));
            Err(match &fault {
                Fault::Sql(error) if may_not(error) => PostgresError::MayNotMigrate {
                    at: shown.to_owned(),
                    reason: fault.into_store().to_string(),
                },
                _ => connect(fault),
            })
        }
    }
}

fn may_not(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code == SqlState::INSUFFICIENT_PRIVILEGE)
}

async fn version(client: &Client, shown: &str) -> Result<(), PostgresError> {
    let sql =
        "select current_setting('server_version_num')::bigint, current_setting('server_version')";
    let row = client
        .query_typed_one(sql, &[])
        .await
        .map_err(|error| PostgresError::Connect {
            at: shown.to_owned(),
            reason: Fault::from(error).into_store().to_string(),
        })?;
    if row.get::<_, i64>(0) < OLDEST {
        return Err(PostgresError::TooOld {
            at: shown.to_owned(),
            found: row.get(1),
        });
    }
    Ok(())
}

/// The numbers of those that were not applied.
async fn pending(client: &Client, shown: &str) -> Result<Vec<u32>, PostgresError> {
    let wrong = |error: tokio_postgres::Error| PostgresError::Connect {
        at: shown.to_owned(),
        reason: Fault::from(error).into_store().to_string(),
    };
    let there = "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = 'adjutant' and c.relname = 'migrations'";
    let mut found: Vec<String> = Vec::new();
    if !client
        .query_typed(there, &[])
        .await
        .map_err(wrong)?
        .is_empty()
    {
        let sql = "select checksum from adjutant.migrations order by number";
        let rows = match client.query_typed(sql, &[]).await {
            Err(error) if may_not(&error) => as_app(client, sql).await,
            other => other,
        };
        found = rows.map_err(wrong)?.iter().map(|row| row.get(0)).collect();
    }
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    if MIGRATIONS.len() < found.len() {
        return Err(PostgresError::Newer {
            at: shown.to_owned(),
            found: number(found.len()),
            known: number(MIGRATIONS.len()),
        });
    }
    for (n, (migration, found)) in (1..).zip(MIGRATIONS.iter().zip(&found)) {
        if *found != checksum(migration.sql) {
            return Err(PostgresError::Foreign {
                at: shown.to_owned(),
                number: n,
            });
        }
    }
    Ok((number(found.len()) + 1..=number(MIGRATIONS.len())).collect())
}

/// A role that inherits nothing may read the version only as the program does.
async fn as_app(
    client: &Client,
    sql: &'static str,
) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    client
        .batch_execute("begin; set local role adjutant_app")
        .await?;
    let rows = client.query_typed(sql, &[]).await;
    client.batch_execute("rollback").await?;
    rows
}

/// Applies what is missing. Two processes that start at once take turns, and the second finds nothing to do.
async fn apply(client: &Client, shown: &str) -> Done<Result<(), PostgresError>> {
    client
        .batch_execute(&format!("begin; select pg_advisory_xact_lock({LOCK})"))
        .await?;
    let pending = match pending(client, shown).await {
        Ok(pending) => pending,
        Err(error) => {
            client.batch_execute("rollback").await?;
            return Ok(Err(error));
        }
    };
    for number in pending {
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let Some(migration) = MIGRATIONS.get(place) else {
            continue;
        };
        client.batch_execute(migration.sql).await?;
        client
            .query_typed(
                "insert into adjutant.migrations (number, name, checksum) values ($1::bigint, $2, $3)",
                &[
                    (&i64::from(number), Type::INT8),
                    (&migration.name, Type::TEXT),
                    (&checksum(migration.sql), Type::TEXT),
                ],
            )
            .await?;
        tracing::info!(number, name = migration.name, "migrated the store");
    }
    client.batch_execute("commit").await?;
    Ok(Ok(()))
}
