//! What one connection can do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot::error::TryRecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::Client;
use crate::subject::TOKEN;

use super::Came;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Calls of the flood.
const FLOOD: u32 = 50_000;
/// Calls of the client that never reads, each with an answer of some size.
const UNREAD: u32 = 5_000;
/// How many of them are asked at once.
const UNREAD_AT_ONCE: u32 = 32;
/// How long others may wait meanwhile.
const OTHERS_MAX: Duration = Duration::from_millis(250);

pub(super) type Socket = WebSocketStream<TcpStream>;

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mount {
    JsonRpc,
    /// As somebody who has not sent `connect`.
    Frames,
}

pub(super) async fn open(port: u16, mount: Mount) -> Result<Socket> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let path = match mount {
        Mount::JsonRpc => "/rpc",
        Mount::Frames => "/",
    };
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
    if mount == Mount::JsonRpc {
        let bearer = format!("Bearer {TOKEN}").parse()?;
        request.headers_mut().insert("authorization", bearer);
    }
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    if mount == Mount::Frames {
        hear(&mut socket).await.context("the challenge")?;
    }
    Ok(socket)
}

/// One call over a connection of its own; how long it took.
pub(super) async fn call(port: u16) -> Result<Duration> {
    let begun = Instant::now();
    Client::connect(port)
        .await?
        .call("health", json!({}))
        .await?;
    Ok(begun.elapsed())
}

async fn hear(socket: &mut Socket) -> Result<Value> {
    loop {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await?;
        match heard.context("the connection ended")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// How the connection ends: the code of the close frame, or none when it is cut.
async fn ending(socket: &mut Socket) -> Result<Option<u16>> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await {
            Err(_) => bail!("it stays open"),
            Ok(None | Some(Err(_))) => return Ok(None),
            Ok(Some(Ok(Message::Close(frame)))) => return Ok(frame.map(|it| it.code.into())),
            Ok(Some(Ok(_))) => {}
        }
    }
}

fn ended(code: Option<u16>, wanted: u16) -> Came {
    match code {
        Some(code) => Came::new(code == wanted, format!("closed with {code}")),
        // The rest of what we were sending may reset the connection before the close frame is read.
        None => Came::new(true, "cut"),
    }
}

pub(super) async fn huge_frame(port: u16, mount: Mount) -> Result<Came> {
    let mut socket = open(port, mount).await?;
    let text = "x".repeat(26 * 1024 * 1024);
    // The gateway may hang up in the middle; that is what is wanted.
    drop(tokio::time::timeout(PATIENCE, socket.send(Message::text(text))).await);
    Ok(ended(ending(&mut socket).await?, 1009))
}

pub(super) async fn deep_json(port: u16) -> Result<Came> {
    let mut socket = open(port, Mount::JsonRpc).await?;
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    socket.send(Message::text(deep)).await?;
    let answer = hear(&mut socket).await?;
    let health = json!({ "jsonrpc": "2.0", "id": 2, "method": "health" });
    socket.send(Message::text(health.to_string())).await?;
    let lives = hear(&mut socket).await?["result"]["ok"] == true;
    let code = &answer["error"]["code"];
    Ok(Came::new(
        *code == -32_700 && lives,
        format!(
            "error {code}, then {}",
            if lives { "answered" } else { "nothing" }
        ),
    ))
}

pub(super) async fn bad_text(port: u16) -> Result<Came> {
    let mut codes = Vec::new();
    for mount in [Mount::Frames, Mount::JsonRpc] {
        let mut socket = open(port, mount).await?;
        let bad = Frame::message(vec![b'"', 0xff, b'"'], OpCode::Data(Data::Text), true);
        socket.send(Message::Frame(bad)).await?;
        codes.push(ending(&mut socket).await?);
    }
    Ok(Came::new(
        codes.iter().all(|it| *it == Some(1007)),
        format!("{codes:?}").replace("Some", ""),
    ))
}

pub(super) async fn no_connect(port: u16) -> Result<Came> {
    let mut socket = open(port, Mount::Frames).await?;
    let ask = json!({ "type": "req", "id": "1", "method": "health", "params": {} });
    socket.send(Message::text(ask.to_string())).await?;
    let mut answered = false;
    let code = loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await? {
            Some(Ok(Message::Text(text))) => {
                let said: Value = serde_json::from_str(&text)?;
                answered |= said["ok"] == true;
            }
            Some(Ok(Message::Close(frame))) => break frame.map(|it| u16::from(it.code)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    let said = code.map_or_else(|| "cut".to_owned(), |it| format!("closed with {it}"));
    Ok(Came::new(!answered && code == Some(1008), said))
}

async fn status(port: u16, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    drop(stream.write_all(ask.as_bytes()).await);
    let mut answer = Vec::new();
    // A reset after the answer is an answer all the same.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await?);
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.split(' ').nth(1).unwrap_or("nothing").to_owned())
}

pub(super) async fn large_headers(port: u16) -> Result<Came> {
    let long = status(port, &format!("X-Long: {}\r\n", "x".repeat(20_000))).await?;
    let many = status(port, &"X-Many: x\r\n".repeat(200)).await?;
    Ok(Came::new(
        long == "431" && many == "431",
        format!("{long} and {many}"),
    ))
}

/// The longest that somebody else waited for an answer while `work` went on. Somebody else has a thread of their own:
/// what this program itself is busy with does not count.
async fn others<T>(port: u16, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let (over, mut is_over) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut other = Client::connect(port).await?;
            let mut longest = Duration::ZERO;
            while is_over
                .try_recv()
                .is_err_and(|it| it == TryRecvError::Empty)
            {
                let begun = Instant::now();
                other.call("health", json!({})).await?;
                longest = longest.max(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, anyhow::Error>(longest)
        })
    });
    let done = work.await;
    drop(over);
    Ok((done?, asking.await??))
}

pub(super) async fn flood(port: u16) -> Result<Came> {
    let (mut sink, mut stream) = open(port, Mount::JsonRpc).await?.split();
    let sending = async move {
        for id in 0..FLOOD {
            let ask = json!({ "jsonrpc": "2.0", "id": id, "method": "status" });
            sink.feed(Message::text(ask.to_string())).await?;
        }
        sink.flush().await?;
        // Kept until everything is answered.
        Ok::<_, Error>(sink)
    };
    let counting = async {
        let (mut answered, mut refused) = (0, 0);
        while answered + refused < FLOOD {
            let heard = tokio::time::timeout(PATIENCE, stream.next()).await;
            let Ok(Some(Ok(Message::Text(text)))) = heard else {
                break;
            };
            let said: Value = serde_json::from_str(&text)?;
            match (said.get("result"), said.get("error")) {
                (Some(_), _) => answered += 1,
                (_, Some(_)) => refused += 1,
                _ => {}
            }
        }
        Ok((answered, refused))
    };
    let work = async {
        let (sent, counted) = tokio::join!(sending, counting);
        drop(sent?);
        counted
    };
    let ((answered, refused), longest) = others(port, work).await?;
    Ok(Came::new(
        answered + refused == FLOOD && longest <= OTHERS_MAX,
        format!("{answered} answered, {refused} refused; others ≤ {longest:.0?}"),
    ))
}

pub(super) async fn slow_reader(port: u16) -> Result<Came> {
    let mut socket = open(port, Mount::JsonRpc).await?;
    let work = async {
        for id in 0..UNREAD {
            let ask = json!({ "jsonrpc": "2.0", "id": id, "method": "config.schema" });
            let sent = socket.send(Message::text(ask.to_string()));
            match tokio::time::timeout(Duration::from_secs(5), sent).await {
                Err(_) => return Ok(format!("held back after {id} calls")),
                Ok(Err(_)) => return Ok(format!("cut after {id} calls")),
                Ok(Ok(())) => {}
            }
            // Fewer than may be under way, so that they are answered rather than refused.
            if id % UNREAD_AT_ONCE == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // The calls fit into the buffers of the system; their answers do not. Now look what came of them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut n_answers = 0;
        loop {
            match tokio::time::timeout(Duration::from_secs(2), socket.next()).await {
                Err(_) if n_answers == UNREAD => {
                    return Ok("held back, then all answered".to_owned());
                }
                Err(_) => return Ok(format!("held back after {n_answers} answers")),
                Ok(Some(Ok(Message::Text(_)))) if n_answers < UNREAD => n_answers += 1,
                Ok(Some(Ok(Message::Text(_)))) => return Ok("answered to the end".to_owned()),
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => {
                    return Ok(format!("cut after {n_answers} answers"));
                }
                Ok(Some(Ok(_))) => {}
            }
        }
    };
    let (said, longest) = others(port, work).await?;
    Ok(Came::new(
        longest <= OTHERS_MAX,
        format!("{said}; others ≤ {longest:.0?}"),
    ))
}
