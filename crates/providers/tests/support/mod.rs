//! What the tests of this crate share: a server that replays recorded answers, and words for what came back.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use adjutant_domain::id::CallId;
use adjutant_domain::message::{Part, Role};
use adjutant_domain::run::ModelFault;
use adjutant_domain::time::Timestamp;
use adjutant_ports::Clock;
use adjutant_ports::provider::{ModelAsk, ModelEnd, ModelEvent, ModelMessage, ModelTool, Models};
use adjutant_providers::{Config, Registry};

/// The key every test sends; it must never come back.
pub const KEY: &str = "planted-key-4711-do-not-show";

/// Time that stands still.
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn sleep(&self, _span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn local_day(&self) -> String {
        "2023-11-14".to_owned()
    }
}

/// One request as the server got it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Sent {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads one HTTP/1.1 request; none when the client closed the connection.
pub async fn read_request(stream: &mut TcpStream) -> Option<Sent> {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 4096];
    let (head, mut body) = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break (
                String::from_utf8(bytes[..at].to_vec()).unwrap(),
                bytes[at + 4..].to_vec(),
            );
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    };
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while body.len() < length {
        let n = stream.read(&mut piece).await.unwrap();
        body.extend_from_slice(&piece[..n]);
    }
    Some(Sent {
        line,
        headers,
        body,
    })
}

/// A recorded answer as bytes: the file has plain line ends, HTTP wants its own in the head.
pub fn recorded(provider: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(provider)
        .join(format!("{name}.http"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (head, body) = text.split_once("\n\n").unwrap();
    format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
}

/// A server that answers every connection with the same bytes, in pieces of odd sizes, and keeps what it was sent.
pub struct Replay {
    pub address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Replay {
    pub async fn of(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let Some(request) = read_request(&mut stream).await else {
                    continue;
                };
                seen.lock().unwrap().push(request);
                let mut rest = answer.as_slice();
                for size in [1usize, 7, 13, 3, 64, 29, 5, 211].into_iter().cycle() {
                    let (piece, tail) = rest.split_at(size.min(rest.len()));
                    if stream.write_all(piece).await.is_err() || tail.is_empty() {
                        break;
                    }
                    stream.flush().await.unwrap();
                    rest = tail;
                    // Lets the reader see the piece by itself now and then.
                    tokio::task::yield_now().await;
                }
                stream.shutdown().await.ok();
            }
        });
        Self { address, sent }
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }
}

/// A registry in which `provider` lives at `base_url`, with `more` configuration.
pub fn registry(provider: &str, base_url: &str, more: &str) -> Arc<Registry> {
    let text = format!("{more}\n[{provider}]\nbase_url = '{base_url}'\nkey = 'env:TEST_KEY'");
    let config: Config = toml::from_str(&text).unwrap();
    let env = |name: &str| (name == "TEST_KEY").then(|| KEY.to_owned());
    Registry::build(&config, &env, Arc::new(StillClock)).unwrap()
}

pub fn text(text: &str) -> Part {
    Part::Text {
        text: text.to_owned(),
    }
}

pub fn user(words: &str) -> ModelMessage {
    ModelMessage {
        role: Role::User,
        parts: vec![text(words)],
    }
}

pub fn tools() -> Arc<[ModelTool]> {
    let tool = |name: &str, required: &[&str]| ModelTool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        schema: json!({
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": required,
            "additionalProperties": false,
        }),
    };
    Arc::from([tool("file_read", &["path"]), tool("file_list", &[])])
}

/// An ask with one question.
pub fn ask(model: &str, words: &str) -> ModelAsk {
    ModelAsk {
        model: model.to_owned(),
        system: Arc::from("You are careful."),
        tools: tools(),
        messages: vec![user(words)],
        max_output_tokens: 1024,
    }
}

/// The messages that follow when `end` was the reply and both its calls came back, one of them with an error.
pub fn answered(end: &ModelEnd) -> Vec<ModelMessage> {
    let thinking = end.thinking.iter().map(|(text, signature)| Part::Thinking {
        text: text.clone(),
        signature: signature.clone(),
    });
    let mut said: Vec<Part> = thinking.collect();
    if !end.text.is_empty() {
        said.push(text(&end.text));
    }
    let mut results = Vec::new();
    for (at, call) in end.calls.iter().enumerate() {
        let id = CallId::from_u128(u128::try_from(at).unwrap());
        let (wire_id, name) = (call.wire_id.clone(), call.name.clone());
        said.push(Part::ToolCall {
            call: id,
            wire_id: wire_id.clone(),
            name: name.clone(),
            args: call.args.clone(),
        });
        let is_error = 0 < at;
        let text = if is_error {
            "no such folder"
        } else {
            "the contents"
        }
        .to_owned();
        let part = Part::ToolResult {
            call: id,
            wire_id,
            name,
            text,
            is_error,
        };
        results.push(ModelMessage {
            role: Role::Tool,
            parts: vec![part],
        });
    }
    let mut out = vec![ModelMessage {
        role: Role::Assistant,
        parts: said,
    }];
    out.append(&mut results);
    out
}

/// Asks and collects everything up to the end or the fault.
pub async fn run(
    models: &Registry,
    route: &str,
    ask: ModelAsk,
) -> (Vec<ModelEvent>, Option<ModelFault>) {
    let route = models.route(route).unwrap();
    let mut events = Vec::new();
    match route.provider.stream(&ask).await {
        Err(fault) => return (events, Some(fault)),
        Ok(mut stream) => {
            while let Some(item) = stream.next().await {
                match item {
                    Ok(event) => events.push(event),
                    Err(fault) => {
                        assert_eq!(stream.next().await, None, "nothing follows a fault");
                        return (events, Some(fault));
                    }
                }
            }
        }
    }
    (events, None)
}

pub fn end_of(events: &[ModelEvent]) -> &ModelEnd {
    match events.last() {
        Some(ModelEvent::End(end)) => end,
        other => panic!("no end, but {other:?}"),
    }
}

/// What came back, one line per event. Identifiers made up here are shown without their changing part.
pub fn shown(events: &[ModelEvent], fault: Option<&ModelFault>) -> String {
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| match event {
            ModelEvent::Text(more) => format!("text {more:?}"),
            ModelEvent::Thinking(more) => format!("thinking {more:?}"),
            ModelEvent::CallBegun { wire_id, name } => format!("begun {wire_id} {name}"),
            ModelEvent::End(end) => {
                let mut lines = vec![format!("end {:?} {:?}", end.stop, end.text)];
                lines.extend(
                    end.thinking
                        .iter()
                        .map(|thinking| format!("  thought {thinking:?}")),
                );
                lines.extend(
                    end.calls
                        .iter()
                        .map(|c| format!("  call {} {} {}", c.wire_id, c.name, c.args)),
                );
                lines.push(format!("  {:?}", end.usage));
                lines.join("\n")
            }
        })
        .collect();
    lines.extend(fault.map(|fault| format!("fault {fault:?}")));
    stable(&lines.join("\n"))
}

/// `adj_<seed>_<n>` as `adj_*_<n>`.
pub fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("adj_") {
        out.push_str(&rest[..at]);
        out.push_str("adj_*");
        rest = rest[at + 4..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out + rest
}
