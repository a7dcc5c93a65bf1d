//! What every part of the gateway shares.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use adjutant_domain::agent::Agent;
use adjutant_domain::id::{AgentId, OwnerId};
use adjutant_domain::run::Limits;
use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::Entropy;
use adjutant_ports::{Bus, Clock, ConfigDoor, Files, Models, Store};
use adjutant_telemetry::Metrics;
use adjutant_tls::Server;
use adjutant_vault::Token;

use crate::config::Config;
use crate::edge::{Listeners, Pages, Signatures, Throttle};
use crate::hub::Hub;
use crate::lanes::Lanes;
use crate::nodes::Nodes;
use crate::questions::Questions;
use crate::snapshot::Snapshots;
use crate::waits::Waits;

/// The bounds of a run of this agent, with the installation's where it has none of its own.
pub type LimitsOf = Arc<dyn Fn(&Agent) -> Limits + Send + Sync>;

/// What the gateway works with.
#[derive(Clone)]
pub struct Deps {
    /// Everything durable.
    pub store: Arc<dyn Store>,
    /// Hints and live signals.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub entropy: Arc<dyn Entropy>,
    /// Models.
    pub models: Arc<dyn Models>,
    /// Settings.
    pub config: Arc<dyn ConfigDoor>,
    /// Counters; the gateway observes each event and each request once.
    pub metrics: Arc<Metrics>,
    /// The shared token.
    pub token: Token,
    /// Whose gateway this is.
    pub owner: OwnerId,
    /// The agent that short session keys mean.
    pub default_agent: AgentId,
    /// The bounds of a run, frozen when it is accepted.
    pub limits: LimitsOf,
    /// Where agents get their folder when they name none.
    pub workspaces: PathBuf,
    /// The folder of a browser Control UI, where one is to be served.
    pub control_ui: Option<Arc<dyn Files>>,
    /// Where this gateway logs to; none when it logs to a terminal.
    pub log_file: Option<PathBuf>,
    /// Version of this program.
    pub version: String,
}

pub(crate) struct Core {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<Server>>,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Duration,
    pub(crate) hub: Hub,
    pub(crate) waits: Waits,
    pub(crate) questions: Questions,
    pub(crate) lanes: Lanes,
    pub(crate) snapshots: Snapshots,
    pub(crate) throttle: Throttle,
    pub(crate) pages: Option<Arc<Pages>>,
    pub(crate) signatures: Signatures,
    pub(crate) nodes: Nodes,
    revocations: AtomicU64,
    port: u16,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
    next_connection: AtomicU64,
    myself: Weak<Core>,
}

impl Core {
    pub(crate) fn new(
        deps: Deps,
        config: Config,
        listeners: &Listeners,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            myself: Weak::clone(myself),
            started_at: deps.clock.now(),
            started: deps.clock.monotonic(),
            hub: Hub::default(),
            waits: Waits::default(),
            questions: Questions::default(),
            lanes: Lanes::default(),
            snapshots: Snapshots::default(),
            throttle: Throttle::default(),
            pages: deps
                .control_ui
                .clone()
                .map(|files| Arc::new(Pages::new(files, deps.default_agent.as_str()))),
            signatures: Signatures::default(),
            nodes: Nodes::default(),
            revocations: AtomicU64::new(0),
            port: listeners.address().port(),
            tls: listeners.tls.clone(),
            connections: Arc::default(),
            stop,
            next_connection: AtomicU64::new(1),
            deps,
            config,
        })
    }

    /// This core, for tasks that outlive a call.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        self.myself.upgrade()
    }

    /// The TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn owner(&self) -> &OwnerId {
        &self.deps.owner
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.deps.clock.monotonic().saturating_sub(self.started)
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// How often a device's credential was taken away since the start.
    pub(crate) fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Notes that a device's credential was taken away: connections that are being made look again.
    pub(crate) fn note_revocation(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
    }

    /// A random text of 128 bits, as a UUID looks.
    pub(crate) fn uuid(&self) -> String {
        let bits = self.deps.entropy.next_u128();
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        )
    }
}
