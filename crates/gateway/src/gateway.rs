//! The gateway: accepts connections, feeds the hub, keeps time, and stops in good order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::MessageId;
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::{Notice, StoreError, Topics};
use adjutant_protocol::events::connection::{
    Health, PresenceChanged, PresenceEvent, Tick, TickEvent,
};

use crate::canvas::CanvasDoor;
use crate::config::{Config, Finding};
use crate::core::{Core, Deps};
use crate::edge::{Admission, Arrived, Listeners, Source, accept, serve_connection};
use crate::nodes::NodesDoor;

/// Readers of the feed also look by themselves this often, in case a notice was lost (R16).
const SLOW_POLL: Duration = Duration::from_secs(5);
/// Events read at once.
const FEED_PAGE: u32 = 500;
/// Between two looks at silent clients.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Between two `health` events.
const HEALTH_EVERY: Duration = Duration::from_secs(60);
/// How long news of presence and health may gather before they are told.
const NEWS_DELAY: Duration = Duration::from_millis(20);
/// Between two tellings of such news.
const NEWS_PAUSE: Duration = Duration::from_millis(500);
/// How long connections may take to end when the gateway stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A setting forbids it.
    #[error("{0}")]
    Config(#[from] Finding),
    /// The store cannot be read.
    #[error("the gateway cannot read the store: {0}")]
    Store(#[from] StoreError),
}

/// One port where everything meets.
pub struct Gateway {
    deps: Deps,
    config: Config,
    nodes: Option<Arc<NodesDoor>>,
    canvas: Option<Arc<CanvasDoor>>,
}

impl Gateway {
    /// A gateway that does not listen yet.
    #[must_use]
    pub fn new(deps: Deps, config: Config) -> Self {
        Self {
            deps,
            config,
            nodes: None,
            canvas: None,
        }
    }

    /// Opens this door to the nodes while it serves.
    #[must_use]
    pub fn with_nodes(mut self, door: Arc<NodesDoor>) -> Self {
        self.nodes = Some(door);
        self
    }

    /// Opens this door to the canvases while it serves.
    #[must_use]
    pub fn with_canvas(mut self, door: Arc<CanvasDoor>) -> Self {
        self.canvas = Some(door);
        self
    }

    /// Serves until `stop`: then says so to every client, lets calls under way end, and returns.
    ///
    /// In a box, because a future is compiled where it is polled: everything that serves a connection would be compiled by
    /// the caller, with the caller's optimisation, and much of it twice.
    ///
    /// # Errors
    /// [`GatewayError`], before the first connection is accepted.
    pub fn serve(
        self,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<(), GatewayError>> {
        Box::pin(self.serve_until(listeners, stop))
    }

    async fn serve_until(
        self,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> Result<(), GatewayError> {
        if let Some(finding) = self.config.check().into_iter().next() {
            return Err(finding.into());
        }
        let core = Core::new(self.deps, self.config, &listeners, stop);
        if let Some(door) = &self.nodes {
            door.open(Arc::downgrade(&core));
        }
        if let Some(door) = &self.canvas {
            door.open(Arc::downgrade(&core));
        }
        let tasks = TaskTracker::new();
        // Watch first, then read: what is committed in between is heard twice and told once.
        let watch = core.deps.bus.watch(Topics::Surfaces);
        core.hub
            .start_at(core.deps.store.cursor(core.owner()).await?);
        tasks.spawn(feed(Arc::clone(&core), watch));
        tasks.spawn(keep_time(Arc::clone(&core)));
        tasks.spawn(keep_told(Arc::clone(&core)));
        if let Some(tls) = core.tls.clone() {
            let stop = core.stop.clone();
            tasks.spawn(async move { tls.keep_fresh(&stop).await });
        }
        accept_all(&core, &listeners, &tasks).await;
        drop(listeners);
        tasks.close();
        drop(tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await);
        // WebSockets live in tasks of their own; each ends within a moment of `stop`.
        let gone = async {
            while core.connections.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        drop(tokio::time::timeout(STOP_TIMEOUT, gone).await);
        Ok(())
    }
}

async fn accept_all(core: &Arc<Core>, listeners: &Listeners, tasks: &TaskTracker) {
    let config = &core.config;
    let admission = Admission::new(
        config.unauthenticated_max,
        config.unauthenticated_per_source_max,
    );
    let port = listeners.address().port();
    loop {
        let accepted = core.stop.run_until_cancelled(async {
            admission.vacancy().await;
            accept(listeners).await
        });
        let (arrived, source) = match accepted.await {
            None => return,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let full = core.connections.load(std::sync::atomic::Ordering::Relaxed)
            >= u64::from(config.connections_max);
        let ip = match source {
            Source::Tcp { from, .. } => Some(from.ip()),
            Source::Socket => None,
        };
        match admission.take(ip) {
            Some(slot) if !full => {
                tasks.spawn(serve_connection(
                    Arc::clone(core),
                    arrived,
                    source,
                    port,
                    slot,
                ));
            }
            // Nothing can be said through an encrypted port before the handshake: it is closed.
            _ if matches!(arrived, Arrived::Port(_)) && core.tls.is_some() => {}
            _ => {
                tasks.spawn(turn_away(arrived));
            }
        }
    }
}

const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Refused with a hint, without reading anything.
async fn turn_away(arrived: Arrived) {
    use tokio::io::AsyncWriteExt as _;
    let said = async {
        match arrived {
            Arrived::Port(mut stream) => {
                stream.write_all(TURNED_AWAY).await?;
                stream.shutdown().await
            }
            Arrived::File(mut stream) => {
                stream.write_all(TURNED_AWAY).await?;
                stream.shutdown().await
            }
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(1), said).await);
}

/// Feeds the hub: the only task that tells clients anything, so that all of them hear one order.
async fn feed(core: Arc<Core>, mut watch: futures::stream::BoxStream<'static, Notice>) {
    loop {
        let heard = tokio::select! {
            heard = tokio::time::timeout(SLOW_POLL, watch.next()) => heard,
            () = core.stop.cancelled() => return,
        };
        match heard {
            Ok(Some(Notice::Pulse(pulse))) => {
                core.hub
                    .pulse(&pulse, core.now(), core.deps.clock.monotonic());
            }
            Ok(Some(Notice::Events(events))) if follows(&core, &events) => {
                tell(&core, &events).await
            }
            Ok(Some(Notice::Events(_) | Notice::Lagged)) | Err(_) => catch_up(&core).await,
            Ok(Some(Notice::Work | Notice::Signal(_) | Notice::Order(_))) => {}
            Ok(None) => {
                // The bus is gone: the slow look is what is left.
                tokio::time::sleep(SLOW_POLL).await;
                catch_up(&core).await;
            }
        }
    }
}

/// Whether these events are ours and follow what was told, without a hole.
fn follows(core: &Core, events: &[Event]) -> bool {
    let mut next = core.hub.cursor() + 1;
    !events.is_empty()
        && events.iter().all(|event| {
            let fits = event.cursor == next && event.owner == *core.owner();
            next += 1;
            fits
        })
}

async fn catch_up(core: &Core) {
    loop {
        let read = core
            .deps
            .store
            .events_since(core.owner(), core.hub.cursor(), FEED_PAGE)
            .await;
        match read {
            Ok(events) if events.is_empty() => return,
            Ok(events) => tell(core, &events).await,
            Err(error) => {
                tracing::warn!(%error, "the feed cannot be read");
                return;
            }
        }
    }
}

async fn tell(core: &Core, events: &[Event]) {
    failpoint::reach(Point::BeforeEvents);
    let texts = if core.hub.has_frames() {
        texts_of(core, events).await
    } else {
        BTreeMap::new()
    };
    core.snapshots.note(events);
    core.hub.tell(events, &texts, core.deps.clock.monotonic());
    core.tell_news(events).await;
    for event in events {
        core.deps.metrics.observe(event);
        if let (EventKind::RunFinished { .. }, Some(run)) = (&event.kind, event.run) {
            core.waits.wake(run);
        }
    }
}

/// What the messages that these events speak of say.
async fn texts_of(core: &Core, events: &[Event]) -> BTreeMap<MessageId, String> {
    let mut texts = BTreeMap::new();
    for event in events {
        let id = match &event.kind {
            EventKind::ModelReplied { message, .. } => *message,
            EventKind::RunFinished {
                message: Some(message),
                ..
            } => *message,
            _ => continue,
        };
        if texts.contains_key(&id) {
            continue;
        }
        if let Ok(Some(message)) = core.deps.store.message(core.owner(), id).await {
            texts.insert(id, message.text());
        }
    }
    texts
}

/// Ticks, health, pings: one task for all connections.
async fn keep_time(core: Arc<Core>) {
    let tick = core.config.tick_interval.duration();
    let (mut ticked, mut reported) = (core.uptime(), core.uptime());
    loop {
        let pause = HEARTBEAT.min(tick);
        if core
            .stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            core.waits.wake_all();
            return;
        }
        core.hub.check_silence(core.deps.clock.monotonic());
        let now = core.uptime();
        if now.saturating_sub(ticked) >= tick {
            ticked = now;
            core.hub
                .broadcast::<Tick>(&TickEvent { ts: core.now() }, None);
        }
        if now.saturating_sub(reported) >= HEALTH_EVERY && core.hub.has_frames() {
            reported = now;
            if core.snapshot().await.is_ok() {
                core.hub.news.notify_one();
            }
        }
    }
}

/// Tells who came and left and newer health reports, at most once per [`NEWS_PAUSE`] however many there are: when a
/// thousand clients come back at once, each hears of the crowd, not of every head.
async fn keep_told(core: Arc<Core>) {
    let (mut presence, mut health) = (core.hub.presence_version(), 0);
    loop {
        let news = async {
            core.hub.news.notified().await;
            tokio::time::sleep(NEWS_DELAY).await;
        };
        if core.stop.run_until_cancelled(news).await.is_none() {
            return;
        }
        let newest = core.snapshots.newest();
        let version = newest.as_ref().map_or(0, |snapshot| snapshot.version);
        let versions = Some((core.hub.presence_version(), version));
        if core.hub.presence_version() != presence {
            presence = core.hub.presence_version();
            let presence = core.presence();
            core.hub
                .broadcast::<PresenceChanged>(&PresenceEvent { presence }, versions);
        }
        if let Some(snapshot) = newest
            && snapshot.version != health
        {
            health = snapshot.version;
            core.hub.broadcast::<Health>(&snapshot.health, versions);
        }
        if core
            .stop
            .run_until_cancelled(tokio::time::sleep(NEWS_PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}
