//! A gateway that says exactly what a test wants, and a node in front of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adjutant_domain::time::Timestamp;
use adjutant_node::{Config, Deps, Endpoint, Fingerprint, Node, NodeError, NodeHost, Phase};
use adjutant_ports::{Clock, Entropy};
use adjutant_vault::{DeviceClaim, NonceRule, verify_device};
use futures::future::{BoxFuture, FutureExt as _};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything: a machine under load is slow, a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses pass at once; the time is that of the machine.
pub(crate) struct Hasty;

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        tokio::task::yield_now().boxed()
    }

    fn local_day(&self) -> String {
        "2026-11-28".to_owned()
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next_u128(&self) -> u128 {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Where nodes dial.
pub(crate) struct Gateway {
    listener: TcpListener,
}

/// One connection of a node.
pub(crate) struct Seat<S> {
    socket: WebSocketStream<S>,
    /// Its `connect`.
    pub(crate) connect: Value,
    pub(crate) node_id: String,
}

impl Gateway {
    pub(crate) async fn open() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!(
            "{scheme}://127.0.0.1:{}",
            self.listener.local_addr().unwrap().port()
        )
    }

    pub(crate) async fn stream(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// The next connection, up to its `connect`, whose proof was checked.
    pub(crate) async fn seat(&self) -> Seat<TcpStream> {
        Seat::of(self.stream().await).await
    }

    /// The next connection, let in.
    pub(crate) async fn welcome(&self) -> Seat<TcpStream> {
        let mut seat = self.seat().await;
        seat.let_in(4 << 20).await;
        seat
    }
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Seat<S> {
    pub(crate) async fn of(stream: S) -> Self {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let nonce = "7b0a2f2e-5f3c-4d5e-9a61-0c8c5c1d2e3f";
        let ts = Hasty.now().as_millis();
        let challenge = json!({ "type": "event", "event": "connect.challenge", "payload": { "nonce": nonce, "ts": ts } });
        socket
            .send(Message::text(challenge.to_string()))
            .await
            .unwrap();
        let mut seat = Self {
            socket,
            connect: Value::Null,
            node_id: String::new(),
        };
        let connect = seat.hear().await;
        assert_eq!(connect["method"], "connect");
        let params = &connect["params"];
        let text = |at: &str| {
            params
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let claim = DeviceClaim {
            id: text("/device/id"),
            public_key: text("/device/publicKey"),
            signature: text("/device/signature"),
            signed_at: params["device"]["signedAt"].as_i64().unwrap(),
            nonce: Some(text("/device/nonce")),
            client_id: text("/client/id"),
            client_mode: text("/client/mode"),
            role: text("/role"),
            scopes: &[],
            token: text("/auth/token"),
            platform: text("/client/platform"),
            device_family: text("/client/deviceFamily"),
        };
        assert!(verify_device(&claim, nonce, ts, NonceRule::Required).is_ok());
        seat.node_id = text("/device/id").to_owned();
        seat.connect = connect;
        seat
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match soon(self.socket.next()).await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    pub(crate) async fn let_in(&mut self, max_payload: u64) {
        let id = self.connect["id"].clone();
        self.say(json!({ "type": "res", "id": id, "ok": true, "payload": {
            "type": "hello-ok", "protocol": 4, "server": { "version": "t", "connId": "c" },
            "auth": { "role": "node", "scopes": [], "deviceToken": "own-token" },
            "policy": { "maxPayload": max_payload, "maxBufferedBytes": 1, "tickIntervalMs": 30_000 },
        }}))
        .await;
    }

    pub(crate) async fn refuse(mut self, code: &str, message: &str, details: Value) {
        let id = self.connect["id"].clone();
        let error = json!({ "code": code, "message": message, "details": details });
        self.say(json!({ "type": "res", "id": id, "ok": false, "error": error }))
            .await;
        self.socket.close(None).await.unwrap();
    }

    /// Sends a request without waiting for its result.
    pub(crate) async fn ask(&mut self, id: &str, key: &str, command: &str, params: Value) {
        let node = self.node_id.clone();
        self.say(
            json!({ "type": "event", "event": "node.invoke.request", "payload": {
                "id": id, "nodeId": node, "command": command, "paramsJSON": params.to_string(),
                "timeoutMs": 50_000, "idempotencyKey": key,
            }}),
        )
        .await;
    }

    /// The next result: its id, and payload or error.
    pub(crate) async fn result(&mut self) -> (String, Result<Value, Value>) {
        let frame = self.hear().await;
        assert_eq!(frame["method"], "node.invoke.result");
        let params = frame["params"].clone();
        assert_eq!(params["nodeId"], json!(self.node_id));
        self.say(
            json!({ "type": "res", "id": frame["id"], "ok": true, "payload": { "ok": true } }),
        )
        .await;
        let id = params["id"].as_str().unwrap().to_owned();
        if params["ok"] == true {
            let payload = serde_json::from_str(params["payloadJSON"].as_str().unwrap()).unwrap();
            (id, Ok(payload))
        } else {
            (id, Err(params["error"].clone()))
        }
    }

    pub(crate) async fn invoke(
        &mut self,
        key: &str,
        command: &str,
        params: Value,
    ) -> Result<Value, Value> {
        self.ask(key, key, command, params).await;
        let (id, outcome) = self.result().await;
        assert_eq!(id, key);
        outcome
    }
}

/// A node that runs, and is stopped with the value.
pub(crate) struct Running {
    node: Arc<Node>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), NodeError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    pub(crate) async fn until(&self, wanted: impl Fn(&Phase) -> bool) -> Phase {
        let mut watch = self.node.watch();
        let status =
            soon(watch.wait_for(|it| it.as_ref().is_some_and(|it| wanted(&it.phase)))).await;
        status.unwrap().as_ref().unwrap().phase.clone()
    }

    pub(crate) async fn end(mut self) -> Result<(), NodeError> {
        self.stop.cancel();
        soon(&mut self.task).await.unwrap()
    }

    pub(crate) async fn ended(mut self) -> Result<(), NodeError> {
        soon(&mut self.task).await.unwrap()
    }
}

/// Starts a node in `folder`.
pub(crate) async fn start(
    folder: &Path,
    url: &str,
    token: Option<&str>,
    config: Config,
) -> Running {
    start_pinned(folder, url, token, config, None).await
}

pub(crate) async fn start_pinned(
    folder: &Path,
    url: &str,
    token: Option<&str>,
    config: Config,
    pinned: Option<Fingerprint>,
) -> Running {
    let host = NodeHost::find(&config, folder, Arc::new(Hasty))
        .await
        .unwrap();
    let deps = Deps {
        clock: Arc::new(Hasty),
        entropy: Arc::new(Counting(AtomicU64::new(0))),
        version: "0.0.0".to_owned(),
    };
    let node = Node::open(
        folder,
        Endpoint::parse(url).unwrap(),
        pinned,
        token.map(str::to_owned),
        "box".to_owned(),
        Arc::new(host),
        deps,
    );
    let node = Arc::new(node.unwrap());
    let stop = CancellationToken::new();
    let (runs, told) = (Arc::clone(&node), stop.clone());
    let task = tokio::spawn(async move { runs.run(&told).await });
    Running { node, stop, task }
}

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("nothing happens")
}

/// A program by name, where there is one.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|it| it.join(name))
        .find(|it| it.is_file())
}
