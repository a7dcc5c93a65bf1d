//! Questions, answers, grants.

use std::time::Duration;

use adjutant_domain::approval::{ApprovalState, Choice, Grant, GrantEffect};
use adjutant_domain::id::{AgentId, GrantId};
use adjutant_domain::run::{Entry, Signal, Wake};
use adjutant_ports::Clock;
use adjutant_ports::store::{Append, StoreError};

use super::world::{World, held};

const OPEN_FOR: Duration = Duration::from_secs(600);

// covers: S31
/// Of two answers the first counts; the run hears it, and the audit chain has it.
pub async fn the_first_answer_wins_and_reaches_the_run(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let question = world.question(&claim.run, OPEN_FOR);
    let until = Wake::Approval {
        until: question.expires_at,
    };
    world
        .append(&claim, vec![held(&question), Entry::Parked { until }])
        .await;
    let owner = &session.owner;
    let open = world.store.approvals(owner, true, 10).await.unwrap();
    assert_eq!(open, vec![question.clone()]);
    let answered = world
        .store
        .resolve_approval(owner, question.id, Choice::Once, "cli")
        .await
        .unwrap();
    assert_eq!(
        (answered.state, answered.answered_by.as_deref()),
        (ApprovalState::Allowed, Some("cli"))
    );
    let second = world
        .store
        .resolve_approval(owner, question.id, Choice::Deny, "web")
        .await;
    assert!(
        matches!(second, Err(StoreError::Conflict { .. })),
        "{second:?}"
    );
    assert_eq!(
        world.store.approvals(owner, true, 10).await.unwrap(),
        vec![]
    );
    assert_eq!(
        world.store.approvals(owner, false, 10).await.unwrap(),
        vec![answered]
    );
    let next = world.claim().await;
    let answer = Signal::Answer {
        approval: question.id,
        choice: Choice::Once,
        by: "cli".to_owned(),
    };
    assert_eq!(next.signals, vec![answer]);
    let records = world.store.audit_records(owner, 10).await.unwrap();
    assert!(
        records
            .iter()
            .any(|r| r.action == "approval.resolve" && r.subject == question.id.to_string())
    );
}

// covers: R10
/// Silence is no, also when somebody speaks up later.
pub async fn an_expired_question_takes_no_answer(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let question = world.question(&claim.run, OPEN_FOR);
    world.append(&claim, vec![held(&question)]).await;
    world.clock.pass(OPEN_FOR);
    let late = world
        .store
        .resolve_approval(&session.owner, question.id, Choice::Once, "cli")
        .await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
}

// covers: R10
/// A question whose run ended cannot be answered any more.
pub async fn questions_lapse_with_their_run(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let question = world.question(&claim.run, OPEN_FOR);
    world.append(&claim, vec![held(&question)]).await;
    world.finish(&claim).await;
    let row = world
        .store
        .approval(&session.owner, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.state, ApprovalState::Cancelled);
    let late = world
        .store
        .resolve_approval(&session.owner, question.id, Choice::Once, "cli")
        .await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
}

/// What the run writes down is what the row says, an expiry included.
pub async fn an_answer_in_the_log_is_in_the_row(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let question = world.question(&claim.run, OPEN_FOR);
    let resolved = Entry::ApprovalResolved {
        approval: question.id,
        call: question.call,
        choice: Choice::Deny,
        by: "expiry".to_owned(),
    };
    world.append(&claim, vec![held(&question), resolved]).await;
    let row = world
        .store
        .approval(&session.owner, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.state, row.choice),
        (ApprovalState::Expired, Some(Choice::Deny))
    );
}

/// Grants come with an append or alone, and go when revoked.
pub async fn grants_are_kept_listed_and_revoked(world: &World) {
    let session = world.session("main").await;
    let claim = world.begin(&session, "hello").await;
    let grant = |agent: &str| Grant {
        id: GrantId::mint(world.clock.now(), world.number()),
        owner: session.owner.clone(),
        agent: AgentId::parse(agent).unwrap(),
        session: None,
        tool: "file_write".to_owned(),
        key: "a.txt".to_owned(),
        effect: GrantEffect::Allow,
        expires_at: None,
        created_at: world.clock.now(),
        created_by: "cli".to_owned(),
    };
    let (first, second) = (grant("main"), grant("other"));
    let append = Append {
        run: &claim.run,
        fence: claim.fence,
        entries: vec![],
        caps: vec![],
        grants: vec![first.clone()],
    };
    world.store.append(append).await.unwrap();
    world.store.put_grant(second.clone()).await.unwrap();
    let owner = &session.owner;
    assert_eq!(
        world.store.grants(owner, None).await.unwrap(),
        vec![second.clone(), first.clone()]
    );
    assert_eq!(
        world
            .store
            .grants(owner, Some(&AgentId::main()))
            .await
            .unwrap(),
        vec![first.clone()]
    );
    assert!(world.store.revoke_grant(owner, first.id).await.unwrap());
    assert!(!world.store.revoke_grant(owner, first.id).await.unwrap());
    assert_eq!(world.store.grants(owner, None).await.unwrap(), vec![second]);
}
