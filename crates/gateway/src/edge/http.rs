//! One connection: HTTP/1.1 requests, and the two ways from there to a WebSocket.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use adjutant_domain::code::Code;
use adjutant_protocol::{
    Caller, Codec as _, Fault, JsonRpc, Outbound, RequestId, Role, Scopes, Surface,
};

use crate::canvas;
use crate::compat;
use crate::core::Core;
use crate::edge::admission::Slot;
use crate::edge::guard::{self, Peer, Refusal, Source};
use crate::edge::listen::Arrived;
use crate::edge::secure::secure;
use crate::node_page;
use crate::socket;

/// Bytes of headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Header lines.
const HEADERS_MAX: usize = 64;
/// Bytes of a body.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Until when a body must be here.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may go on when the gateway stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

/// A connection, as its requests know it.
pub(crate) struct Connection {
    pub(crate) core: Arc<Core>,
    pub(crate) id: u64,
    pub(crate) evicted: CancellationToken,
    source: Source,
    port: u16,
    slot: Mutex<Option<Slot>>,
    _counted: Counted,
}

impl Connection {
    /// The credential was right: the place among the unknown is free again.
    pub(crate) fn authenticated(&self) {
        drop(
            self.slot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Counts open connections.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection until it ends, is evicted, or becomes a WebSocket.
pub(crate) async fn serve_connection(
    core: Arc<Core>,
    arrived: Arrived,
    source: Source,
    port: u16,
    slot: Slot,
) {
    let stop = core.stop.clone();
    let evicted = slot.evicted();
    let connection = Arc::new(Connection {
        id: core.next_connection(),
        evicted: evicted.clone(),
        source,
        port,
        slot: Mutex::new(Some(slot)),
        _counted: Counted::new(&core.connections),
        core,
    });
    let handshake = connection.core.config.handshake_timeout.duration();
    let secured = tokio::time::timeout(handshake, secure(connection.core.tls.as_deref(), arrived));
    let stream = tokio::select! {
        secured = secured => match secured {
            Ok(Some(stream)) => stream,
            Ok(None) | Err(_) => return,
        },
        () = evicted.cancelled() => return,
        () = stop.cancelled() => return,
    };
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(answer(&connection, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(handshake)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = evicted.cancelled() => return,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN_TIMEOUT, served).await {
                Ok(ended) => ended,
                Err(_late) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<compat::Body> {
    let (parts, body) = request.into_parts();
    let core = &connection.core;
    let checked = guard::check(
        &core.config,
        &core.deps.token,
        connection.port,
        connection.source,
        &parts,
    );
    let ours = compat::is_ours(parts.uri.path());
    let mut answer = match checked {
        Err(refusal) if ours => compat::refused(&refusal),
        Ok(peer) if ours => compatible(connection, &peer, parts, body).await,
        Err(refusal) => refused(&refusal).map(BodyExt::boxed_unsync),
        Ok(peer) => route(connection, peer, Request::from_parts(parts, body))
            .await
            .map(BodyExt::boxed_unsync),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // Who has not shown a credential may ask once.
    let unknown = connection
        .slot
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some();
    if unknown && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn route(connection: &Arc<Connection>, peer: Peer, request: Request<Incoming>) -> Answer {
    let upgrade = wants_websocket(&request);
    match (request.method(), request.uri().path(), upgrade) {
        (&Method::GET, "/", true) => upgrade_frames(connection, peer, request),
        (&Method::GET, "/rpc", true) => upgrade_rpc(connection, peer, request),
        (&Method::GET, "/", false) if connection.core.pages.is_none() => {
            text(StatusCode::OK, "A gateway is running here.\n")
        }
        (&Method::GET, "/healthz", false) => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz", false) => ready(&connection.core).await,
        (&Method::GET, "/metrics", false) => metrics(connection, &peer, &request).await,
        (&Method::POST, "/rpc", false) => rpc(connection, peer, request).await,
        (&Method::GET, path, true) if canvas::is_ours(path) => canvas::upgrade(connection, request),
        (_, path, false) if canvas::is_ours(path) => canvas::serve(connection, request).await,
        (&Method::GET, path, false) if node_page::is_part(path) => {
            node_page::file(path).unwrap_or_else(no_page)
        }
        (&Method::GET, path, false) if guard::is_page(path) => {
            page(&connection.core, &request).await
        }
        (_, "/" | "/rpc" | "/healthz" | "/readyz" | "/metrics", _) => {
            let refusal = Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::InvalidRequest,
                "method not allowed",
            );
            refused(&refusal)
        }
        _ => no_page(),
    }
}

fn no_page() -> Answer {
    let message = "no such page";
    refused(&Refusal::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        message,
    ))
}

/// A page of the Control UI, if one is served.
async fn page(core: &Core, request: &Request<Incoming>) -> Answer {
    let Some(pages) = &core.pages else {
        return no_page();
    };
    let Some(page) = pages.get(request.uri().path(), request.headers()).await else {
        return no_page();
    };
    let mut answer = Response::new(Full::new(page.bytes));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, page.policy);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    answer
}

/// How long somebody who looks after the gateway waits for its store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

async fn ready(core: &Core) -> Answer {
    let asked = core.deps.store.writable();
    match tokio::time::timeout(STORE_PATIENCE, asked).await {
        Ok(Ok(_)) if !core.stop.is_cancelled() => text(StatusCode::OK, "ready\n"),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn metrics(connection: &Connection, peer: &Peer, request: &Request<Incoming>) -> Answer {
    if let Err(refusal) = guard::authenticate(&connection.core, peer, request.headers()) {
        return refused(&refusal);
    }
    connection.authenticated();
    let core = &connection.core;
    let load = tokio::time::timeout(STORE_PATIENCE, core.load()).await;
    core.deps
        .metrics
        .observe_load(load.ok().and_then(Result::ok));
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    core.deps.metrics.observe_tasks(tasks);
    let mut answer = Response::new(Full::new(Bytes::from(core.deps.metrics.render())));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// The OpenAI-compatible routes: the same credential, the same bounds.
async fn compatible(
    connection: &Arc<Connection>,
    peer: &Peer,
    parts: Parts,
    body: Incoming,
) -> Response<compat::Body> {
    if let Err(refusal) = guard::authenticate(&connection.core, peer, &parts.headers) {
        return compat::refused(&refusal);
    }
    connection.authenticated();
    let body = if parts.method == Method::POST {
        match json_body(&parts, body).await {
            Ok(body) => body,
            Err(refusal) => return compat::refused(&refusal),
        }
    } else {
        Bytes::new()
    };
    let caller = operator(connection, peer, Surface::Http);
    compat::serve(Arc::clone(&connection.core), caller, parts, body).await
}

async fn rpc(connection: &Arc<Connection>, peer: Peer, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = guard::authenticate(&connection.core, &peer, &parts.headers) {
        return refused(&refusal);
    }
    connection.authenticated();
    let body = match json_body(&parts, body).await {
        Ok(body) => body,
        Err(refusal) => return refused(&refusal),
    };
    let caller = operator(connection, &peer, Surface::Http);
    let decoded = JsonRpc.decode(&body);
    match connection.core.answer_rpc(&caller, decoded).await {
        Some(reply) => json(StatusCode::OK, reply),
        None => {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        }
    }
}

/// The body, if it is JSON, small enough and in time.
async fn json_body(parts: &Parts, body: Incoming) -> Result<Bytes, Refusal> {
    if !is_json(parts.headers.get(header::CONTENT_TYPE)) {
        let message = "the body must be application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, Code::InvalidRequest, message));
    }
    let too_large = || {
        let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, message)
    };
    if body.size_hint().lower() > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let limit = usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX);
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(too_large()),
        Err(_late) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::InvalidRequest,
            "the body did not arrive in time",
        )),
    }
}

/// The shared token and the socket file stand for the owner, with every scope.
fn operator(connection: &Connection, peer: &Peer, surface: Surface) -> Caller {
    Caller {
        owner: connection.core.owner().clone(),
        principal: principal(peer).to_owned(),
        device: None,
        role: Role::Operator,
        scopes: Scopes::ALL,
        surface,
        connection: connection.id,
    }
}

pub(crate) fn principal(peer: &Peer) -> &'static str {
    match peer.source {
        Source::Tcp { .. } => "token",
        Source::Socket => "socket",
    }
}

fn wants_websocket(request: &Request<Incoming>) -> bool {
    let has = |name, word: &str| {
        request.headers().get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(word))
            })
        })
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

fn upgrade_rpc(connection: &Arc<Connection>, peer: Peer, request: Request<Incoming>) -> Answer {
    if let Err(refusal) = guard::authenticate(&connection.core, &peer, request.headers()) {
        return refused(&refusal);
    }
    let caller = operator(connection, &peer, Surface::JsonRpcSocket);
    let kept = Arc::clone(connection);
    switch(request, move |upgraded| async move {
        kept.authenticated();
        socket::serve_jsonrpc(kept, caller, upgraded).await;
    })
}

fn upgrade_frames(connection: &Arc<Connection>, peer: Peer, request: Request<Incoming>) -> Answer {
    let kept = Arc::clone(connection);
    let browser = socket::Browser {
        origin: request.headers().contains_key(header::ORIGIN),
        cookie: request.headers().contains_key(header::COOKIE),
    };
    switch(request, move |upgraded| {
        socket::serve_frames(kept, peer, browser, upgraded)
    })
}

/// Turns a request into a WebSocket.
pub(crate) fn switch<F, T>(mut request: Request<Incoming>, serve: F) -> Answer
where
    F: FnOnce(hyper::upgrade::Upgraded) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let version = request
        .headers()
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes);
    let key = request
        .headers()
        .get(header::SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes);
    let (Some(b"13"), Some(key)) = (version, key) else {
        let message = "a WebSocket needs version 13 and a key";
        return refused(&Refusal::new(
            StatusCode::BAD_REQUEST,
            Code::InvalidRequest,
            message,
        ));
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) else {
        return refused(&Refusal::new(
            StatusCode::BAD_REQUEST,
            Code::InvalidRequest,
            "bad key",
        ));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(upgraded).await,
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

fn is_json(value: Option<&HeaderValue>) -> bool {
    value
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            let kind = text.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        })
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn json(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

/// A refusal as a JSON-RPC error without an id, so that every client can read it.
fn refused(refusal: &Refusal) -> Answer {
    let id = RequestId::Null;
    let mut body = JsonRpc.encode(Outbound::Reply {
        id: &id,
        result: Err(&refusal.fault),
    });
    if let Some(kind) = refusal.kind {
        body = typed(&refusal.fault, kind);
    }
    let mut answer = json(refusal.status, body);
    let headers = answer.headers_mut();
    if refusal.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(span) = refusal.fault.retry_after {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(span.as_secs().max(1)),
        );
    }
    answer
}

fn typed(fault: &Fault, kind: &str) -> String {
    serde_json::json!({ "error": { "type": kind, "message": fault.message } }).to_string()
}
