//! The client against a scripted gateway on a loopback socket.
// The type of a refused upgrade is the library's.
#![allow(clippy::unwrap_used, clippy::result_large_err, missing_docs)]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adjutant_client::{Client, ClientError, Credential, Endpoint, Gap, Notice};
use adjutant_protocol::methods::agent::{AgentWait, AgentWaitParams};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::workers::WorkersList;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

type Conversation = Box<dyn FnOnce(Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The server's end of one connection.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    /// The next call: its id, method and parameters. None when the client has gone.
    async fn call(&mut self) -> Option<(Value, String, Value)> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => {
                    let call: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(call["jsonrpc"], "2.0");
                    let method = call["method"].as_str().unwrap().to_owned();
                    return Some((call["id"].clone(), method, call["params"].clone()));
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn expect(&mut self, method: &str) -> (Value, Value) {
        let (id, name, params) = self.call().await.unwrap();
        assert_eq!(name, method);
        (id, params)
    }

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn answer(&mut self, id: Value, result: Value) {
        self.say(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
            .await;
    }

    async fn event(&mut self, cursor: u64) {
        self.say(json!({ "jsonrpc": "2.0", "method": "event", "params": event(cursor) }))
            .await;
    }
}

fn event(cursor: u64) -> Value {
    json!({ "cursor": cursor, "at": 1, "runId": "r", "sessionKey": "agent:main:main", "type": "run_started" })
}

macro_rules! conversation {
    (|$peer:ident| $body:block) => {
        Box::new(
            move |mut $peer: Peer| -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async move { $body })
            },
        ) as Conversation
    };
}

/// Serves one conversation per connection, then refuses.
async fn serve(conversations: Vec<Conversation>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        for conversation in conversations {
            let (stream, _) = listener.accept().await.unwrap();
            conversation(Peer(tokio_tungstenite::accept_async(stream).await.unwrap())).await;
        }
    });
    endpoint
}

async fn connect(endpoint: Endpoint) -> Client {
    Client::connect_with(endpoint, Credential::token("t0ken"), Duration::from_secs(5))
        .await
        .unwrap()
}

/// Stays until the client leaves, so that a conversation does not end by closing the socket.
async fn linger(peer: &mut Peer) {
    while peer.call().await.is_some() {}
}

#[tokio::test]
async fn a_typed_call_gets_its_typed_answer() {
    let endpoint = serve(vec![conversation!(|peer| {
        let (id, params) = peer.expect("workers.list").await;
        assert_eq!(params, json!({}));
        peer.answer(
            id,
            json!({ "workers": [], "queued": 1, "running": 2, "parked": 3 }),
        )
        .await;
        linger(&mut peer).await;
    })])
    .await;
    let page = connect(endpoint)
        .await
        .call::<WorkersList>(NoParams {})
        .await
        .unwrap();
    assert_eq!((page.queued, page.running, page.parked), (1, 2, 3));
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let endpoint = serve(vec![conversation!(|peer| {
        let (first, ..) = peer.call().await.unwrap();
        let (second, ..) = peer.call().await.unwrap();
        peer.answer(second, json!("second")).await;
        peer.answer(first, json!("first")).await;
        linger(&mut peer).await;
    })])
    .await;
    let client = connect(endpoint).await;
    let (first, second) = tokio::join!(
        client.call_value("a", json!({})),
        client.call_value("b", json!({}))
    );
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        (json!("first"), json!("second"))
    );
}

#[tokio::test]
async fn an_error_keeps_its_code_hint_and_time() {
    let endpoint = serve(vec![conversation!(|peer| {
        let (id, ..) = peer.call().await.unwrap();
        let error = json!({ "code": -32000, "message": "too much",
                            "data": { "code": "RATE_LIMITED", "hint": "wait", "retryAfterMs": 1500 } });
        peer.say(json!({ "jsonrpc": "2.0", "id": id, "error": error })).await;
        linger(&mut peer).await;
    })])
    .await;
    let error = connect(endpoint)
        .await
        .call_value("x", json!({}))
        .await
        .unwrap_err();
    let expected = ClientError::Refused {
        code: "RATE_LIMITED".to_owned(),
        message: "too much".to_owned(),
        hint: Some("wait".to_owned()),
        retry_after: Some(Duration::from_millis(1500)),
    };
    assert_eq!(error, expected);
}

#[tokio::test]
async fn the_token_travels_in_the_upgrade_and_a_refusal_is_typed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let refuse = move |request: &Request, _: Response| -> Result<Response, ErrorResponse> {
            let header = request
                .headers()
                .get("authorization")
                .unwrap()
                .to_str()
                .unwrap();
            *noted.lock().unwrap() = format!("{} {header}", request.uri());
            let answer = http::Response::builder()
                .status(429)
                .header("Retry-After", "7")
                .body(None)
                .unwrap();
            Err(answer)
        };
        drop(tokio_tungstenite::accept_hdr_async(stream, refuse).await);
    });
    let error = Client::connect(endpoint, Credential::token("t0ken"))
        .await
        .err()
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), "/rpc Bearer t0ken");
    assert_eq!(error.code(), Some("RATE_LIMITED"));
    assert!(
        matches!(error, ClientError::Refused { retry_after: Some(after), .. } if after.as_secs() == 7)
    );
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let error = Client::connect(endpoint, Credential::None)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, ClientError::Unreachable { reason, .. } if reason == "connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_times_out() {
    let endpoint = serve(vec![conversation!(|peer| { linger(&mut peer).await })]).await;
    let client = connect(endpoint).await;
    let error = client
        .call_value_within(Duration::from_millis(20), "slow", json!({}))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { ref what, .. } if what == "slow"));
}

#[tokio::test]
async fn a_lost_connection_loses_no_event_and_doubles_none() {
    // covers: M015
    let endpoint = serve(vec![
        conversation!(|peer| {
            let (id, _) = peer.expect("events.subscribe").await;
            peer.answer(id, json!({ "subscribed": true, "cursor": 5 }))
                .await;
            peer.event(6).await;
        }),
        conversation!(|peer| {
            let (id, _) = peer.expect("events.subscribe").await;
            peer.answer(id, json!({ "subscribed": true, "cursor": 8 }))
                .await;
            // Live events overtake the answer to the question for the missed ones.
            peer.event(9).await;
            let (id, params) = peer.expect("events.since").await;
            assert_eq!(params["cursor"], 6);
            peer.answer(
                id,
                json!({ "events": [event(7)], "cursor": 7, "hasMore": true }),
            )
            .await;
            let (id, params) = peer.expect("events.since").await;
            assert_eq!(params["cursor"], 7);
            let newer = json!({ "cursor": 8, "at": 1, "type": "of_a_later_version" });
            peer.answer(
                id,
                json!({ "events": [newer, event(9)], "cursor": 9, "hasMore": false }),
            )
            .await;
            peer.event(10).await;
            linger(&mut peer).await;
        }),
    ])
    .await;
    let client = connect(endpoint).await;
    let mut notices = client.events().await.unwrap();
    let mut heard = Vec::new();
    while notices.cursor() < 10 {
        heard.push(match notices.next().await.unwrap().unwrap() {
            Notice::Event(event) => event.cursor.to_string(),
            Notice::Gap(Gap::Interrupted { .. }) => "lost".to_owned(),
            Notice::Gap(Gap::Resumed) => "back".to_owned(),
            Notice::Other(it) => format!("other {}", it.params["cursor"]),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(heard, ["6", "lost", "back", "7", "other 8", "9", "10"]);
}

#[tokio::test]
async fn a_listener_that_is_slow_catches_up() {
    let endpoint = serve(vec![conversation!(|peer| {
        let (id, _) = peer.expect("events.subscribe").await;
        peer.answer(id, json!({ "subscribed": true, "cursor": 0 }))
            .await;
        for cursor in 1..=3_000 {
            peer.event(cursor).await;
        }
        let (id, _) = peer.expect("ping").await;
        peer.answer(id, json!(null)).await;
        let (id, _) = peer.expect("events.subscribe").await;
        peer.answer(id, json!({ "subscribed": true, "cursor": 3_000 }))
            .await;
        while let Some((id, _, params)) = peer.call().await {
            let from = params["cursor"].as_u64().unwrap() + 1;
            let to = (from + 499).min(3_000);
            let events: Vec<Value> = (from..=to).map(event).collect();
            peer.answer(
                id,
                json!({ "events": events, "cursor": to, "hasMore": to < 3_000 }),
            )
            .await;
        }
    })])
    .await;
    let client = connect(endpoint).await;
    let mut notices = client.events().await.unwrap();
    client.call_value("ping", json!({})).await.unwrap();
    let mut cursors = Vec::new();
    while notices.cursor() < 3_000 {
        match notices.next().await.unwrap().unwrap() {
            Notice::Event(event) => cursors.push(event.cursor),
            Notice::Gap(Gap::Lagged { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cursors, (1..=3_000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_call_that_reads_survives_a_lost_connection() {
    let endpoint = serve(vec![
        conversation!(|peer| {
            peer.expect("agent.wait").await;
        }),
        conversation!(|peer| {
            let (id, _) = peer.expect("agent.wait").await;
            peer.answer(id, json!({ "runId": "r", "status": "ok", "state": "done" }))
                .await;
            linger(&mut peer).await;
        }),
    ])
    .await;
    let params = AgentWaitParams {
        run_id: "r".to_owned(),
        timeout_ms: None,
    };
    let waited = connect(endpoint)
        .await
        .call::<AgentWait>(params)
        .await
        .unwrap();
    assert!(waited.state.is_final());
}

#[tokio::test]
async fn a_call_that_might_act_twice_is_not_sent_again() {
    let endpoint = serve(vec![
        conversation!(|peer| {
            peer.expect("memory.forget").await;
        }),
        conversation!(|peer| {
            // The first call on the new connection is the one with a key.
            let (id, params) = peer.expect("chat.send").await;
            assert_eq!(params["idempotencyKey"], "k");
            peer.answer(id, json!("sent")).await;
            linger(&mut peer).await;
        }),
    ])
    .await;
    let client = connect(endpoint).await;
    let error = client
        .call_value("memory.forget", json!({ "ids": [] }))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClientError::Closed { reason } if reason.contains("not known")),
        "{error}"
    );
    let sent = client
        .call_value("chat.send", json!({ "idempotencyKey": "k" }))
        .await
        .unwrap();
    assert_eq!(sent, json!("sent"));
}

#[tokio::test]
async fn a_gateway_that_stays_away_ends_calls_and_listeners() {
    let endpoint = serve(vec![conversation!(|peer| {
        let (id, _) = peer.expect("events.subscribe").await;
        peer.answer(id, json!({ "subscribed": true, "cursor": 0 }))
            .await;
    })])
    .await;
    let client = Client::connect_with(endpoint, Credential::None, Duration::from_millis(10))
        .await
        .unwrap();
    let mut notices = client.events().await.unwrap();
    assert!(matches!(
        notices.next().await,
        Some(Ok(Notice::Gap(Gap::Interrupted { .. })))
    ));
    assert!(matches!(
        notices.next().await,
        Some(Err(ClientError::Unreachable { .. }))
    ));
    assert!(notices.next().await.is_none());
    assert!(client.call_value("x", json!({})).await.is_err());
}

#[tokio::test]
async fn a_socket_file_works_like_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.next().await else {
            panic!("no call")
        };
        let call: Value = serde_json::from_str(&text).unwrap();
        socket
            .send(Message::text(
                json!({ "id": call["id"], "result": 42 }).to_string(),
            ))
            .await
            .unwrap();
        while socket.next().await.is_some() {}
    });
    let client = Client::connect(Endpoint::Unix(path), Credential::None)
        .await
        .unwrap();
    assert_eq!(client.call_value("x", json!({})).await.unwrap(), json!(42));
}

#[tokio::test]
async fn the_connection_ends_with_the_last_client() {
    let (gone, was_closed) = tokio::sync::oneshot::channel();
    let endpoint = serve(vec![conversation!(|peer| {
        linger(&mut peer).await;
        gone.send(()).unwrap();
    })])
    .await;
    let client = connect(endpoint).await;
    drop(client.clone());
    drop(client);
    was_closed.await.unwrap();
}
