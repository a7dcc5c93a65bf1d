//! Reservations, caps, the ledger, buckets.

use std::time::Duration;

use adjutant_domain::id::OwnerId;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{Entry, ModelFault, Retry, Seq};
use adjutant_ports::store::{Cap, CapScope, GroupBy, Rate, Spend, StoreError, Take};

use super::block_on;
use super::world::{ROUTE, World, asked};

fn day() -> CapScope {
    CapScope::Day {
        day: "2026-01-01".to_owned(),
    }
}

fn day_cap(limit: u64) -> Vec<Cap> {
    vec![Cap {
        scope: day(),
        limit: Micros(limit),
    }]
}

/// Money that does not fit stops the whole write.
pub async fn a_reservation_over_a_cap_writes_nothing(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let first = world.budget(60);
    world
        .try_append(&claim, vec![asked(&first)], day_cap(100))
        .await
        .unwrap();
    let refused = world
        .try_append(&claim, vec![asked(&world.budget(41))], day_cap(100))
        .await;
    let Err(StoreError::Budget { scope, limit, left }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (scope.as_str(), limit, left),
        ("day", Micros(100), Micros(40))
    );
    let log = world
        .store
        .log(&session.owner, claim.run.id, Seq(1))
        .await
        .unwrap();
    assert_eq!(log.len(), 3);
    let held = world.store.spend(&session.owner, &day()).await.unwrap();
    assert_eq!(
        held,
        Spend {
            reserved_micros: Micros(60),
            ..Spend::default()
        }
    );
    // What is settled counts as well, and an exact fit fits.
    world
        .append(&claim, vec![world.replied("hi", 70, &first)])
        .await;
    let refused = world
        .try_append(&claim, vec![asked(&world.budget(31))], day_cap(100))
        .await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Budget {
                left: Micros(30),
                ..
            })
        ),
        "{refused:?}"
    );
    world
        .try_append(&claim, vec![asked(&world.budget(30))], day_cap(100))
        .await
        .unwrap();
    for scope in [
        CapScope::Run { run: claim.run.id },
        CapScope::Session {
            session: session.id,
        },
    ] {
        let spend = world.store.spend(&session.owner, &scope).await.unwrap();
        assert_eq!(
            (spend.used_micros, spend.reserved_micros),
            (Micros(70), Micros(30))
        );
    }
}

/// Sixteen runs reserve from one day at once: what fits, fits, and not one more.
pub async fn many_reservations_at_once_never_pass_a_cap(world: &World) {
    const N_RUNS: u64 = 16;
    const EACH: u64 = 10;
    const N_FIT: u64 = 37;
    let mut claims = Vec::new();
    for n in 0..N_RUNS {
        let session = world.session(&format!("s{n}")).await;
        claims.push(world.begin(&session, "hello").await);
    }
    let n_taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = claims
            .iter()
            .map(|claim| {
                scope.spawn(move || {
                    let mut n = 0;
                    for _ in 0..10 {
                        let entry = asked(&world.budget(EACH));
                        let done =
                            block_on(world.try_append(claim, vec![entry], day_cap(EACH * N_FIT)));
                        match done {
                            Ok(_) => n += 1,
                            Err(StoreError::Budget { .. }) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    n
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(n_taken, N_FIT);
    let held = world.store.spend(&OwnerId::local(), &day()).await.unwrap();
    assert_eq!(held.reserved_micros, Micros(EACH * N_FIT));
}

/// The ledger has one line per call, and the sums are the lines.
pub async fn settled_money_moves_from_held_to_used(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let (first, second) = (world.budget(100), world.budget(100));
    world
        .append(&claim, vec![asked(&first), world.replied("hi", 40, &first)])
        .await;
    let failed = Entry::ModelFailed {
        route: ROUTE.to_owned(),
        fault: ModelFault::Cut,
        retry: Retry::NextRoute,
        usage: Usage {
            input: 7,
            estimated: true,
            ..Usage::default()
        },
        cost: Cost::Unpriced,
        budget: second.clone(),
    };
    world.append(&claim, vec![asked(&second), failed]).await;
    let usage = Usage {
        input: 17,
        output: 5,
        estimated: true,
        ..Usage::default()
    };
    let expected = Spend {
        used_micros: Micros(40),
        reserved_micros: Micros::ZERO,
        calls: 2,
        unpriced: 1,
        usage,
    };
    assert_eq!(
        world.store.spend(&session.owner, &day()).await.unwrap(),
        expected
    );
    let groups = [
        (GroupBy::Day, "2026-01-01".to_owned()),
        (GroupBy::Model, ROUTE.to_owned()),
        (GroupBy::Session, session.key.to_string()),
        (GroupBy::Agent, "main".to_owned()),
        (GroupBy::Run, claim.run.name()),
    ];
    for (by, group) in groups {
        let costs = world
            .store
            .costs(&session.owner, by, "2026-01-01", "2026-01-31")
            .await
            .unwrap();
        assert_eq!(costs, vec![(group, expected)]);
    }
    let none = world
        .store
        .costs(&session.owner, GroupBy::Day, "2026-01-02", "2026-01-31")
        .await
        .unwrap();
    assert_eq!(none, vec![]);
}

/// A run that is stopped while the model is asked gives back what it held.
pub async fn a_run_that_ends_holds_no_money(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world.append(&claim, vec![asked(&world.budget(100))]).await;
    world.finish(&claim).await;
    for scope in [
        day(),
        CapScope::Run { run: claim.run.id },
        CapScope::Session {
            session: session.id,
        },
    ] {
        assert_eq!(
            world.store.spend(&session.owner, &scope).await.unwrap(),
            Spend::default()
        );
    }
}

/// A bucket says how long to wait, and is right.
pub async fn a_bucket_empties_and_refills(world: &World) {
    let rate = Rate {
        burst: 3,
        per_minute: 6,
    };
    for _ in 0..3 {
        assert_eq!(
            world.store.take("model:x", 1, rate).await.unwrap(),
            Take::Taken
        );
    }
    let wait = world.store.take("model:x", 1, rate).await.unwrap();
    assert_eq!(wait, Take::Wait(Duration::from_secs(10)));
    assert_eq!(
        world.store.take("model:y", 1, rate).await.unwrap(),
        Take::Taken
    );
    world.clock.pass(Duration::from_secs(9));
    assert_eq!(
        world.store.take("model:x", 1, rate).await.unwrap(),
        Take::Wait(Duration::from_secs(1))
    );
    world.clock.pass(Duration::from_secs(1));
    assert_eq!(
        world.store.take("model:x", 1, rate).await.unwrap(),
        Take::Taken
    );
    // Never more than the burst, however long nobody comes.
    world.clock.pass(Duration::from_secs(3_600));
    assert_eq!(
        world.store.take("model:x", 3, rate).await.unwrap(),
        Take::Taken
    );
    assert!(matches!(
        world.store.take("model:x", 1, rate).await.unwrap(),
        Take::Wait(_)
    ));
}
