//! The floor: what a durable chat server costs at the least. HTTP and WebSocket by the same libraries, one writer thread
//! with group commit and `synchronous=FULL`, the last 50 messages read every turn, one durable commit per journaled step.
//! No authentication, no policy, no tools of its own.

use std::path::Path;
use std::sync::mpsc;

use anyhow::Result;
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Serves a router with `TCP_NODELAY` on every connection.
pub(crate) async fn serve_http(listener: tokio::net::TcpListener, app: Router) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let app = app.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(
                move |request: hyper::Request<hyper::body::Incoming>| {
                    let app = app.clone();
                    async move { call(app, request.map(axum::body::Body::new)).await }
                },
            );
            let served = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
            drop(served);
        });
    }
}

async fn call(app: Router, request: Request) -> Result<Response, std::convert::Infallible> {
    use hyper::service::Service as _;
    hyper_util::service::TowerToHyperService::new(app)
        .call(request)
        .await
}

enum Write {
    Message {
        thread: String,
        text: String,
        done: oneshot::Sender<()>,
    },
}

#[derive(Clone)]
struct Floor {
    writer: mpsc::SyncSender<Write>,
    reader: mpsc::SyncSender<(String, oneshot::Sender<Vec<String>>)>,
    http: reqwest::Client,
    mock: String,
}

fn open(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let db = rusqlite::Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    Ok(db)
}

fn write_loop(mut db: rusqlite::Connection, jobs: &mpsc::Receiver<Write>) -> rusqlite::Result<()> {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while let Ok(more) = jobs.try_recv() {
            batch.push(more);
        }
        let tx = db.transaction()?;
        let mut waiting = Vec::new();
        for Write::Message { thread, text, done } in batch {
            tx.prepare_cached("insert into messages (thread, text) values (?, ?)")?
                .execute((&thread, &text))?;
            waiting.push(done);
        }
        tx.commit()?;
        for done in waiting {
            if done.send(()).is_err() {
                continue;
            }
        }
    }
    Ok(())
}

/// Serves until killed.
pub(crate) async fn serve(port: u16, dir: &Path, mock: &str) -> Result<()> {
    let path = dir.join("floor.db");
    let db = open(&path)?;
    db.execute_batch(
        "create table if not exists messages (id integer primary key, thread text not null, text text not null);
         create index if not exists by_thread on messages (thread, id);",
    )?;
    let reader_db = open(&path)?;
    let (writer, jobs) = mpsc::sync_channel(4_096);
    std::thread::spawn(move || drop(write_loop(db, &jobs)));
    let (reader, asks) = mpsc::sync_channel::<(String, oneshot::Sender<Vec<String>>)>(4_096);
    std::thread::spawn(move || {
        while let Ok((thread, done)) = asks.recv() {
            let read = || -> rusqlite::Result<Vec<String>> {
                let sql = "select text from messages where thread = ? order by id desc limit 50";
                let mut statement = reader_db.prepare_cached(sql)?;
                let rows = statement.query_map([&thread], |row| row.get(0))?;
                rows.collect()
            };
            drop(done.send(read().unwrap_or_default()));
        }
    });
    let http = crate::subject::http_client()?;
    let floor = Floor {
        writer,
        reader,
        http,
        mock: mock.to_owned(),
    };
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/rpc", get(upgrade))
        .with_state(floor);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    serve_http(listener, app).await
}

async fn upgrade(State(floor): State<Floor>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(2_048)
        .on_upgrade(move |socket| async move {
            drop(converse(floor, socket).await);
        })
}

async fn converse(floor: Floor, mut socket: WebSocket) -> Result<()> {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else {
            continue;
        };
        let request: Value = serde_json::from_str(&text)?;
        if request["method"] == "status" || request["method"] == "events.subscribe" {
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": { "ok": true } });
            socket
                .send(Message::Text(answer.to_string().into()))
                .await?;
            continue;
        }
        turn(&floor, &mut socket, &request).await?;
    }
    Ok(())
}

impl Floor {
    async fn write(&self, thread: &str, text: String) -> Result<()> {
        let (done, wait) = oneshot::channel();
        self.writer.send(Write::Message {
            thread: thread.to_owned(),
            text,
            done,
        })?;
        Ok(wait.await?)
    }

    async fn history(&self, thread: &str) -> Result<Vec<String>> {
        let (done, wait) = oneshot::channel();
        self.reader.send((thread.to_owned(), done))?;
        Ok(wait.await?)
    }
}

async fn turn(floor: &Floor, socket: &mut WebSocket, request: &Value) -> Result<()> {
    let thread = request["params"]["sessionKey"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let words = request["params"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let run = request["params"]["idempotencyKey"].clone();
    floor
        .write(
            &thread,
            json!({ "role": "user", "content": words }).to_string(),
        )
        .await?;
    let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": { "runId": run, "status": "started" } });
    socket
        .send(Message::Text(answer.to_string().into()))
        .await?;
    let mut history: Vec<Value> = floor
        .history(&thread)
        .await?
        .iter()
        .rev()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    loop {
        let body = json!({ "model": "mock", "stream": true, "messages": history }).to_string();
        let url = format!("{}/v1/chat/completions", floor.mock);
        let response = floor
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        let mut stream = response.bytes_stream();
        let (mut buffer, mut reply, mut calls) = (Vec::new(), String::new(), Vec::new());
        while let Some(bytes) = stream.next().await {
            buffer.extend_from_slice(&bytes?);
            while let Some(end) = buffer.windows(2).position(|w| w == b"\n\n") {
                let line: Vec<u8> = buffer.drain(..end + 2).collect();
                let Some(data) = line.strip_prefix(b"data: ") else {
                    continue;
                };
                let Ok(chunk) = serde_json::from_slice::<Value>(data) else {
                    continue;
                };
                let delta = &chunk["choices"][0]["delta"];
                if let Some(call) = delta["tool_calls"].get(0) {
                    calls.push(call.clone());
                }
                if let Some(text) = delta["content"].as_str() {
                    reply.push_str(text);
                    let note = json!({ "jsonrpc": "2.0", "method": "delta", "params": { "runId": run, "text": text } });
                    socket.send(Message::Text(note.to_string().into())).await?;
                }
            }
        }
        let said = json!({ "role": "assistant", "content": reply, "tool_calls": calls });
        floor.write(&thread, said.to_string()).await?;
        if calls.is_empty() {
            break;
        }
        history.push(said);
        for call in &calls {
            let result = json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" });
            history.push(result);
        }
    }
    let note = json!({ "jsonrpc": "2.0", "method": "final", "params": { "runId": run } });
    socket.send(Message::Text(note.to_string().into())).await?;
    Ok(())
}
