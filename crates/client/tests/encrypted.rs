//! The client over TLS: who is believed, and what is said when not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use adjutant_client::{Client, ClientError, Credential, Endpoint, Fingerprint};
use adjutant_tls::{Config, Mode, Server};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// A gateway that answers every call with its name, once a connection, and hangs up.
struct Gateway {
    port: u16,
    fingerprint: Fingerprint,
    _dir: tempfile::TempDir,
}

fn server() -> (Arc<Server>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        mode: Mode::SelfSigned,
        ..Config::default()
    };
    let server = Server::open(&config, dir.path()).unwrap().unwrap();
    (Arc::new(server), dir)
}

impl Gateway {
    /// Shows the first certificate to the first connection, the second to all others.
    async fn open() -> Self {
        let (first, dir) = server();
        let (later, _) = server();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fingerprint = first.leaf().fingerprint;
        tokio::spawn(async move {
            let mut shown = first;
            loop {
                let stream = listener.accept().await.unwrap().0;
                let Ok(stream) = shown.accept(stream).await else {
                    continue;
                };
                shown = Arc::clone(&later);
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                if let Some(Ok(Message::Text(text))) = socket.next().await {
                    let call: Value = serde_json::from_str(&text).unwrap();
                    let answer =
                        json!({ "jsonrpc": "2.0", "id": call["id"], "result": call["method"] });
                    socket
                        .send(Message::text(answer.to_string()))
                        .await
                        .unwrap();
                }
            }
        });
        Self {
            port,
            fingerprint,
            _dir: dir,
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("https://127.0.0.1:{}", self.port)).unwrap()
    }
}

async fn refused(endpoint: Endpoint) -> ClientError {
    let connected = Client::connect(endpoint, Credential::token("secret")).await;
    connected.err().unwrap()
}

// covers: S6
#[tokio::test]
async fn a_pinned_gateway_is_called_and_another_certificate_later_ends_it_at_once() {
    let gateway = Gateway::open().await;
    let endpoint = gateway
        .endpoint()
        .pinned(gateway.fingerprint.clone())
        .unwrap();
    let client = Client::connect(endpoint, Credential::token("secret"))
        .await
        .unwrap();
    let answer = client.call_value("health", json!({})).await.unwrap();
    assert_eq!(answer, "health");
    // The gateway hung up, and whoever answers now has another certificate.
    let since = Instant::now();
    let error = client.call_value("health", json!({})).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Untrusted { .. } | ClientError::Closed { .. }
        ),
        "{error:?}"
    );
    assert!(since.elapsed() < Duration::from_secs(10));
}

// covers: S6
#[tokio::test]
async fn a_wrong_pin_names_both_and_an_unknown_certificate_says_how_to_pin_it() {
    let gateway = Gateway::open().await;
    let seen = gateway.fingerprint.to_string();
    let other = Fingerprint::of(b"another");
    let error = refused(gateway.endpoint().pinned(other.clone()).unwrap()).await;
    let said = error.to_string();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
    assert!(
        said.contains(&seen) && said.contains(&other.to_string()),
        "{said}"
    );
    let ClientError::Untrusted { reason, hint, .. } = refused(gateway.endpoint()).await else {
        panic!("it was believed");
    };
    assert!(reason.contains(&seen), "{reason}");
    assert!(
        hint.contains(&format!("--tls-fingerprint {seen}")),
        "{hint}"
    );
}

#[tokio::test]
async fn a_plain_port_is_called_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let endpoint = Endpoint::parse(&format!("wss://127.0.0.1:{port}")).unwrap();
    let error = refused(endpoint).await;
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}
