//! The live connection of an open view: it hears what changes and says what was pressed.
//!
//! A view knows nothing but its ticket, so this connection reaches nothing but its canvas. News come from a bounded
//! channel; a view that falls behind is cut and comes back to a snapshot.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::address::{self, Asked};
use super::room::News;
use super::{Room, Ticket, action, blocking};
use crate::core::Core;
use crate::edge::{Connection, switch};

/// Bytes of one message of a view.
const MESSAGE_BYTES_MAX: usize = 32 << 10;
/// Between two looks at the folder while a view is open, and whether the other side is still there.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Between two signs of life that are asked for.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a view may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// How long a message may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The view's ticket opens nothing any more: it does not come back.
const ENDED: u16 = 4004;

type Ws = WebSocketStream<TokioIo<Upgraded>>;

/// What a view is told first.
#[derive(Serialize)]
#[serde(tag = "type", rename = "hello")]
struct Hello {
    page: String,
    stamp: String,
    /// How many changes of surfaces there were; each that follows is one more.
    rev: u64,
    surfaces: Vec<News>,
}

/// What a view says.
#[derive(Debug, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum Said {
    /// Something was pressed.
    Action(Pressed),
    /// The renderer could not draw.
    Problem {
        #[serde(default)]
        surface_id: Option<String>,
        #[serde(default)]
        reason: Option<String>,
    },
}

/// Something was pressed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pressed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) context: Option<Map<String, Value>>,
    /// The page it was on; none on a surface.
    #[serde(default)]
    pub(super) page: Option<String>,
    #[serde(default)]
    pub(super) surface_id: Option<String>,
    #[serde(default)]
    pub(super) source_component_id: Option<String>,
}

/// What a view is told about what it said.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "outcome")]
struct Outcome<'a> {
    id: &'a str,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Opens the live connection that a request asks for, if its ticket opens one.
pub(crate) fn upgrade(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Full<bytes::Bytes>> {
    let core = &connection.core;
    let path = request.uri().path().to_owned();
    let address = address::read(&path).filter(|it| it.asked == Asked::Live);
    // Our page has an origin like no other; nobody else's page is answered.
    let null = request
        .headers()
        .get(header::ORIGIN)
        .is_none_or(|it| it == "null");
    let Some(address) = address.filter(|_| null) else {
        return refused();
    };
    let (kept, name) = (Arc::clone(connection), address.ticket.to_owned());
    let now = core.deps.clock.monotonic();
    let ticket = core.canvases.tickets.show(&name, now);
    // Without a right ticket it is opened and closed with a reason, so that an old view knows that it has ended.
    switch(request, move |upgraded| async move {
        let config = WebSocketConfig::default()
            .read_buffer_size(2 * 1024)
            .write_buffer_size(8 * 1024)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = TokioIo::new(upgraded);
        let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let farewell = match ticket {
            None => Some((ENDED, "the ticket has ended")),
            Some(ticket) => {
                kept.authenticated();
                look(&kept, &name, &ticket, &mut ws).await
            }
        };
        if let Some((code, reason)) = farewell {
            let frame = CloseFrame {
                code: CloseCode::from(code),
                reason: reason.into(),
            };
            drop(tokio::time::timeout(WRITE_TIMEOUT, ws.close(Some(frame))).await);
        }
    })
}

fn refused() -> Response<Full<bytes::Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// Serves one view until one side has had enough. Some: how to say goodbye.
async fn look(
    connection: &Arc<Connection>,
    name: &str,
    ticket: &Ticket,
    ws: &mut Ws,
) -> Option<(u16, &'static str)> {
    let core = Arc::clone(&connection.core);
    let Ok(room) = core.canvas(ticket.session).await else {
        return Some((ENDED, "the session is gone"));
    };
    let Some(_seat) = room.sit() else {
        return Some((1013, "too many views of this canvas"));
    };
    let stamp = look_at(&room).await;
    // Subscribed and read under one lock: nothing falls between the two.
    let (mut news, rev, surfaces) = room.listen();
    let hello = Hello {
        page: room.page(),
        stamp,
        rev,
        surfaces,
    };
    say(ws, &hello).await.ok()?;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let clock = &core.deps.clock;
    let (mut heard, mut pinged) = (clock.monotonic(), clock.monotonic());
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return Some((1012, "service restart")),
            () = room.gone.cancelled() => return Some((ENDED, "the session is gone")),
            () = connection.evicted.cancelled() => return Some((1008, "evicted")),
            told = news.recv() => match told {
                Ok(told) => say(ws, &told).await.ok()?,
                Err(RecvError::Lagged(_)) => return Some((1013, "too slow; come back")),
                Err(RecvError::Closed) => return None,
            },
            read = ws.next() => match read? {
                Ok(Message::Text(text)) => {
                    heard = clock.monotonic();
                    hear(&core, &room, ticket, text.as_str(), ws).await.ok()?;
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => heard = clock.monotonic(),
                Ok(Message::Binary(_)) => return Some((1003, "text only")),
                Ok(Message::Close(_)) => return None,
                Err(Error::Capacity(_)) => return Some((1009, "too large")),
                Err(_gone) => return None,
            },
            _ = tick.tick() => {
                let now = clock.monotonic();
                if SILENCE_MAX < now.saturating_sub(heard) {
                    return Some((1001, "silent"));
                }
                if PING_EVERY < now.saturating_sub(pinged) {
                    pinged = now;
                    if core.canvases.tickets.show(name, now).is_none() {
                        return Some((ENDED, "the ticket has ended"));
                    }
                    let ping = ws.send(Message::Ping(bytes::Bytes::new()));
                    tokio::time::timeout(WRITE_TIMEOUT, ping).await.ok()?.ok()?;
                }
                if room.is_look_due(now) {
                    look_at(&room).await;
                }
            },
        }
    }
}

async fn look_at(room: &Arc<Room>) -> String {
    let room = Arc::clone(room);
    blocking(move || room.look()).await.unwrap_or_default()
}

async fn say(ws: &mut Ws, what: &impl Serialize) -> Result<(), ()> {
    let text = serde_json::to_string(what).map_err(drop)?;
    let sent = tokio::time::timeout(WRITE_TIMEOUT, ws.send(Message::text(text)));
    sent.await.map_err(drop)?.map_err(drop)
}

async fn hear(
    core: &Core,
    room: &Arc<Room>,
    ticket: &Ticket,
    text: &str,
    ws: &mut Ws,
) -> Result<(), ()> {
    match serde_json::from_str::<Said>(text) {
        Ok(Said::Action(pressed)) => {
            let reason = action::take(core, room, ticket, &pressed).await.err();
            let outcome = Outcome {
                id: &pressed.id,
                accepted: reason.is_none(),
                reason: reason.map(|it| it.to_string()),
            };
            say(ws, &outcome).await
        }
        Ok(Said::Problem { surface_id, reason }) => {
            let reason: String = reason.unwrap_or_default().chars().take(500).collect();
            tracing::warn!(session = %room.session, surface = surface_id.is_some(), bytes = reason.len(), "a surface could not be drawn");
            Ok(())
        }
        Err(_other) => Ok(()),
    }
}
