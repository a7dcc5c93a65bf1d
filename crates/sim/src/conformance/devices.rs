//! Devices, requests, setup codes.

use std::time::Duration;

use adjutant_domain::access::{Role, Scope, Scopes};
use adjutant_domain::device::{
    ApprovedVia, Device, NewToken, NodeClaims, PAIRING_LIFE, PAIRING_TRIES_MAX, PAIRINGS_MAX,
    PAIRINGS_PER_SOURCE_MAX, PairingAsk, PairingReason, PairingState, SetupCode,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_ports::Clock;
use adjutant_ports::store::{Approver, Asked, Seen, StoreError, TokenChange};

use super::world::World;

fn id(n: u32) -> DeviceId {
    DeviceId::parse(format!("{n:064x}")).unwrap()
}

fn read() -> Scopes {
    Scopes::of(&[Scope::Read])
}

fn ask(n: u32, source: &str, scopes: Scopes) -> PairingAsk {
    PairingAsk {
        device: id(n),
        public_key: format!("key {n}"),
        display_name: Some("a box".to_owned()),
        platform: "linux".to_owned(),
        device_family: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        role: Role::Operator,
        scopes,
        claims: NodeClaims::default(),
        remote_ip: Some(source.to_owned()),
        source: source.to_owned(),
    }
}

fn node(n: u32) -> PairingAsk {
    let mut node = ask(n, "192.0.2.1", Scopes::NONE);
    node.role = Role::Node;
    node.claims.commands = ["system.run".to_owned()].into();
    node
}

fn token(role: Role, scopes: Scopes, digest: &str) -> NewToken {
    NewToken {
        role,
        scopes,
        salt: format!("salt of {digest}"),
        digest: digest.to_owned(),
    }
}

const BY: Approver<'_> = Approver {
    by: "frames:test",
    via: ApprovedVia::Operator,
};

async fn filed(world: &World, ask: &PairingAsk) -> PairingId {
    world.clock.pass(Duration::from_millis(5));
    let asked = world
        .store
        .ask_pairing(&OwnerId::local(), ask, PairingReason::NotPaired)
        .await
        .unwrap();
    asked.request().id
}

async fn approve(world: &World, id: PairingId, token: NewToken) -> Result<Device, StoreError> {
    world
        .store
        .approve_pairing(&OwnerId::local(), id, BY, token)
        .await
}

fn operator_token(digest: &str) -> NewToken {
    token(Role::Operator, read(), digest)
}

/// The same wish is the same request; the answer makes the device with exactly what was asked, once.
pub async fn a_request_is_filed_once_and_approved_once(world: &World) {
    let owner = OwnerId::local();
    let wish = ask(1, "192.0.2.1", read());
    let request = filed(world, &wish).await;
    let again = world
        .store
        .ask_pairing(&owner, &wish, PairingReason::NotPaired)
        .await
        .unwrap();
    assert!(matches!(again, Asked::Again(r) if r.id == request));
    let open = world.store.open_pairings(&owner).await.unwrap();
    assert_eq!((open.len(), &open[0].ask), (1, &wish));
    assert_eq!(world.store.device(&owner, &id(1)).await.unwrap(), None);
    let device = approve(world, request, operator_token("d1")).await.unwrap();
    assert_eq!((&device.id, device.scopes), (&id(1), read()));
    assert_eq!(device.approved_via, ApprovedVia::Operator);
    assert_eq!(device.token(Role::Operator).unwrap().digest, "d1");
    let kept = world.store.device(&owner, &id(1)).await.unwrap();
    assert_eq!(kept, Some(device.clone()));
    assert_eq!(world.store.devices(&owner).await.unwrap(), [device]);
    let twice = approve(world, request, operator_token("d2")).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })));
    let rejected = world.store.reject_pairing(&owner, request, "x").await;
    assert!(matches!(rejected, Err(StoreError::Conflict { .. })));
    assert!(world.store.open_pairings(&owner).await.unwrap().is_empty());
    let unknown = PairingId::mint(world.clock.now(), world.number());
    let unknown = approve(world, unknown, operator_token("d3")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

/// What a person saw cannot grow under their hands.
pub async fn another_wish_takes_the_place_of_the_first(world: &World) {
    let owner = OwnerId::local();
    let small = filed(world, &ask(1, "192.0.2.1", read())).await;
    let large = filed(world, &ask(1, "192.0.2.1", Scopes::ALL)).await;
    assert_ne!(small, large);
    let refused = approve(world, small, operator_token("d")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    let rejected = world
        .store
        .reject_pairing(&owner, large, "frames:test")
        .await
        .unwrap();
    assert_eq!(rejected.state, PairingState::Rejected);
    assert_eq!(world.store.device(&owner, &id(1)).await.unwrap(), None);
    // Letting it in another way answers what it asked before.
    let third = filed(world, &ask(1, "192.0.2.1", read())).await;
    let silent = Approver {
        by: "frames:test",
        via: ApprovedVia::Silent,
    };
    let wish = ask(1, "127.0.0.1", read());
    let device = world
        .store
        .pair_device(&owner, &wish, silent, operator_token("d"))
        .await
        .unwrap();
    assert_eq!(device.approved_via, ApprovedVia::Silent);
    let late = approve(world, third, operator_token("e")).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));
}

/// Three per source and twenty in all, whatever became of them, until they lapse.
pub async fn a_source_and_all_sources_have_their_bounds(world: &World) {
    let owner = OwnerId::local();
    let wish = async |n: u32, source: &str| {
        world
            .store
            .ask_pairing(&owner, &ask(n, source, read()), PairingReason::NotPaired)
            .await
    };
    for n in 0..PAIRINGS_PER_SOURCE_MAX {
        let request = wish(n, "192.0.2.1").await.unwrap();
        world
            .store
            .reject_pairing(&owner, request.request().id, "x")
            .await
            .unwrap();
    }
    let fourth = wish(9, "192.0.2.1").await;
    assert!(matches!(fourth, Err(StoreError::Full { .. })));
    let mut n = PAIRINGS_PER_SOURCE_MAX;
    while n < PAIRINGS_MAX {
        wish(n + 100, &format!("198.51.100.{n}")).await.unwrap();
        n += 1;
    }
    let one_more = wish(999, "203.0.113.1").await;
    assert!(matches!(one_more, Err(StoreError::Full { .. })));
    // Asking for the same again needs no room.
    let again = wish(n + 99, &format!("198.51.100.{}", n - 1)).await;
    assert!(matches!(again, Ok(Asked::Again(_))));
    world.clock.pass(PAIRING_LIFE);
    assert!(wish(9, "192.0.2.1").await.is_ok());
}

/// Five minutes, five wrong codes.
pub async fn a_request_lapses_by_time_and_by_wrong_codes(world: &World) {
    let owner = OwnerId::local();
    let late = filed(world, &ask(1, "192.0.2.1", read())).await;
    world.clock.pass(PAIRING_LIFE);
    assert!(world.store.open_pairings(&owner).await.unwrap().is_empty());
    let refused = approve(world, late, operator_token("d")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    let guessed = filed(world, &ask(2, "192.0.2.1", read())).await;
    for left in (0..PAIRING_TRIES_MAX).rev() {
        let open = world.store.wrong_pairing_code(&owner).await.unwrap();
        assert_eq!(open, u64::from(left > 0));
    }
    let refused = approve(world, guessed, operator_token("d")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    let request = world.store.pairing(&owner, guessed).await.unwrap();
    assert_eq!(request.unwrap().state, PairingState::Spent);
}

/// A token belongs to a role; what was revoked comes back by pairing only.
pub async fn tokens_are_replaced_and_revoked(world: &World) {
    let owner = OwnerId::local();
    let request = filed(world, &node(1)).await;
    approve(world, request, token(Role::Node, Scopes::NONE, "n1"))
        .await
        .unwrap();
    let put = async |new: NewToken| {
        world
            .store
            .put_device_token(&owner, &id(1), new, TokenChange::Rotated, "x")
            .await
    };
    let rotated = put(token(Role::Node, Scopes::NONE, "n2")).await.unwrap();
    let kept = rotated.token(Role::Node).unwrap();
    assert_eq!((kept.digest.as_str(), rotated.tokens.len()), ("n2", 1));
    assert!(kept.rotated_at.is_some() && kept.via == ApprovedVia::Operator);
    let other = put(operator_token("o1")).await;
    assert!(matches!(other, Err(StoreError::NotFound { .. })));
    let seen = Seen {
        remote_ip: Some("192.0.2.9"),
        with_token: true,
    };
    world
        .store
        .device_seen(&owner, &id(1), Role::Node, seen)
        .await
        .unwrap();
    let device = world.store.device(&owner, &id(1)).await.unwrap().unwrap();
    assert_eq!(device.remote_ip.as_deref(), Some("192.0.2.9"));
    assert!(device.token(Role::Node).unwrap().last_used_at.is_some());
    let revoked = world
        .store
        .revoke_device_token(&owner, &id(1), Role::Node, "x")
        .await
        .unwrap();
    assert!(revoked.token(Role::Node).unwrap().revoked_at.is_some());
    let back = put(token(Role::Node, Scopes::NONE, "n3")).await;
    assert!(matches!(back, Err(StoreError::Conflict { .. })));
    let request = filed(world, &node(1)).await;
    let paired = approve(world, request, token(Role::Node, Scopes::NONE, "n4"))
        .await
        .unwrap();
    assert!(paired.token(Role::Node).unwrap().revoked_at.is_none());
    let named = world
        .store
        .rename_device(&owner, &id(1), "attic", "x")
        .await
        .unwrap();
    assert_eq!(named.display_name.as_deref(), Some("attic"));
    assert!(
        world
            .store
            .remove_device(&owner, &id(1), "x")
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .remove_device(&owner, &id(1), "x")
            .await
            .unwrap()
    );
    assert_eq!(world.store.device(&owner, &id(1)).await.unwrap(), None);
}

/// One use, within its time, with the roles and scopes it was made for.
pub async fn a_setup_code_works_once(world: &World) {
    let owner = OwnerId::local();
    let code = SetupCode {
        owner: owner.clone(),
        digest: "c1".to_owned(),
        roles: [Role::Operator, Role::Node].into(),
        scopes: read(),
        made_by: "http:token".to_owned(),
        expires_at: world.clock.now().plus(PAIRING_LIFE),
    };
    world.store.put_setup_code(&code).await.unwrap();
    let there = world.store.setup_code(&owner, "c1").await.unwrap();
    assert_eq!(there, Some(code.clone()));
    let redeem = async |digest: &str| {
        let tokens = vec![operator_token("o"), token(Role::Node, Scopes::NONE, "n")];
        world
            .store
            .redeem_setup_code(&owner, digest, &node(1), tokens)
            .await
    };
    let device = redeem("c1").await.unwrap();
    assert_eq!((device.roles.len(), device.scopes), (2, read()));
    assert_eq!(device.approved_via, ApprovedVia::SetupCode);
    assert_eq!(device.tokens.len(), 2);
    let twice = redeem("c1").await;
    assert!(matches!(twice, Err(StoreError::NotFound { .. })));
    let late = SetupCode {
        digest: "c2".to_owned(),
        ..code
    };
    world.store.put_setup_code(&late).await.unwrap();
    world.clock.pass(PAIRING_LIFE);
    assert_eq!(world.store.setup_code(&owner, "c2").await.unwrap(), None);
    let lapsed = redeem("c2").await;
    assert!(matches!(lapsed, Err(StoreError::NotFound { .. })));
}

/// Every decision has its record, with who and what.
pub async fn what_is_decided_is_written_down(world: &World) {
    let owner = OwnerId::local();
    let request = filed(world, &ask(1, "192.0.2.1", read())).await;
    approve(world, request, operator_token("d")).await.unwrap();
    let request = filed(world, &ask(2, "192.0.2.1", read())).await;
    world
        .store
        .reject_pairing(&owner, request, "frames:test")
        .await
        .unwrap();
    let rotated = operator_token("e");
    world
        .store
        .put_device_token(&owner, &id(1), rotated, TokenChange::Rotated, "frames:test")
        .await
        .unwrap();
    world
        .store
        .revoke_device_token(&owner, &id(1), Role::Operator, "frames:test")
        .await
        .unwrap();
    let records = world.store.audit_records(&owner, 10).await.unwrap();
    let found: Vec<(&str, &str, &str)> = records
        .iter()
        .rev()
        .map(|r| (r.action.as_str(), r.subject.as_str(), r.by.as_str()))
        .collect();
    let (one, two) = (id(1), id(2));
    assert_eq!(
        found,
        [
            ("device.pair.approve", one.as_str(), "frames:test"),
            ("device.pair.reject", two.as_str(), "frames:test"),
            ("device.token.rotate", one.as_str(), "frames:test"),
            ("device.token.revoke", one.as_str(), "frames:test"),
        ]
    );
    let texts = serde_json::to_string(&records).unwrap();
    assert!(!texts.contains("salt of"));
}

/// Another owner sees and answers nothing of it.
pub async fn a_second_owner_has_other_devices(world: &World) {
    let stranger = OwnerId::parse("stranger").unwrap();
    let request = filed(world, &ask(1, "192.0.2.1", read())).await;
    assert_eq!(world.store.pairing(&stranger, request).await.unwrap(), None);
    let refused = world
        .store
        .approve_pairing(&stranger, request, BY, operator_token("d"))
        .await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    approve(world, request, operator_token("d")).await.unwrap();
    assert_eq!(world.store.device(&stranger, &id(1)).await.unwrap(), None);
    assert!(world.store.devices(&stranger).await.unwrap().is_empty());
    assert!(
        !world
            .store
            .remove_device(&stranger, &id(1), "x")
            .await
            .unwrap()
    );
    let revoked = world
        .store
        .revoke_device_token(&stranger, &id(1), Role::Operator, "x")
        .await;
    assert!(matches!(revoked, Err(StoreError::NotFound { .. })));
}
