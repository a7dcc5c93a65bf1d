//! Where connections come from: one TCP port and one socket file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use crate::config::{Config, Finding};
use crate::edge::guard::Source;

/// Name of the socket file in the state directory.
pub const SOCKET_FILE: &str = "gateway.sock";

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A setting forbids it.
    #[error("{0}")]
    Config(#[from] Finding),
    /// Somebody else has the port.
    #[error(
        "port {port} on {address} is taken; stop the other program or choose another with `--port`"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The address.
        address: std::net::IpAddr,
    },
    /// The system says no.
    #[error("cannot listen on {place}: {source}")]
    Io {
        /// Address or path.
        place: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Open listeners.
pub struct Listeners {
    pub(crate) tcp: TcpListener,
    address: SocketAddr,
    #[cfg(unix)]
    pub(crate) unix: Option<UnixListener>,
    socket: Option<PathBuf>,
}

impl Listeners {
    /// Opens the TCP port and, where there are such files, `<state>/gateway.sock`, readable by the owner only.
    ///
    /// The caller holds the lock of the state directory, so a socket file that is there belongs to nobody.
    ///
    /// # Errors
    /// [`ListenError`]; checked before anything is opened (S1).
    pub async fn bind(config: &Config, state_dir: &Path) -> Result<Self, ListenError> {
        if let Some(finding) = config.check().into_iter().next() {
            return Err(finding.into());
        }
        let wanted = SocketAddr::new(config.bind, config.port);
        let io = |place: String| move |source| ListenError::Io { place, source };
        let tcp = TcpListener::bind(wanted).await.map_err(|source| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                ListenError::PortTaken {
                    port: config.port,
                    address: config.bind,
                }
            } else {
                ListenError::Io {
                    place: wanted.to_string(),
                    source,
                }
            }
        })?;
        let address = tcp.local_addr().map_err(io(wanted.to_string()))?;
        #[cfg(unix)]
        {
            let path = state_dir.join(SOCKET_FILE);
            let unix = bind_socket(&path).map_err(io(path.display().to_string()))?;
            Ok(Self {
                tcp,
                address,
                unix: Some(unix),
                socket: Some(path),
            })
        }
        #[cfg(not(unix))]
        {
            let _no_socket_files_here = state_dir;
            Ok(Self {
                tcp,
                address,
                socket: None,
            })
        }
    }

    /// The TCP address, with the port that was given when the configured one was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket file.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            // Somebody may have tidied up before us.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Binds in a fresh private directory and moves the file into place, so that it is never there with looser bits.
#[cfg(unix)]
fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    let nursery = path.with_extension("new");
    drop(std::fs::remove_dir_all(&nursery));
    std::fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let fresh = nursery.join("s");
    // An address holds 107 bytes; a path through the folder's descriptor is short, however deep the folder lies.
    #[cfg(target_os = "linux")]
    let listener = {
        use std::os::fd::AsRawFd as _;
        let folder = std::fs::File::open(&nursery)?;
        UnixListener::bind(format!("/proc/self/fd/{}/s", folder.as_raw_fd()))?
    };
    #[cfg(not(target_os = "linux"))]
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    std::fs::remove_dir(&nursery)?;
    Ok(listener)
}

/// A connection of either kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection.
pub(crate) type Stream = Box<dyn Io>;

/// The next connection of either listener.
pub(crate) async fn accept(listeners: &Listeners) -> std::io::Result<(Stream, Source)> {
    #[cfg(unix)]
    if let Some(unix) = &listeners.unix {
        return tokio::select! {
            tcp = listeners.tcp.accept() => accepted_tcp(tcp?),
            local = unix.accept() => accepted_unix(local?.0),
        };
    }
    accepted_tcp(listeners.tcp.accept().await?)
}

fn accepted_tcp(
    (stream, address): (tokio::net::TcpStream, SocketAddr),
) -> std::io::Result<(Stream, Source)> {
    stream.set_nodelay(true)?;
    Ok((Box::new(stream), Source::Tcp(address)))
}

/// The file's mode already keeps others out; the peer's user is checked all the same.
#[cfg(unix)]
fn accepted_unix(stream: tokio::net::UnixStream) -> std::io::Result<(Stream, Source)> {
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
