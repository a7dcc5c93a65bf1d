//! What an agent shows: pages it writes and surfaces of A2UI, on the gateway's own port and out of reach of it.
//!
//! The way of a request: `address.rs` (what is meant), `ticket.rs` (may it be seen), `serve.rs` (what is answered, under
//! `policy.rs`), `live.rs` (what open views hear and say), `action.rs` (what becomes of a press). `room.rs` is one
//! session's canvas, `a2ui/` its surfaces, `door.rs` the way in for tools.

pub(crate) mod a2ui;
mod action;
pub(crate) mod address;
mod door;
mod live;
mod policy;
mod renderer;
mod room;
mod serve;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use adjutant_domain::code::Code;
use adjutant_domain::id::{SessionId, SessionKey};
use adjutant_ports::files::{FileError, Files};
use adjutant_protocol::{Caller, Fault};

use crate::core::Core;

pub(crate) use address::{Board, is_ours};
pub use door::CanvasDoor;
pub(crate) use live::upgrade;
pub(crate) use renderer::is_there as has_renderer;
pub(crate) use room::Room;
pub(crate) use serve::serve;
pub(crate) use ticket::{TICKET_LIFE, Ticket};

/// Where canvases are kept, a folder each.
pub trait CanvasFolders: Send + Sync {
    /// Opens the folder of a session's canvas; makes it when there is none. Blocks.
    ///
    /// # Errors
    /// [`FileError`].
    fn open(&self, session: SessionId) -> Result<Arc<dyn Files>, FileError>;

    /// Removes the folder of a session's canvas, if there is one. Blocks.
    ///
    /// # Errors
    /// [`FileError`].
    fn remove(&self, session: SessionId) -> Result<(), FileError>;
}

/// Canvases that are kept open without a view.
const ROOMS_MAX: usize = 64;
/// Files read at once, for all views.
const READS_MAX: usize = 4;

/// All canvases of a gateway.
pub(crate) struct Canvases {
    folders: Option<Arc<dyn CanvasFolders>>,
    pub(crate) tickets: ticket::Tickets,
    rooms: Mutex<BTreeMap<SessionId, Arc<Room>>>,
    reads: Arc<Semaphore>,
}

impl Canvases {
    pub(crate) fn new(folders: Option<Arc<dyn CanvasFolders>>) -> Self {
        Self {
            folders,
            tickets: ticket::Tickets::default(),
            rooms: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
        }
    }

    fn room(&self, session: SessionId) -> Option<Arc<Room>> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get(&session).cloned()
    }

    fn drop_room(&self, session: SessionId) -> Option<Arc<Room>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.remove(&session)
    }

    /// Keeps a room; whoever was first is kept. Rooms that nobody looks at make place.
    fn keep(&self, room: Room) -> Arc<Room> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if ROOMS_MAX <= rooms.len() {
            rooms.retain(|_, room| 0 < room.views() || 1 < Arc::strong_count(room));
        }
        let room = Arc::new(room);
        Arc::clone(rooms.entry(room.session).or_insert(room))
    }
}

impl Core {
    /// The canvas of a session.
    pub(crate) async fn canvas(&self, session: SessionId) -> Result<Arc<Room>, Fault> {
        let found = self.deps.store.session_by_id(self.owner(), session).await?;
        let Some(found) = found else {
            return Err(Fault::not_found("session", session));
        };
        self.canvas_of(found.id, found.key).await
    }

    /// The canvas of a session that is known by its key.
    pub(crate) async fn canvas_of(
        &self,
        session: SessionId,
        key: SessionKey,
    ) -> Result<Arc<Room>, Fault> {
        if let Some(room) = self.canvases.room(session) {
            return Ok(room);
        }
        let Some(folders) = self.canvases.folders.clone() else {
            let message = "this gateway has no canvas";
            return Err(Fault::new(Code::Unavailable, message)
                .with_hint("set `gateway.canvas.enabled = true` and start it again"));
        };
        let opened = blocking(move || {
            let files = folders.open(session)?;
            Ok::<_, FileError>(Room::open(session, key, files))
        });
        match opened.await? {
            Ok(room) => Ok(self.canvases.keep(room)),
            Err(error) => {
                tracing::warn!(%session, %error, "the folder of a canvas cannot be opened");
                Err(Fault::new(
                    Code::Unavailable,
                    "the folder of the canvas cannot be opened",
                ))
            }
        }
    }

    /// Ends a canvas with its session: views, surfaces, files.
    pub(crate) async fn end_canvas(&self, session: SessionId) {
        let Some(folders) = self.canvases.folders.clone() else {
            return;
        };
        if let Some(room) = self.canvases.drop_room(session) {
            room.gone.cancel();
        }
        match blocking(move || folders.remove(session)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%session, %error, "the folder of a canvas stays"),
            Err(_broken) => tracing::warn!(%session, "the folder of a canvas stays"),
        }
    }

    /// Gives a ticket for a session's canvas to whoever calls.
    pub(crate) fn give_ticket(&self, room: &Room, caller: &Caller) -> String {
        let ticket = Ticket {
            session: room.session,
            given_to: caller.name(),
            device: caller.device.clone(),
        };
        let (dice, now) = (self.deps.entropy.next_u128(), self.deps.clock.monotonic());
        self.canvases.tickets.give(ticket, dice, now)
    }
}

/// Does what blocks where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_panic| Fault::new(Code::Internal, "the work on a canvas broke off"))
}
