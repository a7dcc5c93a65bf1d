//! One connection: requests in, results out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use crate::dial::Socket;
use crate::frames::{Hello, InvokeRequest, Said, request};
use crate::host::NodeHost;
use crate::results::Outcome;

/// Answers on their way to the socket.
const ANSWERS_MAX: usize = 64;
/// One message must be taken by the network within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Two ticks without a word, and a little, mean that the gateway is gone.
const TICK: Duration = Duration::from_secs(30);
/// Bytes of a frame around the answer it carries.
const ENVELOPE_BYTES: usize = 8 << 10;
/// Bytes of an answer when the gateway does not say what it takes, or says more than anybody needs.
const ANSWER_BYTES_MAX: usize = 5 << 20;

/// Why a connection was left.
pub(crate) enum Left {
    /// The node was told to stop.
    Stopped,
    /// The network or the gateway ended it.
    Lost(String),
}

/// Serves `socket` until it ends.
pub(crate) async fn serve(
    socket: &mut Socket,
    hello: &Hello,
    node_id: &str,
    host: &Arc<NodeHost>,
    stop: &CancellationToken,
) -> Left {
    let (answers, mut outbox) = mpsc::channel(ANSWERS_MAX);
    let link = Link {
        node_id: node_id.to_owned(),
        host: Arc::clone(host),
        answers,
        answer_bytes_max: answer_bytes_max(hello),
        next: AtomicU64::new(1),
    };
    let tick = hello
        .policy
        .tick_interval_ms
        .map_or(TICK, Duration::from_millis);
    let silence = tick.max(Duration::from_secs(1)) * 2 + Duration::from_secs(5);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                goodbye(socket, 1000, "node stops").await;
                return Left::Stopped;
            }
            () = tokio::time::sleep_until(heard + silence) => {
                goodbye(socket, 4000, "tick timeout").await;
                return Left::Lost("the gateway has fallen silent".to_owned());
            }
            Some(text) = outbox.recv() => {
                match tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Left::Lost(error.to_string()),
                    Err(_late) => return Left::Lost("the gateway takes nothing".to_owned()),
                }
            }
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    None => return Left::Lost("the connection ended".to_owned()),
                    Some(Err(error)) => return Left::Lost(error.to_string()),
                    Some(Ok(Message::Text(text))) => link.hear(&text),
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|it| it.reason.to_string()).unwrap_or_default();
                        return Left::Lost(format!("closed by the gateway: {reason}"));
                    }
                    Some(Ok(_)) => {}
                }
            }
        }
    }
}

async fn goodbye(socket: &mut Socket, code: u16, reason: &str) {
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    };
    // Best effort: the other side sees the end of the stream anyway.
    drop(tokio::time::timeout(Duration::from_secs(1), socket.close(Some(frame))).await);
}

/// A text inside a text: every quote may take two bytes.
fn answer_bytes_max(hello: &Hello) -> usize {
    let frame = hello
        .policy
        .max_payload
        .and_then(|it| usize::try_from(it).ok())
        .unwrap_or(ANSWER_BYTES_MAX);
    frame.saturating_sub(ENVELOPE_BYTES).min(ANSWER_BYTES_MAX)
}

struct Link {
    node_id: String,
    host: Arc<NodeHost>,
    answers: mpsc::Sender<String>,
    answer_bytes_max: usize,
    next: AtomicU64,
}

impl Link {
    fn hear(&self, text: &str) {
        match serde_json::from_str(text) {
            Ok(Said::Event { event, payload }) if event == "node.invoke.request" => {
                match InvokeRequest::deserialize(payload) {
                    Ok(request) if request.node_id == self.node_id => self.begin(request),
                    Ok(_) => tracing::warn!("a request for another node was ignored"),
                    Err(error) => tracing::warn!(%error, "a request cannot be read"),
                }
            }
            Ok(Said::Res {
                ok: false, error, ..
            }) => {
                let message = error.map(|it| it.message).unwrap_or_default();
                tracing::warn!(%message, "the gateway did not take an answer");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an odd frame was ignored"),
        }
    }

    /// The task outlives the connection: what was begun is finished, and its answer is kept for the next request.
    fn begin(&self, asked: InvokeRequest) {
        let (host, answers) = (Arc::clone(&self.host), self.answers.clone());
        let (node_id, bytes_max) = (self.node_id.clone(), self.answer_bytes_max);
        let id = format!("n{}", self.next.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            let outcome = host.answer(&asked, bytes_max).await;
            let text = result(&id, &asked.id, &node_id, &outcome, bytes_max);
            // The connection may be gone; the gateway asks again on the next one.
            drop(answers.send(text).await);
        });
    }
}

fn result(id: &str, invoke: &str, node_id: &str, outcome: &Outcome, bytes_max: usize) -> String {
    let params = match outcome {
        Ok(payload) => {
            json!({ "id": invoke, "nodeId": node_id, "ok": true, "payloadJSON": payload })
        }
        Err(fault) => json!({
            "id": invoke, "nodeId": node_id, "ok": false,
            "error": { "code": fault.code, "message": fault.message },
        }),
    };
    let text = request(id, "node.invoke.result", &params);
    if text.len() <= bytes_max + ENVELOPE_BYTES {
        return text;
    }
    // Many quotes: the answer fits, the frame does not.
    let message = format!(
        "the answer's frame has {} bytes, this connection carries {bytes_max}",
        text.len()
    );
    let fault = json!({ "code": "PAYLOAD_TOO_LARGE", "message": message });
    let params = json!({ "id": invoke, "nodeId": node_id, "ok": false, "error": fault });
    request(id, "node.invoke.result", &params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_never_outgrows_the_frame() {
        let quotes = "\"".repeat(10_000);
        let text = result("n1", "i", "n", &Ok(quotes), 10_000);
        assert!(text.contains("PAYLOAD_TOO_LARGE"), "{}", text.len());
        let text = result("n1", "i", "n", &Ok("{}".to_owned()), 10_000);
        assert!(text.contains(r#""payloadJSON":"{}""#), "{text}");
    }
}
