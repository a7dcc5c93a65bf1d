//! The register of workers, and runs that go from one to another.

use std::time::Duration;

use adjutant_domain::id::{RunId, WorkerId};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Entry, Fence, RunStatus, Signal, Wake};
use adjutant_ports::Clock as _;
use adjutant_ports::store::{Claim, Duty, Offer, StoreError, WorkerInfo};

use super::World;
use super::world::{LEASE, finished};

fn info(world: &World, id: WorkerId) -> WorkerInfo {
    WorkerInfo {
        id,
        host: "here".to_owned(),
        pid: 7,
        process: None,
        version: "1".to_owned(),
        slots: 8,
        offers: Needs::default(),
        runs: vec![],
        duty: Duty::Working,
        started_at: world.clock.now(),
    }
}

async fn claim_as(world: &World, worker: WorkerId) -> Option<Claim> {
    let claims = world.store.claim(&Offer::one(worker), LEASE).await.unwrap();
    claims.into_iter().next()
}

async fn hand_over(world: &World, claim: &Claim, to: Option<WorkerId>, kept: Duration) {
    let until = world.clock.now().plus(kept);
    let entry = Entry::Parked {
        until: Wake::Handover { to, until },
    };
    world.append(claim, vec![entry]).await;
}

fn moved(to: WorkerId) -> Signal {
    let by = "owner".to_owned();
    Signal::Move { to, by }
}

/// The last sign of life counts, by the clock of the store.
pub async fn workers_are_seen(world: &World) {
    let mut worker = info(world, world.worker());
    assert_eq!(
        world.store.worker_seen(&worker).await.unwrap(),
        Duty::Working
    );
    world.clock.pass(Duration::from_secs(10));
    worker.runs = vec![RunId::from_u128(5)];
    world.store.worker_seen(&worker).await.unwrap();
    world.clock.pass(Duration::from_secs(3));
    let seen = world.store.workers().await.unwrap();
    let [only] = &seen[..] else {
        panic!("one worker, not {seen:?}");
    };
    assert_eq!(only.info, worker);
    assert_eq!(only.silent, Duration::from_secs(3));
    assert_eq!(only.orders, Duty::Working);
    world.store.worker_gone(worker.id).await.unwrap();
    assert_eq!(world.store.workers().await.unwrap(), vec![]);
}

/// An order stays until the worker is gone, however often it says that it lives.
pub async fn a_worker_hears_that_it_is_to_drain(world: &World) {
    let worker = info(world, world.worker());
    assert!(!world.store.drain_worker(worker.id).await.unwrap());
    world.store.worker_seen(&worker).await.unwrap();
    assert!(world.store.drain_worker(worker.id).await.unwrap());
    for _ in 0..2 {
        let orders = world.store.worker_seen(&worker).await.unwrap();
        assert_eq!(orders, Duty::Draining);
    }
    let seen = world.store.workers().await.unwrap();
    assert_eq!(seen.first().map(|it| it.orders), Some(Duty::Draining));
}

// covers: R36
/// Nobody waits for the leases of a worker that is gone, and those of others hold.
pub async fn what_a_worker_left_is_claimable_at_once(world: &World) {
    let (dead, alive) = (world.worker(), world.worker());
    world.accept(&world.session("a").await, "", "one").await;
    let held = claim_as(world, dead).await.unwrap();
    world.accept(&world.session("b").await, "", "two").await;
    let other = claim_as(world, alive).await.unwrap();
    assert!(claim_as(world, alive).await.is_none());
    assert_eq!(world.store.worker_gone(dead).await.unwrap(), 1);
    assert_eq!(world.store.worker_gone(world.worker()).await.unwrap(), 0);
    let taken = claim_as(world, alive).await.unwrap();
    assert_eq!((taken.run.id, taken.fence), (held.run.id, Fence(2)));
    let late = world.try_append(&held, vec![finished()], vec![]).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    assert!(claim_as(world, alive).await.is_none());
    world.append(&other, vec![finished()]).await;
}

/// A run that was given up for one worker is that worker's at once, and anybody's when it was kept long enough.
pub async fn a_run_that_is_handed_over_waits_for_its_worker_first(world: &World) {
    let (from, to, third) = (world.worker(), world.worker(), world.worker());
    let session = world.session("main").await;
    let run = world.accept(&session, "", "hello").await;
    let kept = Duration::from_secs(10);

    let claim = claim_as(world, from).await.unwrap();
    hand_over(world, &claim, Some(to), kept).await;
    let seen = world.store.run(&session.owner, &run.to_string()).await;
    let seen = seen.unwrap().unwrap();
    assert!(matches!(seen.status, RunStatus::Parked { .. }), "{seen:?}");
    assert!(claim_as(world, third).await.is_none());
    assert!(claim_as(world, from).await.is_none());
    let claim = claim_as(world, to).await.unwrap();
    assert_eq!((claim.run.id, claim.fence), (run, Fence(2)));

    // What it was meant for is over with the claim.
    hand_over(world, &claim, Some(third), kept).await;
    assert!(claim_as(world, to).await.is_none());
    world.clock.pass(kept);
    let claim = claim_as(world, from).await.unwrap();
    assert_eq!(claim.fence, Fence(3));
    assert!(claim_as(world, third).await.is_none());

    // For nobody in particular: at once.
    hand_over(world, &claim, None, Duration::ZERO).await;
    assert_eq!(claim_as(world, third).await.unwrap().fence, Fence(4));
}

/// Where the next step is to be wakes no run that rests, is heard by whoever takes that step, and is over when it is done.
pub async fn a_move_is_heard_without_waking_and_until_it_is_done(world: &World) {
    let (from, to) = (world.worker(), world.worker());
    let session = world.session("main").await;
    let run = world.accept(&session, "", "hello").await;
    let store = &world.store;
    assert!(store.signal(&session.owner, run, moved(to)).await.unwrap());
    let claim = claim_as(world, from).await.unwrap();
    assert_eq!(claim.signals, vec![moved(to)]);
    let rest = Duration::from_secs(60);
    world.append(&claim, vec![world.parked(rest)]).await;

    assert!(store.signal(&session.owner, run, moved(to)).await.unwrap());
    assert!(claim_as(world, from).await.is_none(), "it rests");
    world.clock.pass(rest);
    let claim = claim_as(world, from).await.unwrap();
    assert_eq!(claim.signals, vec![moved(to), moved(to)]);
    hand_over(world, &claim, Some(to), rest).await;
    let claim = claim_as(world, to).await.unwrap();
    assert_eq!(claim.signals, vec![]);
    world.append(&claim, vec![finished()]).await;
    assert!(
        !store
            .signal(&session.owner, run, moved(from))
            .await
            .unwrap()
    );
}
