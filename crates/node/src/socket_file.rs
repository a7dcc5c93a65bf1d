//! Connecting to a socket file.

use std::path::Path;

/// A connection through a socket file.
pub(crate) use tokio::net::UnixStream as FileStream;

/// Connects.
pub(crate) async fn connect(path: &Path) -> std::io::Result<FileStream> {
    FileStream::connect(path).await
}
