//! The socket file: who can open it is the owner.

use std::path::Path;

use tokio::net::UnixListener;

use super::guard::Source;
use super::listen::Stream;

/// An open socket file.
pub(super) struct SocketFile(UnixListener);

impl SocketFile {
    /// Binds in a fresh private directory and moves the file into place, so that it is never there with looser bits.
    pub(super) fn bind(path: &Path) -> std::io::Result<Option<Self>> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

        let nursery = path.with_extension("new");
        drop(std::fs::remove_dir_all(&nursery));
        std::fs::DirBuilder::new().mode(0o700).create(&nursery)?;
        let fresh = nursery.join("s");
        let listener = listen(&nursery, &fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, path)?;
        std::fs::remove_dir(&nursery)?;
        Ok(Some(Self(listener)))
    }

    /// The next connection. The file's mode already keeps others out; the peer's user is checked all the same.
    pub(super) async fn accept(&self) -> std::io::Result<(Stream, Source)> {
        let stream = self.0.accept().await?.0;
        let peer = stream.peer_cred()?.uid();
        let own = rustix::process::geteuid().as_raw();
        if peer == own || peer == 0 {
            Ok((Box::new(stream), Source::Socket))
        } else {
            Err(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                "another user on the socket file",
            ))
        }
    }
}

/// An address holds 107 bytes; a path through the folder's descriptor is short, however deep the folder lies.
#[cfg(target_os = "linux")]
fn listen(folder: &Path, _file: &Path) -> std::io::Result<UnixListener> {
    use std::os::fd::AsRawFd as _;
    let folder = std::fs::File::open(folder)?;
    UnixListener::bind(format!("/proc/self/fd/{}/s", folder.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn listen(_folder: &Path, file: &Path) -> std::io::Result<UnixListener> {
    UnixListener::bind(file)
}
