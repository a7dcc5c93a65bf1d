//! The one task that owns the socket: it sends calls, hands out answers, spreads notifications and dials again.
//!
//! A call that is safe to repeat survives a lost connection: it is sent again on the next one. Any other call ends
//! with [`ClientError::Closed`], because nobody on this side can know whether it was carried out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::client::Notification;
use crate::dial::{Socket, dial};
use crate::endpoint::{Credential, Endpoint};
use crate::error::ClientError;

/// A ping goes out this often.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Nothing heard for this long means the other side is gone.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// One message must be taken by the network within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first new attempt; doubled after each.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Calls that wait for a connection.
const WAITING_MAX: usize = 256;

/// Whether sending a call twice does it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or carries an idempotency key.
    Safe,
    /// It may act twice.
    Never,
}

/// One call on its way.
pub(crate) struct Pending {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) repeat: Repeat,
    pub(crate) reply: oneshot::Sender<Result<Value, ClientError>>,
}

impl Pending {
    fn answer(self, result: Result<Value, ClientError>) {
        // The caller may have stopped waiting; then nobody misses the answer.
        drop(self.reply.send(result));
    }
}

/// What the link says to everybody who listens.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Notification(Arc<Notification>),
    Lost { reason: String },
    Back,
    Ended(ClientError),
}

/// Why a socket was left.
enum Left {
    /// Nobody needs it any more.
    ByUs,
    /// The network or the other side ended it.
    Lost(String),
}

pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    pub(crate) credential: Credential,
    pub(crate) orders: mpsc::Receiver<Pending>,
    pub(crate) notices: broadcast::Sender<Heard>,
    /// How long to keep dialling after a loss.
    pub(crate) patience: Duration,
    pub(crate) in_flight: BTreeMap<u64, Pending>,
    pub(crate) waiting: VecDeque<Pending>,
    pub(crate) next_id: u64,
}

impl Link {
    /// Serves `socket` and its successors until nobody holds the client any more or the gateway stays away.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        loop {
            match self.serve(&mut socket).await {
                Left::ByUs => {
                    // Best effort: the other side sees the end of the stream anyway.
                    drop(tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await);
                    return;
                }
                Left::Lost(reason) => {
                    tracing::debug!(endpoint = %self.endpoint, "connection lost");
                    self.give_up_what_may_act_twice(&reason);
                    self.say(Heard::Lost { reason });
                    match self.dial_again().await {
                        Ok(Some(fresh)) => socket = fresh,
                        Ok(None) => return,
                        Err(error) => {
                            self.end(&error);
                            return;
                        }
                    }
                    self.say(Heard::Back);
                }
            }
        }
    }

    async fn serve(&mut self, socket: &mut Socket) -> Left {
        while let Some(pending) = self.waiting.pop_front() {
            if let Err(reason) = self.send(socket, pending).await {
                return Left::Lost(reason);
            }
        }
        let mut pulse = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut heard_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                frame = socket.next() => {
                    heard_at = Instant::now();
                    match frame {
                        Some(Ok(Message::Text(text))) => self.take(text.as_str()),
                        Some(Ok(Message::Close(frame))) => {
                            let reason = frame.map(|it| it.reason.to_string()).filter(|it| !it.is_empty());
                            return Left::Lost(reason.unwrap_or_else(|| "the gateway closed it".to_owned()));
                        }
                        Some(Ok(_ping_pong_or_binary)) => {}
                        Some(Err(error)) => return Left::Lost(error.to_string()),
                        None => return Left::Lost("the gateway closed it".to_owned()),
                    }
                }
                order = self.orders.recv() => match order {
                    None => return Left::ByUs,
                    Some(pending) => {
                        if let Err(reason) = self.send(socket, pending).await {
                            return Left::Lost(reason);
                        }
                    }
                },
                _ = pulse.tick() => {
                    if SILENCE_MAX < heard_at.elapsed() {
                        return Left::Lost("the gateway went silent".to_owned());
                    }
                    if let Err(reason) = transmit(socket, Message::Ping(Vec::new().into())).await {
                        return Left::Lost(reason);
                    }
                }
            }
        }
    }

    async fn send(&mut self, socket: &mut Socket, pending: Pending) -> Result<(), String> {
        self.in_flight.retain(|_, it| !it.reply.is_closed());
        if pending.reply.is_closed() {
            return Ok(());
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": pending.method, "params": pending.params });
        self.in_flight.insert(id, pending);
        transmit(socket, Message::text(request.to_string())).await
    }

    /// One message from the gateway: an answer, or a notification.
    fn take(&mut self, text: &str) {
        let Ok(mut message) = serde_json::from_str::<Value>(text) else {
            tracing::warn!("a message from the gateway is not JSON");
            return;
        };
        if let Some(method) = message.get("method").and_then(Value::as_str) {
            let method = method.to_owned();
            let params = message.get_mut("params").map_or(Value::Null, Value::take);
            self.say(Heard::Notification(Arc::new(Notification {
                method,
                params,
            })));
            return;
        }
        let Some(pending) = message
            .get("id")
            .and_then(Value::as_u64)
            .and_then(|id| self.in_flight.remove(&id))
        else {
            tracing::debug!("an answer to a call nobody waits for");
            return;
        };
        let result = match message.get("error") {
            Some(error) => Err(refused(error)),
            None => Ok(message.get_mut("result").map_or(Value::Null, Value::take)),
        };
        pending.answer(result);
    }

    /// Dials until someone answers, the gateway refuses, patience ends, or nobody needs the client (`None`).
    async fn dial_again(&mut self) -> Result<Option<Socket>, ClientError> {
        let give_up_at = Instant::now() + self.patience;
        let mut pause = PAUSE_MIN;
        loop {
            let wake_at = Instant::now() + pause;
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(wake_at) => break,
                    order = self.orders.recv(), if self.waiting.len() < WAITING_MAX => match order {
                        Some(pending) => self.waiting.push_back(pending),
                        None => return Ok(None),
                    },
                }
            }
            match dial(&self.endpoint, &self.credential).await {
                Ok(socket) => return Ok(Some(socket)),
                Err(
                    error @ ClientError::Refused {
                        retry_after: None, ..
                    },
                ) if error.code() != Some("UNAVAILABLE") => {
                    return Err(error);
                }
                // Another certificate than before does not become the right one by waiting.
                Err(error @ ClientError::Untrusted { .. }) => return Err(error),
                Err(error) if give_up_at <= Instant::now() => return Err(error),
                Err(_not_yet) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    /// After a loss: what may be repeated waits for the next socket, the rest ends here.
    fn give_up_what_may_act_twice(&mut self, reason: &str) {
        for pending in std::mem::take(&mut self.in_flight).into_values() {
            match pending.repeat {
                Repeat::Safe => self.waiting.push_back(pending),
                Repeat::Never => {
                    let reason = format!(
                        "{reason}; whether `{}` was carried out is not known",
                        pending.method
                    );
                    pending.answer(Err(ClientError::Closed { reason }));
                }
            }
        }
    }

    fn end(&mut self, error: &ClientError) {
        self.say(Heard::Ended(error.clone()));
        self.orders.close();
        let waiting = std::mem::take(&mut self.waiting);
        for pending in waiting {
            pending.answer(Err(error.clone()));
        }
        while let Ok(pending) = self.orders.try_recv() {
            pending.answer(Err(error.clone()));
        }
    }

    fn say(&self, heard: Heard) {
        // Nobody may be listening; that is fine.
        drop(self.notices.send(heard));
    }
}

async fn transmit(socket: &mut Socket, message: Message) -> Result<(), String> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err("the gateway takes nothing any more".to_owned()),
    }
}

/// A JSON-RPC error object as a typed error.
fn refused(error: &Value) -> ClientError {
    let data = error.get("data");
    let text = |name: &str| {
        data.and_then(|data| data.get(name)?.as_str())
            .map(str::to_owned)
    };
    let number = error
        .get("code")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let code = text("code").unwrap_or_else(|| {
        match number {
            -32700 => "PARSE_ERROR",
            -32600 => "INVALID_REQUEST",
            -32601 => "UNKNOWN_METHOD",
            -32602 => "INVALID_PARAMS",
            _ => "INTERNAL",
        }
        .to_owned()
    });
    ClientError::Refused {
        code,
        message: error.get("message").and_then(Value::as_str).map_or_else(
            || format!("the gateway answered with error {number}"),
            str::to_owned,
        ),
        hint: text("hint"),
        retry_after: data
            .and_then(|data| data.get("retryAfterMs")?.as_u64())
            .map(Duration::from_millis),
    }
}
