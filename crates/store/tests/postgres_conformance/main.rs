//! PostgreSQL passes the same tests as every other store.
//!
//! With a harness of its own, because whether there is a PostgreSQL is only known when the tests run: without one every
//! case is *ignored*, and counted so by `cargo test` and nextest, instead of passing without having looked.
#![allow(clippy::unwrap_used)]

#[cfg(unix)]
#[path = "../postgres/cluster.rs"]
#[allow(dead_code, reason = "shared with the other tests of PostgreSQL")]
mod cluster;
mod harness;
#[cfg(unix)]
#[path = "../postgres/talk.rs"]
#[allow(dead_code, reason = "shared with the other tests of PostgreSQL")]
mod talk;

use std::process::ExitCode;

#[cfg(unix)]
fn world() -> adjutant_sim::conformance::World {
    use std::sync::Arc;

    use adjutant_sim::SimClock;
    use adjutant_sim::conformance::World;

    use cluster::{cluster, open, runtime};

    let clock = SimClock::new();
    let cluster = cluster().expect("cases are ignored without a PostgreSQL");
    let database = cluster.database();
    let store = runtime().block_on(open(&database.url, Arc::clone(&clock), true));
    World::new(store, clock, database)
}

#[cfg(unix)]
fn main() -> ExitCode {
    let cases = adjutant_sim::conformance!(list world);
    let why = (!cluster::is_there()).then_some(
        "no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL)",
    );
    harness::run(cases, why)
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    harness::run(Vec::new(), None)
}
