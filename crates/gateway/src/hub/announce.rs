//! Events that no run causes, to whom their row of the event table says; and what frames clients asked to hear of
//! sessions.

use std::collections::BTreeSet;

use adjutant_protocol::{Codec as _, EventType, Loss, Outbound};

use super::{Drop, Format, Hub, Subscriber};

/// Sessions whose messages one client may ask for; beyond, it must ask for all of them.
pub(crate) const FEED_SESSIONS_MAX: usize = 64;

/// Which changes of sessions a client asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Feed {
    /// Changes and messages of every session.
    pub(crate) all: bool,
    /// Messages of these sessions.
    pub(crate) sessions: BTreeSet<String>,
}

impl Feed {
    fn hears(&self, session: &str) -> bool {
        self.all || self.sessions.contains(session)
    }
}

/// A change of a client's [`Feed`].
#[derive(Debug, Clone)]
pub(crate) enum FeedChange {
    /// Everything from now on.
    All,
    /// No longer everything.
    NotAll,
    /// Messages of this session, too.
    Session(String),
    /// No longer this session's.
    NotSession(String),
}

/// What became of a [`FeedChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedChanged {
    /// It counts.
    Done,
    /// The client has asked for as many sessions as it may.
    Full,
    /// The connection is over, or does not speak frames.
    NotHere,
}

impl Hub {
    /// Tells an event to every frames client that may hear it.
    pub(crate) fn broadcast<E: EventType>(
        &self,
        payload: &E::Payload,
        state_version: Option<(u64, u64)>,
    ) {
        self.pass::<E>(payload, state_version, |_| true);
    }

    /// Tells an event about a session to those who asked for it.
    pub(crate) fn broadcast_session<E: EventType>(&self, payload: &E::Payload, session: &str) {
        self.pass::<E>(payload, None, |subscriber| subscriber.feed.hears(session));
    }

    /// Tells an event to those who show only questions of plugins.
    pub(crate) fn broadcast_as_plugin<E: EventType>(&self, payload: &E::Payload) {
        self.pass::<E>(payload, None, Subscriber::shows_plugin_questions);
    }

    /// Whether a connection shows only questions of plugins.
    pub(crate) fn shows_plugin_questions(&self, connection: u64) -> bool {
        let state = self.lock();
        let found = state.subscribers.get(&connection);
        found.is_some_and(Subscriber::shows_plugin_questions)
    }

    fn pass<E: EventType>(
        &self,
        payload: &E::Payload,
        state_version: Option<(u64, u64)>,
        wants: impl Fn(&Subscriber) -> bool,
    ) {
        let Ok(payload) = serde_json::value::to_raw_value(payload) else {
            return;
        };
        let row = E::SPEC;
        let mut state = self.lock();
        for subscriber in state.subscribers.values_mut() {
            let Format::Frames { codec, .. } = subscriber.format else {
                continue;
            };
            let may = row.audience.includes(subscriber.role, subscriber.scopes);
            if !may || !wants(subscriber) {
                continue;
            }
            subscriber.seq += 1;
            let text = codec.encode(Outbound::Event {
                name: row.name,
                payload: &payload,
                seq: Some(subscriber.seq),
                state_version,
            });
            subscriber.outbox.event(text.into(), drop_of(row.loss));
        }
    }

    /// Whether some frames client asked for changes of sessions.
    pub(crate) fn has_feeds(&self) -> bool {
        let state = self.lock();
        state
            .subscribers
            .values()
            .any(|s| s.reads && s.feed != Feed::default())
    }

    /// Changes what a frames client hears of sessions.
    pub(crate) fn change_feed(&self, connection: u64, change: FeedChange) -> FeedChanged {
        let mut state = self.lock();
        let Some(subscriber) = state.subscribers.get_mut(&connection) else {
            return FeedChanged::NotHere;
        };
        if !matches!(subscriber.format, Format::Frames { .. }) {
            return FeedChanged::NotHere;
        }
        let feed = &mut subscriber.feed;
        match change {
            FeedChange::All => feed.all = true,
            FeedChange::NotAll => feed.all = false,
            FeedChange::Session(key) => {
                if feed.sessions.len() >= FEED_SESSIONS_MAX && !feed.sessions.contains(&key) {
                    return FeedChanged::Full;
                }
                feed.sessions.insert(key);
            }
            FeedChange::NotSession(key) => {
                feed.sessions.remove(&key);
            }
        }
        FeedChanged::Done
    }
}

fn drop_of(loss: Loss) -> Drop {
    match loss {
        Loss::WhenFull | Loss::Pieces => Drop::WhenFull,
        Loss::Never => Drop::Never,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use adjutant_domain::id::OwnerId;
    use adjutant_domain::time::Timestamp;
    use adjutant_protocol::events::connection::{PresenceChanged, PresenceEvent, Tick, TickEvent};
    use adjutant_protocol::events::questions::{ExecApprovalResolved, ExecApprovalResolvedEvent};
    use adjutant_protocol::events::sessions::{SessionsChanged, SessionsChangedEvent};
    use adjutant_protocol::frames::Protocol;
    use adjutant_protocol::{Caller, Frames, Role, Scope, Scopes, Surface};

    use super::*;
    use crate::socket::{Out, Outbox, Queue};

    fn join(hub: &Hub, connection: u64, role: Role, scopes: &[Scope]) -> Queue {
        let caller = Caller {
            owner: OwnerId::local(),
            principal: "token".to_owned(),
            device: None,
            role,
            scopes: Scopes::of(scopes),
            surface: Surface::FramesSocket,
            connection,
        };
        let (outbox, queue) = Outbox::new(Duration::ZERO);
        let codec = Frames {
            protocol: Protocol::V4,
        };
        let format = Format::Frames {
            codec,
            tool_events: false,
            plugin_questions: false,
        };
        hub.subscribe(connection, Arc::new(outbox), format, &caller);
        queue
    }

    fn heard(queue: &mut Queue) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(out) = queue.try_next() {
            if let Out::Event(text, _) = out {
                all.push(text.as_str().to_owned());
            }
        }
        all
    }

    #[test]
    fn an_event_reaches_whoever_holds_its_scope_and_each_counts_for_itself() {
        // covers: S11
        let hub = Hub::default();
        let mut approvals = join(&hub, 1, Role::Operator, &[Scope::Approvals]);
        let mut reads = join(&hub, 2, Role::Operator, &[Scope::Read]);
        let mut node = join(&hub, 3, Role::Node, &[Scope::Admin]);
        let answered = ExecApprovalResolvedEvent {
            id: "q".to_owned(),
            decision: "deny".to_owned(),
            resolved_by: "me".to_owned(),
            ts: Timestamp::default(),
            request: None,
        };
        hub.broadcast::<ExecApprovalResolved>(&answered, None);
        hub.broadcast::<PresenceChanged>(&PresenceEvent { presence: vec![] }, Some((1, 2)));
        hub.broadcast::<Tick>(&tick(), None);
        let approvals = heard(&mut approvals);
        assert_eq!(approvals.len(), 2);
        assert!(approvals[0].contains("exec.approval.resolved"));
        assert!(approvals[0].contains("\"seq\":1"));
        let reads = heard(&mut reads);
        assert!(reads[0].contains("\"stateVersion\":{\"presence\":1,\"health\":2}"));
        assert!(reads[1].contains("tick") && reads[1].contains("\"seq\":2"));
        let node = heard(&mut node);
        assert_eq!(node.len(), 1);
        assert!(node[0].contains("tick"));
    }

    #[test]
    fn sessions_are_told_to_those_who_asked_and_a_client_cannot_ask_without_end() {
        // covers: R29
        let hub = Hub::default();
        let mut one = join(&hub, 1, Role::Operator, &[Scope::Read]);
        let mut all = join(&hub, 2, Role::Operator, &[Scope::Read]);
        let mut none = join(&hub, 3, Role::Operator, &[Scope::Read]);
        let ask = |n: u64, change| hub.change_feed(n, change);
        assert_eq!(
            ask(1, FeedChange::Session("a".to_owned())),
            FeedChanged::Done
        );
        assert_eq!(ask(2, FeedChange::All), FeedChanged::Done);
        assert_eq!(ask(9, FeedChange::All), FeedChanged::NotHere);
        for key in ["a", "b"] {
            let changed = SessionsChangedEvent {
                session_key: key.to_owned(),
                agent_id: "main".to_owned(),
                ts: Timestamp::default(),
                reason: Some("patch".to_owned()),
                phase: None,
                run_id: None,
                session_id: None,
                updated_at: None,
                session: None,
            };
            hub.broadcast_session::<SessionsChanged>(&changed, key);
        }
        let counts = [&mut one, &mut all, &mut none].map(|queue| heard(queue).len());
        assert_eq!(counts, [1, 2, 0]);
        for n in 0..FEED_SESSIONS_MAX - 1 {
            assert_eq!(
                ask(1, FeedChange::Session(n.to_string())),
                FeedChanged::Done
            );
        }
        assert_eq!(
            ask(1, FeedChange::Session("one more".to_owned())),
            FeedChanged::Full
        );
    }

    fn tick() -> TickEvent {
        TickEvent {
            ts: Timestamp::default(),
        }
    }
}
