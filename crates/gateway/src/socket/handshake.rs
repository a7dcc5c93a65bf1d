//! Challenge and `connect`: who is there, with which protocol, with which rights.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use adjutant_domain::code::Code;
use adjutant_domain::id::SessionKey;
use adjutant_protocol::frames::{
    Challenge, ClientMode, ConnectParams, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX, HelloAuth,
    HelloFeatures, HelloOk, HelloPolicy, HelloServer, HelloSessionDefaults, HelloSnapshot,
    Protocol, StateVersion,
};
use adjutant_protocol::{
    Caller, Codec as _, Decoded, Fault, Frames, Outbound, Request, RequestId, Role, Scope, Scopes,
    Surface,
};
use adjutant_vault::{DeviceClaim, verify_device};

use crate::core::Core;
use crate::edge::{Class, Connection, Meter, Peer, principal};
use crate::hub::Format;
use crate::socket::outbox::BYTES_MAX;
use crate::socket::{Farewell, Ws, farewell_to};

/// Methods that make sense over JSON-RPC only.
pub(crate) const JSONRPC_ONLY: [&str; 1] = ["events.subscribe"];

/// A connection that was let in.
pub(crate) struct Welcome {
    pub(crate) caller: Caller,
    pub(crate) format: Format,
    /// The answer to `connect`.
    pub(crate) hello: String,
}

/// A refusal of `connect`.
struct No {
    fault: Fault,
    code: u16,
}

impl No {
    fn new(message: impl Into<String>) -> Self {
        Self {
            fault: Fault::new(Code::InvalidRequest, message),
            code: 1008,
        }
    }

    fn with(message: impl Into<String>, details: Value) -> Self {
        let mut no = Self::new(message);
        no.fault = no.fault.with_details(details);
        no
    }
}

/// Runs the handshake. `Err` says how to close; the reason was sent before where the protocol wants one.
pub(crate) async fn run(
    connection: &Connection,
    peer: &Peer,
    origin: bool,
    ws: &mut Ws,
    meter: &Meter,
) -> Result<Welcome, Farewell> {
    let core = &connection.core;
    let nonce = core.uuid();
    let challenge = json!(Challenge {
        nonce: nonce.clone(),
        ts: core.now()
    });
    let challenge = json!({ "type": "event", "event": "connect.challenge", "payload": challenge });
    let over = |_e| Farewell::new(1000, "");
    ws.send(Message::text(challenge.to_string()))
        .await
        .map_err(over)?;
    let first = tokio::time::timeout(
        core.config.handshake_timeout.duration(),
        first_text(ws, meter),
    );
    let first = first.await.map_err(|_late| Farewell::new(1000, ""))??;
    let codec = Frames {
        protocol: Protocol::V3,
    };
    let Decoded::One(item) = codec.decode(first.as_bytes()) else {
        return Err(Farewell::new(1008, "invalid request frame"));
    };
    let Ok(Request {
        id: Some(id),
        method,
        params,
    }) = *item
    else {
        return Err(Farewell::new(1008, "invalid request frame"));
    };
    let hand = Hand {
        connection,
        peer,
        origin,
        nonce: &nonce,
    };
    let judged = if method == "connect" {
        match serde_json::from_str::<ConnectParams>(params.get()) {
            Ok(params) => hand.judge(&params).await,
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default();
                Err(No::new(format!("invalid connect params: {reason}")))
            }
        }
    } else {
        Err(No::new("invalid handshake: first request must be connect"))
    };
    match judged {
        Ok((caller, format, hello)) => {
            let payload = serde_json::value::to_raw_value(&hello)
                .map_err(|_e| Farewell::new(1011, "internal"))?;
            let hello = codec.encode(Outbound::Reply {
                id: &id,
                result: Ok(&payload),
            });
            Ok(Welcome {
                caller,
                format,
                hello,
            })
        }
        Err(no) => Err(refuse(ws, codec, &id, no).await),
    }
}

async fn first_text(ws: &mut Ws, meter: &Meter) -> Result<String, Farewell> {
    loop {
        match ws.next().await {
            None => return Err(Farewell::new(1000, "")),
            Some(Ok(Message::Text(text))) if text.len() <= FIRST_FRAME_BYTES_MAX => {
                return Ok(text.as_str().to_owned());
            }
            Some(Ok(Message::Text(_))) => return Err(Farewell::new(1009, "first frame too large")),
            Some(Ok(Message::Binary(_))) => return Err(Farewell::new(1008, "text frames only")),
            Some(Ok(Message::Close(_))) => return Err(Farewell::new(1000, "")),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) if meter.is_spent() => {
                return Err(Farewell::new(1009, "first frame too large"));
            }
            Some(Err(error)) => {
                return Err(farewell_to(&error).unwrap_or_else(|| Farewell::new(1000, "")));
            }
        }
    }
}

async fn refuse(ws: &mut Ws, codec: Frames, id: &RequestId, no: No) -> Farewell {
    let reply = codec.encode(Outbound::Reply {
        id,
        result: Err(&no.fault),
    });
    // When it cannot be said, the close frame cannot either.
    drop(ws.send(Message::text(reply)).await);
    Farewell::new(no.code, no.fault.message)
}

struct Hand<'a> {
    connection: &'a Connection,
    peer: &'a Peer,
    origin: bool,
    nonce: &'a str,
}

impl Hand<'_> {
    fn core(&self) -> &Core {
        &self.connection.core
    }

    /// Protocol, role, origin, missing device, device proof, credential: in the order of the protocol.
    async fn judge(&self, params: &ConnectParams) -> Result<(Caller, Format, HelloOk), No> {
        let protocol = negotiate(params)?;
        if !params.client.is_known() {
            return Err(No::new(
                "invalid connect params: at /client/id: unknown client id",
            ));
        }
        match params.role.as_deref() {
            None | Some("operator") => {}
            Some("node") if params.device.is_none() => {
                return Err(device_required("device identity required"));
            }
            Some("node") => {
                let mut no = No::new("this gateway does not serve nodes");
                no.fault.code = Code::Unavailable;
                return Err(no);
            }
            Some(_) => {
                return Err(No::new(
                    "invalid connect params: at /role: must be operator or node",
                ));
            }
        }
        // What the header said was checked with the upgrade; a browser client must have said something.
        if params.client.is_browser() && !self.origin {
            let details = json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED" });
            return Err(No::with(
                "origin not allowed: a browser client must send one",
                details,
            ));
        }
        if params.client.is_browser() && params.device.is_none() {
            let details = json!({ "code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" });
            return Err(No::with("control ui requires device identity", details));
        }
        self.check_device(params)?;
        self.check_credential(params)?;
        let scopes = self.scopes(params, protocol);
        let caller = Caller {
            owner: self.core().owner().clone(),
            principal: params.device.as_ref().map_or_else(
                || principal(self.peer).to_owned(),
                |device| format!("device:{}", device.id.get(..12).unwrap_or_default()),
            ),
            role: Role::Operator,
            scopes,
            surface: Surface::FramesSocket,
            connection: self.connection.id,
        };
        let tool_events = params.caps.iter().flatten().any(|cap| cap == "tool-events");
        let format = Format::Frames {
            codec: Frames { protocol },
            tool_events,
        };
        let hello = self
            .hello(protocol, scopes)
            .await
            .map_err(|fault| No { fault, code: 1011 })?;
        self.core().hub.welcome(
            self.connection.id,
            &params.client,
            scopes,
            self.core().now(),
        );
        Ok((caller, format, hello))
    }

    fn check_device(&self, params: &ConnectParams) -> Result<(), No> {
        let Some(device) = &params.device else {
            return Ok(());
        };
        let core = self.core();
        let now = core.deps.clock.monotonic();
        if let Some(source) = self.peer.counted
            && let Some(left) = core.throttle.locked(source, Class::Device, now)
        {
            return Err(locked_out(left));
        }
        let auth = params.auth.as_ref();
        let token = auth
            .and_then(|a| {
                a.token
                    .as_deref()
                    .or(a.device_token.as_deref())
                    .or(a.bootstrap_token.as_deref())
            })
            .unwrap_or_default();
        let claim = DeviceClaim {
            id: &device.id,
            public_key: &device.public_key,
            signature: &device.signature,
            signed_at: device.signed_at,
            nonce: device.nonce.as_deref(),
            client_id: &params.client.id,
            client_mode: params.client.mode.word(),
            role: params.role.as_deref().unwrap_or("operator"),
            scopes: params.scopes.as_deref().unwrap_or_default(),
            token,
            platform: &params.client.platform,
            device_family: params.client.device_family.as_deref().unwrap_or_default(),
        };
        verify_device(&claim, self.nonce, core.now().as_millis()).map_err(|fault| {
            if let Some(source) = self.peer.counted {
                core.throttle.failed(source, Class::Device, now);
            }
            let details = json!({ "code": fault.detail_code(), "reason": fault.reason() });
            No::with(fault.to_string(), details)
        })
    }

    /// However many fields carry a credential and whatever they are called: it is one attempt of one class (S7).
    fn check_credential(&self, params: &ConnectParams) -> Result<(), No> {
        let core = self.core();
        let auth = params.auth.clone().unwrap_or_default();
        let offered: Vec<&str> = [
            &auth.token,
            &auth.password,
            &auth.device_token,
            &auth.bootstrap_token,
        ]
        .into_iter()
        .filter_map(|field| field.as_deref())
        .filter(|text| !text.is_empty())
        .collect();
        let now = core.deps.clock.monotonic();
        if let Some(source) = self.peer.counted
            && let Some(left) = core.throttle.locked(source, Class::Shared, now)
        {
            return Err(locked_out(left));
        }
        if offered.iter().any(|text| core.deps.token.matches(text)) {
            return Ok(());
        }
        if offered.is_empty() {
            // The socket file is the credential.
            return match self.peer.counted {
                None => Ok(()),
                Some(_) => Err(unauthorized(
                    "gateway token missing",
                    "AUTH_TOKEN_MISSING",
                    "token_missing",
                )),
            };
        }
        if let Some(source) = self.peer.counted {
            core.throttle.failed(source, Class::Shared, now);
            tracing::warn!(%source, "wrong gateway token");
        }
        let password = auth.token.is_none() && auth.password.is_some();
        Err(if password {
            unauthorized(
                "gateway password mismatch",
                "AUTH_PASSWORD_MISMATCH",
                "password_mismatch",
            )
        } else {
            unauthorized(
                "gateway token mismatch",
                "AUTH_TOKEN_MISMATCH",
                "token_mismatch",
            )
        })
    }

    /// A client can only narrow what the credential gives (S10); one without a device may not even have that, unless it
    /// is a command or a program on this machine.
    fn scopes(&self, params: &ConnectParams, protocol: Protocol) -> Scopes {
        let asked = match &params.scopes {
            None => Scopes::ALL,
            Some(words) => {
                let scopes: Vec<Scope> =
                    words.iter().filter_map(|word| word.parse().ok()).collect();
                Scopes::ALL.narrowed_to(&scopes)
            }
        };
        let client = (params.client.id.as_str(), params.client.mode);
        let trusted_kind = matches!(
            client,
            ("cli", ClientMode::Cli) | ("gateway-client", ClientMode::Backend)
        );
        let keeps = params.device.is_some()
            || self.peer.counted.is_none()
            || protocol == Protocol::V3
            || self.peer.local && !self.origin && trusted_kind;
        if keeps { asked } else { Scopes::NONE }
    }

    async fn hello(&self, protocol: Protocol, scopes: Scopes) -> Result<HelloOk, Fault> {
        let core = self.core();
        let snapshot = core.snapshot().await?;
        let agent = &core.deps.default_agent;
        let methods = adjutant_protocol::specs()
            .map(|spec| spec.name)
            .filter(|name| !JSONRPC_ONLY.contains(name));
        Ok(HelloOk {
            kind: "hello-ok".to_owned(),
            protocol: protocol.number(),
            server: HelloServer {
                version: core.deps.version.clone(),
                conn_id: self.connection.id.to_string(),
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
            auth: HelloAuth {
                role: "operator".to_owned(),
                scopes: scopes.words().into_iter().map(str::to_owned).collect(),
            },
            policy: HelloPolicy {
                max_payload: u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX),
                max_buffered_bytes: u64::try_from(BYTES_MAX).unwrap_or(u64::MAX),
                tick_interval_ms: u64::try_from(core.config.tick_interval.duration().as_millis())
                    .unwrap_or(u64::MAX),
            },
        })
    }
}

fn negotiate(params: &ConnectParams) -> Result<Protocol, No> {
    Protocol::negotiate(params.min_protocol, params.max_protocol).ok_or_else(|| {
        let details = json!({
            "code": "PROTOCOL_MISMATCH",
            "expectedProtocol": Protocol::V4.number(),
            "clientMinProtocol": params.min_protocol,
            "clientMaxProtocol": params.max_protocol,
            "minimumProbeProtocol": Protocol::V3.number(),
        });
        let mut no = No::with("protocol mismatch", details);
        no.code = 1002;
        no
    })
}

fn device_required(message: &str) -> No {
    let mut no = No::with(message, json!({ "code": "DEVICE_IDENTITY_REQUIRED" }));
    no.fault.code = Code::NotPaired;
    no
}

fn unauthorized(what: &str, code: &str, reason: &str) -> No {
    let details = json!({
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": false,
        "recommendedNextStep": "update_auth_credentials",
    });
    let mut no = No::with(format!("unauthorized: {what}"), details);
    no.fault.code = Code::Unauthorized;
    no
}

fn locked_out(left: std::time::Duration) -> No {
    let details = json!({
        "code": "AUTH_RATE_LIMITED", "authReason": "rate_limited", "recommendedNextStep": "wait_then_retry",
        "retryable": true,
    });
    let mut no = No::with(
        "unauthorized: too many failed attempts, try again later",
        details,
    );
    no.fault.code = Code::Unauthorized;
    no.fault = no.fault.with_retry_after(left);
    no
}
