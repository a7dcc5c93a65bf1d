//! Many claimers: no run and no seat twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adjutant_domain::id::{RunId, SessionId};
use adjutant_domain::run::Fence;
use adjutant_domain::session::Session;
use adjutant_ports::store::{Offer, Store};

use crate::cluster::{cluster, open_real, runtime};
use crate::talk::{LEASE, append, at, finished, intake, parked, session, worker};

const N_CLAIMERS: usize = 16;
const N_SESSIONS: usize = 200;

/// Runs of each session that wait at first.
const RUNS_EACH: usize = 3;

/// How long each run that ends is followed by another of its session: a minute with `ADJUTANT_TEST_LONG`.
fn refilled_for() -> Duration {
    let is_long = std::env::var_os("ADJUTANT_TEST_LONG").is_some();
    Duration::from_secs(if is_long { 60 } else { 0 })
}

#[derive(Default)]
struct Held {
    runs: BTreeMap<RunId, Fence>,
    seats: BTreeMap<SessionId, RunId>,
    accepted: usize,
    finished: usize,
    doubles: Vec<String>,
}

// covers: R15
/// Without the condition that the claim asks again, this is red: a run that is held is claimed once more.
#[test]
fn sixteen_claimers_over_two_hundred_sessions_never_hold_the_same_thing() {
    let Some(cluster) = cluster() else { return };
    let database = cluster.database();
    runtime().block_on(async {
        let store: Arc<dyn Store> = open_real(&database.url, N_CLAIMERS).await;
        let mut seats = BTreeMap::new();
        for n in 0..N_SESSIONS {
            let seat = session(&*store, &format!("seat-{n}")).await;
            for _ in 0..RUNS_EACH {
                store.accept(intake(&seat, None, "hello")).await.unwrap();
            }
            seats.insert(seat.id, seat);
        }
        let (seats, until) = (Arc::new(seats), Instant::now() + refilled_for());
        let held = Arc::new(Mutex::new(Held {
            accepted: N_SESSIONS * RUNS_EACH,
            ..Held::default()
        }));
        let claimers = (0..N_CLAIMERS).map(|_| {
            let (store, held, seats) = (Arc::clone(&store), Arc::clone(&held), Arc::clone(&seats));
            tokio::spawn(async move { claim_all(&*store, &held, &seats, until).await })
        });
        for claimer in futures::future::join_all(claimers).await {
            claimer.unwrap();
        }
        {
            let held = held.lock().unwrap();
            assert_eq!(held.doubles, Vec::<String>::new());
            assert_eq!(held.finished, held.accepted);
            eprintln!("{} runs, {} claimers, no double", held.finished, N_CLAIMERS);
        }
        assert_eq!(store.queue_depth().await.unwrap(), (0, 0, 0));
        assert_eq!(store.verify().await.unwrap().findings, Vec::<String>::new());
    });
}

async fn claim_all(
    store: &dyn Store,
    held: &Mutex<Held>,
    seats: &BTreeMap<SessionId, Session>,
    until: Instant,
) {
    let offer = Offer {
        patience: Duration::from_millis(200),
        ..Offer::one(worker())
    };
    while {
        let held = held.lock().unwrap();
        held.finished < held.accepted
    } {
        let Some(claim) = store.claim(&offer, LEASE).await.unwrap().pop() else {
            continue;
        };
        let (run, seat) = (claim.run.id, claim.run.session);
        {
            let mut held = held.lock().unwrap();
            if let Some(other) = held.runs.insert(run, claim.fence) {
                held.doubles.push(format!(
                    "{run} is held with {other:?} and {:?}",
                    claim.fence
                ));
            }
            if let Some(other) = held.seats.insert(seat, run) {
                held.doubles.push(format!("{seat} has {other} and {run}"));
            }
        }
        tokio::task::yield_now().await;
        // Half of them rest for no time first: their rows are free again a moment after they were taken.
        let rests = claim.fence == Fence(1) && run.as_u128() % 2 == 0;
        if !rests && Instant::now() < until {
            let next = intake(&seats[&seat], None, "hello");
            store.accept(next).await.unwrap();
            held.lock().unwrap().accepted += 1;
        }
        {
            let mut held = held.lock().unwrap();
            held.runs.remove(&run);
            held.seats.remove(&seat);
            held.finished += usize::from(!rests);
        }
        let last = if rests { parked(at()) } else { finished() };
        let written = append(store, &claim, vec![last]).await;
        if let Err(error) = written {
            let mut held = held.lock().unwrap();
            held.doubles.push(format!("{run}: {error}"));
        }
    }
}
