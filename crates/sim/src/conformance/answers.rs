//! Remembered answers, the audit chain, agents, tools, workers, the check of everything.

use serde_json::json;

use adjutant_domain::agent::{Agent, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::{AgentId, ClientKey, OwnerId};
use adjutant_domain::money::Micros;
use adjutant_domain::need::Needs;
use adjutant_domain::tool::{ActionClass, Effect, ToolSpec};
use adjutant_ports::Clock;
use adjutant_ports::store::StoreError;

use super::world::{World, asked};

// covers: R5
/// Same key and body: the same answer. Another body: refused. Another owner: nothing.
pub async fn an_answer_is_remembered_for_its_key_and_body(world: &World) {
    let (owner, key) = (OwnerId::local(), ClientKey::parse("k").unwrap());
    assert_eq!(
        world
            .store
            .answered(&owner, "agents.create", &key, "d")
            .await
            .unwrap(),
        None
    );
    let answer = json!({ "name": "x", "n": 1.5 });
    world
        .store
        .remember_answer(&owner, "agents.create", &key, "d", &answer)
        .await
        .unwrap();
    let seen = world
        .store
        .answered(&owner, "agents.create", &key, "d")
        .await
        .unwrap();
    assert_eq!(seen, Some(answer));
    let other = world
        .store
        .answered(&owner, "agents.create", &key, "e")
        .await;
    assert!(matches!(other, Err(StoreError::KeyReused)), "{other:?}");
    let stranger = OwnerId::parse("stranger").unwrap();
    assert_eq!(
        world
            .store
            .answered(&stranger, "agents.create", &key, "d")
            .await
            .unwrap(),
        None
    );
}

// covers: S49
/// Newest first, numbered, each with a hash of its own.
pub async fn the_audit_chain_grows_in_order(world: &World) {
    let owner = OwnerId::local();
    for n in 1..=3_u64 {
        let seq = world
            .store
            .audit(&owner, "cli", "config.set", "x", json!({ "n": n }))
            .await
            .unwrap();
        assert_eq!(seq, n);
    }
    let records = world.store.audit_records(&owner, 2).await.unwrap();
    assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(
        (records[0].by.as_str(), &records[0].detail),
        ("cli", &json!({ "n": 3 }))
    );
    assert_ne!(records[0].hash, records[1].hash);
}

fn agent(name: &str) -> Agent {
    Agent {
        owner: OwnerId::local(),
        name: AgentId::parse(name).unwrap(),
        display_name: name.to_owned(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: vec![],
        trust_level: TrustLevel::L2,
        system_prompt: String::new(),
        tools: None,
        allowed_dirs: vec![],
        workspace: "/".to_owned(),
        approval_policy: ApprovalPolicy::default(),
        vault_grants: vec![],
        needs: Needs::default(),
        budget: adjutant_domain::agent::AgentBudget {
            run_micros: Some(Micros(5)),
            ..Default::default()
        },
        limits: AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: adjutant_domain::Timestamp::default(),
    }
}

/// Two people who edit at once: the second is told.
pub async fn agents_change_only_from_the_revision_that_was_seen(world: &World) {
    let owner = OwnerId::local();
    let first = world.store.put_agent(agent("b"), None).await.unwrap();
    assert_eq!(first.updated_at, world.clock.now());
    let twice = world.store.put_agent(agent("b"), None).await;
    assert!(
        matches!(twice, Err(StoreError::Conflict { .. })),
        "{twice:?}"
    );
    assert_eq!(
        world
            .store
            .agent(&owner, &first.name)
            .await
            .unwrap()
            .as_deref(),
        Some(&first)
    );
    let edit = Agent {
        description: "edited".to_owned(),
        ..first.clone()
    };
    let second = world
        .store
        .put_agent(edit.clone(), Some(first.revision))
        .await
        .unwrap();
    assert!(second.revision > first.revision);
    let stale = world.store.put_agent(edit, Some(first.revision)).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    assert_eq!(
        world
            .store
            .agent(&owner, &first.name)
            .await
            .unwrap()
            .as_deref(),
        Some(&second)
    );
    world.store.put_agent(agent("a"), None).await.unwrap();
    let names: Vec<_> = world
        .store
        .agents(&owner)
        .await
        .unwrap()
        .iter()
        .map(|a| a.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(world.store.delete_agent(&owner, &first.name).await.unwrap());
    assert!(!world.store.delete_agent(&owner, &first.name).await.unwrap());
    assert_eq!(world.store.agent(&owner, &first.name).await.unwrap(), None);
}

/// The last announcement counts.
pub async fn tools_are_what_was_announced_last(world: &World) {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: "does something".to_owned(),
        schema: json!({ "type": "object" }),
        effect: Effect::Reads,
        level: TrustLevel::L2,
        class: ActionClass::Read,
        operands: vec![],
        asks_owner: false,
    };
    world
        .store
        .announce_tools(&[tool("a"), tool("b")])
        .await
        .unwrap();
    world
        .store
        .announce_tools(&[tool("b"), tool("c")])
        .await
        .unwrap();
    assert_eq!(
        world.store.tools().await.unwrap(),
        vec![tool("b"), tool("c")]
    );
}

// covers: R42
/// A store with a bit of everything in it has no findings.
pub async fn a_store_in_use_verifies(world: &World) {
    let session = world.session("main").await;
    let other = world.session("other").await;
    let owner = &session.owner;
    let first = world.begin(&session, "one").await;
    let budget = world.budget(50);
    world.append(&first, vec![asked(&budget)]).await;
    world
        .append(
            &first,
            vec![world.replied("hi", 20, &budget), asked(&world.budget(10))],
        )
        .await;
    world.finish(&first).await;
    let second = world.begin(&other, "two").await;
    let question = world.question(&second.run, std::time::Duration::from_secs(60));
    world
        .append(
            &second,
            vec![asked(&world.budget(10)), super::world::held(&question)],
        )
        .await;
    let choice = adjutant_domain::approval::Choice::Once;
    world
        .store
        .resolve_approval(owner, question.id, choice, "cli")
        .await
        .unwrap();
    world.accept(&other, "", "three").await;
    let gone = world.session("gone").await;
    let claim = world.begin(&gone, "four").await;
    world.finish(&claim).await;
    world.store.forget_thread(owner, gone.thread).await.unwrap();
    world
        .store
        .audit(owner, "cli", "config.set", "x", json!({}))
        .await
        .unwrap();
    let report = world.store.verify().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    assert!(report.checked.iter().any(|(_, n)| *n > 0));
}
