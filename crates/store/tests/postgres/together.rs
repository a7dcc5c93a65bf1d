//! Several processes on one database: they hear each other, and find what they did not hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::OwnerId;
use adjutant_domain::run::Signal;
use adjutant_ports::bus::{Bus, Notice, Pulse, PulseKind, Topics};
use adjutant_ports::store::{EventStore, Offer, RunStore};
use adjutant_store::{Postgres, PostgresOptions};

use crate::cluster::{cluster, connect, open_real, open_with, runtime};
use crate::talk::{LEASE, append, at, finished, intake, parked, session, worker};

async fn until(what: &str, longest: Duration, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < longest, "{what}: not within {longest:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn listening(store: &Postgres) {
    until("listening", Duration::from_secs(15), || {
        store.bus().is_listening()
    })
    .await;
}

async fn hear(
    watch: &mut BoxStream<'static, Notice>,
    longest: Duration,
    wanted: impl Fn(&Notice) -> bool,
) -> Duration {
    let since = Instant::now();
    let heard = async {
        while let Some(notice) = watch.next().await {
            if wanted(&notice) {
                return;
            }
        }
    };
    let is_heard = tokio::time::timeout(longest, heard).await.is_ok();
    assert!(is_heard, "nothing was heard within {longest:?}");
    since.elapsed()
}

const SOON: Duration = Duration::from_secs(3);

#[test]
fn what_one_process_does_another_hears() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let here = open_real(&database.url, 4).await;
        let there = open_real(&database.url, 4).await;
        listening(&here).await;
        listening(&there).await;
        let seat = session(&*here, "main").await;
        let (mut work, mut surfaces) = (
            there.bus().watch(Topics::Work),
            there.bus().watch(Topics::Surfaces),
        );
        // A worker that waits there gets the run that is accepted here.
        let offer = Offer {
            patience: Duration::from_secs(20),
            ..Offer::one(worker())
        };
        let waiting = {
            let there = Arc::clone(&there);
            tokio::spawn(async move { there.claim(&offer, LEASE).await })
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
        here.accept(intake(&seat, None, "hello")).await.unwrap();
        let since = Instant::now();
        let claim = waiting.await.unwrap().unwrap().pop().unwrap();
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        hear(&mut work, SOON, |notice| matches!(notice, Notice::Work)).await;
        let is_queued = |notice: &Notice| {
            matches!(notice, Notice::Events(events)
                if events.iter().any(|event| matches!(event.kind, EventKind::RunQueued { .. })))
        };
        hear(&mut surfaces, SOON, is_queued).await;
        let cancel = Signal::Cancel {
            by: "owner".to_owned(),
        };
        let run = claim.run.id;
        here.signal(&OwnerId::local(), run, cancel).await.unwrap();
        hear(
            &mut work,
            SOON,
            |notice| matches!(notice, Notice::Signal(it) if *it == run),
        )
        .await;
        here.bus().pulse(Pulse {
            run,
            run_name: "r".into(),
            session: seat.key.clone(),
            kind: PulseKind::Text("words".into()),
        });
        hear(&mut surfaces, SOON, |notice| {
            matches!(notice, Notice::Pulse(pulse) if pulse.kind == PulseKind::Text("words".into()))
        })
        .await;
    });
}

// covers: R16, R40
#[test]
fn a_listener_whose_connection_is_ended_heals_and_misses_no_event() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let here = open_real(&database.url, 4).await;
        let there = open_real(&database.url, 4).await;
        listening(&there).await;
        let mut surfaces = there.bus().watch(Topics::Surfaces);
        let seat = session(&*here, "main").await;
        let db = connect(&database.url).await;
        for n in 0..3 {
            here.accept(intake(&seat, None, "hello")).await.unwrap();
            if n == 1 {
                // Every connection but ours, the listening ones and those of the pools.
                db.simple_query(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid()",
                )
                .await
                .unwrap();
                until("noticed", SOON, || !there.bus().is_listening()).await;
            }
        }
        listening(&there).await;
        here.accept(intake(&seat, None, "after")).await.unwrap();
        let all = here.events_since(&OwnerId::local(), 0, 100).await.unwrap();
        let mut heard = Vec::new();
        let since = Instant::now();
        while heard.len() < all.len() && since.elapsed() < Duration::from_secs(6) {
            let notice = tokio::time::timeout(Duration::from_secs(1), surfaces.next()).await;
            if let Ok(Some(Notice::Events(events))) = notice {
                heard.extend(events.iter().map(|event| event.cursor));
            }
        }
        let cursors: Vec<u64> = all.iter().map(|event| event.cursor).collect();
        assert_eq!(heard, cursors, "each once, in order");
    });
}

// covers: R16
#[test]
fn with_nobody_listening_work_and_events_come_within_five_seconds() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let deaf = |url: &str| PostgresOptions {
            listen_url: Some(cluster.url("no_such_database")),
            ..PostgresOptions::new(url)
        };
        let here = open_with(deaf(&database.url)).await;
        let there = open_with(deaf(&database.url)).await;
        assert!(!there.bus().is_listening());
        let seat = session(&*here, "main").await;
        let mut surfaces = there.bus().watch(Topics::Surfaces);
        let offer = Offer {
            patience: Duration::from_secs(20),
            ..Offer::one(worker())
        };
        let waiting = {
            let there = Arc::clone(&there);
            tokio::spawn(async move { there.claim(&offer, LEASE).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        let since = Instant::now();
        here.accept(intake(&seat, None, "hello")).await.unwrap();
        hear(&mut surfaces, Duration::from_secs(5), |notice| {
            matches!(notice, Notice::Events(_))
        })
        .await;
        assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
        assert!(
            since.elapsed() < Duration::from_millis(5_500),
            "{:?}",
            since.elapsed()
        );
    });
}

/// On the database's clock, not on anybody's own.
#[test]
fn leases_and_rests_end_by_the_clock_of_the_database() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let store = open_real(&database.url, 4).await;
        let seat = session(&*store, "main").await;
        store.accept(intake(&seat, None, "hello")).await.unwrap();
        let lease = Duration::from_millis(300);
        let offer = Offer::one(worker());
        let first = store.claim(&offer, lease).await.unwrap().pop().unwrap();
        assert!(store.claim(&offer, lease).await.unwrap().is_empty());
        let patient = Offer {
            patience: Duration::from_secs(5),
            ..offer.clone()
        };
        let since = Instant::now();
        let second = store.claim(&patient, LEASE).await.unwrap().pop().unwrap();
        assert!(since.elapsed() < Duration::from_secs(2), "by time alone");
        assert_eq!(second.fence.0, first.fence.0 + 1);
        assert!(append(&*store, &first, vec![finished()]).await.is_err());
        let rest = at().plus(Duration::from_millis(300));
        append(&*store, &second, vec![parked(rest)]).await.unwrap();
        let third = store.claim(&patient, LEASE).await.unwrap().pop().unwrap();
        assert!(rest.since(at()) < Duration::from_millis(50));
        append(&*store, &third, vec![finished()]).await.unwrap();
    });
}
