//! A gateway that answers from a table and tells a story after `chat.send`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use adjutant_client::Endpoint;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What happens after a run was started, in order.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A durable event of the run.
    Event(Value),
    /// Words as they come.
    Delta(&'static str),
    /// Nothing until this method is called.
    Until(&'static str),
    /// The connection breaks; the next one goes on.
    Break,
}

/// A gateway that answers from a table.
#[derive(Clone, Default)]
pub(super) struct FakeGateway {
    answers: BTreeMap<&'static str, Value>,
    story: Vec<Act>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    calls: Vec<(String, Value)>,
    /// Every durable event so far.
    events: Vec<Value>,
    /// How much of the story was told.
    told: usize,
    began: bool,
    run: String,
}

impl FakeGateway {
    pub(super) fn answering(answers: &[(&'static str, Value)]) -> Self {
        Self {
            answers: answers.iter().cloned().collect(),
            ..Self::default()
        }
    }

    pub(super) fn telling(mut self, story: Vec<Act>) -> Self {
        self.story = story;
        self
    }

    pub(super) fn with(mut self, method: &'static str, answer: Value) -> Self {
        self.answers.insert(method, answer);
        self
    }

    /// The parameters of every call of this method.
    pub(super) fn calls(&self, method: &str) -> Vec<Value> {
        let shared = self.shared.lock().unwrap();
        shared
            .calls
            .iter()
            .filter(|(name, _)| name == method)
            .map(|(_, params)| params.clone())
            .collect()
    }

    pub(super) async fn open(&self) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint =
            Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let gateway = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                gateway.serve(&mut socket).await;
            }
        });
        endpoint
    }

    /// Serves until the client leaves or the story breaks the connection.
    async fn serve(&self, socket: &mut WebSocketStream<TcpStream>) {
        let mut seq = 0;
        loop {
            if self.tell(socket, &mut seq).await == Told::Break {
                return;
            }
            let text = match socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            };
            let call: Value = serde_json::from_str(&text).unwrap();
            let method = call["method"].as_str().unwrap();
            let answer = self.answer(method, &call["params"]);
            let message = match answer {
                Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
                Err(error) => json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }),
            };
            say(socket, &message).await;
        }
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let mut shared = self.shared.lock().unwrap();
        shared.calls.push((method.to_owned(), params.clone()));
        match method {
            "events.subscribe" => Ok(json!({ "subscribed": true, "cursor": shared.events.len() })),
            "events.since" => {
                let from = usize::try_from(params["cursor"].as_u64().unwrap()).unwrap();
                Ok(
                    json!({ "events": shared.events[from..], "cursor": shared.events.len(), "hasMore": false }),
                )
            }
            "chat.send" | "tools.call" => {
                if shared.began {
                    shared
                        .calls
                        .push(("chat.send again".to_owned(), Value::Null));
                    return Ok(json!({ "runId": shared.run, "status": "started" }));
                }
                shared.began = true;
                shared.run = params["idempotencyKey"].as_str().unwrap().to_owned();
                Ok(
                    json!({ "runId": shared.run, "status": "started", "sessionKey": "agent:main:tools" }),
                )
            }
            "agent.wait" => {
                let mut answer = self.answers.get(method).cloned().unwrap();
                answer["runId"] = json!(shared.run);
                Ok(answer)
            }
            _ => self.answers.get(method).cloned().ok_or_else(|| {
                json!({ "code": -32000, "message": format!("no such thing for {method}"),
                        "data": { "code": "NOT_FOUND" } })
            }),
        }
    }

    /// Goes on with the story as far as it can.
    async fn tell(&self, socket: &mut WebSocketStream<TcpStream>, seq: &mut u64) -> Told {
        loop {
            let message = {
                let mut shared = self.shared.lock().unwrap();
                if !shared.began {
                    return Told::Waiting;
                }
                let Some(act) = self.story.get(shared.told).cloned() else {
                    return Told::Waiting;
                };
                if let Act::Until(method) = act
                    && !shared.calls.iter().any(|(name, _)| name == method)
                {
                    return Told::Waiting;
                }
                shared.told += 1;
                match act {
                    Act::Until(_) => continue,
                    Act::Break => return Told::Break,
                    Act::Delta(text) => {
                        *seq += 1;
                        let delta = json!({ "runId": shared.run, "sessionKey": "agent:main:main", "seq": *seq,
                                            "kind": "text", "text": text });
                        json!({ "jsonrpc": "2.0", "method": "delta", "params": delta })
                    }
                    Act::Event(mut event) => {
                        event["cursor"] = json!(shared.events.len() + 1);
                        event["at"] = json!(1_800_000_000_000_u64);
                        event["runId"] = json!(shared.run);
                        shared.events.push(event.clone());
                        json!({ "jsonrpc": "2.0", "method": "event", "params": event })
                    }
                }
            };
            say(socket, &message).await;
        }
    }
}

#[derive(PartialEq)]
enum Told {
    Waiting,
    Break,
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &Value) {
    // The client may have left in the middle of the story.
    drop(socket.send(Message::text(message.to_string())).await);
}
