//! `hello-ok`: everything a client is told when it was let in.

use adjutant_domain::id::SessionKey;
use adjutant_protocol::frames::{
    FRAME_BYTES_MAX, HelloAuth, HelloFeatures, HelloOk, HelloPolicy, HelloServer,
    HelloSessionDefaults, HelloSnapshot, Protocol, StateVersion,
};
use adjutant_protocol::{Fault, Role};

use crate::core::Core;
use crate::socket::outbox::BYTES_MAX;

/// Methods that make sense over JSON-RPC only.
pub(crate) const JSONRPC_ONLY: [&str; 1] = ["events.subscribe"];
/// What a connection is told, whoever it is. `auth` says what it may do.
pub(crate) async fn hello_ok(
    core: &Core,
    connection: u64,
    protocol: Protocol,
    role: Role,
    auth: HelloAuth,
) -> Result<HelloOk, Fault> {
    let snapshot = core.snapshot().await?;
    let agent = &core.deps.default_agent;
    let methods = adjutant_protocol::specs()
        .filter(|spec| spec.access.role() == role)
        .map(|spec| spec.name)
        .filter(|name| !JSONRPC_ONLY.contains(name));
    Ok(HelloOk {
        kind: "hello-ok".to_owned(),
        protocol: protocol.number(),
        server: HelloServer {
            version: core.deps.version.clone(),
            conn_id: connection.to_string(),
        },
        features: HelloFeatures {
            methods: methods.map(str::to_owned).collect(),
            events: adjutant_protocol::event_specs()
                .map(|spec| spec.name.to_owned())
                .collect(),
            capabilities: Vec::new(),
        },
        snapshot: HelloSnapshot {
            presence: core.presence(),
            health: snapshot.health.clone(),
            state_version: StateVersion {
                presence: core.hub.presence_version(),
                health: snapshot.version,
            },
            uptime_ms: u64::try_from(core.uptime().as_millis()).unwrap_or(u64::MAX),
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
            tick_interval_ms: u64::try_from(core.config.tick_interval.duration().as_millis())
                .unwrap_or(u64::MAX),
        },
    })
}
