//! Connecting to a socket file.

use std::path::Path;

/// A connection through a socket file.
pub(crate) use tokio::net::UnixStream as FileStream;

/// The longest path the kernel takes in a socket address, its final zero byte left out.
#[cfg(target_os = "linux")]
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Connects to a socket file, however deep it lies: a path too long for an address is shortened by a descriptor of its
/// folder.
pub(crate) async fn connect(path: &Path) -> std::io::Result<FileStream> {
    #[cfg(target_os = "linux")]
    if SOCKET_PATH_BYTES_MAX < path.as_os_str().len()
        && let (Some(folder), Some(name)) = (path.parent(), path.file_name())
    {
        use std::os::fd::AsRawFd as _;

        let folder = std::fs::File::open(folder)?;
        let short = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        return FileStream::connect(short).await;
    }
    FileStream::connect(path).await
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::AsRawFd as _;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_lies_too_deep_for_an_address_is_reached() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("d".repeat(60)).join("e".repeat(60));
        std::fs::create_dir_all(&deep).unwrap();
        let folder = std::fs::File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/gateway.sock", folder.as_raw_fd());
        let _listener = tokio::net::UnixListener::bind(short).unwrap();
        let path = deep.join("gateway.sock");
        assert!(SOCKET_PATH_BYTES_MAX < path.as_os_str().len());
        connect(&path).await.unwrap();
    }
}
