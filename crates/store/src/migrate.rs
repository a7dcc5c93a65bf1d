//! Numbered migrations: forward only, one transaction each, with a checksum (R38).

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::error::{Done, Fault, OpenError, open_error};
use crate::sql::Sql;

/// One step from a schema to the next.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All of them; the number is the place, from 1. Never edit one that was released.
const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_start",
        sql: include_str!("../migrations/0001_start.sqlite.sql"),
    },
    Migration {
        name: "0002_fewer_pages",
        sql: include_str!("../migrations/0002_fewer_pages.sqlite.sql"),
    },
    Migration {
        name: "0003_devices",
        sql: include_str!("../migrations/0003_devices.sqlite.sql"),
    },
    Migration {
        name: "0004_nodes",
        sql: include_str!("../migrations/0004_nodes.sqlite.sql"),
    },
    Migration {
        name: "0005_rows_in_order",
        sql: include_str!("../migrations/0005_rows_in_order.sqlite.sql"),
    },
    Migration {
        name: "0006_workers",
        sql: include_str!("../migrations/0006_workers.sqlite.sql"),
    },
    Migration {
        name: "0007_short_turns",
        sql: include_str!("../migrations/0007_short_turns.sqlite.sql"),
    },
    Migration {
        name: "0008_needs",
        sql: include_str!("../migrations/0008_needs.sqlite.sql"),
    },
    Migration {
        name: "0009_plain_checks",
        sql: include_str!("../migrations/0009_plain_checks.sqlite.sql"),
    },
];

const TABLE: &str = "
create table if not exists migrations (
    number   integer not null primary key,
    name     text    not null,
    checksum text    not null
) strict";

/// Brings the file to the newest schema.
pub(crate) fn migrate(db: &mut Connection, path: &Path) -> Result<(), OpenError> {
    migrate_with(db, path, MIGRATIONS)
}

fn migrate_with(
    db: &mut Connection,
    path: &Path,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    let found = version(db, path, migrations)?;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    if found > migrations.len() {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: number(found),
            known: number(migrations.len()),
        });
    }
    for (number, migration) in (1..).zip(migrations).skip(found) {
        apply(db, number, migration).map_err(|fault| wrong(path, fault))?;
        tracing::info!(number, name = migration.name, "migrated the store");
    }
    Ok(())
}

/// The newest version that this program has.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The names of those that a file of this version lacks, in order.
pub(crate) fn after(version: u32) -> Vec<String> {
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let names = MIGRATIONS.iter().map(|it| it.name.to_owned());
    names.skip(done).collect()
}

/// The version of a file, which is only read.
///
/// # Errors
/// [`OpenError::Foreign`] when its migrations are not ours.
pub(crate) fn found(db: &Connection, path: &Path) -> Result<u32, OpenError> {
    version(db, path, MIGRATIONS).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// How many migrations a file has seen, all of which are these as far as they go.
fn version(db: &Connection, path: &Path, migrations: &[Migration]) -> Result<usize, OpenError> {
    let done = applied(db).map_err(|fault| wrong(path, fault))?;
    for (number, (migration, checksum_found)) in (1..).zip(migrations.iter().zip(&done)) {
        if *checksum_found != checksum(migration.sql) {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                number,
            });
        }
    }
    Ok(done.len())
}

fn wrong(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Sql(error) => open_error(path, &error),
        Fault::Store(error) => OpenError::Sqlite {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// The checksums of what was applied, in order.
fn applied(db: &Connection) -> Done<Vec<String>> {
    let there = db.one(
        "select 1 from sqlite_schema where name = 'migrations'",
        [],
        |_row| Ok(()),
    )?;
    if there.is_none() {
        return Ok(vec![]);
    }
    db.all(
        "select checksum from migrations order by number",
        [],
        |row| row.get(0),
    )
}

fn apply(db: &mut Connection, number: u32, migration: &Migration) -> Done<()> {
    let tx = Transaction::new(db, TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLE)?;
    tx.execute_batch(migration.sql)?;
    tx.execute(
        "insert into migrations (number, name, checksum) values (?, ?, ?)",
        params![number, migration.name, checksum(migration.sql)],
    )?;
    tx.commit()?;
    Ok(())
}

fn checksum(sql: &str) -> String {
    hex::encode(Sha256::digest(sql))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use adjutant_domain::id::RunId;
    use adjutant_domain::time::Timestamp;

    use super::*;
    use crate::sqlite::money::lines_of;

    const NEXT: &[Migration] = &[
        Migration {
            name: "0001_a",
            sql: "create table a (x integer) strict;",
        },
        Migration {
            name: "0002_b",
            sql: "alter table a add column y integer; create table b (z text) strict;",
        },
    ];

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        (dir, path)
    }

    // covers: R38
    #[test]
    fn an_older_program_refuses_a_newer_store_and_leaves_it_as_it_is() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        migrate_with(&mut db, &path, NEXT).unwrap();
        let refused = migrate_with(&mut db, &path, &NEXT[..1]).unwrap_err();
        assert!(matches!(
            refused,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ));
        migrate_with(&mut db, &path, NEXT).unwrap();
    }

    // covers: R38
    #[test]
    fn data_written_under_the_first_schema_survives_the_second() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        migrate_with(&mut db, &path, &NEXT[..1]).unwrap();
        db.execute("insert into a (x) values (7)", []).unwrap();
        migrate_with(&mut db, &path, NEXT).unwrap();
        let x: i64 = db
            .query_row("select x from a where y is null", [], |row| row.get(0))
            .unwrap();
        assert_eq!(x, 7);
    }

    // covers: R38
    #[test]
    fn runs_and_what_belongs_to_them_survive_being_laid_in_order() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        db.pragma_update(None, "foreign_keys", true).unwrap();
        migrate_with(&mut db, &path, &MIGRATIONS[..4]).unwrap();
        db.execute_batch(
            "insert into threads (id, owner, agent, created_at, updated_at) values ('t', 'o', 'main', 1, 1);
             insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail,
                               ready_at, due_at, accepted_at)
             values ('run_b', 'o', 'main', 's', 'k', 't', 0, 'm', 'd', 'running', '{}', 1, 2, 1),
                    ('run_a', 'o', 'main', 's', 'k', 't', 0, 'm', 'd', 'finished', '{}', 1, 2, 1);
             insert into entries (run, seq, at, kind, body)
             values ('run_b', 1, 1, 'b', 'b1'), ('run_a', 1, 1, 'a', 'a1'), ('run_a', 2, 1, 'a', 'a2');
             insert into run_aliases (owner, name, run, method, digest) values ('o', 'n', 'run_b', 'm', 'd');
             insert into signals (run, kind, body, at) values ('run_b', 'cancel', '{}', 1);
             insert into approvals (id, owner, run, state, expires_at, body) values ('a', 'o', 'run_b', 'open', 9, '{}');
             insert into events (owner, cursor, at, kind) values ('o', 7, 1, '{}');",
        )
        .unwrap();
        migrate(&mut db, &path).unwrap();
        let logs: Vec<String> = db
            .prepare(
                "select r.id || ' ' || (e.place % 1048576) || ' ' || e.body
                   from runs r join entries e on e.place / 1048576 = r.n order by e.place",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(logs, ["run_a 1 a1", "run_a 2 a2", "run_b 1 b1"]);
        for table in ["run_aliases", "signals", "approvals", "events"] {
            let n: i64 = db
                .query_row(&format!("select count(*) from {table}"), [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(n, 1, "{table}");
        }
        db.execute("delete from runs where id = 'run_b'", [])
            .unwrap();
        let left: i64 = db
            .query_row("select count(*) from approvals", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 0, "questions go with their run");
        let rules: String = db
            .query_row(
                "select group_concat(sql) from sqlite_schema where name in ('runs', 'spend', 'approvals')",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!(!rules.contains(" in ("), "{rules}");
        let wrong = db.execute("update runs set status = 'gone'", []);
        assert!(wrong.unwrap_err().to_string().contains("CHECK constraint"));
    }

    // covers: R38
    #[test]
    fn threads_messages_and_ledger_lines_survive_being_laid_for_short_turns() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        migrate_with(&mut db, &path, &MIGRATIONS[..5]).unwrap();
        let at = Timestamp::from_millis(1_795_897_064_544);
        let run = |n| RunId::mint(at, n);
        // Two runs of one millisecond, one of which is gone, and one of the next.
        let later = RunId::mint(Timestamp::from_millis(1_795_897_064_545), 0);
        db.execute_batch(&format!(
            "insert into threads (id, owner, agent, created_at, updated_at, head, messages)
             values ('t', 'o', 'main', 1, 7200001, 2, 3), ('u', 'o', 'main', 1, 3599999, 0, 0);
             insert into messages (id, owner, thread, seq, role, parts, label, at)
             values ('w', 'o', 't', null, 'user', '[]', '{{}}', 1), ('a', 'o', 't', 1, 'user', '[]', '{{}}', 1),
                    ('b', 'o', 't', 2, 'user', '[]', '{{}}', 1);
             insert into ledger (run, reservation, owner, run_name, session, session_key, agent, day, route, reserved,
                                 settled, cost, at)
             values ('{0}', 'r1', 'o', 'n', 's', 'k', 'main', '2026-11-28', 'x', 5, 1, 4, 1),
                    ('{0}', 'r2', 'o', 'n', 's', 'k', 'main', '2026-11-29', 'x', 5, 0, null, 1),
                    ('{1}', 'r3', 'o', 'n', 's', 'k', 'main', '2026-11-28', 'x', 5, 1, 4, 1),
                    ('{later}', 'r4', 'o', 'n', 's', 'k', 'main', '2026-11-28', 'x', 5, 1, null, 1);
             insert into spend (owner, scope, key) values ('o', 'day', '2026-11-28'), ('o', 'day', '2026-11-29'),
                                                          ('o', 'session', 's');",
            run(1),
            run(2),
        ))
        .unwrap();
        migrate(&mut db, &path).unwrap();
        let texts = |sql: &str| -> Vec<String> {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let lines = texts("select run || ' ' || reservation from ledger order by place");
        let line = |run: RunId, name: &str| format!("{run} {name}");
        assert_eq!(
            lines,
            [
                line(run(1), "r1"),
                line(run(1), "r2"),
                line(run(2), "r3"),
                line(later, "r4")
            ]
        );
        for id in [run(1), run(2), later] {
            let [before, behind] = lines_of(id);
            let found: Vec<i64> = db
                .prepare("select place from ledger where run = ? order by place")
                .unwrap()
                .query_map([id.to_string()], |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(
                found.iter().all(|it| before < *it && *it < behind),
                "{id}: {found:?} {before}"
            );
        }
        let days = texts(
            "select s.key || ' ' || count(*) from spend s join ledger l on l.place between s.first and s.last
              group by s.key order by s.key",
        );
        assert_eq!(days, ["2026-11-28 4", "2026-11-29 1"]);
        assert_eq!(
            texts("select id || ' ' || hour from threads order by hour desc"),
            ["t 2", "u 0"]
        );
        db.execute("update threads set updated_at = 7200002 where id = 'u'", [])
            .unwrap();
        assert_eq!(
            texts("select id || ' ' || hour from threads order by id"),
            ["t 2", "u 2"]
        );
        let twice = db.execute("update messages set seq = 2 where id = 'w'", []);
        assert!(twice.is_err(), "a place is taken once");
    }

    // covers: R38
    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        let broken = [Migration {
            name: "0001_a",
            sql: "create table a (x integer) strict; create nonsense;",
        }];
        migrate_with(&mut db, &path, &broken).unwrap_err();
        let tables: i64 = db
            .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
    }

    #[test]
    fn a_store_of_another_program_is_refused() {
        let (_dir, path) = file();
        let mut db = Connection::open(&path).unwrap();
        migrate_with(&mut db, &path, NEXT).unwrap();
        let other = [Migration {
            name: "0001_a",
            sql: "create table a (q integer) strict;",
        }];
        let both = [
            Migration {
                name: other[0].name,
                sql: other[0].sql,
            },
            Migration { ..copy(&NEXT[1]) },
        ];
        let refused = migrate_with(&mut db, &path, &both).unwrap_err();
        assert!(matches!(refused, OpenError::Foreign { number: 1, .. }));
    }

    fn copy(migration: &Migration) -> Migration {
        Migration {
            name: migration.name,
            sql: migration.sql,
        }
    }

    // The WAL reset bug of SQLite before 3.51.3 can damage a database.
    #[test]
    fn the_linked_sqlite_is_new_enough() {
        assert!(
            rusqlite::version_number() >= 3_051_003,
            "{}",
            rusqlite::version()
        );
    }
}
