//! Mailboxes of nodes.

use std::time::Duration;

use adjutant_domain::access::{Role, Scopes};
use adjutant_domain::device::{ApprovedVia, NewToken, NodeClaims, PairingAsk};
use adjutant_domain::id::{DeviceId, OwnerId};
use adjutant_domain::node::{
    ANSWERS_KEPT, Invoke, InvokeAnswer, MAILBOX_ITEMS_MAX, OPEN_INVOKES_MAX,
};
use adjutant_ports::Clock;
use adjutant_ports::store::{Approver, NewInvoke, Posted, StoreError};

use super::world::World;

fn node(n: u32) -> DeviceId {
    DeviceId::parse(format!("{n:064x}")).unwrap()
}

fn ask(world: &World, n: u32, key: &str) -> NewInvoke {
    NewInvoke {
        owner: OwnerId::local(),
        node: node(n),
        command: "system.which".to_owned(),
        params: Some("{}".to_owned()),
        key: key.to_owned(),
        digest: "d".to_owned(),
        asked_by: "frames:test".to_owned(),
        deadline_at: world.clock.now().plus(Duration::from_secs(30)),
    }
}

async fn post(world: &World, n: u32, key: &str) -> Invoke {
    world.clock.pass(Duration::from_millis(2));
    let posted = world.store.post_invoke(&ask(world, n, key)).await.unwrap();
    assert!(matches!(posted, Posted::New(_)), "{key} was seen");
    posted.invoke().clone()
}

async fn answer(world: &World, n: u32, invoke: &Invoke) -> Option<Invoke> {
    let done = InvokeAnswer::Done(Some("1".to_owned()));
    world
        .store
        .answer_invoke(&OwnerId::local(), &node(n), invoke.id, &done)
        .await
        .unwrap()
}

/// The same key is the same request, and gets its answer once there is one; for something else it is refused.
pub async fn a_key_is_one_request_and_keeps_its_answer(world: &World) {
    let first = post(world, 1, "k").await;
    let again = world.store.post_invoke(&ask(world, 1, "k")).await.unwrap();
    assert_eq!(again, Posted::Seen(first.clone()));
    let answered = answer(world, 1, &first).await.unwrap();
    assert_eq!(
        answered.answer,
        Some(InvokeAnswer::Done(Some("1".to_owned())))
    );
    let again = world.store.post_invoke(&ask(world, 1, "k")).await.unwrap();
    assert_eq!(again, Posted::Seen(answered));
    let found = world.store.invoke_of_key(&OwnerId::local(), "k").await;
    assert_eq!(found.unwrap().map(|it| it.id), Some(first.id));
    let other = NewInvoke {
        digest: "other".to_owned(),
        ..ask(world, 1, "k")
    };
    let refused = world.store.post_invoke(&other).await;
    assert!(matches!(refused, Err(StoreError::KeyReused)));
}

/// An answer counts once, from the node that was asked, before the deadline.
pub async fn an_answer_counts_once_and_from_the_right_node(world: &World) {
    let asked = post(world, 1, "a").await;
    assert_eq!(answer(world, 2, &asked).await, None, "another node's");
    assert!(answer(world, 1, &asked).await.is_some());
    assert_eq!(answer(world, 1, &asked).await, None, "answered before");
    let late = post(world, 1, "b").await;
    world.clock.pass(Duration::from_secs(31));
    assert_eq!(answer(world, 1, &late).await, None, "too late");
    let stranger = OwnerId::parse("somebody-else").unwrap();
    let done = InvokeAnswer::Done(None);
    let other = world
        .store
        .answer_invoke(&stranger, &node(1), late.id, &done)
        .await;
    assert_eq!(other.unwrap(), None);
    assert_eq!(world.store.invoke(&stranger, asked.id).await.unwrap(), None);
}

/// What waits is given out again, oldest first, until it is answered or over.
pub async fn what_waits_is_given_out_again(world: &World) {
    let first = post(world, 1, "a").await;
    let second = post(world, 1, "b").await;
    post(world, 2, "c").await;
    let open = |n| async move {
        let open = world.store.open_invokes(&OwnerId::local(), &node(n)).await;
        open.unwrap()
            .into_iter()
            .map(|it| it.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(open(1).await, [first.id, second.id]);
    answer(world, 1, &first).await;
    assert_eq!(open(1).await, [second.id]);
    world.clock.pass(Duration::from_secs(31));
    assert!(open(1).await.is_empty());
}

/// A node that does not answer is not asked without end, and answers are not kept without end.
pub async fn a_mailbox_has_its_bounds(world: &World) {
    for n in 0..OPEN_INVOKES_MAX {
        post(world, 1, &format!("open {n}")).await;
    }
    let refused = world.store.post_invoke(&ask(world, 1, "more")).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    post(world, 2, "another node").await;
    world.clock.pass(Duration::from_secs(31));
    let first = post(world, 1, "after").await;
    answer(world, 1, &first).await;
    for n in 0..MAILBOX_ITEMS_MAX {
        let asked = post(world, 1, &format!("many {n}")).await;
        answer(world, 1, &asked).await;
    }
    let found = world.store.invoke(&OwnerId::local(), first.id).await;
    assert_eq!(found.unwrap(), None, "the oldest answers go");
    let last = post(world, 1, "last").await;
    world.clock.pass(ANSWERS_KEPT + Duration::from_secs(1));
    post(world, 1, "the next day").await;
    let found = world.store.invoke(&OwnerId::local(), last.id).await;
    assert_eq!(found.unwrap(), None, "old ones go");
}

/// What a node may be asked changes by approval only, and that is written down.
pub async fn what_a_node_offers_is_approved(world: &World) {
    let ask = PairingAsk {
        device: node(7),
        public_key: "key".to_owned(),
        display_name: None,
        platform: "linux".to_owned(),
        device_family: None,
        client_id: "node-host".to_owned(),
        client_mode: "node".to_owned(),
        role: Role::Node,
        scopes: Scopes::NONE,
        claims: NodeClaims::default(),
        remote_ip: None,
        source: "here".to_owned(),
    };
    let token = NewToken {
        role: Role::Node,
        scopes: Scopes::NONE,
        salt: "salt".to_owned(),
        digest: "digest".to_owned(),
    };
    let by = Approver {
        by: "frames:test",
        via: ApprovedVia::Operator,
    };
    let (owner, store) = (OwnerId::local(), &world.store);
    store.pair_device(&owner, &ask, by, token).await.unwrap();
    let claims = NodeClaims {
        commands: ["system.run".to_owned()].into(),
        path_env: Some("/bin".to_owned()),
        ..NodeClaims::default()
    };
    let approved = store
        .approve_claims(&owner, &node(7), &claims, "frames:test")
        .await;
    assert_eq!(approved.unwrap().claims, claims.for_record());
    let read = store.device(&owner, &node(7)).await.unwrap().unwrap();
    assert_eq!(read.claims, claims.for_record());
    let unknown = store
        .approve_claims(&owner, &node(8), &claims, "frames:test")
        .await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    let records = store.audit_records(&owner, 10).await.unwrap();
    assert!(
        records
            .iter()
            .any(|it| it.action == "node.pair.approve" && it.by == "frames:test")
    );
}
