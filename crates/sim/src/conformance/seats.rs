//! Sessions.

use std::time::Duration;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::SessionKey;
use adjutant_ports::Clock;
use adjutant_ports::store::{Hidden, Page, SessionPatch, StoreError};

use super::world::World;

/// The second time it is the same one; a new one may sit in an existing thread.
pub async fn a_session_is_made_once(world: &World) {
    let session = world.session("main").await;
    assert_eq!(world.session("main").await, session);
    let owner = &session.owner;
    let created = world.store.events_since(owner, 0, 10).await.unwrap();
    assert!(
        matches!(&created[..], [one] if one.kind == EventKind::SessionCreated { thread: session.thread })
    );
    let key = SessionKey::parse("agent:main:phone").unwrap();
    let span = Duration::from_secs(60);
    let phone = world
        .store
        .open_session(owner, &key, Some(session.thread), Some(span))
        .await
        .unwrap();
    assert_eq!(
        (phone.thread, phone.expires_at),
        (session.thread, Some(world.clock.now().plus(span)))
    );
    assert_ne!(phone.id, session.id);
    assert_eq!(
        world.store.session(owner, &key).await.unwrap(),
        Some(phone.clone())
    );
    assert_eq!(
        world.store.session_by_id(owner, phone.id).await.unwrap(),
        Some(phone)
    );
    assert_eq!(world.store.count_sessions(owner).await.unwrap(), 2);
}

/// "New chat" moves the pointer; the old words stay (invariant 15).
pub async fn a_reset_gives_a_new_thread_and_keeps_the_old(world: &World) {
    let old = world.session("main").await;
    let claim = world.begin(&old, "hello").await;
    world.finish(&claim).await;
    let new = world
        .store
        .reset_session(&old.owner, &old.key)
        .await
        .unwrap();
    assert_eq!((&new.key, &new.created_at), (&old.key, &old.created_at));
    assert!(new.id != old.id && new.thread != old.thread);
    assert_eq!(
        world.store.session_by_id(&old.owner, old.id).await.unwrap(),
        None
    );
    let messages = world
        .store
        .messages(&old.owner, old.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    assert_eq!(messages.len(), 1);
    let key = SessionKey::parse("agent:main:nobody").unwrap();
    let missing = world.store.reset_session(&old.owner, &key).await;
    assert!(
        matches!(missing, Err(StoreError::NotFound { .. })),
        "{missing:?}"
    );
}

/// A run must not lose its seat.
pub async fn a_busy_session_is_neither_reset_nor_deleted(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let (owner, key) = (&session.owner, &session.key);
    assert!(matches!(
        world.store.reset_session(owner, key).await,
        Err(StoreError::Conflict { .. })
    ));
    assert!(matches!(
        world.store.delete_session(owner, key).await,
        Err(StoreError::Conflict { .. })
    ));
    world.finish(&claim).await;
    assert!(world.store.delete_session(owner, key).await.unwrap());
    assert!(!world.store.delete_session(owner, key).await.unwrap());
    assert!(
        world
            .store
            .thread(owner, session.thread)
            .await
            .unwrap()
            .is_some()
    );
}

/// Absent is unchanged, cleared is cleared.
pub async fn settings_of_a_session_change_one_by_one(world: &World) {
    let session = world.session("main").await;
    let (owner, key) = (&session.owner, &session.key);
    let patch = SessionPatch {
        label: Some(Some("Work".to_owned())),
        model: Some(Some("a/b".to_owned())),
        ..SessionPatch::default()
    };
    world.store.patch_session(owner, key, patch).await.unwrap();
    let patch = SessionPatch {
        model: Some(None),
        ..SessionPatch::default()
    };
    let patched = world.store.patch_session(owner, key, patch).await.unwrap();
    assert_eq!(
        (patched.label.as_deref(), patched.model),
        (Some("Work"), None)
    );
    let stored = world.store.session(owner, key).await.unwrap().unwrap();
    assert_eq!(stored.label.as_deref(), Some("Work"));
}

/// A message counts as use.
pub async fn sessions_are_listed_by_last_use(world: &World) {
    let first = world.session("first").await;
    world.clock.pass(Duration::from_millis(5));
    let second = world.session("second").await;
    world.clock.pass(Duration::from_millis(5));
    let page = Page {
        limit: 10,
        offset: 0,
    };
    let keys = |sessions: Vec<adjutant_domain::Session>| -> Vec<_> {
        sessions.into_iter().map(|s| s.key).collect()
    };
    let listed = keys(world.store.sessions(&first.owner, page).await.unwrap());
    assert_eq!(listed, [second.key.clone(), first.key.clone()]);
    world.accept(&first, "", "hello").await;
    let listed = keys(world.store.sessions(&first.owner, page).await.unwrap());
    assert_eq!(listed, [first.key.clone(), second.key]);
    let none = world
        .store
        .sessions(
            &first.owner,
            Page {
                limit: 10,
                offset: 2,
            },
        )
        .await
        .unwrap();
    assert_eq!(none, vec![]);
}
