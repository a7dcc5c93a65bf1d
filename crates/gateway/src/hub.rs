//! Who is told what: durable events in order and without holes, live signals as they come.
//!
//! One task feeds the hub, so that everybody hears the same order. Telling never waits: a client's outbox is bounded,
//! and a client that does not read is cut.

mod announce;
mod frames_view;
mod notices;
mod present;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{DeviceId, MessageId, RunId, SessionKey};
use adjutant_domain::time::Timestamp;
use adjutant_ports::Pulse;
use adjutant_protocol::frames::Protocol;
use adjutant_protocol::methods::system::Presence;
use adjutant_protocol::{Caller, Codec as _, Frames, Outbound, Role, Scope, Scopes};

use crate::socket::OutboxDrop as Drop;
use crate::socket::{Farewell, Outbox};
pub(crate) use announce::{FEED_SESSIONS_MAX, FeedChange, FeedChanged};
use frames_view::RunView;
use notices::{rpc_delta, rpc_event};
pub(crate) use present::Newcomer;

/// Runs whose live state is kept for surfaces; beyond, the oldest are forgotten.
const RUNS_MAX: usize = 4_096;
/// Connections listed among those present.
const PRESENT_MAX: usize = 200;
/// A client that has been silent this long is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(12);
/// A client that has been silent this long is gone (R26).
const GONE_AFTER: Duration = Duration::from_secs(27);

/// How a client is spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    /// JSON-RPC notifications.
    JsonRpc,
    /// `event` frames.
    Frames {
        /// The negotiated version.
        codec: Frames,
        /// Whether it wants to hear of tools.
        tool_events: bool,
        /// Whether it shows questions of plugins, and no others.
        plugin_questions: bool,
    },
}

/// Which events a JSON-RPC client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// Everything.
    All,
    /// These sessions.
    Sessions(BTreeSet<String>),
    /// Nothing.
    None,
}

struct Subscriber {
    outbox: Arc<Outbox>,
    format: Format,
    role: Role,
    scopes: Scopes,
    device: Option<(DeviceId, Role)>,
    /// It is an operator with the read scope: it hears of runs.
    reads: bool,
    wanted: Wanted,
    /// Which changes of sessions a frames client asked for.
    feed: announce::Feed,
    /// Whether older events are being sent; newer ones come from the feed then, too.
    catching_up: Option<u64>,
    /// Everything up to here was handed over: the feed may be ahead of what was told.
    sent: u64,
    seq: u64,
}

impl Subscriber {
    fn wants(&self, session: Option<&str>) -> bool {
        match &self.wanted {
            Wanted::All => true,
            Wanted::None => false,
            Wanted::Sessions(keys) => session.is_some_and(|key| keys.contains(key)),
        }
    }

    fn shows_plugin_questions(&self) -> bool {
        let Format::Frames {
            plugin_questions, ..
        } = self.format
        else {
            return false;
        };
        plugin_questions
    }

    /// It speaks the older frames, whose terminals have no place of their own for a question.
    fn is_older(&self) -> bool {
        matches!(self.format, Format::Frames { codec, .. } if codec.protocol == Protocol::V3)
    }
}

#[derive(Default)]
struct State {
    /// Everything up to here was told.
    cursor: u64,
    subscribers: BTreeMap<u64, Subscriber>,
    present: BTreeMap<u64, Presence>,
    presence_version: u64,
    runs: BTreeMap<RunId, RunView>,
    generation: u64,
}

/// The hub.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    told: Notify,
    /// Somebody came or left, or a report is newer than what was told.
    pub(crate) news: Notify,
}

/// A subscription that must read the feed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CatchUp {
    pub(crate) generation: u64,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.lock().cursor
    }

    pub(crate) fn start_at(&self, cursor: u64) {
        self.lock().cursor = cursor;
    }

    /// Begins to tell a client everything its scopes allow.
    pub(crate) fn subscribe(&self, id: u64, outbox: Arc<Outbox>, format: Format, caller: &Caller) {
        let subscriber = Subscriber {
            outbox,
            format,
            role: caller.role,
            scopes: caller.scopes,
            device: caller.device.clone().map(|device| (device, caller.role)),
            reads: caller.role == Role::Operator && caller.scopes.allow(Scope::Read),
            wanted: Wanted::All,
            feed: announce::Feed::default(),
            catching_up: None,
            sent: 0,
            seq: 0,
        };
        let mut state = self.lock();
        // A machine is one node: its newer connection takes the place of the older (ND-5).
        if caller.role == Role::Node {
            for older in state.subscribers.values() {
                if older.device == subscriber.device {
                    older
                        .outbox
                        .cut(Farewell::new(1008, "replaced by a newer connection"));
                }
            }
        }
        state.subscribers.insert(id, subscriber);
    }

    pub(crate) fn unsubscribe(&self, id: u64) {
        let mut state = self.lock();
        state.subscribers.remove(&id);
        if state.present.remove(&id).is_some() {
            state.presence_version += 1;
            self.news.notify_one();
        }
    }

    /// Changes what a JSON-RPC client wants. Some: it must be brought up to date from `cursor` with [`Hub::hand_over`].
    /// None: there is no such client, or it speaks frames.
    pub(crate) fn want(
        &self,
        id: u64,
        session: Option<String>,
        everything: Option<bool>,
        from: Option<u64>,
    ) -> Option<(bool, u64, Option<CatchUp>)> {
        let mut state = self.lock();
        let newest = state.cursor;
        state.generation += 1;
        let generation = state.generation;
        let subscriber = state.subscribers.get_mut(&id)?;
        if !matches!(subscriber.format, Format::JsonRpc) {
            return None;
        }
        subscriber.wanted = match (everything, session) {
            (Some(false), _) => Wanted::None,
            (Some(true), _) | (None, None) => Wanted::All,
            (None, Some(key)) => {
                let mut keys = match std::mem::replace(&mut subscriber.wanted, Wanted::None) {
                    Wanted::Sessions(keys) => keys,
                    Wanted::All | Wanted::None => BTreeSet::new(),
                };
                keys.insert(key);
                Wanted::Sessions(keys)
            }
        };
        let from = from.unwrap_or(newest);
        let subscribed = subscriber.wanted != Wanted::None;
        let behind = subscribed && from < newest;
        subscriber.catching_up = behind.then_some(generation);
        Some((
            subscribed,
            from.min(newest),
            behind.then_some(CatchUp { generation }),
        ))
    }

    /// Sends events of the feed to one client. `None`: it is gone or asked again. `Some(true)`: it has everything and
    /// hears the rest as it comes.
    pub(crate) fn hand_over(
        &self,
        id: u64,
        catch_up: CatchUp,
        events: &[Event],
    ) -> Option<(Arc<Outbox>, Vec<String>, bool)> {
        let mut state = self.lock();
        let newest = state.cursor;
        let subscriber = state.subscribers.get_mut(&id)?;
        if subscriber.catching_up != Some(catch_up.generation) || subscriber.outbox.is_cut() {
            return None;
        }
        let texts: Vec<String> = events
            .iter()
            .filter(|event| subscriber.wants(event.session.as_ref().map(|key| key.as_str())))
            .map(rpc_event)
            .collect();
        let reached = events.last().is_none_or(|event| event.cursor >= newest);
        // The last few are queued under the lock, so that nothing newer overtakes them.
        if reached && texts.len() <= HAND_OVER_MAX {
            subscriber.catching_up = None;
            subscriber.sent = events.last().map_or(0, |event| event.cursor);
            for text in texts {
                subscriber.outbox.event(text.into(), Drop::Never);
            }
            return Some((Arc::clone(&subscriber.outbox), Vec::new(), true));
        }
        Some((Arc::clone(&subscriber.outbox), texts, false))
    }

    /// The feed cannot be read for this client: it is cut, and resumes by itself.
    pub(crate) fn give_up(&self, id: u64) {
        if let Some(subscriber) = self.lock().subscribers.get(&id) {
            subscriber
                .outbox
                .cut(Farewell::new(1011, "the feed cannot be read"));
        }
    }

    /// Tells everybody of events that follow the last ones without a hole. `texts`: what the messages among them say.
    pub(crate) fn tell(
        &self,
        events: &[Event],
        texts: &BTreeMap<MessageId, String>,
        now: Duration,
    ) {
        let mut state = self.lock();
        let State {
            subscribers,
            runs,
            cursor,
            ..
        } = &mut *state;
        for event in events {
            if event.cursor <= *cursor {
                continue;
            }
            *cursor = event.cursor;
            let session = event.session.as_ref().map(|key| key.as_str());
            let mut text: Option<Utf8Bytes> = None;
            for subscriber in subscribers
                .values()
                .filter(|s| s.reads && s.catching_up.is_none() && s.sent < event.cursor)
            {
                if matches!(subscriber.format, Format::JsonRpc) && subscriber.wants(session) {
                    let text = text.get_or_insert_with(|| rpc_event(event).into());
                    subscriber.outbox.event(text.clone(), Drop::Never);
                }
            }
            let view = view_of(runs, event);
            if let Some(view) = view {
                for said in view.event(event, texts, now) {
                    say(subscribers, &said);
                }
            }
            if let (EventKind::RunFinished { .. }, Some(run)) = (&event.kind, event.run) {
                runs.remove(&run);
            }
        }
        drop(state);
        self.told.notify_waiters();
    }

    /// Resolves when everything up to `cursor` was told, or after a second: then it is not worth waiting for.
    pub(crate) async fn told(&self, cursor: u64) {
        let told = async {
            loop {
                let more = self.told.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                if cursor <= self.cursor() {
                    return;
                }
                more.await;
            }
        };
        let _late = tokio::time::timeout(Duration::from_secs(1), told).await;
    }

    /// Passes a live signal on at once.
    pub(crate) fn pulse(&self, pulse: &Pulse, at: Timestamp, now: Duration) {
        let mut state = self.lock();
        let State {
            subscribers, runs, ..
        } = &mut *state;
        forget_oldest(runs);
        let view = runs.entry(pulse.run).or_insert_with(|| {
            RunView::new(
                pulse.run_name.to_string(),
                pulse.session.as_str().to_owned(),
            )
        });
        view.delta_seq += 1;
        let mut text: Option<Utf8Bytes> = None;
        for subscriber in subscribers.values().filter(|s| s.reads) {
            if matches!(subscriber.format, Format::JsonRpc)
                && subscriber.wants(Some(pulse.session.as_str()))
            {
                let text = text.get_or_insert_with(|| rpc_delta(pulse, view.delta_seq).into());
                subscriber.outbox.event(text.clone(), Drop::Never);
            }
        }
        let framed = subscribers
            .values()
            .any(|s| matches!(s.format, Format::Frames { .. }));
        for said in view.pulse(&pulse.kind, framed, at, now) {
            say(subscribers, &said);
        }
    }

    /// Shows a question within the conversation to those who may answer it and have no other place for it.
    pub(crate) fn ask_in_chat(&self, run: RunId, text: &str, at: Timestamp) {
        let mut state = self.lock();
        let State {
            subscribers, runs, ..
        } = &mut *state;
        let Some(view) = runs.get_mut(&run) else {
            return;
        };
        let said = view.question(text, at);
        let told = subscribers
            .values_mut()
            .filter(|s| s.reads && s.scopes.allow(Scope::Approvals) && s.is_older());
        for subscriber in told {
            say_to(subscriber, &said);
        }
    }

    /// Answers in a conversation without a run: the whole of it is one text.
    pub(crate) fn reply_in_chat(
        &self,
        name: &str,
        session: &SessionKey,
        text: &str,
        at: Timestamp,
    ) {
        let view = RunView::new(name.to_owned(), session.as_str().to_owned());
        say(&mut self.lock().subscribers, &view.reply(text, at));
    }

    /// Whether somebody speaks frames: only then the words of finished replies are looked up.
    pub(crate) fn has_frames(&self) -> bool {
        self.lock()
            .subscribers
            .values()
            .any(|s| matches!(s.format, Format::Frames { .. }))
    }

    /// Asks silent clients whether they are there, and cuts those that were asked in vain (R26).
    pub(crate) fn check_silence(&self, now: Duration) {
        for subscriber in self.lock().subscribers.values() {
            let silence = subscriber.outbox.silence(now);
            if silence >= GONE_AFTER {
                subscriber
                    .outbox
                    .cut(Farewell::new(1001, "no answer to pings"));
            } else if silence >= PING_AFTER {
                subscriber.outbox.ping();
            }
        }
    }
}

/// Events that may be queued at once when a client has caught up.
const HAND_OVER_MAX: usize = 200;

/// Something to say to frames clients.
pub(crate) struct Said {
    pub(crate) name: &'static str,
    pub(crate) payload: Box<RawValue>,
    pub(crate) tool: bool,
    pub(crate) droppable: bool,
}

fn say(subscribers: &mut BTreeMap<u64, Subscriber>, said: &Said) {
    for subscriber in subscribers.values_mut().filter(|s| s.reads) {
        say_to(subscriber, said);
    }
}

fn say_to(subscriber: &mut Subscriber, said: &Said) {
    let Format::Frames {
        codec, tool_events, ..
    } = subscriber.format
    else {
        return;
    };
    if said.tool && !tool_events {
        return;
    }
    // Events aimed at particular sockets carry no number.
    let seq = if said.tool {
        None
    } else {
        subscriber.seq += 1;
        Some(subscriber.seq)
    };
    let out = Outbound::Event {
        name: said.name,
        payload: &said.payload,
        seq,
        state_version: None,
    };
    let drop_it = if said.droppable {
        Drop::WhenFull
    } else {
        Drop::Never
    };
    subscriber.outbox.event(codec.encode(out).into(), drop_it);
}

fn view_of<'a>(runs: &'a mut BTreeMap<RunId, RunView>, event: &Event) -> Option<&'a mut RunView> {
    let (run, session) = (event.run?, event.session.as_ref()?);
    forget_oldest(runs);
    Some(runs.entry(run).or_insert_with(|| {
        let name = event.run_name.clone().unwrap_or_else(|| run.to_string());
        RunView::new(name, session.as_str().to_owned())
    }))
}

fn forget_oldest(runs: &mut BTreeMap<RunId, RunView>) {
    if runs.len() >= RUNS_MAX {
        runs.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adjutant_protocol::Surface;

    fn caller(scopes: Scopes) -> Caller {
        Caller {
            owner: adjutant_domain::id::OwnerId::local(),
            principal: "token".to_owned(),
            device: None,
            role: Role::Operator,
            scopes,
            surface: Surface::JsonRpcSocket,
            connection: 1,
        }
    }

    #[test]
    fn a_silent_client_is_asked_and_then_cut_within_half_a_minute() {
        // covers: R26
        let hub = Hub::default();
        let (outbox, mut queue) = Outbox::new(Duration::ZERO);
        let outbox = Arc::new(outbox);
        hub.subscribe(
            1,
            Arc::clone(&outbox),
            Format::JsonRpc,
            &caller(Scopes::ALL),
        );
        hub.check_silence(Duration::from_secs(11));
        assert!(queue.try_next().is_none());
        hub.check_silence(Duration::from_secs(13));
        assert!(queue.try_next().is_some() && !outbox.is_cut());
        outbox.heard(Duration::from_secs(14));
        hub.check_silence(Duration::from_secs(28));
        assert!(!outbox.is_cut());
        hub.check_silence(Duration::from_secs(42));
        assert!(outbox.is_cut());
    }

    #[test]
    fn without_the_read_scope_nothing_is_heard() {
        // covers: S11
        let hub = Hub::default();
        let (outbox, mut queue) = Outbox::new(Duration::ZERO);
        let approvals = Scopes::of(&[Scope::Approvals]);
        hub.subscribe(1, Arc::new(outbox), Format::JsonRpc, &caller(approvals));
        let event = Event {
            cursor: 1,
            owner: adjutant_domain::id::OwnerId::local(),
            at: Timestamp::default(),
            run: None,
            run_name: None,
            session: None,
            kind: EventKind::SessionDeleted,
        };
        hub.tell(&[event], &BTreeMap::new(), Duration::ZERO);
        assert_eq!(hub.cursor(), 1);
        assert!(queue.try_next().is_none());
    }
}
