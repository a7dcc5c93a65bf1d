//! Nodes that are connected, who waits for their answers, what they offer beyond what was approved, and what is armed.
//!
//! Everything here is gone with the process, on purpose: requests are in the store and are given out again when a node
//! comes back, and what was armed must not outlive the gateway that armed it.

mod ask;
mod door;
mod leases;
mod surface;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::oneshot;

use adjutant_domain::access::Role;
use adjutant_domain::device::{Device, PlatformKind};
use adjutant_domain::id::{DeviceId, InvokeId};
use adjutant_domain::node::{CommandKind, Invoke, InvokeAnswer, Lease};
use adjutant_domain::time::Timestamp;
use adjutant_protocol::methods::nodes::NodeRow;
use adjutant_protocol::{Codec as _, Fault, Frames, Outbound};
use serde_json::Value;

use crate::core::Core;
use crate::hub::Format;
use crate::socket::{Farewell, NodeSession, Outbox, OutboxDrop};

pub(crate) use ask::Ask;
pub use door::NodesDoor;
pub(crate) use surface::Surface;

/// What a node host says that keeps its answers by key. Others are never given anything twice that acts.
const REMEMBERS_KEYS: &str = "invoke.keyed";
/// Bytes of what a node may say of its load.
const STATS_BYTES_MAX: usize = 4 << 10;

/// What is known of nodes beside the store.
#[derive(Default)]
pub(crate) struct Nodes(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    seats: BTreeMap<DeviceId, Seat>,
    waiting: BTreeMap<InvokeId, Vec<oneshot::Sender<InvokeAnswer>>>,
    /// On which connection an unanswered request was given out last.
    given: BTreeMap<InvokeId, u64>,
    surfaces: BTreeMap<DeviceId, Surface>,
    leases: Vec<Lease>,
}

/// A node that is connected.
#[derive(Clone)]
pub(crate) struct Seat {
    /// The connection, unique while this process lives.
    pub(crate) connection: u64,
    /// What it said of itself.
    pub(crate) session: NodeSession,
    /// Where it listens.
    pub(crate) outbox: Arc<Outbox>,
    /// How it is spoken to.
    pub(crate) codec: Frames,
    /// Since when.
    pub(crate) since: Timestamp,
    /// What it last said of its load.
    pub(crate) stats: Option<Value>,
}

impl Seat {
    /// Of a connection that speaks frames; nodes speak nothing else.
    pub(crate) fn of(
        connection: u64,
        session: &NodeSession,
        outbox: &Arc<Outbox>,
        format: Format,
        since: Timestamp,
    ) -> Option<Self> {
        let Format::Frames { codec, .. } = format else {
            return None;
        };
        Some(Self {
            connection,
            session: session.clone(),
            outbox: Arc::clone(outbox),
            codec,
            since,
            stats: None,
        })
    }

    /// Says something to this node alone.
    fn say(&self, name: &'static str, payload: &Value) {
        let Ok(payload) = serde_json::value::to_raw_value(payload) else {
            return;
        };
        let text = self.codec.encode(Outbound::Event {
            name,
            payload: &payload,
            seq: None,
            state_version: None,
        });
        self.outbox.event(text.into(), OutboxDrop::Never);
    }

    /// Whether the node says that it answers a repeated key from memory instead of doing it again.
    fn remembers_keys(&self) -> bool {
        self.session.claims.permissions.get(REMEMBERS_KEYS) == Some(&true)
    }

    fn deliver(&self, invoke: &Invoke, now: Timestamp) {
        let left = invoke.deadline_at.since(now);
        // The word in front says whose key it is; the node gets it as the caller wrote it.
        let key = invoke
            .key
            .split_once(':')
            .map_or(&*invoke.key, |(_, key)| key);
        self.say(
            "node.invoke.request",
            &json!({
                "id": invoke.id, "nodeId": invoke.node, "command": invoke.command, "paramsJSON": invoke.params,
                "timeoutMs": u64::try_from(left.as_millis()).unwrap_or(u64::MAX), "idempotencyKey": key,
            }),
        );
    }
}

impl Nodes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of a node.
    pub(crate) fn seat(&self, node: &DeviceId) -> Option<Seat> {
        self.lock().seats.get(node).cloned()
    }

    /// Keeps what a node says of its load. Whether it was small enough to keep.
    pub(crate) fn note_stats(&self, node: &DeviceId, stats: Value) -> bool {
        let fits = stats.to_string().len() <= STATS_BYTES_MAX;
        if fits && let Some(seat) = self.lock().seats.get_mut(node) {
            seat.stats = Some(stats);
        }
        fits
    }

    fn wait(&self, invoke: InvokeId) -> oneshot::Receiver<InvokeAnswer> {
        let (tell, told) = oneshot::channel();
        let mut state = self.lock();
        let waiting = state.waiting.entry(invoke).or_default();
        waiting.retain(|it| !it.is_closed());
        waiting.push(tell);
        told
    }

    /// Forgets those who have gone away.
    fn leave(&self, invoke: InvokeId) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(&invoke) {
            waiting.retain(|it| !it.is_closed());
            if waiting.is_empty() {
                state.waiting.remove(&invoke);
                state.given.remove(&invoke);
            }
        }
    }

    /// Gives a request to a node, unless this connection has it already, or it may have been carried out before by a node
    /// that would do it again. `known`: this process has posted it.
    fn give(&self, seat: &Seat, invoke: &Invoke, known: bool, now: Timestamp) {
        let mut state = self.lock();
        let given = state.given.get(&invoke.id).copied();
        let first = given.is_none() && known;
        let again = seat.remembers_keys() || CommandKind::only_reads(&invoke.command);
        if given == Some(seat.connection) || !first && !again {
            return;
        }
        state.given.insert(invoke.id, seat.connection);
        // Under the lock, so that the two who may give it out do not both do so.
        seat.deliver(invoke, now);
    }

    /// Tells all who wait for it.
    pub(crate) fn answered(&self, invoke: InvokeId, answer: &InvokeAnswer) {
        let waiting = {
            let mut state = self.lock();
            state.given.remove(&invoke);
            state.waiting.remove(&invoke)
        };
        for tell in waiting.into_iter().flatten() {
            // Who has gone away misses nothing: the store has it.
            drop(tell.send(answer.clone()));
        }
    }
}

impl Core {
    /// A node has come in: an older connection of it ends, and what waits for it is given out again.
    pub(crate) async fn node_arrived(&self, seat: Seat) {
        let node = seat.session.device.clone();
        let device = self.deps.store.device(self.owner(), &node).await;
        let older = self.nodes.lock().seats.insert(node.clone(), seat.clone());
        if let Some(older) = older {
            older
                .outbox
                .cut(Farewell::new(1008, "replaced by a newer connection"));
        }
        if let Ok(Some(device)) = device {
            self.look_at_surface(&device, &seat);
        }
        match self.deps.store.open_invokes(self.owner(), &node).await {
            Ok(open) => {
                let now = self.now();
                for invoke in &open {
                    // What was allowed when it was asked may have ended since: a lease, an approval.
                    if self.may_ask(&invoke.command, &node, true).await.is_ok() {
                        let known = self.started_at <= invoke.created_at;
                        self.nodes.give(&seat, invoke, known, now);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the mailbox of a node cannot be read"),
        }
    }

    /// A node has gone, unless a newer connection of it is there already.
    pub(crate) fn node_left(&self, node: &DeviceId, connection: u64) {
        let mut state = self.nodes.lock();
        if state
            .seats
            .get(node)
            .is_some_and(|it| it.connection == connection)
        {
            state.seats.remove(node);
        }
    }

    /// The devices that may be nodes.
    pub(crate) async fn node_devices(&self) -> Result<Vec<Device>, Fault> {
        let devices = self.deps.store.devices(self.owner()).await?;
        Ok(devices.into_iter().filter(is_node).collect())
    }

    /// The node that is meant: its id, the beginning of it, or its name, if only one has it.
    pub(crate) async fn node_device(&self, text: &str) -> Result<Device, Fault> {
        let unknown = || {
            Fault::new(
                adjutant_domain::code::Code::InvalidRequest,
                "unknown nodeId",
            )
        };
        if let Ok(id) = DeviceId::parse(text) {
            let device = self.deps.store.device(self.owner(), &id).await?;
            return device.filter(is_node).ok_or_else(unknown);
        }
        let meant = |device: &Device| {
            let begins = 6 <= text.len() && device.id.as_str().starts_with(text);
            let name = device.display_name.as_deref().unwrap_or_default();
            begins || !text.is_empty() && name.eq_ignore_ascii_case(text)
        };
        let mut found = self.node_devices().await?.into_iter().filter(meant);
        match (found.next(), found.next()) {
            (Some(device), None) => Ok(device),
            _ => Err(unknown()),
        }
    }

    /// A node as operators see it.
    pub(crate) fn node_row(&self, device: &Device) -> NodeRow {
        let seat = self.nodes.seat(&device.id);
        let approved = &device.claims;
        let (mut caps, mut commands, mut unapproved) = (vec![], vec![], vec![]);
        if let Some(seat) = &seat {
            let claims = &seat.session.claims;
            caps = claims.caps.intersection(&approved.caps).cloned().collect();
            commands = claims
                .commands
                .intersection(&approved.commands)
                .cloned()
                .collect();
            unapproved = claims
                .commands
                .difference(&approved.commands)
                .cloned()
                .collect();
        } else {
            caps.extend(approved.caps.iter().cloned());
            commands.extend(approved.commands.iter().cloned());
        }
        let client = seat.as_ref().map(|it| &it.session.client);
        let claims = seat.as_ref().map(|it| &it.session.claims);
        let said_name = client.and_then(|it| it.display_name.clone());
        NodeRow {
            node_id: device.id.clone(),
            display_name: device.display_name.clone().or(said_name),
            platform: Some(device.platform.clone()),
            version: client.map(|it| it.version.clone()),
            device_family: device.device_family.clone(),
            model_identifier: client.and_then(|it| it.model_identifier.clone()),
            remote_ip: seat
                .as_ref()
                .and_then(|it| it.session.remote_ip)
                .map(|it| it.to_string()),
            caps,
            commands,
            unapproved,
            path_env: claims.and_then(|it| it.path_env.clone()),
            permissions: claims
                .map(|it| it.permissions.clone())
                .filter(|it| !it.is_empty()),
            connected_at_ms: seat.as_ref().map(|it| it.since),
            last_seen_at_ms: device.last_seen_at,
            host_stats: seat.as_ref().and_then(|it| it.stats.clone()),
            paired: true,
            connected: seat.is_some(),
        }
    }
}

fn is_node(device: &Device) -> bool {
    let token = device.token(Role::Node);
    device.roles.contains(&Role::Node) && token.is_some_and(|it| it.revoked_at.is_none())
}

/// What a node was when a person looked at it; what it says now does not count.
fn platform_of(device: &Device) -> PlatformKind {
    match PlatformKind::of(&device.platform) {
        PlatformKind::Other => device
            .device_family
            .as_deref()
            .map_or(PlatformKind::Other, PlatformKind::of),
        known => known,
    }
}
