#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::access::Scope;

type Change = fn(&mut PairingAsk);

fn id(n: u8) -> DeviceId {
    DeviceId::parse(format!("{n:02x}").repeat(32)).unwrap()
}

fn ask(role: Role, scopes: Scopes, commands: &[&str]) -> PairingAsk {
    PairingAsk {
        device: id(1),
        public_key: "key".to_owned(),
        display_name: None,
        platform: "linux".to_owned(),
        device_family: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        role,
        scopes,
        claims: NodeClaims {
            commands: commands.iter().map(|&c| c.to_owned()).collect(),
            ..NodeClaims::default()
        },
        remote_ip: None,
        source: "127.0.0.1".to_owned(),
    }
}

fn device(ask: &PairingAsk, via: ApprovedVia) -> Device {
    Device {
        owner: OwnerId::local(),
        id: ask.device.clone(),
        public_key: ask.public_key.clone(),
        display_name: None,
        platform: ask.platform.clone(),
        device_family: ask.device_family.clone(),
        client_id: ask.client_id.clone(),
        client_mode: ask.client_mode.clone(),
        roles: [ask.role].into(),
        scopes: ask.scopes,
        claims: ask.claims.clone(),
        tokens: vec![DeviceToken {
            role: ask.role,
            via,
            scopes: ask.scopes,
            salt: "s".to_owned(),
            digest: "d".to_owned(),
            created_at: Timestamp::default(),
            rotated_at: None,
            revoked_at: None,
            last_used_at: None,
        }],
        remote_ip: None,
        approved_by: "x".to_owned(),
        approved_via: via,
        created_at: Timestamp::default(),
        approved_at: Timestamp::default(),
        last_seen_at: None,
    }
}

#[test]
fn changed_key_platform_role_and_scopes_each_need_a_new_decision() {
    // covers: S13
    let was = ask(Role::Operator, Scopes::of(&[Scope::Read]), &[]);
    let known = device(&was, ApprovedVia::Operator);
    let needs = |change: Change| {
        let mut now = was.clone();
        change(&mut now);
        standing(Some(&known), &now)
    };
    assert_eq!(needs(|_| {}), Standing::Paired);
    assert_eq!(
        needs(|a| a.platform = "Linux 6.1".to_owned()),
        Standing::Paired
    );
    let cases: [(Change, PairingReason); 5] = [
        (
            |a| a.public_key = "other".to_owned(),
            PairingReason::NotPaired,
        ),
        (|a| a.device = id(2), PairingReason::NotPaired),
        (
            |a| a.platform = "darwin".to_owned(),
            PairingReason::MetadataUpgrade,
        ),
        (|a| a.role = Role::Node, PairingReason::RoleUpgrade),
        (
            |a| a.scopes = Scopes::of(&[Scope::Write]),
            PairingReason::ScopeUpgrade,
        ),
    ];
    for (change, reason) in cases {
        assert_eq!(needs(change), Standing::Needs(reason));
    }
    assert_eq!(
        standing(None, &was),
        Standing::Needs(PairingReason::NotPaired)
    );
}

#[test]
fn what_was_revoked_is_never_given_back_without_a_person() {
    // covers: S14
    let was = ask(Role::Operator, Scopes::ALL, &[]);
    let mut known = device(&was, ApprovedVia::Silent);
    known.tokens[0].revoked_at = Some(Timestamp::default());
    let Standing::Needs(reason) = standing(Some(&known), &was) else {
        panic!("still paired");
    };
    assert_eq!(reason, PairingReason::Revoked);
    assert!(!may_be_silent(reason, &was));
}

#[test]
fn a_node_that_offers_shell_camera_screen_or_location_is_never_let_in_silently() {
    for command in [
        "system.run",
        "camera.snap",
        "screen.record",
        "location.get",
        "sms.send",
    ] {
        let wants = ask(Role::Node, Scopes::NONE, &["canvas.present", command]);
        assert!(
            !may_be_silent(PairingReason::NotPaired, &wants),
            "{command}"
        );
    }
    let mut system = ask(Role::Node, Scopes::NONE, &[]);
    system.claims.caps = ["system".to_owned()].into();
    assert!(!may_be_silent(PairingReason::NotPaired, &system));
    let harmless = ask(
        Role::Node,
        Scopes::NONE,
        &["canvas.present", "system.notify"],
    );
    assert!(may_be_silent(PairingReason::NotPaired, &harmless));
    // … and does not become one later.
    let known = device(&harmless, ApprovedVia::Silent);
    let grown = ask(Role::Node, Scopes::NONE, &["canvas.present", "system.run"]);
    assert_eq!(
        standing(Some(&known), &grown),
        Standing::Needs(PairingReason::ClaimsUpgrade)
    );
}

#[test]
fn a_decision_gives_what_was_asked_on_top_or_instead() {
    // covers: S13
    let (read, write) = (Scopes::of(&[Scope::Read]), Scopes::of(&[Scope::Write]));
    let owner = OwnerId::local();
    let admit = |before: Option<Device>, ask: &PairingAsk| {
        let roles = BTreeSet::from([ask.role]);
        let grant = Grant {
            owner: &owner,
            roles: &roles,
            scopes: ask.scopes,
            by: "x",
            via: ApprovedVia::Operator,
            at: Timestamp::default(),
        };
        Device::admitted(before, ask, grant)
    };
    let was = ask(Role::Operator, read, &[]);
    let known = device(&was, ApprovedVia::Operator);
    let more = admit(Some(known.clone()), &ask(Role::Operator, write, &[]));
    assert_eq!(more.scopes, read.with(write));
    let node = admit(Some(known.clone()), &ask(Role::Node, Scopes::NONE, &[]));
    assert_eq!((node.scopes, node.roles.len()), (read, 2));
    let mut moved = ask(Role::Operator, write, &[]);
    moved.platform = "darwin".to_owned();
    let moved = admit(Some(node), &moved);
    assert_eq!((moved.scopes, moved.roles.len()), (write, 1));
    let mut revoked = known;
    revoked.tokens[0].revoked_at = Some(Timestamp::default());
    let back = admit(Some(revoked), &ask(Role::Operator, write, &[]));
    assert_eq!((back.scopes, back.tokens.len()), (write, 0));
}

#[test]
fn versions_of_a_system_are_not_another_system() {
    let kinds = [
        ("iOS 18.1", PlatformKind::Ios),
        ("iPhone", PlatformKind::Ios),
        ("android 15", PlatformKind::Android),
        ("MacIntel", PlatformKind::Macos),
        ("darwin", PlatformKind::Macos),
        (" Linux x86_64", PlatformKind::Linux),
        ("win32", PlatformKind::Windows),
        ("BeOS", PlatformKind::Other),
    ];
    for (text, kind) in kinds {
        assert_eq!(PlatformKind::of(text), kind, "{text}");
    }
}

fn scopes() -> impl Strategy<Value = Scopes> {
    proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=5).prop_map(|s| Scopes::of(&s))
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Operator), Just(Role::Node)]
}

proptest! {
    /// Whoever stands as paired has the role, and every scope it asked for was decided before.
    #[test]
    fn paired_means_that_everything_was_decided_before(
        had_role in role(), had in scopes(), wants_role in role(), wants in scopes(),
        revoked in any::<bool>(), shell in any::<bool>(), silent in any::<bool>(),
    ) {
        // covers: S10, S13, D5
        let commands: &[&str] = if shell { &["system.run"] } else { &[] };
        let mut known = device(
            &ask(had_role, had, &[]),
            if silent { ApprovedVia::Silent } else { ApprovedVia::Operator },
        );
        known.tokens[0].revoked_at = revoked.then(Timestamp::default);
        let now = ask(wants_role, wants, commands);
        let paired = standing(Some(&known), &now) == Standing::Paired;
        let covered = wants_role == Role::Node || wants.iter().all(|s| had.allow(s));
        let seen = wants_role == Role::Operator || !(shell && silent);
        prop_assert_eq!(paired, had_role == wants_role && covered && !revoked && seen);
    }
}
