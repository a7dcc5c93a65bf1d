//! What a copy refuses, and what there is when it was refused, tried out or stopped.

use std::future::{pending, ready};
use std::io::Cursor;

use adjutant_ports::store::{Duty, WorkerInfo, WorkerStore as _};
use adjutant_sim::SimClock;
use adjutant_store::copy::{
    self, CopyError, Database, Moved, Purpose, SchemaState, Selection, check_target, check_unused,
    status,
};

use crate::cluster::{cluster, connect, open_real, runtime};
use crate::copying::{AT, copied, file, imported, lines, quiet, server, sqlite};
use crate::talk::{session, worker};

fn nobody_is_dead(_: &WorkerInfo) -> bool {
    false
}

#[test]
fn a_rehearsal_refuses_what_the_copy_refuses_and_keeps_nothing() {
    let Some(cluster) = cluster() else { return };
    let (ready_made, bare) = (cluster.database(), cluster.empty_database());
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    drop(sqlite(dirs[0].path(), &SimClock::new(), 1));
    let db = rusqlite::Connection::open(dirs[0].path().join("adjutant.db")).unwrap();
    db.execute_batch(
        "insert into threads (id, owner, agent, title, created_at, updated_at)
         values ('t', 'local', 'main', 'one', 1, 1)",
    )
    .unwrap();
    let rehearsed = async |to: &Database| {
        let from = file(dirs[0].path());
        copy::copy(&from, to, AT, Purpose::Rehearse, &quiet, pending()).await
    };
    runtime().block_on(async {
        let targets = [
            server(&ready_made.url),
            server(&bare.url),
            file(dirs[1].path()),
        ];
        for to in &targets {
            let counts = rehearsed(to).await.unwrap();
            assert_eq!(counts["threads"], 1, "{to:?}");
            check_target(to).await.unwrap();
        }
        let found = status(&targets[1]).await.unwrap();
        assert_eq!(found.schema.state, SchemaState::None, "no schema was made");
        assert_eq!(std::fs::read_dir(dirs[1].path()).unwrap().count(), 0);

        db.execute_batch("alter table threads add column mood text")
            .unwrap();
        for to in [&targets[0], &targets[2]] {
            let refused = rehearsed(to).await;
            assert!(
                matches!(&refused, Err(CopyError::NoPlace { what, .. }) if what == "mood"),
                "{refused:?}"
            );
        }
        db.execute_batch("create table novelties (id text) strict")
            .unwrap();
        let refused = rehearsed(&targets[1]).await;
        assert!(
            matches!(&refused, Err(CopyError::UnknownTable { .. })),
            "{refused:?}"
        );
        let cut = "{\"kind\":\"adjutant-export\"";
        let refused = copy::import(
            Cursor::new(cut),
            &targets[1],
            Purpose::Rehearse,
            &quiet,
            pending(),
        )
        .await;
        assert!(matches!(refused, Err(CopyError::Cut)), "{refused:?}");
    });
}

#[test]
fn who_stops_a_copy_finds_the_target_empty() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let clock = SimClock::new();
    runtime().block_on(async {
        let store = sqlite(dirs[0].path(), &clock, 1);
        session(&*store, "one").await;
        drop(store);
        let from = file(dirs[0].path());
        // As soon as it waits for the first time, and after the last batch.
        let all: u64 = copy::copy(
            &from,
            &server(&database.url),
            AT,
            Purpose::Rehearse,
            &quiet,
            pending(),
        )
        .await
        .unwrap()
        .values()
        .sum();
        for to in [server(&database.url), file(dirs[1].path())] {
            let stopped = copy::copy(&from, &to, AT, Purpose::Keep, &quiet, ready(())).await;
            assert!(
                matches!(stopped, Err(CopyError::Interrupted)),
                "{stopped:?}"
            );
            check_target(&to).await.unwrap();
        }
        let to = server(&database.url);
        let last = tokio::sync::Notify::new();
        let seen = |moved: Moved<'_>| {
            if moved.rows == all {
                last.notify_one();
            }
        };
        let stopped = copy::copy(&from, &to, AT, Purpose::Keep, &seen, last.notified()).await;
        assert!(
            matches!(stopped, Err(CopyError::Interrupted)),
            "{stopped:?}"
        );
        check_target(&to).await.unwrap();
        assert_eq!(std::fs::read_dir(dirs[1].path()).unwrap().count(), 0);
        copied(&from, &to).await.unwrap();
    });
}

// covers: R14
#[test]
fn who_works_with_a_database_is_found_whatever_its_connections_are_called() {
    let Some(cluster) = cluster() else { return };
    let databases = [(); 2].map(|()| cluster.database());
    let between = if databases[0].url.contains('?') {
        '&'
    } else {
        '?'
    };
    let renamed = |url: &str| format!("{url}{between}application_name=kitchen");
    let said = |found: Result<(), CopyError>| match found {
        Err(CopyError::InUse { who, .. }) => who,
        other => panic!("{other:?}"),
    };
    runtime().block_on(async {
        let unused = server(&databases[0].url);
        check_unused(&unused, &nobody_is_dead).await.unwrap();
        status(&unused).await.unwrap();
        check_unused(&unused, &nobody_is_dead).await.unwrap();

        // A gateway without workers: nothing of it is in the register.
        let store = open_real(&renamed(&databases[0].url), 2).await;
        for asked in [&databases[0].url, &renamed(&databases[0].url)] {
            let who = said(check_unused(&server(asked), &nobody_is_dead).await);
            assert!(who.contains("`adjutant kitchen`"), "{who}");
        }
        drop(store);

        // A worker whose connections cannot be seen: it said that it works.
        let store = open_real(&databases[1].url, 2).await;
        let info = WorkerInfo {
            id: worker(),
            host: "shed".to_owned(),
            pid: 7,
            process: None,
            version: String::new(),
            slots: 1,
            offers: adjutant_domain::Needs::default(),
            runs: vec![],
            duty: Duty::Working,
            started_at: AT,
        };
        store.worker_seen(&info).await.unwrap();
        drop(store);
        let behind_a_pooler = server(&databases[1].url);
        wait_until_nobody_is_connected(&databases[1]).await;
        let who = said(check_unused(&behind_a_pooler, &nobody_is_dead).await);
        assert!(who.contains("a worker on `shed` (process 7)"), "{who}");
        let dead = |it: &WorkerInfo| it.id == info.id;
        check_unused(&behind_a_pooler, &dead).await.unwrap();
    });
}

/// A server notices a moment later that somebody has gone.
async fn wait_until_nobody_is_connected(database: &crate::cluster::Database) {
    let admin = connect(&database.url).await;
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    for _ in 0..200 {
        let n: i64 = admin.query_one(sql, &[]).await.unwrap().get(0);
        if n == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("somebody stays connected");
}

#[test]
fn a_target_that_is_not_empty_or_not_whole_is_told_and_left_as_it_is() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    let clock = SimClock::new();
    runtime().block_on(async {
        let store = sqlite(dir.path(), &clock, 1);
        session(&*store, "one").await;
        drop(store);
        let (from, to) = (file(dir.path()), server(&database.url));
        let all = lines(&from, &Selection::Everything).await;
        let text: Vec<String> = all.iter().map(|line| format!("{line}\n")).collect();

        // Cut anywhere, and damaged: nothing arrives.
        for n in 0..text.len() {
            let cut = imported(text[..n].concat(), &to).await;
            assert!(matches!(cut, Err(CopyError::Cut)), "{n}: {cut:?}");
        }
        let half = text.concat();
        let cut = imported(&half[..half.len() - 1], &to).await;
        assert!(matches!(cut, Err(CopyError::Cut)), "{cut:?}");
        let (end, before) = text.split_last().unwrap();
        let fewer = [&before[..before.len() - 1], std::slice::from_ref(end)]
            .concat()
            .concat();
        let wrong = imported(fewer, &to).await;
        assert!(matches!(wrong, Err(CopyError::Lines { .. })), "{wrong:?}");
        let strange = half.replacen("\"row\":{", "\"row\":{\"mood\":1,", 1);
        let wrong = imported(strange, &to).await;
        assert!(
            matches!(&wrong, Err(CopyError::Lines { reason, .. }) if reason.contains("`mood`")),
            "{wrong:?}"
        );
        let newer = half.replacen("\"format\":1", "\"format\":2", 1);
        let wrong = imported(newer, &to).await;
        assert!(
            matches!(wrong, Err(CopyError::Lines { line: 1, .. })),
            "{wrong:?}"
        );
        check_target(&to).await.unwrap();

        // So it can be done again.
        copied(&from, &to).await.unwrap();
        for refused in [
            check_target(&to).await.map(drop),
            copied(&from, &to).await.map(drop),
            copied(&to, &from).await.map(drop),
        ] {
            let said = refused.unwrap_err().to_string();
            assert!(
                said.contains("is not empty") && said.contains("threads 1"),
                "{said}"
            );
        }
        // A file that was begun goes again when its source fails.
        let empty = tempfile::tempdir().unwrap();
        let (no, into) = (file(&dir.path().join("no")), file(empty.path()));
        let nothing = copied(&no, &into).await;
        assert!(matches!(nothing, Err(CopyError::Missing { .. })));
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    });
}
