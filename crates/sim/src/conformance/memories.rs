//! Remembered facts.

use std::time::Duration;

use adjutant_domain::id::{AgentId, MemoryId, OwnerId, SessionId};
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_ports::Clock;

use super::world::World;

fn fact(world: &World, scope: MemoryScope, text: &str) -> Memory {
    world.clock.pass(Duration::from_millis(5));
    Memory {
        id: MemoryId::mint(world.clock.now(), world.number()),
        owner: OwnerId::local(),
        scope,
        kind: MemoryKind::Fact,
        key: None,
        text: text.to_owned(),
        trust: Trust::Owner,
        source: None,
        created_at: world.clock.now(),
        expires_at: None,
    }
}

async fn recalled(
    world: &World,
    agent: Option<&AgentId>,
    session: Option<SessionId>,
    query: &str,
) -> Vec<String> {
    let found = world
        .store
        .recall(&OwnerId::local(), agent, session, query, 10)
        .await
        .unwrap();
    found.into_iter().map(|memory| memory.text).collect()
}

/// An agent in a session sees the owner's facts, its own and the session's; nobody else's.
pub async fn recall_follows_scope(world: &World) {
    let (here, there) = (
        world.session("here").await.id,
        world.session("there").await.id,
    );
    let (main, other) = (AgentId::main(), AgentId::parse("other").unwrap());
    let scopes = [
        (MemoryScope::Owner, "tea for all"),
        (
            MemoryScope::Agent {
                agent: main.clone(),
            },
            "tea for main",
        ),
        (
            MemoryScope::Agent {
                agent: other.clone(),
            },
            "tea for other",
        ),
        (MemoryScope::Session { session: here }, "tea here"),
        (MemoryScope::Session { session: there }, "tea there"),
    ];
    for (scope, text) in scopes {
        world
            .store
            .put_memory(fact(world, scope, text))
            .await
            .unwrap();
    }
    world
        .store
        .put_memory(fact(world, MemoryScope::Owner, "coffee"))
        .await
        .unwrap();
    for query in ["tea", "tea?"] {
        let mut seen = recalled(world, Some(&main), Some(here), query).await;
        seen.sort();
        assert_eq!(seen, ["tea for all", "tea for main", "tea here"]);
    }
    let newest = recalled(world, Some(&other), Some(there), "").await;
    assert_eq!(
        newest,
        ["coffee", "tea there", "tea for other", "tea for all"]
    );
    assert_eq!(recalled(world, None, None, "").await.len(), 6);
    assert_eq!(
        recalled(world, Some(&main), Some(here), "juice").await,
        Vec::<String>::new()
    );
}

/// Time makes a fact invisible.
pub async fn expired_facts_are_not_recalled(world: &World) {
    let mut memory = fact(world, MemoryScope::Owner, "the kettle is on");
    memory.expires_at = Some(world.clock.now().plus(Duration::from_secs(60)));
    world.store.put_memory(memory).await.unwrap();
    assert_eq!(recalled(world, None, None, "kettle").await.len(), 1);
    world.clock.pass(Duration::from_secs(60));
    assert_eq!(
        recalled(world, None, None, "kettle").await,
        Vec::<String>::new()
    );
    assert_eq!(recalled(world, None, None, "").await, Vec::<String>::new());
}

/// One value per key and scope.
pub async fn a_fact_with_the_same_key_is_replaced(world: &World) {
    let with_key = |scope, text| Memory {
        key: Some("drink".to_owned()),
        ..fact(world, scope, text)
    };
    let first = world
        .store
        .put_memory(with_key(MemoryScope::Owner, "likes tea"))
        .await
        .unwrap();
    world
        .store
        .put_memory(with_key(MemoryScope::Owner, "likes coffee"))
        .await
        .unwrap();
    let scope = MemoryScope::Agent {
        agent: AgentId::main(),
    };
    world
        .store
        .put_memory(with_key(scope, "serves tea"))
        .await
        .unwrap();
    assert_eq!(recalled(world, None, None, "likes").await, ["likes coffee"]);
    assert_eq!(
        recalled(world, None, None, "").await,
        ["serves tea", "likes coffee"]
    );
    assert_eq!(
        world
            .store
            .memory(&OwnerId::local(), first.id)
            .await
            .unwrap(),
        None
    );
}

/// Forgetting is for good.
pub async fn forgotten_facts_are_gone(world: &World) {
    let keep = world
        .store
        .put_memory(fact(world, MemoryScope::Owner, "keep tea"))
        .await
        .unwrap();
    let gone = world
        .store
        .put_memory(fact(world, MemoryScope::Owner, "lose tea"))
        .await
        .unwrap();
    let owner = OwnerId::local();
    assert_eq!(world.store.forget(&owner, &[gone.id]).await.unwrap(), 1);
    assert_eq!(world.store.forget(&owner, &[gone.id]).await.unwrap(), 0);
    assert_eq!(recalled(world, None, None, "tea").await, ["keep tea"]);
    assert_eq!(
        world.store.memory(&owner, keep.id).await.unwrap(),
        Some(keep)
    );
}
