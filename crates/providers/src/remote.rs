//! One provider across the network: sends an ask in its wire format and streams the reply back as it comes.
//!
//! Nothing is held back: a piece of text leaves in the poll that read it. Dropping the stream closes the request.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use adjutant_domain::run::ModelFault;
use adjutant_ports::Clock;
use adjutant_ports::provider::{Asking, ModelAsk, ModelEvent, Provider, ReplyStream};

use crate::breaker::{Breaker, Ticket};
use crate::fault;
use crate::http::{Deadlines, Http, fault_of};
use crate::reply::Reply;
use crate::secret::Key;
use crate::sse::Decoder;
use crate::wire::{Reader, Wire};

/// Longest reply, in bytes on the wire. The largest output windows of today are below 1 MiB of text.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// How much of an error body is read.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// How long an error body may take.
const ERROR_BODY: Duration = Duration::from_secs(5);
/// How long the rest of a complete reply is awaited, to keep the connection.
const DRAIN: Duration = Duration::from_millis(200);

/// A provider across the network.
pub(crate) struct RemoteProvider {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) base: Url,
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) http: Arc<Http>,
    pub(crate) deadlines: Deadlines,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Provider for RemoteProvider {
    fn stream(&self, ask: &ModelAsk) -> Asking<'_> {
        let written = self.write_down(ask);
        self.send(written).boxed()
    }
}

/// A request as it goes over the wire.
struct Written {
    client: Client,
    request: Request,
    prompt_bytes: usize,
}

impl RemoteProvider {
    fn write_down(&self, ask: &ModelAsk) -> Result<Written, ModelFault> {
        let body = self.wire.body(ask).map_err(|error| ModelFault::Rejected {
            text: error.to_string(),
        })?;
        let prompt_bytes = body.len();
        let url = self.wire.url(&self.base, &ask.model);
        let client = self.http.client(&url)?;
        let mut request = client
            .post(url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static("text/event-stream"))
            .body(body);
        for (name, value) in self.wire.headers() {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            let (name, value) = self.wire.credential(key);
            request = request.header(name, value);
        }
        Ok(Written {
            client: client.clone(),
            request: request.build().map_err(|error| fault_of(&error, &url))?,
            prompt_bytes,
        })
    }

    async fn send(&self, written: Result<Written, ModelFault>) -> Result<ReplyStream, ModelFault> {
        let mut ticket = self.breaker.admit()?;
        match self.open(written).await {
            Ok((response, prompt_bytes, started)) => {
                let live = Live {
                    response,
                    decoder: Decoder::default(),
                    reader: self.wire.reader(),
                    reply: Reply::new(self.seed()),
                    prompt_bytes,
                    received: 0,
                    started,
                    deadlines: self.deadlines,
                    key: self.key.clone(),
                    ticket,
                    fault: None,
                    phase: Phase::Reading,
                };
                let next = |mut live: Box<Live>| async move {
                    let item = live.next().await?;
                    Some((item, live))
                };
                Ok(stream::unfold(Box::new(live), next).boxed())
            }
            Err(fault) => {
                let fault = fault::scrub(fault, self.key.as_deref());
                ticket.fault(&fault);
                Err(fault)
            }
        }
    }

    /// Sends the request and reads as far as the head of the answer.
    async fn open(
        &self,
        written: Result<Written, ModelFault>,
    ) -> Result<(Response, usize, Instant), ModelFault> {
        let Written {
            client,
            request,
            prompt_bytes,
        } = written?;
        let url = request.url().clone();
        let started = Instant::now();
        let patience = started + self.deadlines.first_byte.min(self.deadlines.total);
        let response = match timeout_at(patience, client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(fault_of(&error, &url)),
            Err(_elapsed) => return Err(ModelFault::TimedOut),
        };
        let stream = response.status() == StatusCode::OK && !is_page_or_document(&response);
        if !stream {
            return Err(self.refused(response).await);
        }
        Ok((response, prompt_bytes, started))
    }

    /// Reads a body that is not a reply, as far as is worth it, for what it says.
    async fn refused(&self, mut response: Response) -> ModelFault {
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        let deadline = Instant::now() + ERROR_BODY.min(self.deadlines.total);
        while body.len() < ERROR_BYTES_MAX {
            match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        body.truncate(ERROR_BYTES_MAX);
        let body = String::from_utf8_lossy(&body);
        let key = self.key.as_deref();
        if status != StatusCode::OK.as_u16() {
            return fault::of_response(status, &headers, &body, self.clock.now(), key);
        }
        // Some servers answer 200 and put the error into the body.
        let json: Option<serde_json::Value> = serde_json::from_str(&body).ok();
        match json.filter(|json| json.get("error").is_some_and(|error| !error.is_null())) {
            Some(json) => fault::of_error(&json, key),
            None => ModelFault::Garbage {
                text: "expected an event stream and got a document; check the base URL".to_owned(),
            },
        }
    }

    /// Makes identifiers unique that the API does not give: two asks never share one, across restarts, too.
    fn seed(&self) -> String {
        static ASKS: AtomicU64 = AtomicU64::new(0);
        let n = ASKS.fetch_add(1, Ordering::Relaxed);
        format!("{:x}{n:x}", self.clock.now().as_millis_u64())
    }
}

/// Whether the answer says of itself that it cannot be an event stream.
fn is_page_or_document(response: &Response) -> bool {
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let name = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    ["text/html", "application/json"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

/// A reply on its way.
struct Live {
    response: Response,
    decoder: Decoder,
    reader: Box<dyn Reader>,
    reply: Reply,
    prompt_bytes: usize,
    received: usize,
    started: Instant,
    deadlines: Deadlines,
    key: Option<Arc<Key>>,
    ticket: Ticket,
    fault: Option<ModelFault>,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Reading,
    /// The end was handed out; the rest of the body may still be on its way.
    Draining,
    Over,
}

impl Live {
    async fn next(&mut self) -> Option<Result<ModelEvent, ModelFault>> {
        loop {
            match self.phase {
                Phase::Reading => {}
                Phase::Draining => {
                    self.drain().await;
                    return None;
                }
                Phase::Over => return None,
            }
            // What was understood before a fault is handed out before it.
            if let Some(event) = self.reply.next_event() {
                return Some(Ok(event));
            }
            if let Some(fault) = self.fault.take() {
                return Some(Err(self.fail(fault)));
            }
            if self.reply.is_complete() {
                return Some(self.finish());
            }
            if let Err(fault) = self.read().await {
                self.fault = Some(fault);
            }
        }
    }

    fn finish(&mut self) -> Result<ModelEvent, ModelFault> {
        match self.reply.finish(self.prompt_bytes) {
            Ok(end) => {
                self.ticket.good();
                // The closing chunk usually came with the last event; then the connection is free again already.
                let drained = matches!(self.response.chunk().now_or_never(), Some(Ok(None)));
                self.phase = if drained {
                    Phase::Over
                } else {
                    Phase::Draining
                };
                Ok(ModelEvent::End(end))
            }
            Err(fault) => Err(self.fail(fault)),
        }
    }

    fn fail(&mut self, fault: ModelFault) -> ModelFault {
        self.phase = Phase::Over;
        let fault = fault::scrub(fault, self.key.as_deref());
        self.ticket.fault(&fault);
        fault
    }

    /// Reads one piece of the body.
    async fn read(&mut self) -> Result<(), ModelFault> {
        let patience = if self.received == 0 {
            self.started + self.deadlines.first_byte
        } else {
            Instant::now() + self.deadlines.idle
        };
        let patience = patience.min(self.started + self.deadlines.total);
        match timeout_at(patience, self.response.chunk()).await {
            Err(_elapsed) => Err(ModelFault::TimedOut),
            Ok(Err(error)) if error.is_timeout() => Err(ModelFault::TimedOut),
            Ok(Err(_broken)) => Err(ModelFault::Cut),
            Ok(Ok(Some(chunk))) => {
                self.received += chunk.len();
                if REPLY_BYTES_MAX < self.received {
                    return Err(ModelFault::Garbage {
                        text: format!("the reply is longer than {REPLY_BYTES_MAX} bytes"),
                    });
                }
                self.feed(&chunk)
            }
            Ok(Ok(None)) => {
                // The last event may lack its blank line. If what is there makes no sense, the rest is missing.
                self.feed(b"\n\n").map_err(|fault| match fault {
                    ModelFault::Garbage { .. } => ModelFault::Cut,
                    other => other,
                })?;
                self.reader.end_of_stream(&mut self.reply);
                if self.reply.is_complete() {
                    Ok(())
                } else {
                    Err(ModelFault::Cut)
                }
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ModelFault> {
        let Self {
            decoder,
            reader,
            reply,
            ..
        } = self;
        let flow = decoder
            .feed(bytes, |event, data| {
                match reader.event(event, data, reply) {
                    Ok(()) if reply.is_complete() => ControlFlow::Break(None),
                    Ok(()) => ControlFlow::Continue(()),
                    Err(fault) => ControlFlow::Break(Some(fault)),
                }
            })
            .map_err(|error| ModelFault::Garbage {
                text: error.to_string(),
            })?;
        match flow {
            ControlFlow::Break(Some(fault)) => Err(fault),
            ControlFlow::Break(None) | ControlFlow::Continue(()) => Ok(()),
        }
    }

    async fn drain(&mut self) {
        self.phase = Phase::Over;
        let deadline = Instant::now() + DRAIN;
        while let Ok(Ok(Some(_rest))) = timeout_at(deadline, self.response.chunk()).await {}
    }
}

#[cfg(test)]
mod tests;
