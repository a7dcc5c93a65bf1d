//! Row security (S50): nothing is forgotten, and no way of asking crosses from one owner to another.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::{Client, SimpleQueryMessage};

use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_ports::store::{AuditStore, SessionStore};
use adjutant_sim::SimClock;

use crate::cluster::{Database, cluster, connect, open, runtime};

/// A database, its store, and a connection as the role that owns the tables.
async fn world(database: &Database) -> (Arc<adjutant_store::Postgres>, Client) {
    let store = open(&database.url, SimClock::new(), true).await;
    (store, connect(&database.url).await)
}

async fn texts(db: &Client, sql: &str) -> Vec<String> {
    let rows = db.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn with_database(test: impl AsyncFnOnce(&Database)) {
    if let Some(cluster) = cluster() {
        let database = cluster.database();
        runtime().block_on(test(&database));
    }
}

// covers: S50
#[test]
fn every_table_has_row_security_forced_and_a_policy_for_whoever_has_a_right() {
    with_database(async |database| {
        let (_store, db) = world(database).await;
        let tables = texts(
            &db,
            "select relname::text from pg_class where relnamespace = 'adjutant'::regnamespace and relkind in ('r', 'p')",
        )
        .await;
        assert!(tables.len() > 25, "{tables:?}");
        let open = texts(
            &db,
            "select relname::text from pg_class
              where relnamespace = 'adjutant'::regnamespace and relkind in ('r', 'p')
                and not (relrowsecurity and relforcerowsecurity)",
        )
        .await;
        assert_eq!(open, Vec::<String>::new(), "row security is not forced");
        // A right without a policy is a mistake in waiting, and so is a policy for everybody.
        let unguarded = texts(
            &db,
            "select distinct g.table_name || ' ' || g.grantee || ' ' || g.privilege_type
               from information_schema.role_table_grants g
              where g.table_schema = 'adjutant' and g.grantee like 'adjutant\\_%' and g.grantee <> current_user
                and g.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                and not exists (select 1 from pg_policies p
                                 where p.schemaname = 'adjutant' and p.tablename = g.table_name
                                   and g.grantee = any (p.roles) and p.cmd in ('ALL', g.privilege_type))",
        )
        .await;
        assert_eq!(unguarded, Vec::<String>::new());
        let public = texts(
            &db,
            "select tablename || ' ' || policyname from pg_policies where schemaname = 'adjutant' and 'public' = any (roles)
              union all
             select table_name || ' ' || privilege_type from information_schema.role_table_grants
              where table_schema = 'adjutant' and grantee = 'PUBLIC'
              union all
             select p.oid::regprocedure::text from pg_proc p
              where p.pronamespace = 'adjutant'::regnamespace and p.prorettype <> 'trigger'::regtype
                and has_function_privilege('public', p.oid, 'execute')",
        )
        .await;
        assert_eq!(public, Vec::<String>::new());
    });
}

// covers: S50
#[test]
fn the_roles_own_nothing_and_go_round_nothing() {
    with_database(async |database| {
        let (_store, db) = world(database).await;
        let strong = texts(
            &db,
            "select rolname::text from pg_roles
              where rolname in ('adjutant_app', 'adjutant_worker', 'adjutant_auditor', 'adjutant_reader')
                and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolcanlogin or rolreplication)",
        )
        .await;
        assert_eq!(strong, Vec::<String>::new());
        let owned = texts(
            &db,
            "select relname::text from pg_class c join pg_roles r on r.oid = c.relowner
              where r.rolname in ('adjutant_app', 'adjutant_worker', 'adjutant_auditor', 'adjutant_reader')",
        )
        .await;
        assert_eq!(owned, Vec::<String>::new());
    });
}

/// What a role sees of a table, with these claims.
async fn seen(db: &Client, role: &str, claims: &str, table: &str) -> u64 {
    let sql = format!(
        "begin; set local role {role}; select set_config('request.jwt.claims', '{claims}', true);
         set local search_path to adjutant; select count(*) as n from {table}; rollback"
    );
    let messages = db.simple_query(&sql).await.unwrap();
    let n = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get("n").ok().flatten(),
        _ => None,
    });
    n.unwrap().parse().unwrap()
}

async fn refused(db: &Client, role: &str, claims: &str, sql: &str) -> bool {
    let all = format!(
        "begin; set local role {role}; select set_config('request.jwt.claims', '{claims}', true);
         set local search_path to adjutant; {sql}; rollback"
    );
    let refused = db.simple_query(&all).await.is_err();
    db.simple_query("rollback").await.unwrap();
    refused
}

const OWN: &str = "agent:main:main";

async fn fill(store: &adjutant_store::Postgres, owner: &str) -> adjutant_domain::session::Session {
    let owner = OwnerId::parse(owner).unwrap();
    let key = SessionKey::parse(OWN).unwrap();
    let session = store.open_session(&owner, &key, None, None).await.unwrap();
    store
        .audit(&owner, "test", "a", "b", serde_json::json!({}))
        .await
        .unwrap();
    session
}

// covers: S50
#[test]
fn every_table_shows_an_owner_only_their_rows_and_nobody_shows_nothing() {
    with_database(async |database| {
        let (store, db) = world(database).await;
        fill(&store, "one").await;
        let two = fill(&store, "two").await;
        fill_every_table(&db, &two).await;
        let tables = texts(
            &db,
            "select table_name::text from information_schema.columns
              where table_schema = 'adjutant' and column_name = 'owner' order by 1",
        )
        .await;
        assert!(tables.len() >= 22, "{tables:?}");
        for table in &tables {
            let all = seen(&db, "adjutant_auditor", "", table).await;
            assert!(all > 0, "{table}: nothing to look for");
            let strangers = seen(&db, "adjutant_app", r#"{"sub":"stranger"}"#, table).await;
            let nobody = seen(&db, "adjutant_app", "", table).await;
            let as_owner_of_tables = {
                let sql = format!("select count(*) from adjutant.{table}");
                let n: i64 = db.query_one(&sql, &[]).await.unwrap().get(0);
                n
            };
            assert_eq!(
                (strangers, nobody, as_owner_of_tables),
                (0, 0, 0),
                "{table}"
            );
            let one = seen(&db, "adjutant_app", r#"{"sub":"one"}"#, table).await;
            let two = seen(&db, "adjutant_app", r#"{"sub":"two"}"#, table).await;
            assert_eq!(one + two, all, "{table}");
            // Changing and removing what is not theirs changes and removes nothing.
            let sql = format!("update {table} set owner = 'one' where owner = 'two'");
            let kept = refused(&db, "adjutant_app", r#"{"sub":"one"}"#, &sql).await
                || seen(&db, "adjutant_app", r#"{"sub":"two"}"#, table).await == two;
            assert!(kept, "{table}");
            // What is theirs cannot be given away.
            let sql = format!("update {table} set owner = 'stranger'");
            assert!(
                refused(&db, "adjutant_app", r#"{"sub":"two"}"#, &sql).await,
                "{table}: a row can be given to another owner"
            );
        }
    });
}

/// One row of `two` wherever the store itself has not put one.
async fn fill_every_table(db: &Client, two: &adjutant_domain::session::Session) {
    let (session, thread) = (two.id.to_string(), two.thread.to_string());
    let rows = format!(
        "insert into runs (id, owner, agent, session, session_key, thread, client_key, priority, method, digest, status,
                           detail, ready_at, due_at, accepted_at)
              values ('run_x', 'two', 'main', '{session}', '{OWN}', '{thread}', null, 0, 'm', 'd', 'queued', '{{}}', 0, 0, 0);
         insert into messages (id, owner, thread, role, parts, label, at, words)
              values ('msg_x', 'two', '{thread}', 'user', '[]', '{{}}', 0, to_tsvector('words', 'kettle'));
         insert into run_aliases values ('two', 'n', 'run_x', 'm', 'd');
         insert into entries values ('run_x', 1, 'two', 0, 'k', '{{}}');
         insert into signals (run, owner, kind, body, at) values ('run_x', 'two', 'k', '{{}}', 0);
         insert into agents values ('two', 'a', 1, '{{}}');
         insert into approvals values ('apr_x', 'two', 'run_x', 'open', 0, '{{}}', null, null);
         insert into grants values ('grt_x', 'two', 'a', '{{}}');
         insert into ledger values ('run_x', 'res_x', 'two', 'n', 's', 'k', 'a', 'd', 'r', 1, false, null, 0, 0, 0, 0, false, 0);
         insert into spend (owner, scope, key) values ('two', 'day', 'd');
         insert into memories (id, owner, scope, key, body, created_at, words)
              values ('mem_x', 'two', 'owner', null, '{{}}', 0, to_tsvector('words', 'kettle'));
         insert into answers values ('two', 'm', 'k', 'd', '{{}}', 0);
         insert into devices values ('two', 'd', 'k', null, 'p', null, 'c', 'm', '[]', '[]', '{{}}', null, 'b', 'silent', 0, 0, null);
         insert into device_tokens values ('two', 'd', 'node', 'silent', '[]', 's', 'd', 0, null, null, null);
         insert into pairings values ('par_x', 'two', 'd', 's', 'r', 'open', 0, '{{}}', 0, 0);
         insert into setup_codes values ('two', 'd', '[]', '[]', 'm', 0);
         insert into node_invokes values ('inv_x', 'two', 'd', 'c', null, 'k', 'd', 'a', 0, 0, null, null);
         insert into shares values ('shr_x', 'two', 'thread', null, null, 'three', null, 0, null)"
    );
    let sql = format!(
        "begin; set local role adjutant_app; select set_config('request.jwt.claims', '{{\"sub\":\"two\"}}', true);
         set local search_path to adjutant; {rows}; commit"
    );
    db.simple_query(&sql).await.unwrap();
}

// covers: S50
#[test]
fn a_row_of_somebody_else_cannot_be_made_and_the_queue_sees_no_words() {
    with_database(async |database| {
        let (store, db) = world(database).await;
        fill(&store, "one").await;
        let one = r#"{"sub":"one"}"#;
        for sql in [
            "insert into agents values ('two', 'a', 1, '{}')",
            "insert into audit values (99, 0, 'two', 'b', 'a', 's', '{}', 'h')",
            "update audit set action = 'x'",
            "delete from audit",
            "truncate audit",
            "select * from workers",
        ] {
            assert!(refused(&db, "adjutant_app", one, sql).await, "{sql}");
        }
        for sql in [
            "select * from messages",
            "select * from threads",
            "select * from entries",
            "select * from memories",
            "select answer from answers",
            "insert into runs (id) values ('x')",
            "delete from runs",
            "update runs set owner = 'one'",
            "update sessions set expires_at = 1",
        ] {
            assert!(
                refused(&db, "adjutant_worker", "", sql).await,
                "worker: {sql}"
            );
        }
        for table in ["threads", "agents", "runs"] {
            let sql = format!("delete from {table}");
            assert!(refused(&db, "adjutant_auditor", "", &sql).await, "{sql}");
            assert!(refused(&db, "adjutant_reader", one, &sql).await, "{sql}");
        }
        for table in [
            "device_tokens",
            "setup_codes",
            "ledger",
            "audit",
            "entries",
            "answers",
        ] {
            let sql = format!("select * from {table}");
            assert!(refused(&db, "adjutant_reader", one, &sql).await, "{sql}");
        }
    });
}

// covers: S50
#[test]
fn identity_ends_with_the_transaction_on_a_connection_that_is_used_again() {
    with_database(async |database| {
        let (store, _db) = world(database).await;
        fill(&store, "one").await;
        fill(&store, "two").await;
        // Few connections, many turns: whatever sticks to one would be seen by the next.
        let owners = ["one", "two", "three"].map(|owner| OwnerId::parse(owner).unwrap());
        for n in 0..60 {
            let owner = &owners[n % 3];
            let found = store.count_sessions(owner).await.unwrap();
            assert_eq!(found, u64::from(n % 3 != 2));
        }
    });
}

// covers: S50
#[test]
fn a_share_lets_others_read_what_it_names_and_nothing_else() {
    with_database(async |database| {
        let (store, db) = world(database).await;
        let two = fill(&store, "two").await;
        fill_every_table(&db, &two).await;
        let reader = |who: &str| format!(r#"{{"sub":"{who}","role":"authenticated"}}"#);
        let (three, four) = (reader("three"), reader("four"));
        for table in ["threads", "messages"] {
            assert!(
                seen(&db, "adjutant_reader", &three, table).await > 0,
                "{table}"
            );
            assert_eq!(
                seen(&db, "adjutant_reader", &four, table).await,
                0,
                "{table}"
            );
        }
        for table in ["memories", "runs", "sessions", "approvals", "events"] {
            assert_eq!(
                seen(&db, "adjutant_reader", &three, table).await,
                0,
                "{table}"
            );
        }
        // Their own, by the user of the token or by the owner that the platform wrote into it.
        assert!(seen(&db, "adjutant_reader", &reader("two"), "memories").await > 0);
        let mapped = r#"{"sub":"5c1b","app_metadata":{"adjutant_owner":"two"}}"#;
        assert!(seen(&db, "adjutant_reader", mapped, "memories").await > 0);
        let forged = r#"{"sub":"5c1b","user_metadata":{"adjutant_owner":"two"}}"#;
        assert_eq!(seen(&db, "adjutant_reader", forged, "memories").await, 0);
        let change = async |sql: &str| {
            let sql = format!(
                "begin; set local role adjutant_app; select set_config('request.jwt.claims', '{{\"sub\":\"two\"}}', true);
                 set local search_path to adjutant; {sql}; commit"
            );
            db.simple_query(&sql).await.unwrap();
        };
        let threads = async || seen(&db, "adjutant_reader", &three, "threads").await;
        change("update shares set agent = 'another'").await;
        assert_eq!(threads().await, 0);
        change("update shares set agent = 'main'").await;
        assert_eq!(threads().await, 1);
        change("update shares set expires_at = 1").await;
        assert_eq!(threads().await, 0);
        change("update shares set expires_at = null, kind = 'memory', agent = null").await;
        assert_eq!(threads().await, 0);
        assert_eq!(seen(&db, "adjutant_reader", &three, "memories").await, 1);
        change("delete from shares").await;
        assert_eq!(seen(&db, "adjutant_reader", &three, "memories").await, 0);
    });
}

/// A new table has to be thought of here too: the suite above fills every one that names an owner.
#[test]
fn the_tables_without_an_owner_are_known() {
    with_database(async |database| {
        let (_store, db) = world(database).await;
        let found: BTreeSet<String> = texts(
            &db,
            "select relname::text from pg_class c
              where relnamespace = 'adjutant'::regnamespace and relkind in ('r', 'p')
                and not exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'owner')",
        )
        .await
        .into_iter()
        .collect();
        let known = ["audit_end", "buckets", "migrations", "tools", "workers"];
        assert_eq!(found, known.map(str::to_owned).into());
    });
}
