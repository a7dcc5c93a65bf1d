//! `hello-ok`: what a frames client is told when it is let in.

use adjutant_domain::id::SessionKey;
use adjutant_protocol::frames::{
    FRAME_BYTES_MAX, HelloAuth, HelloFeatures, HelloOk, HelloPolicy, HelloServer,
    HelloSessionDefaults, HelloSnapshot, Protocol, StateVersion,
};
use adjutant_protocol::methods::system::HealthReport;
use adjutant_protocol::{Caller, Fault, Role, Scope};

use crate::core::Core;
use crate::socket::outbox::BYTES_MAX;

/// Methods that make sense over JSON-RPC only.
pub(crate) const JSONRPC_ONLY: [&str; 1] = ["events.subscribe"];

/// Puts the answer to `connect` together; `auth` says what the client may do. Whoever may not read learns that the
/// gateway works, and nothing about what it is used for.
pub(crate) async fn hello_ok(
    core: &Core,
    caller: &Caller,
    protocol: Protocol,
    auth: HelloAuth,
) -> Result<HelloOk, Fault> {
    let snapshot = core.snapshot().await?;
    let reads = caller.role == Role::Operator && caller.scopes.allow(Scope::Read);
    let (presence, health) = if reads {
        (core.presence(), snapshot.health.clone())
    } else {
        (Vec::new(), bare(&snapshot.health))
    };
    let agent = &core.deps.default_agent;
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let methods = adjutant_protocol::specs()
        .filter(|spec| spec.access.role() == caller.role)
        .map(|spec| spec.name)
        .filter(|name| !JSONRPC_ONLY.contains(name));
    Ok(HelloOk {
        kind: "hello-ok".to_owned(),
        protocol: protocol.number(),
        server: HelloServer {
            version: core.deps.version.clone(),
            conn_id: caller.connection.to_string(),
        },
        features: HelloFeatures {
            methods: methods.map(str::to_owned).collect(),
            events: adjutant_protocol::event_specs()
                .map(|row| row.name.to_owned())
                .collect(),
            capabilities: Vec::new(),
        },
        snapshot: HelloSnapshot {
            presence,
            health,
            state_version: StateVersion {
                presence: core.hub.presence_version(),
                health: snapshot.version,
            },
            uptime_ms: millis(core.uptime()),
            session_defaults: HelloSessionDefaults {
                default_agent_id: agent.as_str().to_owned(),
                main_key: "main".to_owned(),
                main_session_key: SessionKey::main_of(agent).as_str().to_owned(),
                scope: "per-sender".to_owned(),
                model_configured: core
                    .deps
                    .models
                    .route(&core.deps.models.default_route())
                    .is_ok(),
            },
            auth_mode: "token".to_owned(),
        },
        auth,
        policy: HelloPolicy {
            max_payload: u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX),
            max_buffered_bytes: u64::try_from(BYTES_MAX).unwrap_or(u64::MAX),
            tick_interval_ms: millis(core.config.tick_interval.duration()),
        },
    })
}

/// The report without the keys of sessions and the names of agents other than the default one.
fn bare(health: &HealthReport) -> HealthReport {
    let mut bare = health.clone();
    bare.sessions.recent.clear();
    bare.agents.retain(|agent| agent.is_default);
    for agent in &mut bare.agents {
        agent.sessions.recent.clear();
    }
    bare
}
