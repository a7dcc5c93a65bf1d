//! WebSockets: one task per connection that reads, writes, and never waits for a slow client.

mod frames;
mod handshake;
mod hello;
mod outbox;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use adjutant_domain::code::Code;
use adjutant_protocol::frames::{FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use adjutant_protocol::{
    Caller, Codec as _, Decoded, Fault, JsonRpc, Kind, Outbound, Refused, Request,
};

use crate::call::CALLS_IN_FLIGHT_MAX;
use crate::core::Core;
use crate::edge::{Meter, Metered, Peer};
use crate::hub::Format;
use crate::nodes::Seat;

pub(crate) use crate::edge::Connection;
pub(crate) use handshake::NodeSession;
pub(crate) use outbox::{Drop as OutboxDrop, Out, Outbox, Queue};

/// How long a closing connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes of a frame's own header, at most.
const FRAME_HEADER_BYTES: u64 = 14;
/// Messages written before the socket is flushed.
const WRITE_BATCH: usize = 64;

pub(crate) type Ws = WebSocketStream<Metered<TokioIo<Upgraded>>>;

/// Why a connection is closed, as its close frame says.
#[derive(Debug, Clone)]
pub(crate) struct Farewell {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Farewell {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(123));
        Self { code, reason }
    }
}

/// Traces of a browser in the request for the upgrade. Which origin it was is checked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Browser {
    pub(crate) origin: bool,
    pub(crate) cookie: bool,
}

/// A connection after its handshake.
pub(crate) struct Link {
    core: Arc<Core>,
    connection: Arc<Connection>,
    caller: Caller,
    /// What a node said of itself.
    node: Option<NodeSession>,
    outbox: Arc<Outbox>,
    format: Format,
    /// Calls in a row that the role may not make.
    wrong_roles: AtomicU32,
    calls: Arc<Semaphore>,
    /// Cancelled when the client is gone: nobody reads the answers any more.
    gone: CancellationToken,
}

/// Serves JSON-RPC. The credential was checked with the request for the upgrade.
pub(crate) async fn serve_jsonrpc(connection: Arc<Connection>, caller: Caller, upgraded: Upgraded) {
    let ws = Box::pin(open(upgraded, Meter::of(u64::MAX))).await;
    let (link, queue) = link(&connection, caller, Format::JsonRpc, None);
    Box::pin(arrive(&link, None)).await;
    pump(link, ws, queue).await;
}

/// Serves frames: challenge and `connect` first.
pub(crate) async fn serve_frames(
    connection: Arc<Connection>,
    peer: Peer,
    browser: Browser,
    upgraded: Upgraded,
) {
    // Once in the life of a connection, see `close`.
    if let Some((link, ws, queue)) = Box::pin(enter(connection, peer, browser, upgraded)).await {
        pump(link, ws, queue).await;
    }
}

/// Challenge, `connect` and its answer.
async fn enter(
    connection: Arc<Connection>,
    peer: Peer,
    browser: Browser,
    upgraded: Upgraded,
) -> Option<(Arc<Link>, Box<Ws>, Queue)> {
    let first = u64::try_from(FIRST_FRAME_BYTES_MAX).unwrap_or(u64::MAX) + FRAME_HEADER_BYTES;
    let meter = Meter::of(first);
    let mut ws = open(upgraded, meter.clone()).await;
    let evicted = connection.evicted.clone();
    let shaken = tokio::select! {
        shaken = handshake::run(&connection, &peer, browser, &mut ws, &meter) => shaken,
        () = evicted.cancelled() => return None,
        () = connection.core.stop.cancelled() => Err(Farewell::new(1012, "service restart")),
    };
    match shaken {
        Err(farewell) => {
            close(&mut ws, &meter, &farewell).await;
            None
        }
        Ok(welcome) => {
            meter.open();
            connection.authenticated();
            let (link, queue) = link(&connection, welcome.caller, welcome.format, welcome.node);
            // Subscribed before the answer goes out, so that nothing falls between the two: what is told meanwhile waits.
            arrive(&link, Some(welcome.revocations)).await;
            let limit = link.core.config.handshake_timeout.duration();
            match tokio::time::timeout(limit, greet(&mut ws, welcome.hello)).await {
                Ok(Ok(())) => Some((link, ws, queue)),
                Ok(Err(_)) | Err(_) => {
                    depart(&link);
                    None
                }
            }
        }
    }
}

/// Writes the answer to `connect`, the longest thing that most clients ever hear, past the write buffer, which would keep
/// room for it as long as the connection lasts. Nothing is in that buffer after a flush.
async fn greet(ws: &mut Ws, hello: String) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(hello.len() + 10);
    let frame = Frame::message(hello, OpCode::Data(Data::Text), true);
    frame.format(&mut bytes)?;
    ws.flush().await?;
    let stream = ws.get_mut();
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

async fn open(upgraded: Upgraded, meter: Meter) -> Box<Ws> {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(8 * 1024)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let stream = Metered::new(TokioIo::new(upgraded), meter);
    Box::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
}

fn link(
    connection: &Arc<Connection>,
    caller: Caller,
    format: Format,
    node: Option<NodeSession>,
) -> (Arc<Link>, Queue) {
    let core = Arc::clone(&connection.core);
    let (outbox, queue) = Outbox::new(core.deps.clock.monotonic());
    let link = Arc::new(Link {
        caller,
        node,
        outbox: Arc::new(outbox),
        format,
        wrong_roles: AtomicU32::new(0),
        calls: Arc::new(Semaphore::new(CALLS_IN_FLIGHT_MAX)),
        gone: CancellationToken::new(),
        connection: Arc::clone(connection),
        core,
    });
    (link, queue)
}

/// From here on the client is told what happens.
async fn arrive(link: &Arc<Link>, revocations: Option<u64>) {
    let (hub, id) = (&link.core.hub, link.connection.id);
    hub.subscribe(id, Arc::clone(&link.outbox), link.format, &link.caller);
    // Taken away between the look at the record and the subscription, where a revocation would not have found it.
    if revocations.is_some_and(|then| then != link.core.revocations()) {
        link.core.cut_if_revoked(&link.caller, &link.outbox).await;
    }
    let seat = link
        .node
        .as_ref()
        .and_then(|node| Seat::of(id, node, &link.outbox, link.format, link.core.now()));
    if let Some(seat) = seat {
        link.core.node_arrived(seat).await;
    }
}

fn depart(link: &Link) {
    if let Some(node) = &link.node {
        link.core.node_left(&node.device, link.connection.id);
    }
    link.core.hub.unsubscribe(link.connection.id);
    link.gone.cancel();
}

async fn pump(link: Arc<Link>, mut ws: Box<Ws>, mut queue: Queue) {
    let farewell = exchange(&link, &mut ws, &mut queue).await;
    depart(&link);
    if let Some(farewell) = farewell {
        close(&mut ws, &Meter::of(u64::MAX), &farewell).await;
    }
}

/// Reads and writes until one side has had enough. Some: how to say goodbye.
async fn exchange(link: &Arc<Link>, ws: &mut Ws, queue: &mut Queue) -> Option<Farewell> {
    let outbox = &link.outbox;
    loop {
        tokio::select! {
            () = outbox.cut_off() => return Some(outbox.farewell()),
            () = link.core.stop.cancelled() => return Some(Box::pin(last_words(link, ws, queue)).await),
            out = queue.next() => {
                tokio::select! {
                    written = write(ws, queue, out) => written.ok()?,
                    () = outbox.cut_off() => return Some(outbox.farewell()),
                }
            }
            read = ws.next() => match read? {
                Ok(message) => {
                    outbox.heard(link.core.deps.clock.monotonic());
                    match message {
                        Message::Text(text) => link.receive(text.as_bytes()),
                        Message::Binary(_) => return Some(Farewell::new(1003, "text frames only")),
                        // The answer to a goodbye is its echo, which is queued and only has to leave.
                        Message::Close(_) => {
                            let echoed = tokio::time::timeout(GOODBYE, ws.flush());
                            drop(Box::pin(echoed).await);
                            return None;
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                Err(error) => return farewell_to(&error),
            },
        }
    }
}

/// Writes `out` and whatever else is waiting, then flushes once.
async fn write(ws: &mut Ws, queue: &mut Queue, out: Out) -> Result<(), Error> {
    let mut next = Some(out);
    let mut written = Vec::new();
    while let Some(out) = next {
        let (message, weight) = out.into_parts();
        ws.feed(message).await?;
        written.push(weight);
        next = if written.len() < WRITE_BATCH {
            queue.try_next()
        } else {
            None
        };
    }
    ws.flush().await
    // The weights are given back here: what is flushed is the kernel's.
}

/// What waits is written, then the reason, as far as a second allows.
async fn last_words(link: &Link, ws: &mut Ws, queue: &mut Queue) -> Farewell {
    let words = match link.format {
        Format::JsonRpc => JSONRPC_SHUTDOWN.to_owned(),
        Format::Frames { .. } => FRAMES_SHUTDOWN.to_owned(),
    };
    let said = async {
        // Calls that were waiting end with an answer; give them a moment to say it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        while let Some(out) = queue.try_next() {
            write(ws, queue, out).await?;
        }
        ws.send(Message::text(words)).await
    };
    drop(tokio::time::timeout(GOODBYE, said).await);
    Farewell::new(1012, "service restart")
}

const JSONRPC_SHUTDOWN: &str =
    r#"{"jsonrpc":"2.0","method":"shutdown","params":{"reason":"service restart"}}"#;
const FRAMES_SHUTDOWN: &str =
    r#"{"type":"event","event":"shutdown","payload":{"reason":"service restart"}}"#;

fn farewell_to(error: &Error) -> Option<Farewell> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some(Farewell::new(1009, "frame too large"))
        }
        Error::Capacity(_) => Some(Farewell::new(1009, "too large")),
        Error::Utf8(_) => Some(Farewell::new(1007, "invalid UTF-8")),
        Error::Protocol(_) => Some(Farewell::new(1002, "protocol error")),
        _ => None,
    }
}

/// Says goodbye and reads on for a moment: closing with unread input would reset the connection, and the client would
/// never see why.
///
/// A task is as large as the largest thing it waits for, and most connections wait for their client for hours: what happens
/// once in the life of a connection is therefore boxed.
async fn close(ws: &mut Ws, meter: &Meter, farewell: &Farewell) {
    Box::pin(say_goodbye(ws, meter, farewell)).await;
}

async fn say_goodbye(ws: &mut Ws, meter: &Meter, farewell: &Farewell) {
    let frame = CloseFrame {
        code: CloseCode::from(farewell.code),
        reason: farewell.reason.as_str().into(),
    };
    let goodbye = async {
        if ws.close(Some(frame)).await.is_err() {
            return;
        }
        meter.open();
        let mut scratch = [0u8; 4_096];
        while matches!(ws.get_mut().read(&mut scratch).await, Ok(n) if n > 0) {}
    };
    drop(tokio::time::timeout(GOODBYE, goodbye).await);
}

impl Link {
    /// Takes what a client sent. Places in line are taken here, in the order of arrival.
    fn receive(self: &Arc<Self>, bytes: &[u8]) {
        match self.format {
            Format::JsonRpc => self.receive_rpc(JsonRpc.decode(bytes)),
            Format::Frames { codec, .. } => {
                if let Decoded::One(item) = codec.decode(bytes) {
                    self.receive_frame(codec, *item);
                }
            }
        }
    }

    fn receive_rpc(self: &Arc<Self>, decoded: Decoded) {
        match decoded {
            Decoded::One(item) => match *item {
                Ok(request) => self.receive_call(request),
                Err(refused) => self.refuse_rpc(refused),
            },
            Decoded::Batch(items) => {
                let n_calls = items.len().min(CALLS_IN_FLIGHT_MAX);
                let Some(permit) = self.permit(n_calls) else {
                    for item in items {
                        let id = item.map_or_else(|refused| Some(refused.id), |request| request.id);
                        if let Some(id) = id {
                            self.refuse_rpc(Refused {
                                id,
                                fault: crowded(),
                            });
                        }
                    }
                    return;
                };
                let link = Arc::clone(self);
                tokio::spawn(async move {
                    let answer = link.core.answer_rpc(&link.caller, Decoded::Batch(items));
                    if let Some(Some(reply)) = link.gone.run_until_cancelled(answer).await {
                        link.outbox.reply(reply).await;
                    }
                    drop(permit);
                });
            }
        }
    }

    fn receive_call(self: &Arc<Self>, request: Request) {
        let Request { id, method, params } = request;
        let refuse = |fault| {
            if let Some(id) = id.clone() {
                self.refuse_rpc(Refused { id, fault });
            }
        };
        let Some(permit) = self.permit(1) else {
            return refuse(crowded());
        };
        let call = match self.core.prepare(&self.caller, &method, params) {
            Ok(call) => call,
            Err(fault) => return refuse(fault),
        };
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let reads = call.spec.kind == Kind::Read;
            let answer = link.core.run_call(&link.caller, call);
            let Some(result) = link.until_gone(reads, answer).await else {
                return;
            };
            if let Some(id) = id {
                let reply = JsonRpc.encode(Outbound::Reply {
                    id: &id,
                    result: result.as_deref(),
                });
                link.outbox.reply(reply).await;
            }
            drop(permit);
        });
    }

    fn refuse_rpc(self: &Arc<Self>, refused: Refused) {
        let reply = JsonRpc.encode(Outbound::Reply {
            id: &refused.id,
            result: Err(&refused.fault),
        });
        self.say(reply);
    }

    /// Queues a short reply without waiting; a client that sends faster than it reads is cut.
    fn say(&self, reply: String) {
        self.outbox.event(reply.into(), outbox::Drop::Never);
    }

    fn permit(&self, n_calls: usize) -> Option<OwnedSemaphorePermit> {
        let n = u32::try_from(n_calls).unwrap_or(u32::MAX);
        Arc::clone(&self.calls).try_acquire_many_owned(n).ok()
    }

    /// A reading call ends with its client; a writing one is finished, because it may be half done.
    async fn until_gone<T>(&self, reads: bool, call: impl Future<Output = T>) -> Option<T> {
        if reads {
            self.gone.run_until_cancelled(call).await
        } else {
            Some(call.await)
        }
    }
}

fn crowded() -> Fault {
    Fault::new(
        Code::Unavailable,
        format!("more than {CALLS_IN_FLIGHT_MAX} calls under way on this connection"),
    )
    .with_retry_after(Duration::from_millis(100))
}
