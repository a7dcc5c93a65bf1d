//! The database goes away and comes back; a pooler stands in between.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adjutant_domain::id::OwnerId;
use adjutant_ports::store::{AuditStore, Offer, RunIndex, RunStore};
use adjutant_sim::SimClock;
use adjutant_sim::conformance::{World, answers, block_on, feed, money, runs};
use adjutant_store::PostgresOptions;

use crate::cluster::{
    cluster, is_root, open_real, open_with, runtime, separate, start_again, stop, unprivileged,
};
use crate::talk::{LEASE, append, finished, intake, session, worker};

// covers: R1, R18, R40
#[test]
fn a_database_that_crashes_under_load_loses_nothing_that_was_accepted() {
    let Some(cluster) = separate() else { return };
    let Some(dir) = cluster.dir.clone() else {
        return;
    };
    let database = cluster.database();
    runtime().block_on(async {
        let store = open_real(&database.url, 6).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for n in 0..4 {
            let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
            tasks.push(tokio::spawn(async move {
                let (mut accepted, mut back) = (Vec::new(), None);
                let seat = session(&*store, &format!("seat-{n}")).await;
                let (mut i, mut last_failure) = (0, None);
                while !is_over.load(Ordering::Relaxed) {
                    i += 1;
                    let key = format!("key-{n}-{i}");
                    match store.accept(intake(&seat, Some(&key), "hello")).await {
                        Ok(_) => {
                            accepted.push(key);
                            if last_failure.is_some() && back.is_none() {
                                back = Some(Instant::now());
                            }
                        }
                        Err(_) => last_failure = Some(Instant::now()),
                    }
                    let offer = Offer::one(worker());
                    if let Ok(claims) = store.claim(&offer, LEASE).await {
                        for claim in claims {
                            drop(append(&*store, &claim, vec![finished()]).await);
                        }
                    }
                }
                accepted
            }));
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let path = dir.clone();
        tokio::task::spawn_blocking(move || stop(&path))
            .await
            .unwrap();
        // Longer than an operation is willing to wait, so that some of them fail.
        tokio::time::sleep(Duration::from_secs(5)).await;
        tokio::task::spawn_blocking(move || start_again(&dir))
            .await
            .unwrap();
        let since = Instant::now();
        while store.queue_depth().await.is_err() {}
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "{:?}",
            since.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        is_over.store(true, Ordering::Relaxed);
        let mut n = 0;
        for task in tasks {
            for key in task.await.unwrap() {
                n += 1;
                let run = store.run(&OwnerId::local(), &key).await.unwrap();
                assert!(run.is_some(), "{key} was accepted and is gone");
            }
        }
        assert!(n > 10, "{n} runs");
        assert_eq!(store.verify().await.unwrap().findings, Vec::<String>::new());
    });
}

struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A pgbouncer in transaction mode, with fewer connections than the store has.
fn pooler(dir: &Path) -> Option<(Pooler, String)> {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
        .into_iter()
        .map(Path::new)
        .find(|it| it.exists());
    let Some(program) = program else {
        eprintln!("skipped: no pgbouncer here (sudo apt-get install pgbouncer)");
        return None;
    };
    let own = dir.join(format!("pooler-{}", std::process::id()));
    std::fs::create_dir_all(&own).unwrap();
    let users = own.join("users.txt");
    std::fs::write(&users, "\"adjutant_test\" \"\"\n").unwrap();
    let config = own.join("pgbouncer.ini");
    let text = format!(
        "[databases]\n* = host={} port=5432\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = 6432\n\
         auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n\
         logfile =\npidfile =\nignore_startup_parameters = extra_float_digits\n",
        dir.display(),
        own.display(),
        users.display()
    );
    std::fs::write(&config, text).unwrap();
    if is_root() {
        let done = Command::new("chown")
            .arg("-R")
            .arg("postgres:")
            .arg(&own)
            .status();
        assert!(done.unwrap().success());
    }
    let child = unprivileged(program)
        .arg("-q")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = own.join(".s.PGSQL.6432");
    for _ in 0..100 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(socket.exists(), "the pooler does not start");
    let host = own.display().to_string().replace('/', "%2F");
    Some((Pooler(child), host))
}

#[test]
fn a_pooler_in_transaction_mode_changes_nothing() {
    let Some(cluster) = cluster() else { return };
    let Some(dir) = &cluster.dir else { return };
    let Some((_pooler, host)) = pooler(dir) else {
        return;
    };
    let pooled = |name: &str| {
        format!("postgresql://adjutant_test@/{name}?host={host}&port=6432&pgbouncer=true")
    };
    let world = || {
        let database = cluster.database();
        let clock = SimClock::new();
        let options = PostgresOptions {
            is_simulated: true,
            listen_url: Some(database.url.clone()),
            ..PostgresOptions::new(pooled(&database.name))
        };
        let store = runtime().block_on(crate::cluster::open_all(options, Arc::clone(&clock)));
        World::new(store, clock, database)
    };
    block_on(runs::many_claimers_never_share_a_run_or_a_seat(&world()));
    block_on(runs::a_claim_carries_the_whole_log_and_the_next_fence(
        &world(),
    ));
    block_on(money::many_reservations_at_once_never_pass_a_cap(&world()));
    block_on(feed::cursors_rise_and_nothing_is_missed(&world()));
    block_on(answers::a_store_in_use_verifies(&world()));
    // Who listens through it hears nothing, and finds that out.
    let database = cluster.database();
    runtime().block_on(async {
        let store = open_with(PostgresOptions::new(pooled(&database.name))).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(!store.bus().is_listening());
        let seat = session(&*store, "main").await;
        store.accept(intake(&seat, None, "hello")).await.unwrap();
        let claims = store.claim(&Offer::one(worker()), LEASE).await.unwrap();
        assert_eq!(claims.len(), 1);
    });
}
