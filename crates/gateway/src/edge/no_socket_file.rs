//! A system without socket files: programs of this machine come through the TCP port and show the token.

use std::path::Path;

use super::guard::Source;
use super::listen::Stream;

/// There is none.
pub(super) enum SocketFile {}

impl SocketFile {
    /// Makes nothing.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "where there are such files, it may fail"
    )]
    pub(super) fn bind(_path: &Path) -> std::io::Result<Option<Self>> {
        Ok(None)
    }

    /// Never called: there is no value.
    #[allow(clippy::unused_async, reason = "where there are such files, it waits")]
    pub(super) async fn accept(&self) -> std::io::Result<(Stream, Source)> {
        match *self {}
    }
}
