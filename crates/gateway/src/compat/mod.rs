//! The OpenAI-compatible HTTP surface: `/v1/models`, `/v1/chat/completions`, `/v1/responses`.
//!
//! An intake with its own rendering, no second path to runs: every request becomes a `chat.send` through the method
//! table, and its answer is told from the same events that every surface hears.

mod ask;
mod completions;
mod follow;
mod problem;
mod responses;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use adjutant_protocol::methods::agent::{AgentWaited, RunPhase};
use adjutant_protocol::{Caller, Fault};

use crate::core::Core;
use crate::edge::Refusal;
use ask::Ask;
use follow::{Followed, Moment, Step, call};
use problem::Problem;

/// The body of an answer: whole, or as it comes.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Pieces of a stream that wait for a client that does not read.
const PIECES_MAX: usize = 256;
/// How long a client may not read before its stream is given up; its run goes on.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Whether the path belongs here.
pub(crate) fn is_ours(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// A refusal from before the route, in the shape that clients of these routes read.
pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    Problem::refused(refusal).answer()
}

/// Answers one request of somebody who was let in.
pub(crate) async fn serve(
    core: Arc<Core>,
    caller: Caller,
    parts: Parts,
    body: Bytes,
) -> Response<Body> {
    let answered = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/v1/models") => models(&core, &caller).await,
        (&Method::GET, path) if path.starts_with("/v1/models/") => {
            let name = path
                .trim_start_matches("/v1/models/")
                .replace("%2F", "/")
                .replace("%2f", "/");
            model(&core, &caller, &name).await
        }
        (&Method::POST, "/v1/chat/completions") => {
            match ask::completions(&core, &parts.headers, &body).await {
                Ok(ask) => answer::<completions::Completion>(core, caller, ask).await,
                Err(problem) => Err(problem),
            }
        }
        (&Method::POST, "/v1/responses") => {
            match ask::responses(&core, &parts.headers, &body).await {
                Ok(ask) => answer::<responses::Response>(core, caller, ask).await,
                Err(problem) => Err(problem),
            }
        }
        (_, "/v1/models" | "/v1/chat/completions" | "/v1/responses") => {
            Err(Problem::bad("method not allowed")
                .with_status(http::StatusCode::METHOD_NOT_ALLOWED))
        }
        _ => Err(Problem::no_page()),
    };
    answered.unwrap_or_else(|problem| problem.answer())
}

async fn models(core: &Core, caller: &Caller) -> Result<Response<Body>, Problem> {
    let rows = model_rows(core, caller).await?;
    Ok(whole(&json!({ "object": "list", "data": rows })))
}

async fn model(core: &Core, caller: &Caller, name: &str) -> Result<Response<Body>, Problem> {
    let id = if name.starts_with("adjutant/") {
        name.to_owned()
    } else {
        format!("adjutant/{name}")
    };
    let rows = model_rows(core, caller).await?;
    let found = rows.into_iter().find(|row| row["id"] == id.as_str());
    found
        .map(|row| whole(&row))
        .ok_or_else(|| Problem::no_model(name))
}

/// Agents, as models.
async fn model_rows(core: &Core, caller: &Caller) -> Result<Vec<Value>, Problem> {
    let listed = call(core, caller, "agents.list", json!({}))
        .await
        .map_err(|it| Problem::fault(&it))?;
    let created = core.started_at.as_millis() / 1_000;
    let agents = listed["agents"].as_array().into_iter().flatten();
    let rows = agents.filter_map(|agent| agent["id"].as_str()).map(|id| {
        json!({ "id": format!("adjutant/{id}"), "object": "model", "created": created, "owned_by": "adjutant" })
    });
    Ok(rows.collect())
}

/// One of the two ways to tell a run.
trait Telling: Send + 'static {
    /// Nothing was told yet.
    fn new(run: &str, created: i64, ask: &Ask) -> Self;
    /// How a stream begins.
    fn begin(&mut self) -> Vec<String>;
    /// What a moment adds to a stream. It is remembered for the whole, too.
    fn moment(&mut self, moment: Moment) -> Vec<String>;
    /// How a stream ends.
    fn end(&mut self, waited: &AgentWaited) -> Vec<String>;
    /// How a stream ends when it cannot be followed to its end.
    fn broken(&mut self, problem: &Problem) -> Vec<String>;
    /// The answer that does not stream.
    fn whole(&mut self, waited: &AgentWaited) -> Result<Value, Problem>;
}

async fn answer<T: Telling>(
    core: Arc<Core>,
    caller: Caller,
    ask: Ask,
) -> Result<Response<Body>, Problem> {
    let fault = |fault: Fault| Problem::fault(&fault);
    let mut followed = Followed::start(&core, &caller, &ask).await.map_err(fault)?;
    let created = core.now().as_millis() / 1_000;
    let run = followed.run.to_string();
    let mut telling = T::new(run.trim_start_matches("run_"), created, &ask);
    let mut answer = if ask.stream {
        streamed(followed, telling)
    } else {
        let waited = loop {
            match followed.next().await.map_err(fault)? {
                Step::Moments(moments) => {
                    moments.into_iter().for_each(|it| drop(telling.moment(it)))
                }
                Step::Over(waited) => break waited,
            }
        };
        whole(&telling.whole(&waited)?)
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        ("x-adjutant-run", &run),
        ("x-adjutant-session", &ask.session.as_str().to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(answer)
}

fn whole(value: &Value) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

/// Server-sent events from a task of its own. A client that goes away or does not read ends the task, not the run.
fn streamed<T: Telling>(followed: Followed, telling: T) -> Response<Body> {
    let (pieces, mut waiting) = mpsc::channel::<String>(PIECES_MAX);
    tokio::spawn(tell(followed, telling, pieces));
    let stream = futures::stream::poll_fn(move |cx| waiting.poll_recv(cx));
    let stream = stream.map(|text| Ok(Frame::data(Bytes::from(text))));
    let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

async fn tell<T: Telling>(mut followed: Followed, mut telling: T, pieces: mpsc::Sender<String>) {
    let mut texts = telling.begin();
    while send(&pieces, std::mem::take(&mut texts)).await {
        match followed.next().await {
            Ok(Step::Moments(moments)) => {
                for moment in moments {
                    match moment {
                        // A comment: the stream lives, and a client that is gone is noticed.
                        Moment::Still => texts.push(": still here\n\n".to_owned()),
                        moment => texts.extend(telling.moment(moment)),
                    }
                }
            }
            Ok(Step::Over(waited)) => {
                send(&pieces, telling.end(&waited)).await;
                return;
            }
            Err(fault) => {
                send(&pieces, telling.broken(&Problem::fault(&fault))).await;
                return;
            }
        }
    }
}

/// Whether somebody listens still.
async fn send(pieces: &mpsc::Sender<String>, texts: Vec<String>) -> bool {
    for text in texts {
        if !matches!(
            tokio::time::timeout(STALL_MAX, pieces.send(text)).await,
            Ok(Ok(()))
        ) {
            return false;
        }
    }
    true
}

/// Where a run stands, as the extension of both shapes says it.
fn standing(waited: &AgentWaited) -> Value {
    let mut all = json!({ "run_id": waited.run_id, "status": waited.state });
    if !waited.approvals.is_empty() {
        all["approvals"] = json!(waited.approvals);
    }
    if let Some(reason) = &waited.reason {
        all["reason"] = json!(reason);
    }
    if let Some(micros) = waited.cost_micros {
        all["cost_micros"] = json!(micros);
    }
    all
}

/// What is said when the run waits for a person.
fn waiting_words(waited: &AgentWaited) -> Option<String> {
    if waited.state != RunPhase::WaitingApproval {
        return None;
    }
    Some(match waited.approvals.first() {
        Some(approval) => format!(
            "[The run waits for your approval {approval}. Answer it with `adjutant approvals`, then send the same \
             request with the same Idempotency-Key to hear the end.]"
        ),
        None => "[The run waits for your answer. Send it as the next message of the same session.]"
            .to_owned(),
    })
}

/// Why a run did not end well.
fn failure(waited: &AgentWaited) -> Option<Problem> {
    let code = match waited.state {
        RunPhase::Failed => "run_failed",
        RunPhase::Cancelled => "run_cancelled",
        RunPhase::Queued
        | RunPhase::Running
        | RunPhase::WaitingApproval
        | RunPhase::Unknown
        | RunPhase::Done => {
            return None;
        }
    };
    let message = waited
        .error
        .clone()
        .unwrap_or_else(|| "the run did not end well".to_owned());
    Some(
        Problem::bad(message)
            .coded(code)
            .with_status(http::StatusCode::INTERNAL_SERVER_ERROR),
    )
}
