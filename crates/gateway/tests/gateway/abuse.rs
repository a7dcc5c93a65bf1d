//! What breaks weaker servers: each gets what the threat model says, and the gateway stays healthy.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::world::{PATIENCE, TOKEN, World, connect};

#[tokio::test]
async fn slow_headers_are_cut_at_the_deadline() {
    // covers: S8, D2
    let world =
        World::with(|config| config.handshake_timeout = adjutant_domain::time::Span::from_secs(1))
            .await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && began.elapsed() < Duration::from_secs(5));
    world.assert_healthy().await;
}

#[tokio::test]
async fn headers_over_sixteen_kibibytes_are_refused() {
    // covers: S8
    let world = World::new().await;
    let answer = world
        .http(
            "GET",
            "/healthz",
            &[&format!("X-Long: {}", "x".repeat(20_000))],
            b"",
        )
        .await;
    assert!(answer.0 == 431 || answer.0 == 0, "{answer:?}");
    world.assert_healthy().await;
}

#[tokio::test]
async fn two_hundred_silent_connections_do_not_keep_others_out() {
    // covers: S8, R27
    let world = World::new().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        silent.push(stream);
    }
    let began = Instant::now();
    world.assert_healthy().await;
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_storm_of_a_thousand_clients_is_all_back_soon() {
    // covers: R27
    let world = World::with(|config| config.connections_max = 2_000).await;
    let began = Instant::now();
    let world = &world;
    let storm = (0..1_000).map(|_| async move {
        let mut client = world.ws("/", &[]).await.unwrap();
        client.next().await;
        client.say(connect(4, TOKEN, &["operator.read"])).await;
        assert_eq!(client.next().await["ok"], true);
        client
    });
    let clients = futures::future::join_all(storm).await;
    assert_eq!(clients.len(), 1_000);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    let status = world.ok("status", json!({})).await;
    assert!(status["connections"].as_u64().unwrap() >= 1_000);
}

#[tokio::test]
async fn beyond_the_bound_connections_are_refused_with_a_hint() {
    // covers: S8, R29
    let world = World::with(|config| config.connections_max = 16).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(world.jsonrpc().await);
    }
    let answer = world.http("GET", "/healthz", &[], b"").await;
    assert_eq!(answer.0, 503);
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.assert_healthy().await;
}

#[tokio::test]
async fn twenty_five_megabytes_before_connect_are_not_read() {
    // covers: S8, D2
    let world = World::new().await;
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    // The gateway may hang up in the middle; that is what is wanted.
    drop(
        client
            .socket
            .send(Message::text("x".repeat(25 * 1024 * 1024)))
            .await,
    );
    let (code, _, _) = client.closed().await;
    assert!(code == 1009 || code == 1006, "{code}");
    world.assert_healthy().await;
}

#[tokio::test]
async fn a_first_frame_over_sixty_four_kibibytes_is_refused_in_one_piece_and_in_many() {
    // covers: S8
    let world = World::new().await;
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client
        .socket
        .send(Message::text("x".repeat(100 * 1024)))
        .await
        .unwrap();
    assert_eq!(client.closed().await.0, 1009);
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    for n in 0..40 {
        let code = if n == 0 { Data::Text } else { Data::Continue };
        let piece = Frame::message(vec![b'x'; 4_096], OpCode::Data(code), false);
        if client.socket.send(Message::Frame(piece)).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await.0, 1009);
    world.assert_healthy().await;
}

#[tokio::test]
async fn an_authenticated_frame_over_four_mebibytes_closes_the_connection() {
    // covers: S8, R29
    let world = World::new().await;
    let mut client = world.jsonrpc().await;
    drop(
        client
            .socket
            .send(Message::text("x".repeat(5 * 1024 * 1024)))
            .await,
    );
    let (code, _, _) = client.closed().await;
    assert!(code == 1009 || code == 1006, "{code}");
    let body = vec![b' '; 17 * 1024 * 1024];
    let (status, _) = world.post(&body).await;
    assert!(status == 413 || status == 0, "{status}");
    world.assert_healthy().await;
}

#[tokio::test]
async fn invalid_utf_8_closes_with_1007_before_and_after_connect() {
    let world = World::new().await;
    let bad = || {
        Message::Frame(Frame::message(
            vec![b'"', 0xff, b'"'],
            OpCode::Data(Data::Text),
            true,
        ))
    };
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client.socket.send(bad()).await.unwrap();
    assert_eq!(client.closed().await.0, 1007);
    let (mut client, _) = world.frames(3, &[]).await;
    client.socket.send(bad()).await.unwrap();
    assert_eq!(client.closed().await.0, 1007);
    world.assert_healthy().await;
}

#[tokio::test]
async fn deep_json_is_refused_and_the_connection_lives() {
    // covers: D7
    let world = World::new().await;
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let mut client = world.jsonrpc().await;
    client
        .socket
        .send(Message::text(deep.clone()))
        .await
        .unwrap();
    assert_eq!(client.next().await["error"]["code"], -32700);
    assert_eq!(client.rpc("health", json!({})).await["result"]["ok"], true);
    let (mut client, _) = world.frames(3, &["operator.read"]).await;
    client.socket.send(Message::text(deep)).await.unwrap();
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!("invalid"), &json!("INVALID_REQUEST"))
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid request frame:")
    );
    assert_eq!(client.req("health", json!({})).await["ok"], true);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_others_do_not_notice() {
    // covers: R25
    let world = World::new().await;
    let mut slow = world.jsonrpc().await;
    let mut quick = world.jsonrpc().await;
    world.send("main", "talk").await;
    let claim = world.claim().await;
    let chunk = "x".repeat(16 * 1024);
    let counting = tokio::spawn(async move {
        let mut n = 0;
        while n < 600 {
            if quick.next().await["method"] == "delta" {
                n += 1;
            }
        }
        n
    });
    for _ in 0..600 {
        world.pulse(&claim, &chunk);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        tokio::time::timeout(PATIENCE, counting)
            .await
            .unwrap()
            .unwrap(),
        600
    );
    let (code, _, said) = slow.closed().await;
    assert!(code == 1008 || code == 1006, "{code}");
    assert!(said.len() < 600, "{}", said.len());
    world.assert_healthy().await;
}

#[tokio::test]
async fn more_calls_than_a_connection_may_have_under_way_are_refused_and_tried_again() {
    // covers: R28, R29
    let world = World::new().await;
    let run = world.send("main", "wait").await;
    let mut client = world.jsonrpc().await;
    for n in 0..70 {
        let params = json!({ "runId": run, "timeoutMs": 60_000 });
        client
            .say(json!({ "jsonrpc": "2.0", "id": n, "method": "agent.wait", "params": params }))
            .await;
    }
    for _ in 0..6 {
        let answer = client.until(|value| value.get("error").is_some()).await;
        assert_eq!(answer["error"]["data"]["code"], "UNAVAILABLE");
        assert!(answer["error"]["data"]["retryAfterMs"].is_u64());
    }
    world.work("over").await;
    for _ in 0..64 {
        client
            .until(|value| value["result"]["status"] == "ok")
            .await;
    }
}
