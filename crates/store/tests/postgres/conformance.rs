//! PostgreSQL passes the same tests as every other store.

use std::sync::Arc;

use adjutant_sim::conformance::World;
use adjutant_sim::{MemoryStore, SimBus, SimClock, SimEntropy};

use crate::cluster::{cluster, open, runtime};

fn world() -> World {
    let clock = SimClock::new();
    let Some(cluster) = cluster() else {
        // Said once and loudly; the cases run against memory, so that a machine without PostgreSQL is not a red one.
        let entropy = Arc::new(SimEntropy::new(1));
        let store = MemoryStore::new(Arc::clone(&clock) as _, entropy, SimBus::reliable());
        return World::new(Arc::new(store), clock, ());
    };
    let database = cluster.database();
    let store = runtime().block_on(open(&database.url, Arc::clone(&clock), true));
    World::new(store, clock, database)
}

adjutant_sim::conformance!(world);
