//! The encrypted port: what is spoken there, what is not, and what it costs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use adjutant_tls::{ClientStream, Fingerprint, Mode, Trust};

use crate::world::{PATIENCE, TOKEN, World, connect};

type Socket = WebSocketStream<ClientStream<TcpStream>>;

async fn encrypted() -> World {
    World::with(|config| config.tls.mode = Mode::SelfSigned).await
}

/// What the gateway of this world would show, from its files.
fn pin(world: &World) -> Trust {
    let config = adjutant_tls::Config {
        mode: Mode::SelfSigned,
        ..adjutant_tls::Config::default()
    };
    let leaf = adjutant_tls::leaf(&config, world.dir.path());
    Trust::Pinned(leaf.unwrap().unwrap().fingerprint)
}

async fn dial(address: SocketAddr, trust: &Trust) -> ClientStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let dialled = adjutant_tls::connect(stream, "localhost", trust);
    tokio::time::timeout(PATIENCE, dialled)
        .await
        .unwrap()
        .unwrap()
}

async fn healthz(world: &World) -> String {
    let mut stream = dial(world.address, &pin(world)).await;
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ws(world: &World, path: &str, headers: &[(&'static str, String)]) -> Socket {
    let mut request = format!("wss://localhost:{}{path}", world.address.port())
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = dial(world.address, &pin(world)).await;
    tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap()
        .0
}

async fn hear(socket: &mut Socket) -> Value {
    loop {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        if let Message::Text(text) = heard.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn say(socket: &mut Socket, value: &Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

#[tokio::test]
async fn both_protocols_are_spoken_through_tls() {
    let world = encrypted().await;
    assert!(healthz(&world).await.starts_with("HTTP/1.1 200"));
    let bearer = [("authorization", format!("Bearer {TOKEN}"))];
    let mut rpc = ws(&world, "/rpc", &bearer).await;
    say(
        &mut rpc,
        &json!({ "jsonrpc": "2.0", "id": 1, "method": "health" }),
    )
    .await;
    assert_eq!(hear(&mut rpc).await["result"]["ok"], true);
    let own = format!("https://localhost:{}", world.address.port());
    let mut frames = ws(&world, "/", &[("origin", own)]).await;
    assert_eq!(hear(&mut frames).await["event"], "connect.challenge");
    let mut frames = ws(&world, "/", &[]).await;
    hear(&mut frames).await;
    say(&mut frames, &connect(4, TOKEN, &["operator.read"])).await;
    assert_eq!(hear(&mut frames).await["ok"], true);
}

#[tokio::test]
async fn without_a_credential_an_encrypted_connection_gets_no_further_than_a_plain_one() {
    // covers: S1, S2
    let world = encrypted().await;
    let mut stream = dial(world.address, &pin(&world)).await;
    let ask =
        b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn plain_text_on_the_encrypted_port_is_told_what_is_spoken_there() {
    // covers: S6
    let world = encrypted().await;
    let (status, body) = world
        .post(br#"{"jsonrpc":"2.0","id":1,"method":"health"}"#)
        .await;
    assert_eq!(status, 400);
    assert!(
        body.contains("https://") && body.contains("wss://"),
        "{body}"
    );
    assert!(
        world
            .ws("/", &[])
            .await
            .is_err_and(|said| said.contains("400"))
    );
    // What is neither TLS nor HTTP gets nothing at all.
    assert_eq!(world.raw(b"\x00\x01\x02").await, "");
    assert!(healthz(&world).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_at_the_deadline() {
    // covers: S8, D2
    let world = World::with(|config| {
        config.tls.mode = Mode::SelfSigned;
        config.handshake_timeout = adjutant_domain::time::Span::from_secs(1);
    })
    .await;
    for begun in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let since = Instant::now();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok() && since.elapsed() < Duration::from_secs(5));
    }
    assert!(healthz(&world).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn two_hundred_begun_handshakes_do_not_keep_others_out() {
    // covers: S8, R27
    let world = encrypted().await;
    let mut begun = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        begun.push(stream);
    }
    let since = Instant::now();
    assert!(healthz(&world).await.starts_with("HTTP/1.1 200"));
    assert!(since.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn the_socket_file_stays_as_it_is() {
    let world = encrypted().await;
    let path = world.dir.path().join(adjutant_gateway::SOCKET_FILE);
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_gateway_shows_a_renewed_certificate_without_a_restart() {
    let (old, new) = (encrypted().await, encrypted().await);
    let file = |world: &World, name: &str| -> PathBuf {
        world
            .dir
            .path()
            .join("tls")
            .join(format!("self-signed.{name}"))
    };
    let (before, after) = (pin(&old), pin(&new));
    dial(old.address, &before).await;
    for name in ["key", "pem"] {
        std::fs::copy(file(&new, name), file(&old, name)).unwrap();
    }
    let shown = async {
        loop {
            let stream = TcpStream::connect(old.address).await.unwrap();
            if adjutant_tls::connect(stream, "localhost", &after)
                .await
                .is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap();
    let stream = TcpStream::connect(old.address).await.unwrap();
    assert!(
        adjutant_tls::connect(stream, "localhost", &before)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn every_address_of_the_machine_is_served_where_that_is_allowed_and_hosts_still_count() {
    // covers: S1, S4
    let world = World::with(|config| {
        config.bind = "0.0.0.0".parse().unwrap();
        config.allow_remote = true;
        config.tls.mode = Mode::SelfSigned;
        config.tls.names = vec!["box.lan".to_owned()];
    })
    .await;
    let address = SocketAddr::from(([127, 0, 0, 3], world.address.port()));
    let status = async |host: &str| {
        let mut stream = dial(address, &pin(&world)).await;
        let ask = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("127.0.0.3").await, "200");
    assert_eq!(status("box.lan").await, "200");
    assert_eq!(status("evil.example").await, "421");
    assert_eq!(status("0.0.0.0").await, "421");
    assert_eq!(status("192.0.2.7").await, "421");
}

#[tokio::test]
async fn a_wrong_pin_names_what_was_seen() {
    let world = encrypted().await;
    let Trust::Pinned(right) = pin(&world) else {
        unreachable!("it is pinned");
    };
    let stream = TcpStream::connect(world.address).await.unwrap();
    let wrong = Trust::Pinned(Fingerprint::of(b"another"));
    let error = adjutant_tls::connect(stream, "localhost", &wrong).await;
    assert!(error.unwrap_err().to_string().contains(&right.to_string()));
}
