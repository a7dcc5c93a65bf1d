//! A system without socket files that this program can use: a gateway of this machine is reached through its TCP port,
//! with the token.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// Never made.
pub(crate) type FileStream = tokio::net::TcpStream;

/// Refuses.
#[allow(clippy::unused_async, reason = "where there are such files, it waits")]
pub(crate) async fn connect(_path: &Path) -> std::io::Result<FileStream> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "socket files are not supported on this system yet; use the address, such as `ws://127.0.0.1:18789`, and the token",
    ))
}
