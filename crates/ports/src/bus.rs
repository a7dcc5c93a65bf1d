//! The bus: hints and live signals. Nothing correct depends on it (architecture 8.4).

use std::sync::Arc;

use futures::stream::BoxStream;

use adjutant_domain::event::Event;
use adjutant_domain::id::{RunId, SessionKey, WorkerId};

/// A best-effort live signal. May be lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// The run it belongs to.
    pub run: RunId,
    /// The run's name on the wire.
    pub run_name: Arc<str>,
    /// The session it belongs to.
    pub session: SessionKey,
    /// The signal.
    pub kind: PulseKind,
}

/// The signal.
#[derive(Debug, Clone, PartialEq)]
pub enum PulseKind {
    /// More words of the reply under way. A new attempt begins with [`PulseKind::Reset`].
    Text(Arc<str>),
    /// More reasoning.
    Thinking(Arc<str>),
    /// The words so far are void: the attempt failed and is made again.
    Reset,
    /// A tool says how far it is.
    Progress {
        /// The call.
        call: adjutant_domain::id::CallId,
        /// A line of text.
        text: Arc<str>,
    },
}

/// What a watcher hears.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The feed has moved: these events were committed. Readers that missed some read the feed.
    Events(Arc<[Event]>),
    /// Some run may be claimable now.
    Work,
    /// A signal for this run was stored (cancel, answer, steer).
    Signal(RunId),
    /// This worker was asked for something: its row says what.
    Order(WorkerId),
    /// A live signal.
    Pulse(Arc<Pulse>),
    /// The watcher was too slow and missed something: read the feed.
    Lagged,
}

/// What a watcher wants to hear. Two separate channels, so that workers do not wake for every word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topics {
    /// [`Notice::Work`], [`Notice::Signal`] and [`Notice::Order`]: for workers.
    Work,
    /// [`Notice::Events`] and [`Notice::Pulse`]: for gateways.
    Surfaces,
}

/// The bus.
pub trait Bus: Send + Sync {
    /// Says that these events were committed.
    fn events(&self, events: Arc<[Event]>);
    /// Says that there may be work.
    fn work(&self);
    /// Says that a signal for this run was stored.
    fn signal(&self, run: RunId);
    /// Says that this worker was asked for something.
    fn order(&self, worker: WorkerId);
    /// Sends a live signal.
    fn pulse(&self, pulse: Pulse);
    /// Everything of these topics from now on, bounded; a slow watcher gets [`Notice::Lagged`] instead of what it missed.
    fn watch(&self, topics: Topics) -> BoxStream<'static, Notice>;
}
