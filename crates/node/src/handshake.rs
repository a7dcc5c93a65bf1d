//! Challenge, `connect`, `hello-ok`: proving who this node is.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use adjutant_vault::{DeviceClaim, DeviceIdentity, PayloadVersion};

use crate::dial::Socket;
use crate::frames::{Challenge, Hello, Refusal, Said, request};

/// How long the gateway may take for each of its two words.
const WORD_TIMEOUT: Duration = Duration::from_secs(20);
/// The versions of the protocol that are spoken.
const PROTOCOLS: (u32, u32) = (3, 4);

/// What the node shows.
pub(crate) struct Badge<'a> {
    pub(crate) identity: &'a DeviceIdentity,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) caps: &'a [String],
    pub(crate) commands: &'a [String],
    pub(crate) token: Shown<'a>,
    pub(crate) signature: PayloadVersion,
    /// Milliseconds since the epoch, for gateways that do not say.
    pub(crate) now_ms: i64,
}

/// The credential that is shown.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// Nothing: the socket file is the proof.
    Nothing,
    /// The token all clients share.
    Shared(&'a str),
    /// The one this device was given.
    Device(&'a str),
}

/// Why a handshake did not end in `hello-ok`.
pub(crate) enum Failed {
    /// The connection ended, or something odd was said.
    Lost(String),
    /// The gateway said no.
    Refused(Box<Refusal>),
}

/// Runs the handshake.
pub(crate) async fn run(socket: &mut Socket, badge: &Badge<'_>) -> Result<Hello, Failed> {
    let challenge = loop {
        match hear(socket).await? {
            Said::Event { event, payload } if event == "connect.challenge" => {
                break Challenge::deserialize(payload)
                    .map_err(|error| Failed::Lost(format!("an odd challenge: {error}")))?;
            }
            _ => {}
        }
    };
    let connect = request("connect", "connect", &badge.params(&challenge));
    socket
        .send(Message::text(connect))
        .await
        .map_err(|error| Failed::Lost(error.to_string()))?;
    loop {
        match hear(socket).await? {
            Said::Res {
                ok: true, payload, ..
            } => {
                return Hello::deserialize(payload)
                    .map_err(|error| Failed::Lost(format!("an odd welcome: {error}")));
            }
            Said::Res { error, .. } => {
                return Err(Failed::Refused(Box::new(error.unwrap_or_default())));
            }
            Said::Event { .. } => {}
        }
    }
}

async fn hear(socket: &mut Socket) -> Result<Said, Failed> {
    let word = async {
        while let Some(message) = socket.next().await {
            match message {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text)
                        .map_err(|error| Failed::Lost(format!("an odd frame: {error}")));
                }
                Ok(Message::Close(frame)) => {
                    let reason = frame.map(|it| it.reason.to_string()).unwrap_or_default();
                    return Err(Failed::Lost(format!("closed by the gateway: {reason}")));
                }
                Ok(_) => {}
                Err(error) => return Err(Failed::Lost(error.to_string())),
            }
        }
        Err(Failed::Lost("the connection ended".to_owned()))
    };
    tokio::time::timeout(WORD_TIMEOUT, word)
        .await
        .unwrap_or_else(|_late| Err(Failed::Lost("the gateway says nothing".to_owned())))
}

impl Badge<'_> {
    fn params(&self, challenge: &Challenge) -> serde_json::Value {
        let token = match self.token {
            Shown::Nothing => "",
            Shown::Shared(token) | Shown::Device(token) => token,
        };
        let (id, public_key) = (self.identity.id(), self.identity.public_key());
        // The gateway's own clock, where it says it: a node's may be far off.
        let signed_at = challenge.ts.filter(|ts| 0 <= *ts).unwrap_or(self.now_ms);
        let (platform, family) = (platform(), device_family());
        let claim = DeviceClaim {
            id: &id,
            public_key: &public_key,
            signature: "",
            signed_at,
            nonce: None,
            client_id: "node-host",
            client_mode: "node",
            role: "node",
            scopes: &[],
            token,
            platform,
            device_family: family,
        };
        let signature = self.identity.sign(&claim, self.signature, &challenge.nonce);
        let mut params = json!({
            "minProtocol": PROTOCOLS.0,
            "maxProtocol": PROTOCOLS.1,
            "client": {
                "id": "node-host", "displayName": self.name, "version": self.version, "platform": platform,
                "deviceFamily": family, "mode": "node", "instanceId": id,
            },
            "role": "node",
            "scopes": [],
            "caps": self.caps,
            "commands": self.commands,
            // A gateway that knows it may give out a request again after a lost connection.
            "permissions": { "invoke.keyed": true },
            "pathEnv": crate::process::search_path(),
            "device": {
                "id": id, "publicKey": public_key, "signature": signature, "signedAt": signed_at,
                "nonce": challenge.nonce,
            },
        });
        // A device's token is taken in this field by every release, and by the oldest in no other.
        if !token.is_empty()
            && let Some(params) = params.as_object_mut()
        {
            params.insert("auth".to_owned(), json!({ "token": token }));
        }
        params
    }
}

/// As clients of the protocol say it.
pub(crate) const fn platform() -> &'static str {
    if cfg!(target_os = "macos") {
        "darwin"
    } else if cfg!(windows) {
        "win32"
    } else {
        "linux"
    }
}

const fn device_family() -> &'static str {
    if cfg!(target_os = "macos") {
        "Mac"
    } else if cfg!(windows) {
        "Windows"
    } else {
        "Linux"
    }
}
