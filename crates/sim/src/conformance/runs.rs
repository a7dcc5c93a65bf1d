//! The queue and the logs.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::OwnerId;
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Entry, Fence, RunStatus, Seq, Signal, Wake};
use adjutant_ports::Clock;
use adjutant_ports::store::{Accepted, Hidden, Offer, StoreError};

use super::block_on;
use super::world::{LEASE, World, finished};

fn cancel() -> Signal {
    Signal::Cancel {
        by: "owner".to_owned(),
    }
}

/// The message, the run, the entry and the event are there together.
pub async fn an_accepted_run_is_queued_and_said(world: &World) {
    let session = world.session("main").await;
    let run = world.accept(&session, "key-1", "hello").await;
    let info = world
        .store
        .run(&session.owner, "key-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((info.run.id, info.status), (run, RunStatus::Queued));
    let log = world.store.log(&session.owner, run, Seq(1)).await.unwrap();
    assert!(matches!(&log[..], [one] if one.seq == Seq(1) && one.entry.word() == "accepted"));
    let said = world
        .store
        .events_since(&session.owner, 0, 100)
        .await
        .unwrap();
    let queued = said
        .iter()
        .find(|e| matches!(e.kind, EventKind::RunQueued { .. }))
        .unwrap();
    assert_eq!(
        (queued.run, queued.run_name.as_deref()),
        (Some(run), Some("key-1"))
    );
    let messages = world
        .store
        .messages(&session.owner, session.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    assert!(matches!(&messages[..], [one] if one.text() == "hello" && one.seq.is_none()));
}

// covers: R5
/// The same key and body is the same run; with another body or method it is refused.
pub async fn a_key_that_was_seen_is_the_same_run(world: &World) {
    let session = world.session("main").await;
    let run = world.accept(&session, "key-1", "hello").await;
    let again = world
        .store
        .accept(world.intake(&session, "key-1", "hello"))
        .await
        .unwrap();
    assert_eq!(again, Accepted::Repeat { run });
    let other = world
        .store
        .accept(world.intake(&session, "key-1", "bye"))
        .await;
    assert!(matches!(other, Err(StoreError::KeyReused)), "{other:?}");
    let mut method = world.intake(&session, "key-1", "hello");
    method.method = "agent";
    assert!(matches!(
        world.store.accept(method).await,
        Err(StoreError::KeyReused)
    ));
    assert_eq!(
        world
            .store
            .active_runs(&session.owner, None)
            .await
            .unwrap()
            .len(),
        1
    );
    world.finish(&world.claim().await).await;
    let late = world
        .store
        .accept(world.intake(&session, "key-1", "hello"))
        .await
        .unwrap();
    assert_eq!(late, Accepted::Repeat { run });
}

// covers: R29
/// The thirty-third waiting run of a session is refused and leaves nothing behind.
pub async fn a_queue_has_a_bound(world: &World) {
    let session = world.session("main").await;
    for _ in 0..32 {
        world.accept(&session, "", "hello").await;
    }
    let full = world
        .store
        .accept(world.intake(&session, "one-more", "hello"))
        .await;
    assert!(
        matches!(full, Err(StoreError::Full { max: 32, .. })),
        "{full:?}"
    );
    assert!(
        world
            .store
            .run(&session.owner, "one-more")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(world.store.queue_depth().await.unwrap(), (32, 0, 0));
    let other = world.session("other").await;
    world.accept(&other, "", "hello").await;
}

// covers: R16
/// A patient offer gets the run that comes later, if not by waiting then by asking again.
pub async fn a_patient_offer_gets_the_run_that_comes(world: &World) {
    let session = world.session("main").await;
    let offer = Offer {
        patience: Duration::from_secs(20),
        ..Offer::one(world.worker())
    };
    let mut asked = std::pin::pin!(world.store.claim(&offer, LEASE));
    let early = futures::future::poll_immediate(&mut asked).await;
    let run = world.accept(&session, "", "hello").await;
    let claims = match early {
        None => asked.await.unwrap(),
        Some(nothing) => {
            assert!(nothing.unwrap().is_empty());
            world.store.claim(&offer, LEASE).await.unwrap()
        }
    };
    assert_eq!(
        claims.iter().map(|claim| claim.run.id).collect::<Vec<_>>(),
        [run]
    );
    assert_eq!(claims[0].log.len(), 2);
}

/// An offer that was withdrawn before the run came does not take it.
pub async fn a_withdrawn_offer_takes_nothing(world: &World) {
    let session = world.session("main").await;
    let offer = Offer {
        patience: Duration::from_secs(20),
        ..Offer::one(world.worker())
    };
    {
        let mut asked = std::pin::pin!(world.store.claim(&offer, LEASE));
        drop(futures::future::poll_immediate(&mut asked).await);
    }
    let run = world.accept(&session, "", "hello").await;
    assert_eq!(world.claim().await.run.id, run);
}

// covers: R15, R17
/// The second run of a session waits for the first, parked or not; other sessions do not.
pub async fn a_session_has_one_active_run(world: &World) {
    let session = world.session("main").await;
    let other = world.session("other").await;
    let first = world.accept(&session, "", "one").await;
    let second = world.accept(&session, "", "two").await;
    let third = world.accept(&other, "", "three").await;
    let claim = world.claim().await;
    assert_eq!(claim.run.id, first);
    assert_eq!(world.claim().await.run.id, third);
    assert!(world.try_claim().await.is_none());
    world
        .append(&claim, vec![world.parked(Duration::from_secs(60))])
        .await;
    assert!(world.try_claim().await.is_none());
    world.clock.pass(Duration::from_secs(61));
    // The lease of the third has lapsed meanwhile, so only this session's run is looked at.
    let mut claims = [world.claim().await, world.claim().await];
    claims.sort_by_key(|claim| claim.run.id);
    assert_eq!(claims[0].run.id, first);
    assert_eq!(claims[1].run.id, third);
    assert!(world.try_claim().await.is_none());
    world.finish(&claims[0]).await;
    assert_eq!(world.claim().await.run.id, second);
}

/// A claim brings what is needed to go on, and nothing else does.
pub async fn a_claim_carries_the_whole_log_and_the_next_fence(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    assert_eq!(claim.fence, Fence(1));
    world.reply(&claim, "hi").await;
    world.clock.pass(LEASE);
    let next = world.claim().await;
    assert_eq!((next.run.id, next.fence), (claim.run.id, Fence(2)));
    let words: Vec<_> = next.log.iter().map(|l| (l.seq.0, l.entry.word())).collect();
    let expected = [
        (1, "accepted"),
        (2, "claimed"),
        (3, "model_asked"),
        (4, "model_replied"),
        (5, "claimed"),
    ];
    assert_eq!(words, expected);
    let stored = world
        .store
        .log(&session.owner, claim.run.id, Seq(1))
        .await
        .unwrap();
    assert_eq!(stored, next.log);
    let tail = world
        .store
        .log(&session.owner, claim.run.id, Seq(4))
        .await
        .unwrap();
    assert_eq!(tail[..], next.log[3..]);
}

// covers: R15
/// A worker that was paused and comes back writes nothing.
pub async fn an_older_fence_writes_nothing(world: &World) {
    let session = world.session("main").await;
    let old = world.begin(&session, "hello").await;
    world.clock.pass(LEASE);
    let new = world.claim().await;
    let refused = world.try_append(&old, vec![finished()], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    let refused = world.store.extend(old.run.id, old.fence, LEASE).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    let log = world
        .store
        .log(&session.owner, old.run.id, Seq(1))
        .await
        .unwrap();
    assert_eq!(log.len(), new.log.len());
    world.finish(&new).await;
    let refused = world.try_append(&new, vec![finished()], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
}

/// Until the lease ends nobody else gets the run; then somebody does.
pub async fn a_lease_that_lapses_gives_the_run_to_the_next(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let due = world.store.next_due(&Needs::default()).await;
    assert_eq!(due.unwrap(), Some(LEASE));
    world.clock.pass(LEASE - Duration::from_millis(1));
    assert!(world.try_claim().await.is_none());
    world.clock.pass(Duration::from_millis(1));
    assert_eq!(world.claim().await.run.id, claim.run.id);
}

// covers: R37
/// An extension counts from now, and a wall clock that jumps changes nothing.
pub async fn an_extended_lease_holds(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world.clock.pass(LEASE / 2);
    assert_eq!(
        world
            .store
            .extend(claim.run.id, claim.fence, LEASE)
            .await
            .unwrap(),
        vec![]
    );
    const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;
    world.clock.jump(YEAR_MS);
    world.clock.pass(LEASE / 2);
    assert!(world.try_claim().await.is_none());
    world.clock.jump(-2 * YEAR_MS);
    world.clock.pass(LEASE / 2);
    assert_eq!(world.claim().await.run.id, claim.run.id);
}

/// Parking gives the claim back; time alone makes the run claimable again.
pub async fn a_parked_run_rests_until_its_time(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world
        .append(&claim, vec![world.parked(Duration::from_secs(5))])
        .await;
    let refused = world.try_append(&claim, vec![finished()], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    let info = world
        .store
        .run(&session.owner, &claim.run.id.to_string())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(
        info.status,
        RunStatus::Parked {
            until: Wake::Retry { .. }
        }
    ));
    assert_eq!(info.worker, None);
    let due = world.store.next_due(&Needs::default()).await;
    assert_eq!(due.unwrap(), Some(Duration::from_secs(5)));
    assert_eq!(world.store.queue_depth().await.unwrap(), (0, 0, 1));
    assert!(world.try_claim().await.is_none());
    world.clock.pass(Duration::from_secs(5));
    assert_eq!(world.claim().await.fence, Fence(2));
}

/// A signal makes the run claimable at once and comes with the claim.
pub async fn a_signal_wakes_a_parked_run(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world
        .append(&claim, vec![world.parked(Duration::from_secs(3_600))])
        .await;
    assert!(
        world
            .store
            .signal(&session.owner, claim.run.id, cancel())
            .await
            .unwrap()
    );
    assert_eq!(world.claim().await.signals, vec![cancel()]);
}

/// What arrived between the last write and the park is not slept over.
pub async fn a_signal_that_nobody_heard_ends_the_rest_at_once(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    assert!(
        world
            .store
            .signal(&session.owner, claim.run.id, cancel())
            .await
            .unwrap()
    );
    world
        .append(&claim, vec![world.parked(Duration::from_secs(3_600))])
        .await;
    assert_eq!(world.claim().await.signals, vec![cancel()]);
}

/// Whoever gives up a run hears what came before, and whoever claims it hears it again.
pub async fn a_signal_comes_with_the_entry_that_parks(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let told = world.store.signal(&session.owner, claim.run.id, cancel());
    assert!(told.await.unwrap());
    let parked = vec![world.parked(Duration::from_secs(5))];
    assert_eq!(world.append(&claim, parked).await.signals, vec![cancel()]);
    assert_eq!(world.claim().await.signals, vec![cancel()]);
}

/// Once per claim; a worker that died has not heard for the next one; written is done.
pub async fn signals_are_heard_once_per_claim_until_they_are_written(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    assert_eq!(claim.signals, vec![]);
    assert!(
        world
            .store
            .signal(&session.owner, claim.run.id, cancel())
            .await
            .unwrap()
    );
    let heard = world.append(&claim, vec![]).await.signals;
    assert_eq!(heard, vec![cancel()]);
    assert_eq!(
        world
            .store
            .extend(claim.run.id, claim.fence, LEASE)
            .await
            .unwrap(),
        vec![]
    );
    world.clock.pass(LEASE);
    let next = world.claim().await;
    assert_eq!(next.signals, vec![cancel()]);
    world
        .append(
            &next,
            vec![Entry::CancelAsked {
                by: "owner".to_owned(),
            }],
        )
        .await;
    world.clock.pass(LEASE);
    assert_eq!(world.claim().await.signals, vec![]);
}

/// A message to a session whose run asked its owner goes to that run, also when it is sent twice.
pub async fn words_go_to_the_run_that_waits_for_them(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let until = Wake::Owner {
        until: world.clock.now().plus(Duration::from_secs(3_600)),
    };
    world.append(&claim, vec![Entry::Parked { until }]).await;
    let intake = world.intake(&session, "answer-1", "blue");
    let message = intake.message.as_ref().unwrap().id;
    let run = claim.run.id;
    assert_eq!(
        world.store.accept(intake.clone()).await.unwrap(),
        Accepted::Steered { run }
    );
    assert_eq!(
        world.store.accept(intake).await.unwrap(),
        Accepted::Repeat { run }
    );
    let found = world
        .store
        .run(&session.owner, "answer-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.run.id, run);
    let next = world.claim().await;
    assert_eq!(
        next.signals,
        vec![Signal::Steer {
            message,
            text: "blue".to_owned()
        }]
    );
    world
        .append(
            &next,
            vec![Entry::Steered {
                message,
                text: "blue".to_owned(),
            }],
        )
        .await;
    world.finish(&next).await;
    let said = world
        .store
        .message(&session.owner, message)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((said.seq, said.run), (Some(2), Some(run)));
    assert!(world.try_claim().await.is_none());
}

/// Finished is the end.
pub async fn a_run_that_is_over_takes_nothing(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world.finish(&claim).await;
    assert!(
        !world
            .store
            .signal(&session.owner, claim.run.id, cancel())
            .await
            .unwrap()
    );
    world.clock.pass(LEASE * 2);
    assert!(world.try_claim().await.is_none());
    assert_eq!(
        world.store.active_runs(&session.owner, None).await.unwrap(),
        vec![]
    );
    let info = world
        .store
        .run(&session.owner, &claim.run.id.to_string())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(info.status, RunStatus::Finished { .. }));
    assert!(info.finished_at.is_some() && info.worker.is_none());
}

// covers: R36
/// The new owner of the store does not wait for leases of the old one.
pub async fn claims_of_the_dead_are_released_at_once(world: &World) {
    let mut held = Vec::new();
    for rest in ["a", "b"] {
        let session = world.session(rest).await;
        held.push(world.begin(&session, "hello").await);
    }
    assert!(world.try_claim().await.is_none());
    assert_eq!(world.store.release_dead_claims().await.unwrap(), 2);
    for old in &held {
        let new = world.claim().await;
        assert_eq!(new.fence, Fence(2));
        let refused = world.try_append(old, vec![finished()], vec![]).await;
        assert!(held.iter().any(|h| h.run.id == new.run.id));
        // Until the take-over the old claim would still be good; after it never.
        assert!(refused.is_ok() || matches!(refused, Err(StoreError::Fenced)));
    }
    assert!(world.try_claim().await.is_none());
}

/// By key, by identifier, in the lists.
pub async fn runs_are_found_by_name_and_listed(world: &World) {
    let session = world.session("main").await;
    let other = world.session("other").await;
    let first = world.accept(&session, "first", "one").await;
    world.clock.pass(Duration::from_millis(5));
    let second = world.accept(&other, "", "two").await;
    let owner = &session.owner;
    for (name, id) in [
        ("first", first),
        (&*first.to_string(), first),
        (&*second.to_string(), second),
    ] {
        assert_eq!(
            world.store.run(owner, name).await.unwrap().unwrap().run.id,
            id
        );
    }
    assert!(world.store.run(owner, "nothing").await.unwrap().is_none());
    let ids = |infos: Vec<adjutant_ports::store::RunInfo>| -> Vec<_> {
        infos.into_iter().map(|info| info.run.id).collect()
    };
    assert_eq!(
        ids(world.store.active_runs(owner, None).await.unwrap()),
        vec![first, second]
    );
    assert_eq!(
        ids(world
            .store
            .active_runs(owner, Some(other.id))
            .await
            .unwrap()),
        vec![second]
    );
    assert_eq!(
        ids(world.store.recent_runs(owner, 10).await.unwrap()),
        vec![second, first]
    );
    assert_eq!(
        ids(world.store.recent_runs(owner, 1).await.unwrap()),
        vec![second]
    );
}

// covers: R15
/// Sixteen claimers over two hundred sessions: no run twice, never two of one session at once.
pub async fn many_claimers_never_share_a_run_or_a_seat(world: &World) {
    const N_CLAIMERS: usize = 16;
    const N_SESSIONS: usize = 200;
    let owner = OwnerId::local();
    for n in 0..N_SESSIONS {
        let session = world.session(&format!("seat-{n}")).await;
        world.accept(&session, "", "one").await;
        world.accept(&session, "", "two").await;
    }
    let seats = Mutex::new(BTreeSet::new());
    let runs = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..N_CLAIMERS {
            scope.spawn(|| {
                let offer = Offer::one(world.worker());
                while let Some(claim) = block_on(world.store.claim(&offer, LEASE)).unwrap().pop() {
                    assert!(
                        seats.lock().unwrap().insert(claim.run.session),
                        "a seat was taken twice"
                    );
                    assert!(
                        runs.lock().unwrap().insert(claim.run.id),
                        "a run was claimed twice"
                    );
                    assert!(seats.lock().unwrap().remove(&claim.run.session));
                    block_on(world.finish(&claim));
                }
            });
        }
    });
    assert_eq!(runs.lock().unwrap().len(), 2 * N_SESSIONS);
    assert_eq!(world.store.active_runs(&owner, None).await.unwrap(), vec![]);
}
