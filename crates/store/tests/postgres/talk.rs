//! Short words for what these tests say to a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adjutant_domain::id::{
    AgentId, ClientKey, MessageId, OwnerId, RunId, SessionKey, ThreadId, WorkerId,
};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Entry, Limits, Outcome, Run, Wake, Work};
use adjutant_domain::session::Session;
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{Append, Appended, Claim, Intake, Store, Stored, text_parts};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Numbers that were not used before in this process.
pub(crate) fn number() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 32 | u128::from(std::process::id())
}

pub(crate) fn at() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn worker() -> WorkerId {
    WorkerId::mint(at(), number())
}

pub(crate) async fn session(store: &dyn Store, rest: &str) -> Session {
    let key = SessionKey::parse(format!("agent:main:{rest}")).unwrap();
    store
        .open_session(&OwnerId::local(), &key, None, None)
        .await
        .unwrap()
}

pub(crate) fn message(thread: ThreadId, text: &str, at: Timestamp, number: u128) -> Message {
    Message {
        id: MessageId::mint(at, number),
        thread,
        seq: None,
        role: Role::User,
        parts: text_parts(text),
        run: None,
        label: Label::of(Origin::Owner),
        at,
    }
}

pub(crate) fn intake_at(
    session: &Session,
    key: Option<&str>,
    text: &str,
    at: Timestamp,
    number: u128,
) -> Intake {
    Intake {
        run: Run {
            id: RunId::mint(at, number),
            owner: session.owner.clone(),
            agent: AgentId::main(),
            session: session.id,
            session_key: session.key.clone(),
            thread: session.thread,
            client_key: key.map(|key| ClientKey::parse(key).unwrap()),
            priority: 0,
            needs: Needs::default(),
        },
        message: Some(message(session.thread, text, at, number)),
        limits: Limits::default(),
        work: Work::Chat,
        method: "chat.send",
        digest: format!("digest of {text}"),
    }
}

pub(crate) fn intake(session: &Session, key: Option<&str>, text: &str) -> Intake {
    intake_at(session, key, text, at(), number())
}

pub(crate) fn finished() -> Entry {
    Entry::Finished {
        outcome: Outcome::Cancelled {
            by: "test".to_owned(),
        },
        usage: Usage::default(),
        cost: Cost::Priced {
            micros: Micros::ZERO,
        },
    }
}

pub(crate) fn parked(until: Timestamp) -> Entry {
    Entry::Parked {
        until: Wake::Retry { at: until },
    }
}

pub(crate) async fn append(
    store: &dyn Store,
    claim: &Claim,
    entries: Vec<Entry>,
) -> Stored<Appended> {
    store
        .append(Append {
            run: &claim.run,
            fence: claim.fence,
            entries,
            caps: vec![],
            grants: vec![],
        })
        .await
}
