//! JSON-RPC over WebSocket, as a stranger would write it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::subject::TOKEN;

/// Notifications that wait to be read, at most: whoever only asks would gather all that happens in a campaign.
const EARLY_MAX: usize = 4_096;

/// A connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Notifications that arrived while an answer was awaited; the oldest go when there are too many.
    early: VecDeque<Value>,
}

impl Client {
    /// Connects with the lab's token.
    pub(crate) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://127.0.0.1:{port}/rpc").into_client_request()?;
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {TOKEN}").parse()?);
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self {
            socket,
            next_id: 0,
            early: VecDeque::new(),
        })
    }

    /// Asks to hear of one session only, as a surface that shows one does.
    pub(crate) async fn listen_to(&mut self, session: &str) -> Result<()> {
        self.call("events.subscribe", json!({ "sessionKey": session }))
            .await
            .map(|_| ())
    }

    /// Sends a call and waits for its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send(method, params).await?;
        loop {
            let message = self.read().await?;
            if message["id"] == json!(id) {
                if message.get("error").is_some() {
                    bail!("{method}: {}", message["error"]);
                }
                return Ok(message["result"].clone());
            }
            self.keep(message);
        }
    }

    /// From sending a call to the moment its answer is there; reading what it says is the client's business.
    pub(crate) async fn round_trip(&mut self, method: &str, params: Value) -> Result<Duration> {
        let begun = Instant::now();
        let id = self.send(method, params).await?;
        loop {
            let text = self.text().await?;
            let took = begun.elapsed();
            let message: Value = serde_json::from_str(&text)?;
            if message["id"] == json!(id) {
                message.get("result").context("an error")?;
                return Ok(took);
            }
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Value) {
        if EARLY_MAX <= self.early.len() {
            self.early.pop_front();
        }
        self.early.push_back(message);
    }

    /// Sends a call without waiting.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> Result<u64> {
        self.next_id += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params });
        self.socket
            .send(Message::Text(request.to_string().into()))
            .await?;
        Ok(self.next_id)
    }

    /// The next notification (or answer).
    pub(crate) async fn next(&mut self) -> Result<Value> {
        match self.early.pop_front() {
            Some(early) => Ok(early),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.text().await?)?)
    }

    async fn text(&mut self) -> Result<Utf8Bytes> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(60), self.socket.next())
                .await
                .context("nothing arrived for 60 s")?
                .context("the connection ended")??;
            if let Message::Text(text) = message {
                return Ok(text);
            }
        }
    }
}

/// What one turn looked like from outside, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    pub(crate) sent: u64,
    /// When the mock had the request.
    pub(crate) at_model: u64,
    /// When the mock sent its first word.
    pub(crate) first_word: u64,
    /// When we had it.
    pub(crate) first_delta: u64,
    /// When we knew that it was over.
    pub(crate) ended: u64,
}

/// Reads the moments out of `@received,sent@`.
fn moments(text: &str) -> Option<(u64, u64)> {
    let inner = text.split('@').nth(1)?;
    let (received, sent) = inner.split_once(',')?;
    Some((received.parse().ok()?, sent.parse().ok()?))
}

/// One turn: send, stream, end. Works against the floor and against Adjutant: only the final notification differs.
pub(crate) async fn turn(
    client: &mut Client,
    session: &str,
    key: &str,
    text: &str,
) -> Result<Turn> {
    let mut turn = Turn {
        sent: crate::mock::now_ns(),
        ..Turn::default()
    };
    let params = json!({ "sessionKey": session, "message": text, "idempotencyKey": key });
    client.send("chat.send", params).await?;
    loop {
        let message = client.next().await?;
        if let Some(error) = message.get("error") {
            bail!("chat.send: {error}");
        }
        let params = &message["params"];
        if params["runId"] != json!(key) {
            continue;
        }
        match message["method"].as_str() {
            Some("delta") if turn.first_delta == 0 => {
                turn.first_delta = crate::mock::now_ns();
                if let Some((received, sent)) = params["text"].as_str().and_then(moments) {
                    turn.at_model = received;
                    turn.first_word = sent;
                }
            }
            Some("final") => break,
            Some("event") if params["type"] == "run_finished" => {
                if params["outcome"] != "done" {
                    bail!("the run ended {}: {}", params["outcome"], params["reason"]);
                }
                break;
            }
            _ => {}
        }
    }
    turn.ended = crate::mock::now_ns();
    Ok(turn)
}
