//! The bus over a database: what this process says is heard here at once, and by others as soon as they are told.
//!
//! A notification is a doorbell and nothing more. It goes out after the commit and outside of it, because a transaction that
//! notifies takes a lock that every other such commit waits for; several that come close together go out as one. Events are
//! read from the feed by cursor, so each is heard once and in order; whoever misses a ring hears of it with the next look.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;

use adjutant_domain::event::Event;
use adjutant_domain::id::{CallId, RunId, SessionKey, WorkerId};
use adjutant_ports::bus::{Bus, Notice, Pulse, PulseKind, Topics};
use adjutant_ports::clock::Entropy;

use crate::bus::LocalBus;
use crate::postgres::tx::Said;

/// Longest payload of a notification, in bytes. The server's bound is 8,000.
const PAYLOAD_MAX: usize = 7_000;
/// Signals and pulses that wait to be said; when there are more, pulses are lost.
const WAITING_MAX: usize = 512;
/// Between two notifications of one process.
const GAP: Duration = Duration::from_millis(20);
/// Longest wait for a notification to be taken.
const SEND_MAX: Duration = Duration::from_secs(5);

/// The channel of this schema. A database holds one.
pub(crate) const CHANNEL: &str = "adjutant";

/// What one process tells the others.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Ring {
    /// Who says it: nobody needs to hear themselves.
    from: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    work: bool,
    /// Asks the listener of this process whether it hears.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    echo: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<RunId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    orders: Vec<WorkerId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pulses: Vec<Wire>,
}

impl Ring {
    fn is_empty(&self) -> bool {
        !self.fed
            && !self.work
            && self.signals.is_empty()
            && self.orders.is_empty()
            && self.pulses.is_empty()
    }
}

/// A pulse between processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wire {
    run: RunId,
    name: String,
    session: SessionKey,
    kind: WireKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireKind {
    Text(String),
    Thinking(String),
    Reset,
    Progress { call: CallId, text: String },
}

impl Wire {
    fn of(pulse: &Pulse) -> Self {
        let kind = match &pulse.kind {
            PulseKind::Text(text) => WireKind::Text(cut(text)),
            PulseKind::Thinking(text) => WireKind::Thinking(cut(text)),
            PulseKind::Reset => WireKind::Reset,
            PulseKind::Progress { call, text } => WireKind::Progress {
                call: *call,
                text: cut(text),
            },
        };
        Self {
            run: pulse.run,
            name: pulse.run_name.to_string(),
            session: pulse.session.clone(),
            kind,
        }
    }

    fn pulse(self) -> Pulse {
        let kind = match self.kind {
            WireKind::Text(text) => PulseKind::Text(text.into()),
            WireKind::Thinking(text) => PulseKind::Thinking(text.into()),
            WireKind::Reset => PulseKind::Reset,
            WireKind::Progress { call, text } => PulseKind::Progress {
                call,
                text: text.into(),
            },
        };
        Pulse {
            run: self.run,
            run_name: self.name.into(),
            session: self.session,
            kind,
        }
    }

    /// Words that follow words of the same run need no pulse of their own.
    fn takes(&mut self, next: &Self) -> bool {
        if self.run != next.run {
            return false;
        }
        let (words, more) = match (&mut self.kind, &next.kind) {
            (WireKind::Text(words), WireKind::Text(more))
            | (WireKind::Thinking(words), WireKind::Thinking(more)) => (words, more),
            _ => return false,
        };
        if TEXT_MAX < words.len() + more.len() {
            return false;
        }
        words.push_str(more);
        true
    }
}

/// Longest text of one pulse, so that it fits whatever JSON makes of it.
const TEXT_MAX: usize = 2_048;

/// A text that is too long is cut; the message follows.
fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[derive(Default)]
struct Waiting {
    fed: bool,
    work: bool,
    signals: BTreeSet<RunId>,
    orders: BTreeSet<WorkerId>,
    pulses: Vec<Wire>,
}

/// The bus between all processes on one database.
pub struct PostgresBus {
    me: String,
    local: LocalBus,
    waiting: Mutex<Waiting>,
    said: Notify,
    fed: Notify,
    work: watch::Sender<u64>,
    is_listening: AtomicBool,
    echoed: Notify,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for PostgresBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresBus").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PostgresBus {
    pub(crate) fn new(entropy: &dyn Entropy) -> Arc<Self> {
        Arc::new(Self {
            me: format!(
                "{:032x}",
                entropy.next_u128() ^ u128::from(std::process::id())
            ),
            local: LocalBus::new(),
            waiting: Mutex::default(),
            said: Notify::new(),
            fed: Notify::new(),
            work: watch::Sender::new(0),
            is_listening: AtomicBool::new(false),
            echoed: Notify::new(),
            tasks: Mutex::default(),
        })
    }

    /// A task that ends with the bus.
    pub(crate) fn keep(&self, task: JoinHandle<()>) {
        locked(&self.tasks).push(task);
    }

    pub(crate) fn stop(&self) {
        for task in locked(&self.tasks).drain(..) {
            task.abort();
        }
    }

    /// Whether notifications of others arrive. If not, everything works, and some of it up to five seconds later.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed)
    }

    pub(crate) fn set_listening(&self, is: bool) {
        self.is_listening.store(is, Ordering::Relaxed);
    }

    /// Says what a transaction has done.
    pub(crate) fn told(&self, said: Said) {
        if said.fed {
            self.fed.notify_one();
        }
        if said.work {
            self.local_work();
        }
        for run in &said.signalled {
            self.local.signal(*run);
        }
        if said.fed || said.work || !said.signalled.is_empty() {
            let mut waiting = locked(&self.waiting);
            waiting.fed |= said.fed;
            waiting.work |= said.work;
            waiting.signals.extend(said.signalled);
            drop(waiting);
            self.said.notify_one();
        }
    }

    fn local_work(&self) {
        self.local.work();
        self.work.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// For those who wait for work in the store.
    pub(crate) fn work_rings(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// The feed has moved, says somebody.
    pub(crate) async fn fed(&self) {
        self.fed.notified().await;
    }

    /// Events from the feed, for the watchers here.
    pub(crate) fn read(&self, events: Vec<Event>) {
        self.local.events(events.into());
    }

    /// Whatever was said while nobody listened may concern us.
    pub(crate) fn missed(&self) {
        self.fed.notify_one();
        self.local.lag();
        self.work.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// A notification came.
    pub(crate) fn heard(&self, payload: &str) {
        let Ok(ring) = serde_json::from_str::<Ring>(payload) else {
            tracing::debug!("a notification that nobody here understands");
            return;
        };
        if ring.from == self.me {
            if ring.echo {
                self.echoed.notify_one();
            }
            return;
        }
        if ring.fed {
            self.fed.notify_one();
        }
        if ring.work {
            self.local_work();
        }
        for run in ring.signals {
            self.local.signal(run);
        }
        for worker in ring.orders {
            self.local.order(worker);
        }
        for wire in ring.pulses {
            self.local.pulse(wire.pulse());
        }
    }

    /// What to send to find out whether this process hears itself.
    pub(crate) fn echo(&self) -> String {
        let ring = Ring {
            from: self.me.clone(),
            echo: true,
            ..Ring::default()
        };
        serde_json::to_string(&ring).unwrap_or_default()
    }

    pub(crate) async fn echoed(&self) {
        self.echoed.notified().await;
    }

    /// What waits, as payloads that fit.
    fn payloads(&self) -> Vec<String> {
        let Waiting {
            fed,
            work,
            signals,
            orders,
            pulses,
        } = std::mem::take(&mut *locked(&self.waiting));
        let ring = || Ring {
            from: self.me.clone(),
            ..Ring::default()
        };
        let mut payloads = Vec::new();
        let mut next = Ring {
            fed,
            work,
            ..ring()
        };
        let mut size = 200;
        let mut flush = |next: &mut Ring, size: &mut usize| {
            let full = std::mem::replace(next, ring());
            *size = 200;
            if !full.is_empty()
                && let Ok(text) = serde_json::to_string(&full)
            {
                payloads.push(text);
            }
        };
        for run in signals {
            if PAYLOAD_MAX < size + 40 {
                flush(&mut next, &mut size);
            }
            size += 40;
            next.signals.push(run);
        }
        for worker in orders {
            if PAYLOAD_MAX < size + 40 {
                flush(&mut next, &mut size);
            }
            size += 40;
            next.orders.push(worker);
        }
        for wire in pulses {
            let n = serde_json::to_string(&wire).map_or(PAYLOAD_MAX, |text| text.len() + 1);
            if PAYLOAD_MAX < size + n {
                flush(&mut next, &mut size);
            }
            if size + n <= PAYLOAD_MAX {
                size += n;
                next.pulses.push(wire);
            }
        }
        flush(&mut next, &mut size);
        payloads
    }

    /// Sends what is said, a few times a second at most, until the bus stops.
    pub(crate) async fn send_all(self: Arc<Self>, pool: Pool) {
        loop {
            self.said.notified().await;
            for payload in self.payloads() {
                let sent = tokio::time::timeout(SEND_MAX, send(&pool, &payload)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    tracing::debug!(
                        "a notification could not be sent; the others look by themselves"
                    );
                }
            }
            tokio::time::sleep(GAP).await;
        }
    }
}

pub(crate) async fn send(pool: &Pool, payload: &str) -> Result<(), crate::postgres::error::Fault> {
    let client = pool.get().await?;
    client
        .query_typed(
            "select pg_notify($1, $2)",
            &[(&CHANNEL, Type::TEXT), (&payload, Type::TEXT)],
        )
        .await?;
    Ok(())
}

impl Bus for PostgresBus {
    /// The feed is read by cursor, so events need no carrying, only a ring.
    fn events(&self, _: Arc<[Event]>) {
        self.told(Said {
            fed: true,
            ..Said::default()
        });
    }

    fn work(&self) {
        self.told(Said {
            work: true,
            ..Said::default()
        });
    }

    fn signal(&self, run: RunId) {
        self.told(Said {
            signalled: vec![run],
            ..Said::default()
        });
    }

    fn order(&self, worker: WorkerId) {
        self.local.order(worker);
        let mut waiting = locked(&self.waiting);
        if waiting.orders.len() < WAITING_MAX {
            waiting.orders.insert(worker);
        }
        drop(waiting);
        self.said.notify_one();
    }

    fn pulse(&self, pulse: Pulse) {
        let wire = Wire::of(&pulse);
        self.local.pulse(pulse);
        let mut waiting = locked(&self.waiting);
        if waiting
            .pulses
            .last_mut()
            .is_some_and(|last| last.takes(&wire))
        {
            return;
        }
        if waiting.pulses.len() < WAITING_MAX {
            waiting.pulses.push(wire);
        }
        drop(waiting);
        self.said.notify_one();
    }

    fn watch(&self, topics: Topics) -> BoxStream<'static, Notice> {
        self.local.watch(topics)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug)]
    struct Zero;

    impl Entropy for Zero {
        fn next_u128(&self) -> u128 {
            0
        }
    }

    fn pulse(run: RunId, kind: PulseKind) -> Pulse {
        Pulse {
            run,
            run_name: "r".into(),
            session: SessionKey::parse("agent:main:main").unwrap(),
            kind,
        }
    }

    #[test]
    fn what_comes_close_together_is_one_notification_and_every_one_fits() {
        let bus = PostgresBus::new(&Zero);
        let run = RunId::from_u128(1);
        for _ in 0..1_000 {
            bus.work();
            bus.pulse(pulse(run, PulseKind::Text("a".into())));
        }
        assert_eq!(bus.payloads().len(), 1);
        for n in 0..300 {
            bus.signal(RunId::from_u128(n));
            let text = "\u{1}".repeat(5_000);
            bus.pulse(pulse(RunId::from_u128(n), PulseKind::Text(text.into())));
        }
        let payloads = bus.payloads();
        assert!(payloads.iter().all(|it| it.len() < 8_000));
        let rings: Vec<Ring> = payloads
            .iter()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        assert_eq!(rings.iter().map(|it| it.signals.len()).sum::<usize>(), 300);
        assert!(bus.payloads().is_empty());
    }
}
