//! What runs need, and which workers they are for.

use std::time::Duration;

use adjutant_domain::id::{Need, RunId, WorkerId};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Entry, Fence, Signal, Wake};
use adjutant_domain::session::Session;
use adjutant_ports::Clock as _;
use adjutant_ports::store::{Claim, Offer};

use super::World;
use super::world::{LEASE, finished};

fn needs(words: &[&str]) -> Needs {
    words.iter().map(|it| Need::parse(*it).unwrap()).collect()
}

async fn accept(world: &World, session: &Session, needs: Needs) -> RunId {
    let mut intake = world.intake(session, "", "hello");
    intake.run.needs = needs;
    world.store.accept(intake).await.unwrap().run()
}

async fn claim_as(world: &World, worker: WorkerId, offers: &Needs) -> Option<Claim> {
    let offer = Offer {
        offers: offers.clone(),
        ..Offer::one(worker)
    };
    let claims = world.store.claim(&offer, LEASE).await.unwrap();
    claims.into_iter().next()
}

async fn claim(world: &World, offers: &Needs) -> Option<Claim> {
    claim_as(world, world.worker(), offers).await
}

/// All that is needed must be offered; more may be. What needs nothing is for everybody, and does not wait behind what does.
pub async fn a_run_that_needs_something_is_for_who_offers_it(world: &World) {
    let (first, second) = (world.session("a").await, world.session("b").await);
    let both = accept(world, &first, needs(&["gpu", "machine:studio"])).await;
    world.clock.pass(Duration::from_millis(5));
    let plain = accept(world, &second, Needs::default()).await;
    assert_eq!(claim(world, &needs(&["gpu"])).await.unwrap().run.id, plain);
    for too_little in [
        &[][..],
        &["gpu"],
        &["machine:studio"],
        &["gpu", "machine:attic"],
    ] {
        assert!(
            claim(world, &needs(too_little)).await.is_none(),
            "{too_little:?}"
        );
    }
    let offers = needs(&["computer-use", "gpu", "machine:studio"]);
    let taken = claim(world, &offers).await.unwrap();
    assert_eq!(taken.run.id, both);
    assert_eq!(taken.run.needs, needs(&["gpu", "machine:studio"]));
    let info = world.store.run(&first.owner, &both.to_string()).await;
    assert_eq!(info.unwrap().unwrap().run, taken.run);
}

/// That one worker found nothing says nothing about another: who offers more and asks right after it has the run at once.
pub async fn a_look_that_found_nothing_hides_nothing_from_another(world: &World) {
    let session = world.session("main").await;
    let gpu = needs(&["gpu"]);
    let run = accept(world, &session, gpu.clone()).await;
    let patient = |offers: &Needs| Offer {
        patience: Duration::from_secs(20),
        offers: offers.clone(),
        ..Offer::one(world.worker())
    };
    let (less, more) = (patient(&Needs::default()), patient(&gpu));
    let mut asked = std::pin::pin!(world.store.claim(&less, LEASE));
    drop(futures::future::poll_immediate(&mut asked).await);
    let begun = std::time::Instant::now();
    let claims = world.store.claim(&more, LEASE).await.unwrap();
    let ids: Vec<RunId> = claims.iter().map(|claim| claim.run.id).collect();
    assert_eq!(ids, [run]);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "only when its patience ended"
    );
}

/// A run does not overtake one of its session that waits for another worker.
pub async fn a_session_keeps_its_order_whatever_its_runs_need(world: &World) {
    let session = world.session("main").await;
    let gpu = needs(&["gpu"]);
    let first = accept(world, &session, gpu.clone()).await;
    world.clock.pass(Duration::from_millis(5));
    let second = accept(world, &session, Needs::default()).await;
    let nothing = Needs::default();
    assert!(claim(world, &nothing).await.is_none());
    let held = claim(world, &gpu).await.unwrap();
    assert_eq!(held.run.id, first);
    assert!(claim(world, &nothing).await.is_none());
    world.append(&held, vec![finished()]).await;
    assert_eq!(claim(world, &nothing).await.unwrap().run.id, second);
}

/// When its worker is gone, it waits for another that offers the same. Nobody looks again and again meanwhile.
pub async fn nobody_else_takes_over_what_needs_something(world: &World) {
    let session = world.session("main").await;
    let (gpu, nothing) = (needs(&["gpu"]), Needs::default());
    accept(world, &session, gpu.clone()).await;
    let held = claim(world, &gpu).await.unwrap();
    let due = |offers| world.store.next_due(offers);
    assert_eq!(due(&gpu).await.unwrap(), Some(LEASE));
    assert_eq!(due(&nothing).await.unwrap(), None);
    world.clock.pass(LEASE);
    assert!(claim(world, &nothing).await.is_none());
    assert_eq!(due(&nothing).await.unwrap(), None);
    let taken = claim(world, &gpu).await.unwrap();
    assert_eq!((taken.run.id, taken.fence), (held.run.id, Fence(2)));
}

/// It rests and is woken like any other run, by those who offer what it needs.
pub async fn nobody_else_wakes_what_needs_something(world: &World) {
    let session = world.session("main").await;
    let (gpu, nothing) = (needs(&["gpu"]), Needs::default());
    accept(world, &session, gpu.clone()).await;
    let rest = Duration::from_secs(5);
    let held = claim(world, &gpu).await.unwrap();
    world.append(&held, vec![world.parked(rest)]).await;
    let due = |offers| world.store.next_due(offers);
    assert_eq!(due(&gpu).await.unwrap(), Some(rest));
    assert_eq!(due(&nothing).await.unwrap(), None);
    world.clock.pass(rest);
    assert!(claim(world, &nothing).await.is_none());
    let held = claim(world, &gpu).await.unwrap();
    world.append(&held, vec![world.parked(rest)]).await;
    // A signal wakes it too.
    let stop = Signal::Cancel {
        by: "owner".to_owned(),
    };
    let (owner, run) = (&session.owner, held.run.id);
    assert!(world.store.signal(owner, run, stop).await.unwrap());
    assert!(claim(world, &nothing).await.is_none());
    assert_eq!(claim(world, &gpu).await.unwrap().fence, Fence(3));
}

/// Whoever is named, what is needed decides.
pub async fn a_run_is_not_handed_over_to_who_does_not_offer_what_it_needs(world: &World) {
    let session = world.session("main").await;
    let (gpu, nothing) = (needs(&["gpu"]), Needs::default());
    accept(world, &session, gpu.clone()).await;
    let held = claim(world, &gpu).await.unwrap();
    let to = world.worker();
    let kept = Duration::from_secs(10);
    let until = Wake::Handover {
        to: Some(to),
        until: world.clock.now().plus(kept),
    };
    world.append(&held, vec![Entry::Parked { until }]).await;
    assert!(claim_as(world, to, &nothing).await.is_none());
    assert!(claim(world, &gpu).await.is_none());
    assert_eq!(claim_as(world, to, &gpu).await.unwrap().fence, Fence(2));
}
