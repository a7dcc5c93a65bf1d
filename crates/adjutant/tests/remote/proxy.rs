//! The recipe with nginx, as it stands in the guide.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use adjutant_tls::{ClientStream, Config, Mode, Server, Trust};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::place::{Place, Running, free_port, listens, program, said, until};

const GUIDE: &str = include_str!("../../../../docs/guide/remote-access.md");

/// The block of that language in the guide.
fn recipe(language: &str) -> String {
    let from = GUIDE.split_once(&format!("```{language}\n")).unwrap().1;
    from.split_once("```").unwrap().0.to_owned()
}

/// nginx with the guide's server, its port and files replaced; gives its port and what it shows.
fn nginx(program: &Path, dir: &Path, gateway: SocketAddr) -> (Running, u16, Trust) {
    let made = Config {
        mode: Mode::SelfSigned,
        ..Config::default()
    };
    let shown = Server::open(&made, dir)
        .unwrap()
        .unwrap()
        .leaf()
        .fingerprint;
    let port = free_port();
    let file = |name: &str| dir.join(name).display().to_string();
    let mut server = recipe("nginx");
    for (from, to) in [
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        (
            "/etc/letsencrypt/live/home.example/fullchain.pem",
            file("tls/self-signed.pem"),
        ),
        (
            "/etc/letsencrypt/live/home.example/privkey.pem",
            file("tls/self-signed.key"),
        ),
        ("http://127.0.0.1:18789", format!("http://{gateway}")),
    ] {
        assert!(server.contains(from), "the guide says `{from}` no more");
        server = server.replace(from, &to);
    }
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|it| format!("{it}_temp_path {};\n", file(it)))
        .collect();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log {};\nevents {{}}\nhttp {{\naccess_log off;\n{temp}{server}}}\n",
        file("nginx.pid"),
        file("error.log"),
    );
    std::fs::write(dir.join("nginx.conf"), config).unwrap();
    let child = Command::new(program)
        .args(["-c", &file("nginx.conf"), "-p", &file("")])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(dir.join("stderr.log")).unwrap())
        .spawn()
        .unwrap();
    let running = Running(child);
    until("nginx does not start", || listens(port).then_some(()));
    (running, port, Trust::Pinned(shown))
}

async fn dial(port: u16, trust: &Trust) -> ClientStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    adjutant_tls::connect(stream, "home.example", trust)
        .await
        .unwrap()
}

async fn post(port: u16, trust: &Trust, token: &str, spoofed: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"health"}"#;
    let ask = format!(
        "POST /rpc HTTP/1.1\r\nHost: home.example\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: {spoofed}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = dial(port, trust).await;
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// `connect` of a program that has the token and no device; the scopes it gets.
async fn scopes<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    headers: &[(&'static str, &str)],
    token: &str,
) -> Value {
    let mut request = "ws://home.example/".into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let challenge = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(challenge.contains("connect.challenge"), "{challenge}");
    let ask = json!({ "type": "req", "id": "c1", "method": "connect", "params": {
        "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"], "caps": [],
        "client": { "id": "cli", "version": "dev", "platform": "linux", "mode": "cli" },
        "auth": { "token": token },
    } });
    socket.send(Message::text(ask.to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["payload"]["auth"]["scopes"].clone()
}

/// A connection from another address of this machine than the proxy's.
async fn beside(gateway: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    socket.connect(gateway).await.unwrap()
}

// covers: S5, S7
#[tokio::test]
async fn the_recipe_for_nginx_lets_the_token_in_and_neither_names_nor_addresses_that_were_made_up()
{
    let Some(program) = program("nginx", "nginx-light") else {
        return;
    };
    let home = Place::new(
        "[gateway]\nallowed_hosts = ['home.example']\ntrusted_proxies = ['127.0.0.1']\n\
         allowed_origins = ['https://home.example']\n",
    );
    let away = Place::new("");
    let (_gateway, address) = home.gateway();
    let dir = tempfile::tempdir().unwrap();
    let (_nginx, port, trust) = nginx(&program, dir.path(), address);
    let Trust::Pinned(print) = &trust else {
        panic!("it is pinned");
    };
    // Our client, over a WebSocket through the proxy.
    let url = format!("wss://127.0.0.1:{port}");
    let pin = print.to_string();
    let turn = away.ask(
        &url,
        &home,
        &["--tls-fingerprint", &pin, "run", "say hello", "--json"],
    );
    assert!(turn.status.success(), "{}", said(&turn));
    let token = std::fs::read_to_string(home.token_file()).unwrap();
    let token = token.trim();
    assert_eq!(post(port, &trust, token, "127.0.0.1").await, 200);
    // A program without a device gets what it asks for on this machine, and only there, whatever it claims.
    let here = [("host", "localhost")];
    let near = scopes(beside(address).await, &here, token).await;
    assert_eq!(near, json!(["operator.read"]));
    let claims = [("x-forwarded-for", "127.0.0.1"), ("host", "localhost")];
    let far = scopes(dial(port, &trust).await, &claims, token).await;
    assert_eq!(far, json!([]));
    // Ten guesses under ten made-up addresses are ten guesses of one client.
    for n in 0..11 {
        let status = post(port, &trust, &"wrong-".repeat(6), &format!("203.0.113.{n}")).await;
        assert_eq!(status, if n < 10 { 401 } else { 429 }, "guess {n}");
    }
    assert_eq!(post(port, &trust, token, "203.0.113.99").await, 429);
    assert!(home.adjutant(&["status"]).status.success());
}
