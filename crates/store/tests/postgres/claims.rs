//! Many claimers: no run and no seat twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adjutant_domain::id::{RunId, SessionId};
use adjutant_domain::run::Fence;
use adjutant_ports::store::{Offer, Store};

use crate::cluster::{cluster, open_real, runtime};
use crate::talk::{LEASE, append, at, finished, intake, parked, session, worker};

const N_CLAIMERS: usize = 16;
const N_SESSIONS: usize = 200;

/// Runs of each session; more with `ADJUTANT_TEST_LONG`.
fn runs_each() -> usize {
    if std::env::var_os("ADJUTANT_TEST_LONG").is_some() {
        20
    } else {
        3
    }
}

#[derive(Default)]
struct Held {
    runs: BTreeMap<RunId, Fence>,
    seats: BTreeMap<SessionId, RunId>,
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
        let n_runs = N_SESSIONS * runs_each();
        for n in 0..N_SESSIONS {
            let seat = session(&*store, &format!("seat-{n}")).await;
            for _ in 0..runs_each() {
                store.accept(intake(&seat, None, "hello")).await.unwrap();
            }
        }
        let held = Arc::new(Mutex::new(Held::default()));
        let claimers = (0..N_CLAIMERS).map(|_| {
            let (store, held) = (Arc::clone(&store), Arc::clone(&held));
            tokio::spawn(async move { claim_all(&*store, &held, n_runs).await })
        });
        for claimer in futures::future::join_all(claimers).await {
            claimer.unwrap();
        }
        {
            let held = held.lock().unwrap();
            assert_eq!(held.doubles, Vec::<String>::new());
            assert_eq!(held.finished, n_runs);
        }
        assert_eq!(store.queue_depth().await.unwrap(), (0, 0, 0));
        assert_eq!(store.verify().await.unwrap().findings, Vec::<String>::new());
    });
}

async fn claim_all(store: &dyn Store, held: &Mutex<Held>, n_runs: usize) {
    let offer = Offer {
        patience: Duration::from_millis(200),
        ..Offer::one(worker())
    };
    while held.lock().unwrap().finished < n_runs {
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
