//! Events.

use adjutant_domain::event::EventKind;
use adjutant_domain::id::OwnerId;

use super::world::World;

// covers: R11
/// Reading in pages gives the same as reading at once; the newest cursor is the last one's.
pub async fn cursors_rise_and_nothing_is_missed(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    world.reply(&claim, "hi").await;
    world.finish(&claim).await;
    let owner = &session.owner;
    let kind = EventKind::Changed {
        what: "config".to_owned(),
        name: "x".to_owned(),
    };
    world
        .store
        .announce(owner, Some(&session.key), kind.clone())
        .await
        .unwrap();
    let all = world.store.events_since(owner, 0, 100).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
    let last = all.last().unwrap();
    assert_eq!(
        (&last.kind, &last.session),
        (&kind, &Some(session.key.clone()))
    );
    assert_eq!(world.store.cursor(owner).await.unwrap(), last.cursor);
    let mut paged = Vec::new();
    let mut cursor = 0;
    loop {
        let page = world.store.events_since(owner, cursor, 2).await.unwrap();
        let Some(end) = page.last() else { break };
        cursor = end.cursor;
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(
        world
            .store
            .cursor(&OwnerId::parse("nobody").unwrap())
            .await
            .unwrap(),
        0
    );
}

/// One line per fact, in the order in which they happened.
pub async fn the_feed_tells_the_life_of_a_run(world: &World) {
    let session = world.session("main").await;
    let run = world.accept(&session, "key-1", "hello").await;
    let claim = world.claim().await;
    world.reply(&claim, "hi").await;
    world.clock.pass(super::world::LEASE);
    let claim = world.claim().await;
    world.finish(&claim).await;
    let events = world
        .store
        .events_since(&session.owner, 0, 100)
        .await
        .unwrap();
    let told: Vec<&str> = events
        .iter()
        .filter(|event| event.run == Some(run))
        .map(|event| match event.kind {
            EventKind::RunQueued { .. } => "queued",
            EventKind::RunStarted => "started",
            EventKind::ModelReplied { .. } => "replied",
            EventKind::RunResumed { claims: 1 } => "resumed",
            EventKind::RunFinished { .. } => "finished",
            _ => "something else",
        })
        .collect();
    assert_eq!(
        told,
        ["queued", "started", "replied", "resumed", "finished"]
    );
    assert!(
        events
            .iter()
            .filter(|e| e.run.is_some())
            .all(|e| e.session == Some(session.key.clone()))
    );
}
