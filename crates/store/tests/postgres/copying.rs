//! Everything of one database in another: nothing is lost, and what goes on from there goes on in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use serde_json::{Value, json};

use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Accepted, AuditStore as _, Offer, RunStore as _, SessionStore as _};
use adjutant_sim::{MemoryStore, SimBus, SimClock, SimEntropy};
use adjutant_store::copy::{
    self, CopyError, Counts, Database, Moved, Purpose, SchemaState, Selection, check_target,
    exported_tables, status,
};
use adjutant_store::{Config, LocalBus, PostgresOptions, Sqlite};

use crate::cluster::{cluster, connect, open, open_real, runtime};
use crate::random::{Op, op};
use crate::side::Side;
use crate::talk::{LEASE, append, finished, intake, intake_at, parked, session, worker};

pub(crate) const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn quiet(_: Moved<'_>) {}

pub(crate) fn sqlite(dir: &Path, clock: &Arc<SimClock>, seed: u64) -> Arc<Sqlite> {
    Sqlite::open(
        dir,
        Arc::clone(clock) as _,
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(seed)),
        Config::default(),
    )
    .unwrap()
}

pub(crate) fn file(dir: &Path) -> Database {
    Database::Sqlite(dir.to_owned())
}

pub(crate) fn server(url: &str) -> Database {
    Database::Postgres(PostgresOptions::new(url))
}

pub(crate) async fn copied(from: &Database, to: &Database) -> Result<Counts, CopyError> {
    copy::copy(from, to, AT, Purpose::Keep, &quiet, pending()).await
}

pub(crate) async fn imported(text: impl Into<String>, to: &Database) -> Result<Counts, CopyError> {
    copy::import(
        Cursor::new(text.into()),
        to,
        Purpose::Keep,
        &quiet,
        pending(),
    )
    .await
}

pub(crate) async fn lines(from: &Database, selection: &Selection) -> Vec<Value> {
    let mut out = Vec::new();
    copy::export(from, selection, AT, &mut out, &quiet)
        .await
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Rows by table, in their order, without what says how far the feed is: a sequence may be ahead.
fn rows_of(lines: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in lines {
        if let Some(table) = line["table"].as_str().filter(|it| *it != "feed") {
            rows.entry(table.to_owned())
                .or_default()
                .push(line["row"].clone());
        }
    }
    // The databases sort some keys in another order.
    for rows in rows.values_mut() {
        rows.sort_by_key(ToString::to_string);
    }
    rows
}

fn columns_of(lines: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let tables = lines[0]["tables"].as_array().unwrap();
    tables
        .iter()
        .map(|it| {
            let columns = serde_json::from_value(it["columns"].clone()).unwrap();
            (it["table"].as_str().unwrap().to_owned(), columns)
        })
        .collect()
}

/// A row looks the same from both: the keys of a JSON object stand in an order that does not count.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            json!(sorted)
        }
        other => other.clone(),
    }
}

fn same(left: &[Value], right: &[Value]) -> Result<(), String> {
    let shape = |lines: &[Value]| -> BTreeMap<String, Vec<String>> {
        rows_of(lines)
            .into_iter()
            .map(|(table, rows)| {
                let mut rows: Vec<String> =
                    rows.iter().map(|row| sorted(row).to_string()).collect();
                rows.sort();
                (table, rows)
            })
            .collect()
    };
    let (left, right) = (shape(left), shape(right));
    for (table, rows) in &left {
        let other = right.get(table);
        if other != Some(rows) {
            return Err(format!("{table}:\n  {rows:?}\n  {other:?}"));
        }
    }
    (left.len() == right.len())
        .then_some(())
        .ok_or_else(|| "one has more tables".to_owned())
}

#[test]
fn both_databases_have_the_same_columns_once_the_listed_differences_are_taken_away() {
    let Some(cluster) = cluster() else { return };
    let dir = tempfile::tempdir().unwrap();
    drop(sqlite(dir.path(), &SimClock::new(), 1));
    let database = cluster.database();
    let (from_file, from_server) = runtime().block_on(async {
        (
            lines(&file(dir.path()), &Selection::Everything).await,
            lines(&server(&database.url), &Selection::Everything).await,
        )
    });
    let mut expected = columns_of(&from_server);
    // Sharing is a matter of a server's clients; SQLite refuses its rows by name.
    expected.remove("shares");
    assert_eq!(columns_of(&from_file), expected);
}

#[test]
fn a_table_that_the_copier_does_not_know_is_named_instead_of_lost() {
    let Some(cluster) = cluster() else { return };
    let dir = tempfile::tempdir().unwrap();
    drop(sqlite(dir.path(), &SimClock::new(), 1));
    let db = rusqlite::Connection::open(dir.path().join("adjutant.db")).unwrap();
    db.execute_batch(
        "create table novelties (id text) strict; alter table threads add column mood text;",
    )
    .unwrap();
    let database = cluster.database();
    let (unknown, lost) = runtime().block_on(async {
        let to = server(&database.url);
        let unknown = copied(&file(dir.path()), &to).await;
        db.execute_batch("drop table novelties").unwrap();
        let lost = copied(&file(dir.path()), &to).await;
        check_target(&to).await.unwrap();
        (unknown, lost)
    });
    assert!(
        matches!(&unknown, Err(CopyError::UnknownTable { table, .. }) if table == "novelties"),
        "{unknown:?}"
    );
    assert!(
        matches!(&lost, Err(CopyError::NoPlace { table, what, .. }) if table == "threads" && what == "mood"),
        "{lost:?}"
    );
}

fn case(ops: &[Op], split: usize, databases: [&str; 2]) -> Result<(), TestCaseError> {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let clocks = [(); 2].map(|()| SimClock::new());
    let mut sides = [0, 1].map(|i| {
        let store = sqlite(dirs[i].path(), &clocks[i], 2);
        Side::new(["stays", "moves"][i], store, Arc::clone(&clocks[i]))
    });
    let both = |sides: &mut [Side; 2], ops: &[Op]| {
        for op in ops {
            let [stays, moves] = sides.each_mut().map(|side| side.does(op));
            prop_assert_eq!(&stays, &moves, "at {:?}", op);
        }
        Ok(())
    };
    let (before, after) = ops.split_at(split);
    both(&mut sides, before)?;
    // The end of a process, for both: the files are free.
    for (side, clock) in sides.iter_mut().zip(&clocks) {
        let entropy = Arc::new(SimEntropy::new(1));
        let nothing = MemoryStore::new(Arc::clone(clock) as _, entropy, SimBus::reliable());
        side.store = Arc::new(nothing);
    }
    runtime().block_on(async {
        let (source, to) = (file(dirs[1].path()), server(databases[0]));
        let first = lines(&source, &Selection::Everything).await;
        let counts = copied(&source, &to).await.unwrap();
        assert_eq!(counts.get("runs").copied().unwrap_or_default() as usize, {
            rows_of(&first).get("runs").map_or(0, Vec::len)
        });
        let second = lines(&to, &Selection::Everything).await;
        same(&first, &second).unwrap();
        // And on: through lines into another server, and from there back into a file.
        let text: String = second.iter().map(|line| format!("{line}\n")).collect();
        let third = server(databases[1]);
        imported(text, &third).await.unwrap();
        let back = file(dirs[2].path());
        copied(&third, &back).await.unwrap();
        same(&first, &lines(&back, &Selection::Everything).await).unwrap();
    });
    let again = sqlite(dirs[2].path(), &clocks[0], 3);
    let found = block_on(again.verify()).unwrap();
    prop_assert_eq!(found.findings, Vec::<String>::new(), "there and back");
    drop(again);
    sides[0].store = sqlite(dirs[0].path(), &clocks[0], 2);
    sides[1].store = runtime().block_on(open(databases[0], Arc::clone(&clocks[1]), true));
    let found = block_on(sides[1].store.verify()).unwrap();
    prop_assert_eq!(found.findings, Vec::<String>::new(), "right after the copy");
    let last = [Op::Look(0), Op::Look(1)];
    both(&mut sides, &last)?;
    both(&mut sides, after)?;
    both(&mut sides, &last)?;
    for side in &sides {
        let found = block_on(side.store.verify()).unwrap().findings;
        prop_assert_eq!(found, Vec::<String>::new(), "{}", side.name);
    }
    Ok(())
}

// covers: R5, R22, R38, R42, S49
#[test]
fn a_store_that_moved_goes_on_like_one_that_stayed() {
    let Some(cluster) = cluster() else { return };
    let long = std::env::var_os("ADJUTANT_TEST_LONG").is_some();
    let mut runner = TestRunner::new(Cases {
        cases: if long { 200 } else { 6 },
        failure_persistence: None,
        max_shrink_iters: 24,
        ..Cases::default()
    });
    let done = runner.run(
        &(proptest::collection::vec(op(), 20..90), 0..100_usize),
        |(ops, split)| {
            let databases = [(); 2].map(|()| cluster.database());
            let urls = [0, 1].map(|i| databases[i].url.as_str());
            case(&ops, ops.len() * split / 100, urls)
        },
    );
    if let Err(error) = done {
        panic!("{error}");
    }
}

// covers: R5
#[test]
fn a_run_that_rests_a_run_that_waits_and_a_used_key_are_there_after_the_move() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    let clock = SimClock::new();
    runtime().block_on(async {
        let store = sqlite(dir.path(), &clock, 1);
        let seat = session(&*store, "one").await;
        let held = intake(&seat, Some("held"), "first");
        let rests = held.run.id;
        let repeat = held.clone();
        store.accept(held).await.unwrap();
        let offer = Offer::one(worker());
        let claim = store.claim(&offer, LEASE).await.unwrap().remove(0);
        append(&*store, &claim, vec![parked(AT)]).await.unwrap();
        let other = session(&*store, "two").await;
        let waits = intake(&other, Some("waits"), "second");
        let waiting = waits.run.id;
        store.accept(waits).await.unwrap();
        drop(store);

        let to = server(&database.url);
        let seen = AtomicU64::new(0);
        let note = |moved: Moved<'_>| seen.store(moved.rows, Ordering::Relaxed);
        let counts: Counts =
            copy::copy(&file(dir.path()), &to, AT, Purpose::Keep, &note, pending())
                .await
                .unwrap();
        assert_eq!(counts["runs"], 2);
        assert_eq!(seen.load(Ordering::Relaxed), counts.values().sum::<u64>());

        let store = open_real(&database.url, 4).await;
        let again = store.accept(repeat).await.unwrap();
        assert_eq!(again, Accepted::Repeat { run: rests });
        let mut both = BTreeSet::new();
        for _ in 0..2 {
            let mut claims = store.claim(&offer, LEASE).await.unwrap();
            let claim = claims.pop().unwrap();
            both.insert(claim.run.id);
            append(&*store, &claim, vec![finished()]).await.unwrap();
        }
        assert_eq!(both, BTreeSet::from([rests, waiting]));
        let found = store.verify().await.unwrap();
        assert_eq!(found.findings, Vec::<String>::new());
    });
}

/// What a column says in the order in which the rows of a table come.
fn in_order(lines: &[Value], table: &str, column: &str) -> Vec<String> {
    let rows = lines.iter().filter(|line| line["table"] == table);
    rows.map(|line| line["row"][column].as_str().unwrap().to_owned())
        .collect()
}

// covers: R5
#[test]
fn what_has_no_other_order_than_that_of_its_birth_keeps_it_there_and_back() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let clock = SimClock::new();
    runtime().block_on(async {
        let store = sqlite(dirs[0].path(), &clock, 1);
        let mut run = String::new();
        // Whoever was born later has the lower identifier, and more than one batch of them; a queue has a bound.
        for n in 0..10 {
            let seat = session(&*store, &format!("seat-{n}")).await;
            for m in 0..30 {
                let at = Timestamp::from_millis(AT.as_millis() - n * 30 - m);
                let intake = intake_at(&seat, None, "words", at, 1);
                run = intake.run.id.to_string();
                store.accept(intake).await.unwrap();
            }
        }
        drop(store);
        let db = rusqlite::Connection::open(dirs[0].path().join("adjutant.db")).unwrap();
        for body in ["\"z\"", "\"m\"", "\"a\""] {
            db.execute(
                "insert into signals (run, kind, body, at) values (?, 'steer', ?, 1)",
                [run.as_str(), body],
            )
            .unwrap();
        }
        drop(db);

        let (first, there, back) = (
            file(dirs[0].path()),
            server(&database.url),
            file(dirs[1].path()),
        );
        let first_lines = lines(&first, &Selection::Everything).await;
        let born = in_order(&first_lines, "messages", "id");
        assert!(
            born.len() == 300 && born.is_sorted_by(|a, b| b < a),
            "{born:?}"
        );
        copied(&first, &there).await.unwrap();
        copied(&there, &back).await.unwrap();
        for moved in [there, back] {
            let moved = lines(&moved, &Selection::Everything).await;
            assert_eq!(in_order(&moved, "messages", "id"), born);
            assert_eq!(
                in_order(&moved, "signals", "body"),
                ["\"z\"", "\"m\"", "\"a\""]
            );
        }
    });
}

// covers: S45
#[test]
fn an_export_holds_no_salt_and_no_digest_of_a_token() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let store = open_real(&database.url, 2).await;
        session(&*store, "one").await;
        let admin = connect(&database.url).await;
        let device = "ab".repeat(32);
        admin
            .batch_execute(&format!(
                "begin; set local role adjutant_app; select set_config('request.jwt.claims', '{{\"sub\":\"local\"}}', true);
                 insert into adjutant.devices (owner, id, public_key, platform, client_id, client_mode, roles, scopes,
                     claims, approved_by, approved_via, created_at, approved_at)
                 values ('local', '{device}', 'key', 'linux', 'cli', 'cli', '[]', '[]', '{{}}', 'me', 'operator', 1, 1);
                 insert into adjutant.device_tokens (owner, device, role, via, scopes, salt, digest, created_at)
                 values ('local', '{device}', 'operator', 'operator', '[]', 'planted-salt', 'planted-digest', 1);
                 insert into adjutant.setup_codes (owner, digest, roles, scopes, made_by, expires_at)
                 values ('local', 'planted-code', '[]', '[]', 'me', 1); commit"
            ))
            .await
            .unwrap();
        let from = server(&database.url);
        let data = lines(&from, &Selection::Data).await;
        let text = json!(data).to_string();
        assert!(!text.contains("planted") && text.contains(&device));
        assert_eq!(
            data[0]["leftOut"],
            json!(["device_tokens", "setup_codes", "tools", "buckets"])
        );
        assert_eq!(data.last().unwrap()["end"]["rows"]["threads"], 1);
        let everything = json!(lines(&from, &Selection::Everything).await).to_string();
        assert_eq!(everything.matches("planted").count(), 3);

        let some = Selection::Tables(vec!["threads".to_owned()]);
        let some = lines(&from, &some).await;
        assert_eq!(some.len(), 3);
        let asked = Selection::Tables(vec!["device_tokens".to_owned()]);
        let refused = copy::export(&from, &asked, AT, &mut Vec::new(), &quiet).await;
        assert!(matches!(refused, Err(CopyError::NoSuchTable { .. })));
        assert!(exported_tables().contains(&"messages"));
        drop(store);
    });
}

#[test]
fn a_login_that_may_change_no_schema_may_be_copied_with() {
    let Some(cluster) = cluster() else { return };
    if cluster.dir.is_none() {
        return;
    }
    let database = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = sqlite(dir.path(), &SimClock::new(), 1);
        for name in ["one", "two"] {
            session(&*store, name).await;
        }
        drop(store);
        let admin = connect(&database.url.replace("adjutant_test@", "postgres@")).await;
        admin
            .batch_execute(
                "do $$ begin create role adjutant_copier login noinherit; exception when duplicate_object then null; end $$;
                 grant adjutant_app, adjutant_worker, adjutant_auditor to adjutant_copier",
            )
            .await
            .unwrap();
        let daily = server(&database.url.replace("adjutant_test@", "adjutant_copier@"));
        let found = status(&daily).await.unwrap();
        assert_eq!(found.schema.state, SchemaState::Current);
        let seen = found.server.unwrap();
        assert!(!seen.owns_schema && !seen.bypasses_row_security);
        assert_eq!((seen.roles_missing, seen.tables), (vec![], seen.tables_secured));
        copied(&file(dir.path()), &daily).await.unwrap();
        let cursor = |lines: Vec<Value>| {
            let feed = lines.iter().find(|line| line["table"] == "feed").cloned();
            feed.unwrap()["row"]["cursor"].as_i64().unwrap()
        };
        let source = cursor(lines(&file(dir.path()), &Selection::Everything).await);
        let target = cursor(lines(&daily, &Selection::Everything).await);
        assert!(0 < source && source == target, "{source} {target}");
        let store = open_real(&database.url, 2).await;
        let key = SessionKey::parse("agent:main:two").unwrap();
        let seat = store.session(&OwnerId::local(), &key).await.unwrap();
        assert!(seat.is_some());
    });
}

// covers: R23, S49
#[test]
fn devices_requests_and_mailboxes_move_there_and_back_and_what_has_no_place_is_named() {
    let Some(cluster) = cluster() else { return };
    let databases = [(); 2].map(|()| cluster.database());
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let admin = connect(&databases[0].url).await;
        let device = "cd".repeat(32);
        let as_owner = "begin; set local role adjutant_app; set local search_path to adjutant;
                        select set_config('request.jwt.claims', '{\"sub\":\"local\"}', true);";
        let sql = format!(
            "{as_owner}
             insert into devices (owner, id, public_key, display_name, platform, client_id, client_mode, roles, scopes,
                 claims, approved_by, approved_via, created_at, approved_at)
             values ('local', '{device}', 'key', 'a “phone”\\n', 'linux', 'cli', 'cli', '[]', '[]', '{{}}', 'me', 'silent', 1, 1);
             insert into device_tokens (owner, device, role, via, scopes, salt, digest, created_at)
             values ('local', '{device}', 'node', 'silent', '[]', 'salt', 'digest', 1);
             insert into setup_codes (owner, digest, roles, scopes, made_by, expires_at)
             values ('local', 'code', '[]', '[]', 'me', 1);
             insert into pairings (id, owner, device, source, reason, state, ask, created_at, expires_at)
             values ('pair_1', 'local', '{device}', 'socket', 'new', 'open', '{{}}', 1, 9223372036854775807);
             insert into node_invokes (id, owner, node, command, key, digest, asked_by, created_at, deadline_at)
             values ('inv_1', 'local', '{device}', 'system.which', 'k', 'd', 'me', 1, 2);
             commit"
        );
        admin.batch_execute(&sql).await.unwrap();
        let (first, back, again) = (
            server(&databases[0].url),
            file(dir.path()),
            server(&databases[1].url),
        );
        copied(&first, &back).await.unwrap();
        copied(&back, &again).await.unwrap();
        let everything = Selection::Everything;
        let all = lines(&first, &everything).await;
        assert_eq!(rows_of(&all)["device_tokens"][0]["salt"], "salt");
        assert_eq!(rows_of(&all)["pairings"][0]["expires_at"], i64::MAX);
        same(&all, &lines(&back, &everything).await).unwrap();
        same(&all, &lines(&again, &everything).await).unwrap();

        // SQLite has no shares.
        let share = format!(
            "{as_owner} insert into shares (id, owner, kind, grantee, created_at)
                        values ('share_1', 'local', 'memory', 'friend', 1); commit"
        );
        admin.batch_execute(&share).await.unwrap();
        let other = tempfile::tempdir().unwrap();
        let refused = copied(&first, &file(other.path())).await;
        assert!(
            matches!(&refused, Err(CopyError::NoPlace { table, .. }) if table == "shares"),
            "{refused:?}"
        );
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_nul_is_replaced_in_words_and_refused_in_the_audit_chain() {
    let Some(cluster) = cluster() else { return };
    let databases = [(); 2].map(|()| cluster.database());
    let dir = tempfile::tempdir().unwrap();
    drop(sqlite(dir.path(), &SimClock::new(), 1));
    let db = rusqlite::Connection::open(dir.path().join("adjutant.db")).unwrap();
    db.execute(
        "insert into threads (id, owner, agent, title, created_at, updated_at) values ('t', 'local', 'main', ?, 1, 1)",
        ["a\0b"],
    )
    .unwrap();
    runtime().block_on(async {
        let to = server(&databases[0].url);
        copied(&file(dir.path()), &to).await.unwrap();
        let rows = rows_of(&lines(&to, &Selection::Data).await);
        assert_eq!(rows["threads"][0]["title"], "a\u{fffd}b");
        db.execute(
            "insert into audit values (1, 1, 'local', ?, 'a', 's', '{}', 'hash')",
            ["me\0"],
        )
        .unwrap();
        let refused = copied(&file(dir.path()), &server(&databases[1].url)).await;
        assert!(
            matches!(&refused, Err(CopyError::Value { table, column, .. }) if table == "audit" && column == "by"),
            "{refused:?}"
        );
        check_target(&server(&databases[1].url)).await.unwrap();
    });
}
