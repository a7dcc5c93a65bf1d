//! A gateway on a free port with a real store, a scripted worker, and clients made of plain sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::{AgentId, MessageId, OwnerId, ReservationId, SessionId, WorkerId};
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{AskedBudget, Entry, Limits, ModelFault, Outcome, StopReason};
use adjutant_domain::time::Timestamp;
use adjutant_gateway::{CanvasDoor, CanvasFolders, Config, Deps, Gateway, Listeners};
use adjutant_ports::bus::{Bus, Pulse, PulseKind};
use adjutant_ports::clock::{Clock, Entropy};
use adjutant_ports::config::{ConfigChange, ConfigDoor, ConfigFault, Explained};
use adjutant_ports::files::{FileError, FileScope, Files};
use adjutant_ports::provider::{
    Asking, ModelAsk, ModelInfo, Models, Provider, ProviderStatus, Route,
};
use adjutant_ports::store::{Append, Claim, Offer, Store};
use adjutant_store::{LocalBus, Sqlite};
use adjutant_telemetry::Metrics;
use adjutant_vault::Token;

pub(crate) const TOKEN: &str = "Zk3vQ9xW1mB7tR5yL0aH2cJ4dF6gN8pS";
/// Where requests with forwarding headers come from: an address of this machine, and not the one of everybody else.
pub(crate) const PROXY: [u8; 4] = [127, 0, 0, 2];
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct SystemClock(std::time::Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn local_day(&self) -> String {
        self.now().rfc3339()[..10].to_owned()
    }
}

struct Dice(AtomicU64);

impl Entropy for Dice {
    fn next_u128(&self) -> u128 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64
            | u128::from(n.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }
}

struct NoProvider;

impl Provider for NoProvider {
    fn stream(&self, _ask: &ModelAsk) -> Asking<'_> {
        std::future::ready(Err(ModelFault::TimedOut)).boxed()
    }
}

struct OneModel;

impl Models for OneModel {
    fn route(&self, name: &str) -> Result<Route, String> {
        if !name.starts_with("test") {
            return Err(format!("unknown provider in `{name}`; configured: test"));
        }
        Ok(Route {
            name: "test/echo".to_owned(),
            model: "echo".to_owned(),
            provider: Arc::new(NoProvider),
            price: None,
            context_tokens: Some(8_000),
            offline: true,
        })
    }

    fn default_route(&self) -> String {
        "test/echo".to_owned()
    }

    fn fallbacks(&self) -> Vec<String> {
        vec![]
    }

    fn list(&self) -> Vec<ModelInfo> {
        vec![]
    }

    fn status(&self) -> Vec<ProviderStatus> {
        vec![]
    }
}

struct OneSetting;

impl ConfigDoor for OneSetting {
    fn get(&self, key: Option<&str>) -> Result<Value, ConfigFault> {
        match key {
            None => Ok(json!({ "gateway": { "port": 1, "token": "hunter2-hunter2" } })),
            Some("gateway.port") => Ok(json!(1)),
            Some(key) => Err(ConfigFault::UnknownKey {
                key: key.to_owned(),
                nearest: Some("gateway.port".to_owned()),
            }),
        }
    }

    fn explain(&self, key: &str) -> Result<Explained, ConfigFault> {
        Err(ConfigFault::UnknownKey {
            key: key.to_owned(),
            nearest: None,
        })
    }

    fn set(
        &self,
        key: &str,
        _value: Option<Value>,
        _base: Option<&str>,
    ) -> Result<ConfigChange, ConfigFault> {
        Ok(ConfigChange {
            keys: vec![key.to_owned()],
            needs_restart: vec![],
            hash: "h".to_owned(),
        })
    }

    fn schema(&self) -> Value {
        json!({})
    }

    fn hash(&self) -> String {
        "h".to_owned()
    }

    fn path(&self) -> String {
        "config.toml".to_owned()
    }
}

/// Folders of canvases beneath this one.
struct CanvasDir(std::path::PathBuf);

impl CanvasFolders for CanvasDir {
    fn open(&self, session: SessionId) -> Result<Arc<dyn Files>, FileError> {
        let workspace = self.0.join(session.to_string());
        std::fs::create_dir_all(&workspace).unwrap();
        adjutant_sandbox::paths::open(&FileScope {
            workspace,
            allowed_dirs: Vec::new(),
            denied: Vec::new(),
        })
    }

    fn remove(&self, session: SessionId) -> Result<(), FileError> {
        drop(std::fs::remove_dir_all(self.0.join(session.to_string())));
        Ok(())
    }
}

/// A running gateway. Stops when dropped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) stop: CancellationToken,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) canvas: Arc<CanvasDoor>,
    entropy: Arc<Dice>,
    clock: Arc<SystemClock>,
    pub(crate) served: Option<tokio::task::JoinHandle<Result<(), adjutant_gateway::GatewayError>>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock(std::time::Instant::now()));
        let entropy = Arc::new(Dice(AtomicU64::new(1)));
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let store: Arc<dyn Store> = Sqlite::open(
            dir.path(),
            Arc::<SystemClock>::clone(&clock),
            Arc::clone(&bus),
            Arc::<Dice>::clone(&entropy),
            adjutant_store::Config::default(),
        )
        .unwrap();
        let owner = OwnerId::local();
        store
            .put_agent(agent(&owner, dir.path()), None)
            .await
            .unwrap();
        let mut config = Config {
            port: 0,
            ..Config::default()
        };
        change(&mut config);
        let deps = Deps {
            store: Arc::clone(&store),
            bus: Arc::clone(&bus),
            clock: Arc::<SystemClock>::clone(&clock),
            entropy: Arc::<Dice>::clone(&entropy),
            models: Arc::new(OneModel),
            config: Arc::new(OneSetting),
            metrics: Arc::new(Metrics::new("0.0.0-test")),
            token: Token::parse(TOKEN).unwrap(),
            owner,
            default_agent: AgentId::main(),
            limits: Arc::new(|agent: &Agent| Limits {
                agent: agent.limits.clone(),
                budget: agent.budget,
            }),
            workspaces: dir.path().join("workspaces"),
            control_ui: config.control_ui.dir.clone().map(|workspace| {
                let scope = FileScope {
                    workspace,
                    allowed_dirs: Vec::new(),
                    denied: Vec::new(),
                };
                adjutant_sandbox::paths::open(&scope).unwrap()
            }),
            canvases: config
                .canvas
                .enabled
                .then(|| Arc::new(CanvasDir(dir.path().join("canvas"))) as Arc<dyn CanvasFolders>),
            log_file: None,
            version: "0.0.0-test".to_owned(),
        };
        let listeners = Listeners::bind(&config, dir.path()).await.unwrap();
        let address = listeners.address();
        let stop = CancellationToken::new();
        let canvas = Arc::new(CanvasDoor::default());
        let gateway = Gateway::new(deps, config).with_canvas(Arc::clone(&canvas));
        let served = tokio::spawn(gateway.serve(listeners, stop.clone()));
        Self {
            address,
            store,
            bus,
            stop,
            dir,
            canvas,
            entropy,
            clock,
            served: Some(served),
        }
    }

    /// Sends raw bytes over a fresh TCP connection and reads until the other side closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The gateway may answer and hang up before it has read everything.
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // A reset after the answer is an answer all the same.
        drop(read.expect("the connection stays open"));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One HTTP request with the given header lines; gives status and body.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> (u16, String) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers
            .iter()
            .any(|line| line.to_ascii_lowercase().starts_with("host:"))
        {
            head.push_str(&format!("Host: 127.0.0.1:{}\r\n", self.address.port()));
        }
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let answer = self.raw(&bytes).await;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        (status, body)
    }

    /// One authenticated POST to `/rpc`.
    pub(crate) async fn post(&self, body: &[u8]) -> (u16, String) {
        let token = format!("Authorization: Bearer {TOKEN}");
        self.http(
            "POST",
            "/rpc",
            &[&token, "Content-Type: application/json"],
            body,
        )
        .await
    }

    /// One JSON-RPC call; gives the whole envelope.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (status, text) = self.post(body.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// One JSON-RPC call that must work; gives the result.
    pub(crate) async fn ok(&self, method: &str, params: Value) -> Value {
        let envelope = self.rpc(method, params).await;
        assert!(envelope.get("error").is_none(), "{method}: {envelope}");
        envelope["result"].clone()
    }

    /// `chat.send` with a fresh key; gives the key.
    pub(crate) async fn send(&self, session: &str, message: &str) -> String {
        let key = format!("k-{}", self.entropy.next_u128());
        let sent = self
            .ok(
                "chat.send",
                json!({ "sessionKey": session, "message": message, "idempotencyKey": key }),
            )
            .await;
        assert_eq!(sent, json!({ "runId": key, "status": "started" }));
        key
    }

    /// A WebSocket with the given extra headers.
    pub(crate) async fn ws(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Client, String> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let proxied = headers.iter().any(|(name, _)| *name == "x-forwarded-for");
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            if proxied {
                socket.bind((PROXY, 0).into())?;
            }
            let stream = MaybeTlsStream::Plain(socket.connect(self.address).await?);
            tokio_tungstenite::client_async(request, stream).await
        };
        let connected = tokio::time::timeout(PATIENCE, connect).await.unwrap();
        connected
            .map(|(socket, _)| Client { socket, next: 0 })
            .map_err(|e| e.to_string())
    }

    /// A JSON-RPC WebSocket.
    pub(crate) async fn jsonrpc(&self) -> Client {
        self.ws("/rpc", &[("authorization", format!("Bearer {TOKEN}"))])
            .await
            .unwrap()
    }

    /// A frames WebSocket after `connect`; gives the payload of hello-ok, too.
    pub(crate) async fn frames(&self, protocol: u32, scopes: &[&str]) -> (Client, Value) {
        let mut client = self.ws("/", &[]).await.unwrap();
        let challenge = client.next().await;
        assert_eq!(challenge["event"], "connect.challenge");
        client.say(connect(protocol, TOKEN, scopes)).await;
        let hello = client.next().await;
        assert_eq!(hello["ok"], true, "{hello}");
        (client, hello["payload"].clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn roll(&self) -> u128 {
        self.entropy.next_u128()
    }

    /// Claims the next run as a worker would.
    pub(crate) async fn claim(&self) -> Claim {
        let worker = WorkerId::mint(self.clock.now(), self.entropy.next_u128());
        loop {
            let claims = self
                .store
                .claim(&Offer::one(worker), Duration::from_secs(30))
                .await;
            match claims.unwrap().pop() {
                Some(claim) => return claim,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Appends to the run of a claim.
    pub(crate) async fn append(&self, claim: &Claim, entries: Vec<Entry>) {
        let append = Append {
            run: &claim.run,
            fence: claim.fence,
            entries,
            caps: vec![],
            grants: vec![],
        };
        self.store.append(append).await.unwrap();
    }

    /// Streams words of a reply.
    pub(crate) fn pulse(&self, claim: &Claim, text: &str) {
        self.bus.pulse(Pulse {
            run: claim.run.id,
            run_name: claim.run.name().into(),
            session: claim.run.session_key.clone(),
            kind: PulseKind::Text(text.into()),
        });
    }

    /// The entries of a complete reply.
    pub(crate) fn reply(&self, text: &str) -> (MessageId, Vec<Entry>) {
        let mint = || self.entropy.next_u128();
        let message = MessageId::mint(self.clock.now(), mint());
        let budget = AskedBudget {
            reservation: ReservationId::mint(self.clock.now(), mint()),
            reserve: Micros::ZERO,
            day: self.clock.local_day(),
        };
        let usage = Usage {
            input: 10,
            output: 4,
            ..Usage::default()
        };
        let route = "test/echo".to_owned();
        let entries = vec![
            Entry::ModelAsked {
                attempt: 1,
                route: route.clone(),
                budget: budget.clone(),
            },
            Entry::ModelReplied {
                message,
                parts: vec![Part::Text {
                    text: text.to_owned(),
                }],
                stop: StopReason::End,
                route,
                usage,
                cost: Cost::Priced { micros: Micros(42) },
                budget,
            },
        ];
        (message, entries)
    }

    /// Does the next run: streams `text` word by word, replies, finishes.
    pub(crate) async fn work(&self, text: &str) {
        let claim = self.claim().await;
        for word in text.split_inclusive(' ') {
            self.pulse(&claim, word);
        }
        let (message, mut entries) = self.reply(text);
        entries.push(Self::done(message));
        self.append(&claim, entries).await;
    }

    pub(crate) fn done(message: MessageId) -> Entry {
        Entry::Finished {
            outcome: Outcome::Done {
                message: Some(message),
            },
            usage: Usage {
                input: 10,
                output: 4,
                ..Usage::default()
            },
            cost: Cost::Priced { micros: Micros(42) },
        }
    }

    pub(crate) fn cancelled(by: String) -> Entry {
        Entry::Finished {
            outcome: Outcome::Cancelled { by },
            usage: Usage::default(),
            cost: Cost::Priced {
                micros: Micros::ZERO,
            },
        }
    }

    /// The gateway still works.
    pub(crate) async fn assert_healthy(&self) {
        assert_eq!(self.ok("health", json!({})).await["ok"], true);
        assert_eq!(
            self.http("GET", "/healthz", &[], b"").await,
            (200, "ok\n".to_owned())
        );
    }
}

pub(crate) fn agent(owner: &OwnerId, dir: &std::path::Path) -> Agent {
    Agent {
        owner: owner.clone(),
        name: AgentId::main(),
        display_name: "Main".to_owned(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: vec![],
        trust_level: TrustLevel::L3,
        system_prompt: String::new(),
        tools: None,
        allowed_dirs: vec![],
        workspace: dir.join("workspace").display().to_string(),
        approval_policy: ApprovalPolicy::default(),
        vault_grants: vec![],
        needs: Needs::default(),
        budget: AgentBudget::default(),
        limits: AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: Timestamp::default(),
    }
}

pub(crate) fn connect(protocol: u32, token: &str, scopes: &[&str]) -> Value {
    json!({
        "type": "req", "id": "c1", "method": "connect", "params": {
            "minProtocol": protocol, "maxProtocol": protocol,
            "client": { "id": "cli", "version": "dev", "platform": "linux", "mode": "cli" },
            "caps": [], "role": "operator", "scopes": scopes, "auth": { "token": token },
        },
    })
}

/// A WebSocket client.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
}

impl Client {
    pub(crate) async fn say(&mut self, value: Value) {
        self.socket
            .send(Message::text(value.to_string()))
            .await
            .unwrap();
    }

    /// The next text, as JSON.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("silence");
            match message.expect("the connection ended").unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next text, which is hoped to be the one that is named.
    pub(crate) async fn next_or(&mut self, wanted: &str) -> Value {
        match tokio::time::timeout(PATIENCE / 2, self.next()).await {
            Ok(value) => value,
            Err(_silence) => panic!("silence instead of {wanted}"),
        }
    }

    /// Says goodbye; what the other side still says can be read.
    pub(crate) async fn hang_up(&mut self, code: u16) {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        drop(self.socket.close(Some(frame)).await);
    }

    /// The next text that fits.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.next().await;
            if fits(&value) {
                return value;
            }
        }
    }

    /// Everything up to the text that fits, that one included.
    pub(crate) async fn all_until(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let value = self.next().await;
            let last = fits(&value);
            all.push(value);
            if last {
                return all;
            }
        }
    }

    /// The close frame; other messages are collected on the way.
    pub(crate) async fn closed(&mut self) -> (u16, String, Vec<Value>) {
        let mut said = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("silence");
            match message {
                Some(Ok(Message::Text(text))) => {
                    said.push(serde_json::from_str(text.as_str()).unwrap())
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.as_str().to_owned(), said);
                }
                Some(Ok(Message::Close(None))) => return (1005, String::new(), said),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (1006, String::new(), said),
            }
        }
    }

    /// A JSON-RPC call over this socket; notifications on the way are dropped.
    pub(crate) async fn rpc(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.say(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        self.until(|value| value["id"] == id).await
    }

    /// A request in frames; events on the way are dropped.
    pub(crate) async fn req(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = format!("r{}", self.next);
        self.say(json!({ "type": "req", "id": id, "method": method, "params": params }))
            .await;
        self.until(|value| value["type"] == "res" && value["id"] == id)
            .await
    }
}
