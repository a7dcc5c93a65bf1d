//! A second owner sees nothing and changes nothing (invariant 14).

use std::time::Duration;

use adjutant_domain::approval::Choice;
use adjutant_domain::id::{AgentId, MemoryId, OwnerId};
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_domain::run::{Seq, Signal};
use adjutant_ports::Clock;
use adjutant_ports::store::{
    Append, CapScope, Claim, GroupBy, Hidden, Page, SessionPatch, StoreError,
};

use super::world::{World, asked, finished, held};

const ALL: Page = Page {
    limit: 100,
    offset: 0,
};

fn stranger() -> OwnerId {
    OwnerId::parse("stranger").unwrap()
}

/// A bit of everything that belongs to the first owner.
struct Filled {
    claim: Claim,
    question: adjutant_domain::Approval,
    memory: Memory,
}

async fn fill(world: &World) -> Filled {
    let session = world.session("main").await;
    let claim = world.begin(&session, "my kettle").await;
    let question = world.question(&claim.run, Duration::from_secs(600));
    let budget = world.budget(50);
    let entries = vec![
        asked(&budget),
        world.replied("your kettle", 20, &budget),
        held(&question),
    ];
    world.append(&claim, entries).await;
    let memory = Memory {
        id: MemoryId::mint(world.clock.now(), world.number()),
        owner: OwnerId::local(),
        scope: MemoryScope::Owner,
        kind: MemoryKind::Fact,
        key: None,
        text: "a kettle".to_owned(),
        trust: Trust::Owner,
        source: None,
        created_at: world.clock.now(),
        expires_at: None,
    };
    world.store.put_memory(memory.clone()).await.unwrap();
    world
        .store
        .audit(&OwnerId::local(), "cli", "x", "y", serde_json::json!({}))
        .await
        .unwrap();
    Filled {
        claim,
        question,
        memory,
    }
}

/// Every read, with everything there is to guess known.
pub async fn a_second_owner_sees_nothing(world: &World) {
    let Filled {
        claim,
        question,
        memory,
    } = fill(world).await;
    let (store, owner, run) = (&world.store, &stranger(), &claim.run);
    assert!(
        store
            .run(owner, &run.id.to_string())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.active_runs(owner, None).await.unwrap(), vec![]);
    assert_eq!(
        store.active_runs(owner, Some(run.session)).await.unwrap(),
        vec![]
    );
    assert_eq!(store.recent_runs(owner, 10).await.unwrap(), vec![]);
    assert!(matches!(
        store.log(owner, run.id, Seq(1)).await,
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(store.thread(owner, run.thread).await.unwrap(), None);
    assert_eq!(store.threads(owner, ALL).await.unwrap(), vec![]);
    for hidden in [Hidden::Skip, Hidden::Show] {
        assert_eq!(
            store
                .messages(owner, run.thread, 10, None, hidden)
                .await
                .unwrap(),
            vec![]
        );
    }
    let local = OwnerId::local();
    let mine = store
        .messages(&local, run.thread, 10, None, Hidden::Show)
        .await
        .unwrap();
    assert_eq!(store.message(owner, mine[0].id).await.unwrap(), None);
    assert_eq!(
        store.search_messages(owner, "kettle", 10).await.unwrap(),
        vec![]
    );
    assert_eq!(store.session(owner, &run.session_key).await.unwrap(), None);
    assert_eq!(store.session_by_id(owner, run.session).await.unwrap(), None);
    assert_eq!(store.sessions(owner, ALL).await.unwrap(), vec![]);
    assert_eq!(store.count_sessions(owner).await.unwrap(), 0);
    assert!(store.agents(owner).await.unwrap().is_empty());
    assert_eq!(store.approval(owner, question.id).await.unwrap(), None);
    assert_eq!(store.approvals(owner, false, 10).await.unwrap(), vec![]);
    assert_eq!(
        store.grants(owner, Some(&AgentId::main())).await.unwrap(),
        vec![]
    );
    let scope = CapScope::Run { run: run.id };
    assert_eq!(
        store.spend(owner, &scope).await.unwrap(),
        adjutant_ports::store::Spend::default()
    );
    assert_eq!(
        store
            .costs(owner, GroupBy::Day, "2000-01-01", "2100-01-01")
            .await
            .unwrap(),
        vec![]
    );
    assert_eq!(
        store.recall(owner, None, None, "kettle", 10).await.unwrap(),
        vec![]
    );
    assert_eq!(
        store.recall(owner, None, None, "", 10).await.unwrap(),
        vec![]
    );
    assert_eq!(store.memory(owner, memory.id).await.unwrap(), None);
    assert_eq!(store.events_since(owner, 0, 100).await.unwrap(), vec![]);
    assert_eq!(store.cursor(owner).await.unwrap(), 0);
    assert_eq!(store.audit_records(owner, 10).await.unwrap(), vec![]);
}

/// Every write that takes an owner.
pub async fn a_second_owner_changes_nothing(world: &World) {
    let Filled {
        claim,
        question,
        memory,
    } = fill(world).await;
    let (store, owner, run) = (&world.store, &stranger(), &claim.run);
    let missing = |result: Result<(), StoreError>| {
        assert!(
            matches!(result, Err(StoreError::NotFound { .. })),
            "{result:?}"
        );
    };
    let cancel = Signal::Cancel {
        by: "stranger".to_owned(),
    };
    missing(store.signal(owner, run.id, cancel).await.map(drop));
    missing(store.rename_thread(owner, run.thread, "mine now").await);
    assert!(!store.forget_thread(owner, run.thread).await.unwrap());
    missing(store.reset_session(owner, &run.session_key).await.map(drop));
    missing(
        store
            .patch_session(owner, &run.session_key, SessionPatch::default())
            .await
            .map(drop),
    );
    assert!(!store.delete_session(owner, &run.session_key).await.unwrap());
    missing(
        store
            .resolve_approval(owner, question.id, Choice::Once, "stranger")
            .await
            .map(drop),
    );
    assert_eq!(store.forget(owner, &[memory.id]).await.unwrap(), 0);
    let key = adjutant_domain::SessionKey::parse("agent:main:thief").unwrap();
    missing(
        store
            .open_session(owner, &key, Some(run.thread), None)
            .await
            .map(drop),
    );
    let mut stolen = run.clone();
    stolen.owner = owner.clone();
    let append = Append {
        run: &stolen,
        fence: claim.fence,
        entries: vec![finished()],
        caps: vec![],
        grants: vec![],
    };
    assert!(store.append(append).await.is_err());
    let local = OwnerId::local();
    let row = store.approval(&local, question.id).await.unwrap().unwrap();
    assert_eq!(row, question);
    assert!(
        store
            .append(Append {
                run,
                fence: claim.fence,
                entries: vec![],
                caps: vec![],
                grants: vec![],
            })
            .await
            .unwrap()
            .signals
            .is_empty()
    );
}
