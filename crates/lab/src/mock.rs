//! A mock model: `POST /v1/chat/completions`, streamed in eight chunks, with zero latency.
//!
//! What it does is written in the last user message: `tools=N command=…` asks for `shell_run` N times, one after another
//! (for `exec`, where a program of another make offers that instead), `reads=N` for `file_list`; anything else is answered
//! at once. `word=W words=N` makes the answer W1 to W(N-1), and `pace=N` is the milliseconds between two of its words. The
//! first chunk carries the moment the request arrived and the moment it was sent, in nanoseconds, so that a client on the
//! same machine can tell what was spent before and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
    last_bytes: AtomicU64,
}

/// Words of an answer, unless the message says otherwise.
const WORDS: usize = 8;
/// Most words of an answer.
const WORDS_MAX: usize = 10_000;
/// Longest pause between two words.
const PACE_MAX: Duration = Duration::from_secs(10);

struct Mock {
    counts: Counts,
    latency: Duration,
}

/// Serves until killed.
pub(crate) async fn serve(port: u16, latency_ms: u64) -> Result<()> {
    let mock = Arc::new(Mock {
        counts: Counts::default(),
        latency: Duration::from_millis(latency_ms),
    });
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/counts", get(counts))
        .with_state(mock);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    crate::floor::serve_http(listener, app).await
}

async fn counts(State(mock): State<Arc<Mock>>) -> String {
    json!({
        "requests": mock.counts.requests.load(Ordering::Relaxed),
        "bytes": mock.counts.bytes.load(Ordering::Relaxed),
        "lastBytes": mock.counts.last_bytes.load(Ordering::Relaxed),
    })
    .to_string()
}

fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|p| p["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// The value of `name=` in the text: a word, or for the last one the rest of the line.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("{name}="))? + name.len() + 1;
    let rest = &text[at..];
    Some(if name == "command" {
        rest.lines().next().unwrap_or(rest)
    } else {
        rest.split_whitespace().next()?
    })
}

/// The text that says what to do: the newest of the last user messages with a directive, else the newest. Some programs put
/// what they know of the moment into user messages around the one that was typed.
fn order_of(messages: &[Value]) -> String {
    let texts: Vec<String> = messages
        .iter()
        .rev()
        .take_while(|m| m["role"] == "user")
        .map(text_of)
        .collect();
    let has_directive = |text: &&String| {
        ["tools", "reads", "words", "word", "pace"]
            .iter()
            .any(|name| directive(text, name).is_some())
    };
    let chosen = texts.iter().find(has_directive).or(texts.first());
    chosen.cloned().unwrap_or_default()
}

/// What the caller calls its shell.
fn shell_of(request: &Value) -> &'static str {
    let offers = |name: &str| {
        request["tools"]
            .as_array()
            .is_some_and(|tools| tools.iter().any(|tool| tool["function"]["name"] == name))
    };
    if !offers("shell_run") && offers("exec") {
        "exec"
    } else {
        "shell_run"
    }
}

async fn complete(State(mock): State<Arc<Mock>>, body: Bytes) -> Response {
    let received = now_ns();
    mock.counts.requests.fetch_add(1, Ordering::Relaxed);
    mock.counts
        .bytes
        .fetch_add(body.len() as u64, Ordering::Relaxed);
    mock.counts
        .last_bytes
        .store(body.len() as u64, Ordering::Relaxed);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let messages = request["messages"].as_array().cloned().unwrap_or_default();
    let last_user = messages
        .iter()
        .rposition(|m| m["role"] == "user")
        .unwrap_or(0);
    let text = order_of(&messages[..messages.len().min(last_user + 1)]);
    let done = messages
        .iter()
        .skip(last_user)
        .filter(|m| m["role"] == "tool")
        .count();
    let given = |name: &str| directive(&text, name).and_then(|n| n.parse::<usize>().ok());
    let number = |name: &str| given(name).unwrap_or(0);
    let word = directive(&text, "word").unwrap_or("word");
    let words = given("words").unwrap_or(WORDS).min(WORDS_MAX);
    let pace = given("pace").map_or(Duration::ZERO, |ms| {
        Duration::from_millis(ms as u64).min(PACE_MAX)
    });
    let call = if done < number("tools") {
        let command = directive(&text, "command")
            .unwrap_or("true")
            .replace("{n}", &done.to_string());
        Some((shell_of(&request), json!({ "command": command })))
    } else if done < number("reads") {
        Some(("file_list", json!({ "path": ".", "depth": done + 1 })))
    } else {
        None
    };
    if !mock.latency.is_zero() {
        tokio::time::sleep(mock.latency).await;
    }
    let usage = json!({ "prompt_tokens": body.len() / 4, "completion_tokens": 16, "total_tokens": body.len() / 4 + 16 });
    let chunk = |delta: Value, finish: Value| {
        json!({ "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "mock",
                "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
    };
    let mut events = Vec::new();
    if let Some((name, args)) = call {
        let call = json!({ "index": 0, "id": format!("call_{received}"), "type": "function",
                           "function": { "name": name, "arguments": args.to_string() } });
        events.push(chunk(
            json!({ "role": "assistant", "tool_calls": [call] }),
            Value::Null,
        ));
        events.push(chunk(json!({}), json!("tool_calls")));
    } else {
        let sent = now_ns();
        events.push(chunk(
            json!({ "role": "assistant", "content": format!("@{received},{sent}@") }),
            Value::Null,
        ));
        for n in 1..words {
            events.push(chunk(
                json!({ "content": format!(" {word}{n}") }),
                Value::Null,
            ));
        }
        events.push(chunk(json!({}), json!("stop")));
    }
    let usage = json!({ "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "mock", "choices": [], "usage": usage });
    events.push(usage);
    let mut frames: Vec<Result<Bytes, std::io::Error>> = events
        .iter()
        .map(|e| Ok(Bytes::from(format!("data: {e}\n\n"))))
        .collect();
    frames.push(Ok(Bytes::from_static(b"data: [DONE]\n\n")));
    let body = if pace.is_zero() {
        Body::from_stream(futures::stream::iter(frames))
    } else {
        Body::from_stream(futures::stream::iter(frames).then(move |frame| async move {
            tokio::time::sleep(pace).await;
            frame
        }))
    };
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(body)
        .unwrap_or_default()
}
