//! The door to what an agent shows: a folder of pages and surfaces of controls per session, seen by whoever has a view
//! of them open.

use async_trait::async_trait;
use bytes::Bytes;

use adjutant_domain::id::{OwnerId, SessionId};

/// Largest file of a canvas, in bytes.
pub const CANVAS_FILE_BYTES_MAX: u64 = 50 << 20;
/// Bytes of all files of one canvas.
pub const CANVAS_BYTES_MAX: u64 = 500 << 20;
/// Files of one canvas.
pub const CANVAS_FILES_MAX: usize = 5_000;

/// Whose canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanvasOf {
    /// The owner.
    pub owner: OwnerId,
    /// The conversation it belongs to.
    pub session: SessionId,
}

/// A file of a canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanvasFile {
    /// Its path within the canvas.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A message of A2UI that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedMessage {
    /// Which of the messages, from 0.
    pub index: usize,
    /// Where in it, as a JSON pointer.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// What became of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// How many were taken.
    pub accepted: usize,
    /// Those that were not.
    pub rejected: Vec<RejectedMessage>,
    /// Views that are open to see it.
    pub views: usize,
}

/// Why it was not done; a sentence with the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CanvasError {
    /// What happened, and what would help.
    pub message: String,
}

/// The canvases of a gateway.
#[async_trait]
pub trait Canvas: Send + Sync {
    /// Creates or replaces a file, and tells open views.
    ///
    /// # Errors
    /// [`CanvasError`]: a path that is none, a bound that is reached, a disk that is full.
    async fn write(&self, of: &CanvasOf, path: &str, content: Bytes) -> Result<(), CanvasError>;

    /// Removes a file, and tells open views.
    ///
    /// # Errors
    /// [`CanvasError`].
    async fn remove(&self, of: &CanvasOf, path: &str) -> Result<(), CanvasError>;

    /// Reads a file from its start, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CanvasError`].
    async fn read(&self, of: &CanvasOf, path: &str, bytes_max: u64) -> Result<Bytes, CanvasError>;

    /// All files, by path.
    ///
    /// # Errors
    /// [`CanvasError`].
    async fn list(&self, of: &CanvasOf) -> Result<Vec<CanvasFile>, CanvasError>;

    /// Turns open views to this page, and those that open later. Gives how many are open.
    ///
    /// # Errors
    /// [`CanvasError`].
    async fn show(&self, of: &CanvasOf, path: &str) -> Result<usize, CanvasError>;

    /// Takes messages of A2UI: JSON Lines, a list, or one object.
    ///
    /// # Errors
    /// [`CanvasError`] when nothing of it could be read; a message that is wrong is in the answer.
    async fn push(&self, of: &CanvasOf, messages: &str) -> Result<Pushed, CanvasError>;

    /// Takes away one surface, or all.
    ///
    /// # Errors
    /// [`CanvasError`].
    async fn reset(&self, of: &CanvasOf, surface: Option<&str>) -> Result<usize, CanvasError>;
}
