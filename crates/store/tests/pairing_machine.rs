//! The pairing state machine under any order of events: SQLite and the memory store agree, and what must hold holds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;

use adjutant_domain::access::{Role, Scope, Scopes};
use adjutant_domain::device::{
    ApprovedVia, Device, NewToken, NodeClaims, PAIRINGS_MAX, PAIRINGS_PER_SOURCE_MAX, PairingAsk,
    PairingReason, Standing, standing,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};
use adjutant_ports::store::{Approver, Store, StoreError};
use adjutant_sim::{MemoryStore, SimBus, SimClock, SimEntropy};
use adjutant_store::{Config, LocalBus, Sqlite};

#[derive(Debug, Clone)]
enum Step {
    Ask {
        device: u8,
        role: Role,
        scopes: Scopes,
        source: u8,
    },
    Silent {
        device: u8,
        scopes: Scopes,
    },
    Approve(usize),
    Reject(usize),
    WrongCode,
    Revoke {
        device: u8,
        role: Role,
    },
    Remove(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop_oneof![Just(Role::Operator), Just(Role::Node)];
    let scopes = proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=5)
        .prop_map(|scopes| Scopes::of(&scopes));
    prop_oneof![
        4 => (0..4u8, role.clone(), scopes.clone(), 0..3u8)
            .prop_map(|(device, role, scopes, source)| Step::Ask { device, role, scopes, source }),
        1 => (0..4u8, scopes).prop_map(|(device, scopes)| Step::Silent { device, scopes }),
        3 => any::<prop::sample::Index>().prop_map(|i| Step::Approve(i.index(64))),
        1 => any::<prop::sample::Index>().prop_map(|i| Step::Reject(i.index(64))),
        1 => Just(Step::WrongCode),
        1 => (0..4u8, role).prop_map(|(device, role)| Step::Revoke { device, role }),
        1 => (0..4u8).prop_map(Step::Remove),
        2 => (1..400u64).prop_map(Step::Pass),
    ]
}

fn id(n: u8) -> DeviceId {
    DeviceId::parse(format!("{n:064x}")).unwrap()
}

fn ask(device: u8, role: Role, scopes: Scopes, source: u8) -> PairingAsk {
    PairingAsk {
        device: id(device),
        public_key: format!("key {device}"),
        display_name: None,
        platform: "linux".to_owned(),
        device_family: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        role,
        scopes: if role == Role::Node {
            Scopes::NONE
        } else {
            scopes
        },
        claims: NodeClaims::default(),
        remote_ip: None,
        source: source.to_string(),
    }
}

fn token(role: Role, scopes: Scopes) -> NewToken {
    NewToken {
        role,
        scopes,
        salt: "salt".to_owned(),
        digest: "digest".to_owned(),
    }
}

/// What a step came to, without what differs from store to store.
#[derive(Debug, PartialEq)]
enum Came {
    Request(usize),
    Device(Box<Device>),
    Count(u64),
    Refused(&'static str),
    Nothing,
}

fn refused(error: &StoreError) -> Came {
    Came::Refused(match error {
        StoreError::Full { .. } => "full",
        StoreError::Conflict { .. } => "conflict",
        StoreError::NotFound { .. } => "not found",
        other => panic!("{other}"),
    })
}

/// A store under test and its requests in the order in which they were made.
struct Bench {
    store: Arc<dyn Store>,
    requests: Vec<PairingId>,
}

impl Bench {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            requests: vec![],
        }
    }

    /// The scopes that a person, or the rule, says yes to with this step.
    async fn asked(&self, step: &Step) -> Scopes {
        match step {
            Step::Silent { scopes, .. } => *scopes,
            Step::Approve(n) if !self.requests.is_empty() => {
                let id = self.requests[n % self.requests.len()];
                let request = self.store.pairing(&OwnerId::local(), id).await.unwrap();
                request.map_or(Scopes::NONE, |request| request.ask.scopes)
            }
            _ => Scopes::NONE,
        }
    }

    async fn take(&mut self, step: &Step) -> Came {
        let owner = OwnerId::local();
        let by = |via| Approver { by: "test", via };
        let device = |result: Result<Device, StoreError>| match result {
            Ok(device) => Came::Device(Box::new(device)),
            Err(error) => refused(&error),
        };
        match step {
            Step::Ask {
                device,
                role,
                scopes,
                source,
            } => {
                let ask = ask(*device, *role, *scopes, *source);
                let reason = PairingReason::NotPaired;
                match self.store.ask_pairing(&owner, &ask, reason).await {
                    Ok(asked) => {
                        let id = asked.request().id;
                        let known = self.requests.iter().position(|other| *other == id);
                        Came::Request(known.unwrap_or_else(|| {
                            self.requests.push(id);
                            self.requests.len() - 1
                        }))
                    }
                    Err(error) => refused(&error),
                }
            }
            Step::Silent { device: n, scopes } => {
                let ask = ask(*n, Role::Operator, *scopes, 0);
                let token = token(Role::Operator, *scopes);
                let paired = self
                    .store
                    .pair_device(&owner, &ask, by(ApprovedVia::Silent), token);
                device(paired.await)
            }
            Step::Approve(n) | Step::Reject(n) if self.requests.is_empty() => {
                let _nobody_has_asked = n;
                Came::Nothing
            }
            Step::Approve(n) => {
                let id = self.requests[n % self.requests.len()];
                let request = self.store.pairing(&owner, id).await.unwrap();
                let Some(request) = request else {
                    return Came::Nothing;
                };
                let token = token(request.ask.role, request.ask.scopes);
                let approver = by(ApprovedVia::Operator);
                let approved = self.store.approve_pairing(&owner, id, approver, token);
                device(approved.await)
            }
            Step::Reject(n) => {
                let id = self.requests[n % self.requests.len()];
                match self.store.reject_pairing(&owner, id, "test").await {
                    Ok(_) => Came::Count(1),
                    // A store may forget a request that has lapsed, sooner or later.
                    Err(_) => Came::Nothing,
                }
            }
            Step::WrongCode => Came::Count(self.store.wrong_pairing_code(&owner).await.unwrap()),
            Step::Revoke { device: n, role } => {
                let id = id(*n);
                let revoked = self.store.revoke_device_token(&owner, &id, *role, "test");
                device(revoked.await)
            }
            Step::Remove(n) => {
                let removed = self.store.remove_device(&owner, &id(*n), "test").await;
                Came::Count(removed.unwrap().into())
            }
            Step::Pass(_) => Came::Nothing,
        }
    }
}

/// Everything that was ever granted to a device since it was last unknown: what it has must be part of it.
#[derive(Default)]
struct Granted(BTreeMap<DeviceId, Scopes>);

impl Granted {
    fn note(&mut self, step: &Step, asked: Scopes, came: &Came) {
        match (step, came) {
            (Step::Approve(_) | Step::Silent { .. }, Came::Device(device)) => {
                let had = self.0.entry(device.id.clone()).or_default();
                *had = had.with(asked);
            }
            (Step::Remove(n), Came::Count(1)) => {
                self.0.remove(&id(*n));
            }
            _ => {}
        }
    }
}

async fn holds(bench: &Bench, granted: &Granted) {
    let owner = OwnerId::local();
    let open = bench.store.open_pairings(&owner).await.unwrap();
    assert!(open.len() <= PAIRINGS_MAX as usize);
    for request in &open {
        let of_source = open.iter().filter(|r| r.ask.source == request.ask.source);
        assert!(of_source.count() <= PAIRINGS_PER_SOURCE_MAX as usize);
        let of_device = open.iter().filter(|r| r.ask.device == request.ask.device);
        assert_eq!(of_device.count(), 1, "two requests of one device");
    }
    for device in bench.store.devices(&owner).await.unwrap() {
        let given = granted.0.get(&device.id).copied();
        let given = given.expect("nobody let this device in");
        assert!(given.cover(device.scopes));
        for token in &device.tokens {
            assert!(device.roles.contains(&token.role));
            let wish = ask(0, token.role, Scopes::NONE, 0);
            let wish = PairingAsk {
                device: device.id.clone(),
                public_key: device.public_key.clone(),
                ..wish
            };
            let paired = standing(Some(&device), &wish) == Standing::Paired;
            assert_eq!(paired, token.revoked_at.is_none(), "revoked yet paired");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_whatever_order_only_decisions_let_devices_in(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        // covers: S13, S14, D5
        let dir = tempfile::tempdir().unwrap();
        let clock = SimClock::new();
        let sqlite = Sqlite::open(
            dir.path(),
            Arc::clone(&clock) as _,
            Arc::new(LocalBus::new()),
            Arc::new(SimEntropy::new(1)),
            Config::default(),
        ).unwrap();
        let memory = MemoryStore::new(
            Arc::clone(&clock) as _,
            Arc::new(SimEntropy::new(2)),
            SimBus::reliable(),
        );
        let mut benches = [Bench::new(sqlite), Bench::new(Arc::new(memory))];
        let mut granted = Granted::default();
        block_on(async {
            for step in &steps {
                clock.pass(Duration::from_millis(1));
                if let Step::Pass(s) = step {
                    clock.pass(Duration::from_secs(*s));
                }
                let [sqlite, memory] = &mut benches;
                let asked = sqlite.asked(step).await;
                let (one, two) = (sqlite.take(step).await, memory.take(step).await);
                assert_eq!(one, two, "{step:?}");
                granted.note(step, asked, &one);
                holds(sqlite, &granted).await;
            }
        });
    }
}
