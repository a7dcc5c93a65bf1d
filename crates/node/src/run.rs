//! The life of a node: dial, prove who it is, wait to be admitted, serve, dial again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use adjutant_ports::{Clock, Entropy};
use adjutant_tls::{Fingerprint, Trust};
use adjutant_vault::{DeviceIdentity, IdentityError, PayloadVersion, Secret};

use crate::credential::Tokens;
use crate::dial::dial;
use crate::endpoint::Endpoint;
use crate::frames::{Hello, Refusal};
use crate::handshake::{self, Badge, Failed, Shown};
use crate::host::NodeHost;
use crate::link::{self, Left};
use crate::state::{Lock, Phase, Status, write_status};

/// Pause before the second attempt; doubled after each.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks whether somebody has admitted this node.
const PAIRING_PAUSE: Duration = Duration::from_secs(5);

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder of the node cannot be used.
    #[error("{path} cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process is this node.
    #[error("a node already runs from {path}")]
    AlreadyRuns {
        /// The folder.
        path: PathBuf,
    },
    /// The device key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The gateway does not take this node, and trying again would not help.
    #[error("the gateway refuses this node: {message} ({code})")]
    Refused {
        /// The gateway's word.
        code: String,
        /// What it said.
        message: String,
    },
}

/// What a node needs from outside.
pub struct Deps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Version of this program.
    pub version: String,
}

/// A node that can be run.
pub struct Node {
    folder: PathBuf,
    endpoint: Endpoint,
    trust: Trust,
    shared: Option<Secret<String>>,
    name: String,
    identity: DeviceIdentity,
    host: Arc<NodeHost>,
    deps: Deps,
    status: watch::Sender<Option<Status>>,
    _lock: Lock,
}

/// What the next attempt uses.
struct Attempt {
    tokens: Tokens,
    signature: PayloadVersion,
    pause: Duration,
}

/// What to do after a connection or a refusal.
enum Next {
    Stop,
    /// After a pause; `Some` says how long.
    Again(Option<Duration>),
    Fail(NodeError),
}

impl Node {
    /// Takes the folder and reads or makes the device key.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open(
        folder: &Path,
        endpoint: Endpoint,
        pinned: Option<Fingerprint>,
        shared: Option<String>,
        name: String,
        host: Arc<NodeHost>,
        deps: Deps,
    ) -> Result<Self, NodeError> {
        let io = |source| NodeError::Folder {
            path: folder.to_owned(),
            source,
        };
        let lock = Lock::take(folder)
            .map_err(io)?
            .ok_or_else(|| NodeError::AlreadyRuns {
                path: folder.to_owned(),
            })?;
        let identity = DeviceIdentity::load_or_create(&folder.join("device.key"), &*deps.entropy)?;
        Ok(Self {
            folder: folder.to_owned(),
            endpoint,
            trust: pinned.map_or(Trust::System, Trust::Pinned),
            shared: shared.map(Secret::new),
            name,
            identity,
            host,
            deps,
            status: watch::Sender::new(None),
            _lock: lock,
        })
    }

    /// Its name at the gateway: the hash of its key.
    #[must_use]
    pub fn id(&self) -> String {
        self.identity.id()
    }

    /// How it stands, from now on.
    pub fn watch(&self) -> watch::Receiver<Option<Status>> {
        self.status.subscribe()
    }

    /// Serves the gateway until `stop`. In a box, so that all of it is compiled with this crate.
    ///
    /// # Errors
    /// [`NodeError::Refused`] when the gateway will never take this node as it is.
    pub fn run<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<(), NodeError>> {
        Box::pin(self.run_until(stop))
    }

    async fn run_until(&self, stop: &CancellationToken) -> Result<(), NodeError> {
        let mut attempt = Attempt {
            tokens: Tokens::load(&self.folder.join("tokens.json")),
            signature: PayloadVersion::V3,
            pause: PAUSE_MIN,
        };
        self.say(Phase::Connecting { reason: None });
        let ended = loop {
            let next = tokio::select! {
                () = stop.cancelled() => Next::Stop,
                next = self.attempt(&mut attempt, stop) => next,
            };
            let pause = match next {
                Next::Stop => break Ok(()),
                Next::Fail(error) => break Err(error),
                Next::Again(Some(pause)) => pause,
                Next::Again(None) => {
                    let pause = self.jitter(attempt.pause);
                    attempt.pause = (attempt.pause * 2).min(PAUSE_MAX);
                    pause
                }
            };
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = self.deps.clock.sleep(pause) => {}
            }
        };
        self.say(Phase::Stopped);
        ended
    }

    async fn attempt(&self, attempt: &mut Attempt, stop: &CancellationToken) -> Next {
        let mut socket = match dial(&self.endpoint, &self.trust).await {
            Ok(socket) => socket,
            Err(reason) => {
                tracing::info!(gateway = %self.endpoint, %reason, "the gateway cannot be reached");
                self.say(Phase::Connecting {
                    reason: Some(reason),
                });
                return Next::Again(None);
            }
        };
        let gateway = self.endpoint.to_string();
        let commands = self.host.commands();
        let kept = attempt.tokens.get(&gateway);
        let token = match (kept, &self.shared) {
            (Some(token), _) => Shown::Device(token),
            (None, Some(token)) => Shown::Shared(token.expose()),
            (None, None) => Shown::Nothing,
        };
        let badge = Badge {
            identity: &self.identity,
            name: &self.name,
            version: &self.deps.version,
            caps: self.host.caps(),
            commands: &commands,
            token,
            signature: attempt.signature,
            now_ms: self.deps.clock.now().as_millis(),
        };
        match handshake::run(&mut socket, &badge).await {
            Ok(hello) => self.serve(&mut socket, &hello, attempt, stop).await,
            Err(Failed::Lost(reason)) => {
                tracing::info!(%reason, "the gateway did not let this node in");
                self.say(Phase::Connecting {
                    reason: Some(reason),
                });
                Next::Again(None)
            }
            Err(Failed::Refused(refusal)) => {
                let showed_own = matches!(token, Shown::Device(_));
                self.refused(&refusal, showed_own, attempt)
            }
        }
    }

    async fn serve(
        &self,
        socket: &mut crate::dial::Socket,
        hello: &Hello,
        attempt: &mut Attempt,
        stop: &CancellationToken,
    ) -> Next {
        if let Some(token) = &hello.auth.device_token {
            attempt.tokens.set(&self.endpoint.to_string(), token);
        }
        attempt.pause = PAUSE_MIN;
        tracing::info!(gateway = %self.endpoint, node = %self.id(), protocol = hello.protocol, "connected");
        self.say(Phase::Connected {
            protocol: hello.protocol,
        });
        match link::serve(socket, hello, &self.id(), &self.host, stop).await {
            Left::Stopped => Next::Stop,
            Left::Lost(reason) => {
                tracing::info!(%reason, "the connection to the gateway is lost");
                self.say(Phase::Connecting {
                    reason: Some(reason),
                });
                Next::Again(None)
            }
        }
    }

    /// What a refusal means: wait for a person, show something else, wait, or give up.
    fn refused(&self, refusal: &Refusal, showed_own: bool, attempt: &mut Attempt) -> Next {
        let code = refusal.detail("code").unwrap_or(&refusal.code);
        let message = refusal.message.as_str();
        if code == "PAIRING_REQUIRED"
            || refusal.code == "NOT_PAIRED" && message.starts_with("pairing")
        {
            return self.wait_for_pairing(refusal);
        }
        if code == "AUTH_RATE_LIMITED" || refusal.code == "UNAVAILABLE" {
            let pause = refusal.retry_after_ms.map(Duration::from_millis);
            self.say(Phase::Connecting {
                reason: Some(message.to_owned()),
            });
            return Next::Again(pause.map(|it| it.clamp(PAUSE_MIN, 20 * PAUSE_MAX)));
        }
        let signature = code == "DEVICE_AUTH_SIGNATURE_INVALID"
            || refusal.detail("reason") == Some("device-signature")
            || message.contains("device signature invalid");
        if signature && attempt.signature == PayloadVersion::V3 {
            // Releases before 2026-02-26 know the older line only.
            attempt.signature = PayloadVersion::V2;
            return Next::Again(Some(Duration::ZERO));
        }
        if showed_own && (code.starts_with("AUTH_") || message.starts_with("unauthorized")) {
            tracing::warn!("the gateway no longer takes this node's own token; it is dropped");
            attempt.tokens.forget(&self.endpoint.to_string());
            return Next::Again(Some(PAUSE_MIN));
        }
        Next::Fail(NodeError::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        })
    }

    fn wait_for_pairing(&self, refusal: &Refusal) -> Next {
        let request_id = refusal.detail("requestId").map(str::to_owned);
        let phase = Phase::Pairing {
            request_id: request_id.clone(),
        };
        let was = self.status.borrow().as_ref().map(|it| it.phase.clone());
        if was.as_ref() != Some(&phase) {
            let id = request_id.as_deref().unwrap_or("<request>");
            tracing::warn!(
                node = %self.id(),
                "this node must be admitted at the gateway: run `adjutant devices approve {id}` there \
                 (OpenClaw: `openclaw devices approve {id}`); it goes on waiting"
            );
            self.say(phase);
        }
        Next::Again(Some(self.jitter(PAIRING_PAUSE)))
    }

    fn say(&self, phase: Phase) {
        let status = Status {
            phase,
            since: self.deps.clock.now(),
            node_id: self.id(),
            name: self.name.clone(),
            gateway: self.endpoint.to_string(),
            pid: std::process::id(),
            commands: self.host.commands(),
        };
        write_status(&self.folder, &status);
        self.status.send_replace(Some(status));
    }

    /// Up to a quarter longer, so that many nodes do not come back at the same moment.
    fn jitter(&self, pause: Duration) -> Duration {
        let dice = u32::try_from(self.deps.entropy.next_u128() & 0xff).unwrap_or(0);
        pause + pause * dice / 1_024
    }
}
