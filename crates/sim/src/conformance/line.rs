//! Who is next.

use std::time::Duration;

use adjutant_domain::run::Fence;
use adjutant_ports::store::{Claim, Offer};

use super::World;
use super::world::LEASE;

/// Higher priority first, then who waits longer.
pub async fn claims_follow_priority_then_age(world: &World) {
    let mut expected = Vec::new();
    for (rest, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", -1), ("e", 5)] {
        let session = world.session(rest).await;
        let mut intake = world.intake(&session, "", "hello");
        intake.run.priority = priority;
        expected.push((-priority, intake.run.id));
        world.store.accept(intake).await.unwrap();
        world.clock.pass(Duration::from_millis(5));
    }
    expected.sort();
    for (_, id) in expected {
        assert_eq!(world.claim().await.run.id, id);
    }
    assert!(world.try_claim().await.is_none());
}

/// An offer of several slots takes several runs, and no more than there are slots.
pub async fn an_offer_takes_as_many_runs_as_it_has_slots(world: &World) {
    for rest in ["a", "b", "c"] {
        let session = world.session(rest).await;
        world.accept(&session, "", "hello").await;
    }
    let offer = |slots| Offer {
        slots,
        ..Offer::one(world.worker())
    };
    let two = world.store.claim(&offer(2), LEASE).await.unwrap();
    let rest = world.store.claim(&offer(2), LEASE).await.unwrap();
    assert_eq!((two.len(), rest.len()), (2, 1));
    assert!(two.iter().all(|claim| claim.run.id != rest[0].run.id));
}

/// A run whose rest is over stands in the same line as those that were never begun.
pub async fn a_rest_that_is_over_does_not_go_before_priority(world: &World) {
    let session = world.session("rests").await;
    let rests = world.begin(&session, "hello").await;
    let rest = Duration::from_secs(5);
    world.append(&rests, vec![world.parked(rest)]).await;
    world.clock.pass(rest);
    let session = world.session("urgent").await;
    let mut urgent = world.intake(&session, "", "hello");
    urgent.run.priority = 1;
    let urgent = world.store.accept(urgent).await.unwrap().run();
    assert_eq!(world.claim().await.run.id, urgent);
    assert_eq!(world.claim().await.run.id, rests.run.id);
}

/// A worker that took all there was and asks again gets the next run when it comes, and what only time brings when it is due.
pub async fn who_asks_again_gets_what_comes_next(world: &World) {
    let session = world.session("main").await;
    let first = world.begin(&session, "one").await;
    let patient = Offer {
        patience: Duration::from_secs(20),
        slots: 2,
        ..Offer::one(world.worker())
    };
    let second = world.accept(&world.session("other").await, "", "two").await;
    let ids = |claims: Vec<Claim>| claims.iter().map(|it| it.run.id).collect::<Vec<_>>();
    let claims = world.store.claim(&patient, LEASE).await.unwrap();
    assert_eq!(ids(claims), [second]);
    // Nothing is left. Time brings the first one back.
    world.clock.pass(LEASE / 2);
    world.store.extend(second, Fence(1), LEASE).await.unwrap();
    world.clock.pass(LEASE / 2);
    let claims = world.store.claim(&patient, LEASE).await.unwrap();
    assert_eq!(ids(claims), [first.run.id]);
    let mut asked = std::pin::pin!(world.store.claim(&patient, LEASE));
    let early = futures::future::poll_immediate(&mut asked).await;
    let third = world
        .accept(&world.session("third").await, "", "three")
        .await;
    let claims = match early {
        None => asked.await.unwrap(),
        Some(nothing) => {
            assert!(nothing.unwrap().is_empty());
            world.store.claim(&patient, LEASE).await.unwrap()
        }
    };
    assert_eq!(ids(claims), [third]);
}
