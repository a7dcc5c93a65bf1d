//! The way from a tool to the canvases: open while the gateway serves.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;

use adjutant_ports::Canvas;
use adjutant_ports::canvas::{CanvasError, CanvasFile, CanvasOf, Pushed};
use adjutant_protocol::Fault;

use super::address::is_name;
use super::room::RoomError;
use super::{Room, a2ui, blocking};
use crate::core::Core;

/// The canvases of the gateway of this process, once it serves.
#[derive(Default)]
pub struct CanvasDoor(Mutex<Weak<Core>>);

impl std::fmt::Debug for CanvasDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CanvasDoor")
    }
}

impl CanvasDoor {
    pub(crate) fn open(&self, core: Weak<Core>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = core;
    }

    async fn room(&self, of: &CanvasOf) -> Result<(Arc<Core>, Arc<Room>), CanvasError> {
        let core = {
            let core = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            core.upgrade().filter(|core| *core.owner() == of.owner)
        };
        let Some(core) = core else {
            return Err(failed("no gateway shows a canvas here"));
        };
        let room = core.canvas(of.session).await.map_err(|it| told(&it))?;
        Ok((core, room))
    }

    /// Does with the canvas what blocks.
    async fn with<T: Send + 'static>(
        &self,
        of: &CanvasOf,
        work: impl FnOnce(&Room) -> Result<T, RoomError> + Send + 'static,
    ) -> Result<T, CanvasError> {
        let (_, room) = self.room(of).await?;
        let done = blocking(move || work(&room))
            .await
            .map_err(|it| told(&it))?;
        done.map_err(|error| failed(error.to_string()))
    }
}

fn failed(message: impl Into<String>) -> CanvasError {
    CanvasError {
        message: message.into(),
    }
}

fn told(fault: &Fault) -> CanvasError {
    match &fault.hint {
        Some(hint) => failed(format!("{}; {hint}", fault.message)),
        None => failed(fault.message.clone()),
    }
}

#[async_trait]
impl Canvas for CanvasDoor {
    async fn write(&self, of: &CanvasOf, path: &str, content: Bytes) -> Result<(), CanvasError> {
        let path = path.to_owned();
        self.with(of, move |room| room.write(&path, &content)).await
    }

    async fn remove(&self, of: &CanvasOf, path: &str) -> Result<(), CanvasError> {
        let path = path.to_owned();
        self.with(of, move |room| room.remove(&path)).await
    }

    async fn read(&self, of: &CanvasOf, path: &str, bytes_max: u64) -> Result<Bytes, CanvasError> {
        let path = path.to_owned();
        self.with(of, move |room| room.read(&path, bytes_max)).await
    }

    async fn list(&self, of: &CanvasOf) -> Result<Vec<CanvasFile>, CanvasError> {
        self.with(of, Room::list).await
    }

    async fn show(&self, of: &CanvasOf, path: &str) -> Result<usize, CanvasError> {
        if !is_name(path) {
            return Err(failed(RoomError::Name(path.to_owned()).to_string()));
        }
        let (_, room) = self.room(of).await?;
        room.show(path);
        Ok(room.views())
    }

    async fn push(&self, of: &CanvasOf, messages: &str) -> Result<Pushed, CanvasError> {
        let messages = a2ui::read(messages).map_err(failed)?;
        let (core, room) = self.room(of).await?;
        let now = core.deps.clock.monotonic();
        let views = room.views();
        let report = blocking(move || room.push(messages, now))
            .await
            .map_err(|it| told(&it))?;
        Ok(Pushed {
            accepted: report.accepted,
            rejected: report.rejected,
            views,
        })
    }

    async fn reset(&self, of: &CanvasOf, surface: Option<&str>) -> Result<usize, CanvasError> {
        let surface = surface.map(str::to_owned);
        self.with(of, move |room| Ok(room.reset(surface.as_deref())))
            .await
    }
}
