//! SQLite passes the same tests as every other store.

use std::sync::Arc;

use adjutant_sim::conformance::World;
use adjutant_sim::{SimClock, SimEntropy};
use adjutant_store::{Config, LocalBus, Sqlite};

fn world() -> World {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = SimClock::new();
    let store = Sqlite::open(
        dir.path(),
        Arc::clone(&clock) as _,
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(1)),
        Config::default(),
    )
    .expect("a store in an empty directory");
    World::new(store, clock, dir)
}

adjutant_sim::conformance!(world);
