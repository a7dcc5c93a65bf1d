//! `health` and `status`: made when something changed, read as often as anybody likes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adjutant_domain::agent::Agent;
use adjutant_domain::code::Code;
use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::Page;
use adjutant_protocol::methods::sessions::SessionRow;
use adjutant_protocol::methods::system::{
    HealthAgent, HealthReport, HealthSessions, Heartbeat, Presence, RecentSession,
    StatusAgentSessions, StatusDefaults, StatusHeartbeat, StatusHeartbeatAgent, StatusReport,
    StatusRuns, StatusSessions,
};
use adjutant_protocol::{Fault, Written};

use crate::core::Core;
use crate::wire;

/// Sessions shown in a report.
const RECENT: u32 = 10;
/// A report younger than this is good enough even when something changed.
const YOUNG: Duration = Duration::from_millis(250);
/// A report older than this is made anew even when nothing changed: it says how long ago things were.
const OLD: Duration = Duration::from_secs(60);
/// Open questions that are counted.
const APPROVALS_MAX: u32 = 1_000;
/// Where sessions are kept, as clients see it.
pub(crate) const PLACE: &str = "adjutant";

/// What the reports say.
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) health: HealthReport,
    pub(crate) status: StatusReport,
    made: Duration,
}

/// What the reports are made of.
struct Facts {
    now: Timestamp,
    agents: Vec<Arc<Agent>>,
    count: u64,
    rows: Vec<SessionRow>,
    runs: StatusRuns,
    approvals: u64,
}

impl Facts {
    fn rows_of(&self, agent: &Agent) -> Vec<SessionRow> {
        let mine = |row: &&SessionRow| row.agent_id == agent.name.as_str();
        self.rows.iter().filter(mine).cloned().collect()
    }
}

/// The newest snapshot.
#[derive(Default)]
pub(crate) struct Snapshots {
    newest: Mutex<Option<Arc<Snapshot>>>,
    changed: AtomicBool,
    version: AtomicU64,
    making: tokio::sync::Mutex<()>,
}

impl Snapshots {
    /// Notes that something changed that the reports show.
    pub(crate) fn note(&self, events: &[Event]) {
        let shows = |event: &Event| {
            matches!(
                event.kind,
                EventKind::SessionCreated { .. }
                    | EventKind::SessionChanged { .. }
                    | EventKind::SessionDeleted
                    | EventKind::RunQueued { .. }
                    | EventKind::RunStarted
                    | EventKind::RunParked { .. }
                    | EventKind::RunFinished { .. }
                    | EventKind::ApprovalRequested { .. }
                    | EventKind::ApprovalResolved { .. }
                    | EventKind::Changed { .. }
            )
        };
        if events.iter().any(shows) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// The last reports that were made.
    pub(crate) fn newest(&self) -> Option<Arc<Snapshot>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clone()
    }

    fn fresh(&self, now: Duration) -> Option<Arc<Snapshot>> {
        let newest = self.newest()?;
        let age = now.saturating_sub(newest.made);
        let good = age < YOUNG || age < OLD && !self.changed.load(Ordering::Acquire);
        good.then_some(newest)
    }
}

impl Core {
    /// The reports: the last ones if nothing changed, and then whatever the number of sessions.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Fault> {
        if let Some(snapshot) = self.snapshots.fresh(self.deps.clock.monotonic()) {
            return Ok(snapshot);
        }
        let _one_at_a_time = self.snapshots.making.lock().await;
        if let Some(snapshot) = self.snapshots.fresh(self.deps.clock.monotonic()) {
            return Ok(snapshot);
        }
        self.snapshots.changed.store(false, Ordering::Release);
        let snapshot = Arc::new(self.make_snapshot().await?);
        *self
            .snapshots
            .newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    async fn make_snapshot(&self) -> Result<Snapshot, Fault> {
        let (store, owner) = (&self.deps.store, self.owner());
        let began = self.deps.clock.monotonic();
        let now = self.now();
        let page = Page {
            limit: RECENT,
            offset: 0,
        };
        let sessions = store.sessions(owner, page).await?;
        let (queued, running, parked) = store.queue_depth().await?;
        let open = store.approvals(owner, true, APPROVALS_MAX).await?.len();
        let facts = Facts {
            now,
            agents: store.agents(owner).await?,
            count: store.count_sessions(owner).await?,
            rows: sessions
                .iter()
                .map(|session| wire::session_row(session, now))
                .collect(),
            runs: StatusRuns {
                queued,
                running,
                parked,
            },
            approvals: u64::try_from(open).unwrap_or(u64::MAX),
        };
        let made = self.deps.clock.monotonic();
        let took = made.saturating_sub(began);
        Ok(Snapshot {
            version: self.snapshots.version.fetch_add(1, Ordering::Relaxed) + 1,
            health: self.health_report(&facts, took),
            status: self.status_report(facts).map_err(unwritable)?,
            made,
        })
    }

    fn health_report(&self, facts: &Facts, took: Duration) -> HealthReport {
        let default = &self.deps.default_agent;
        let agent = |agent: &Arc<Agent>| HealthAgent {
            agent_id: agent.name.as_str().to_owned(),
            name: Some(agent.display_name.clone()),
            is_default: agent.name == *default,
            heartbeat: Heartbeat::off(),
            sessions: health_sessions(&facts.rows_of(agent), None, facts.now),
        };
        HealthReport {
            ok: true,
            ts: facts.now,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            channels: BTreeMap::new(),
            channel_order: Vec::new(),
            channel_labels: BTreeMap::new(),
            heartbeat_seconds: 0,
            default_agent_id: default.as_str().to_owned(),
            agents: facts.agents.iter().map(agent).collect(),
            sessions: health_sessions(&facts.rows, Some(facts.count), facts.now),
        }
    }

    fn status_report(&self, facts: Facts) -> Result<StatusReport, serde_json::Error> {
        let heartbeat = |agent: &Arc<Agent>| StatusHeartbeatAgent {
            agent_id: agent.name.as_str().to_owned(),
            enabled: false,
            every: "off".to_owned(),
            every_ms: None,
        };
        let by_agent = |agent: &Arc<Agent>| {
            let recent = facts.rows_of(agent);
            StatusAgentSessions {
                agent_id: agent.name.as_str().to_owned(),
                path: PLACE.to_owned(),
                count: u64::try_from(recent.len()).unwrap_or(u64::MAX),
                recent,
            }
        };
        let route = self.deps.models.route(&self.deps.models.default_route());
        let route = route.ok();
        Ok(StatusReport {
            runtime_version: self.deps.version.clone(),
            started_at: self.started_at,
            uptime_ms: 0,
            heartbeat: Written::new(StatusHeartbeat {
                default_agent_id: self.deps.default_agent.as_str().to_owned(),
                agents: facts.agents.iter().map(heartbeat).collect(),
            })?,
            channel_summary: Vec::new(),
            queued_system_events: Vec::new(),
            sessions: Written::new(StatusSessions {
                paths: vec![PLACE.to_owned()],
                count: facts.count,
                defaults: StatusDefaults {
                    model: route.as_ref().map(|route| route.model.clone()),
                    context_tokens: route.as_ref().and_then(|route| route.context_tokens),
                },
                by_agent: facts.agents.iter().map(by_agent).collect(),
                recent: facts.rows,
            })?,
            runs: facts.runs,
            approvals: facts.approvals,
            connections: 0,
        })
    }

    /// What is connected; this gateway comes first.
    pub(crate) fn presence(&self) -> Vec<Presence> {
        let own = Presence {
            ts: self.started_at,
            host: Some("gateway".to_owned()),
            version: Some(self.deps.version.clone()),
            platform: Some(std::env::consts::OS.to_owned()),
            mode: Some("gateway".to_owned()),
            reason: Some("self".to_owned()),
            text: Some(format!("Gateway · adjutant {}", self.deps.version)),
            ..Presence::default()
        };
        let mut all = vec![own];
        all.extend(self.hub.present());
        all
    }
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::new(
        Code::Internal,
        format!("the report could not be written: {error}"),
    )
}

fn health_sessions(rows: &[SessionRow], count: Option<u64>, now: Timestamp) -> HealthSessions {
    HealthSessions {
        path: PLACE.to_owned(),
        count: count.unwrap_or_else(|| u64::try_from(rows.len()).unwrap_or(u64::MAX)),
        recent: rows
            .iter()
            .map(|row| RecentSession {
                key: row.key.clone(),
                updated_at: row.updated_at,
                age: u64::try_from(now.since(row.updated_at).as_millis()).unwrap_or(u64::MAX),
            })
            .collect(),
    }
}
