//! Challenge and `connect`: who is there, with which protocol, with which rights.

mod claims;
mod credential;
mod pairing;
mod refusal;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use adjutant_domain::device::NodeClaims;
use adjutant_domain::id::DeviceId;
use adjutant_protocol::frames::{
    Challenge, ClientInfo, ClientMode, ConnectParams, FIRST_FRAME_BYTES_MAX, HelloAuth, HelloOk,
    Protocol,
};
use adjutant_protocol::{
    Caller, Codec as _, Decoded, Frames, Outbound, Request, RequestId, Role, Scopes, Surface,
};

use crate::core::Core;
use crate::edge::{Connection, Meter, Peer, principal};
use crate::hub::{Format, Newcomer};
use crate::socket::hello::hello_ok;
use crate::socket::{Browser, Farewell, Ws, farewell_to};
use claims::Claims;
use pairing::Proven;
use refusal::No;

/// A connection that was let in.
pub(crate) struct Welcome {
    pub(crate) caller: Caller,
    pub(crate) format: Format,
    /// What a node said of itself; none for operators.
    pub(crate) node: Option<NodeSession>,
    /// How often credentials had been taken away when this one was looked at.
    pub(crate) revocations: u64,
    /// The answer to `connect`.
    pub(crate) hello: String,
}

/// A node, as it introduced itself. Claims only: what it may do is policy.
#[derive(Debug, Clone)]
pub(crate) struct NodeSession {
    /// The device; also the node's id.
    pub(crate) device: DeviceId,
    /// The program.
    pub(crate) client: ClientInfo,
    /// What it offers.
    pub(crate) claims: NodeClaims,
    /// Where it comes from.
    pub(crate) remote_ip: Option<std::net::IpAddr>,
}

/// Runs the handshake. `Err` says how to close; the reason was sent before where the protocol wants one.
pub(crate) async fn run(
    connection: &Connection,
    peer: &Peer,
    browser: Browser,
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
        browser,
        nonce: &nonce,
    };
    let judged = if method == "connect" {
        match adjutant_protocol::read::<ConnectParams>("connect", &params) {
            Ok(params) => hand.judge(&params).await,
            Err(fault) => Err(No::new(fault.message)),
        }
    } else {
        Err(No::new("invalid handshake: first request must be connect"))
    };
    match judged {
        Ok(judged) => {
            let Judged {
                caller,
                format,
                node,
                revocations,
                hello,
            } = *judged;
            let payload = serde_json::value::to_raw_value(&hello)
                .map_err(|_e| Farewell::new(1011, "internal"))?;
            let hello = codec.encode(Outbound::Reply {
                id: &id,
                result: Ok(&payload),
            });
            Ok(Welcome {
                caller,
                format,
                node,
                revocations,
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
    Farewell::new(no.code, no.reason.unwrap_or(no.fault.message))
}

struct Hand<'a> {
    connection: &'a Connection,
    peer: &'a Peer,
    browser: Browser,
    nonce: &'a str,
}

/// A connection that may come in, before its answer is written.
struct Judged {
    caller: Caller,
    format: Format,
    node: Option<NodeSession>,
    revocations: u64,
    hello: HelloOk,
}

impl Hand<'_> {
    fn core(&self) -> &Core {
        &self.connection.core
    }

    /// Protocol, role, origin, missing device, device proof, credential, pairing: in the order of the protocol.
    async fn judge(&self, params: &ConnectParams) -> Result<Box<Judged>, No> {
        let protocol = Protocol::negotiate(params.min_protocol, params.max_protocol)
            .ok_or_else(|| refusal::protocol(params))?;
        let mut claims = Claims::of(params)?;
        let page = params.client.is_browser();
        // What the header said was checked with the upgrade; a browser client must have said something.
        if page && !self.browser.origin {
            return Err(refusal::origin());
        }
        match (&params.device, claims.role) {
            (Some(_), _) => {}
            (None, Role::Operator) if page => return Err(refusal::browser_device_required()),
            (None, Role::Operator) => {}
            (None, Role::Node) => return Err(refusal::device_required()),
        }
        claims.device = self.proof(params, claims.role)?;
        let revocations = self.core().revocations();
        let auth = params.auth.clone().unwrap_or_default();
        let device = claims.device.as_ref().map(|device| device.id.clone());
        let credential = self.credential(&auth, device.as_ref(), claims.role).await?;
        let mut hello = HelloAuth {
            role: claims.role.word().to_owned(),
            scopes: vec![],
            device_token: None,
            issued_at_ms: None,
            device_tokens: vec![],
        };
        let scopes = if device.is_some() {
            let by = format!("{}:{}", Surface::FramesSocket.word(), principal(self.peer));
            let proven = Proven {
                params,
                claims: &claims,
                protocol,
                by: &by,
            };
            let admitted = self.admit(proven, credential).await?;
            hello.device_token = Some(admitted.token);
            hello.issued_at_ms = Some(admitted.issued_at);
            hello.device_tokens = admitted.others;
            admitted.scopes
        } else {
            self.scopes_without_device(params, protocol)
        };
        hello.scopes = scopes.words().into_iter().map(str::to_owned).collect();
        let caller = Caller {
            owner: self.core().owner().clone(),
            principal: match &device {
                None => principal(self.peer).to_owned(),
                Some(device) => format!("device:{}", device.short()),
            },
            device,
            role: claims.role,
            scopes,
            surface: Surface::FramesSocket,
            connection: self.connection.id,
        };
        self.enter(params, protocol, claims, caller, hello, revocations)
            .await
    }

    async fn enter(
        &self,
        params: &ConnectParams,
        protocol: Protocol,
        claims: Claims,
        caller: Caller,
        auth: HelloAuth,
        revocations: u64,
    ) -> Result<Box<Judged>, No> {
        let core = self.core();
        let hello = hello_ok(core, &caller, protocol, auth).await;
        let hello = hello.map_err(No::broken)?;
        let newcomer = Newcomer {
            client: &params.client,
            caller: &caller,
            at: core.now(),
        };
        core.hub.welcome(self.connection.id, &newcomer);
        let node = caller.device.clone().zip(claims.node);
        let node = node.map(|(device, claims)| NodeSession {
            device,
            client: params.client.clone(),
            claims,
            remote_ip: self.peer.counted,
        });
        let able = |cap: &str| params.caps.iter().flatten().any(|it| it == cap);
        Ok(Box::new(Judged {
            format: Format::Frames {
                codec: Frames { protocol },
                tool_events: able("tool-events"),
                plugin_questions: able("plugin-approvals"),
            },
            caller,
            node,
            revocations,
            hello,
        }))
    }

    /// A client can only narrow what the credential gives (S10); one without a device may not even have that, unless it
    /// is a command or a program on this machine.
    fn scopes_without_device(&self, params: &ConnectParams, protocol: Protocol) -> Scopes {
        let asked = match &params.scopes {
            None => Scopes::ALL,
            Some(words) => Scopes::of_words(words.iter().map(String::as_str)),
        };
        let client = (params.client.id.as_str(), params.client.mode);
        let trusted_kind = matches!(
            client,
            ("cli", ClientMode::Cli) | ("gateway-client", ClientMode::Backend)
        );
        let keeps = self.peer.counted.is_none()
            || protocol == Protocol::V3
            || self.peer.local && !self.browser.origin && trusted_kind;
        if keeps { asked } else { Scopes::NONE }
    }
}
