//! Where connections come from: one TCP port and one socket file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use adjutant_tls::{CertificateError, Server};

use crate::config::{Config, Finding};
use crate::edge::guard::Source;
use crate::edge::socket_file::SocketFile;

/// Name of the socket file in the state directory.
pub const SOCKET_FILE: &str = "gateway.sock";

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A setting forbids it.
    #[error("{0}")]
    Config(#[from] Finding),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] CertificateError),
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
    pub(crate) tls: Option<Arc<Server>>,
    address: SocketAddr,
    local: Option<SocketFile>,
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
        let tls = Server::open(&config.tls, state_dir)?.map(Arc::new);
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
        let path = state_dir.join(SOCKET_FILE);
        let local = SocketFile::bind(&path).map_err(io(path.display().to_string()))?;
        Ok(Self {
            tcp,
            tls,
            address,
            socket: local.is_some().then_some(path),
            local,
        })
    }

    /// The TCP address, with the port that was given when the configured one was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the port shows to those who dial; none when it is not encrypted.
    #[must_use]
    pub fn certificate(&self) -> Option<adjutant_tls::Leaf> {
        self.tls.as_ref().map(|it| it.leaf())
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

/// A connection of either kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection.
pub(crate) type Stream = Box<dyn Io>;

/// A connection from which nothing was read yet.
pub(crate) enum Arrived {
    /// Through the port, in the clear as yet.
    Port(TcpStream),
    /// Through the socket file.
    File(Stream),
}

/// The next connection of either listener.
pub(crate) async fn accept(listeners: &Listeners) -> std::io::Result<(Arrived, Source)> {
    if let Some(local) = &listeners.local {
        return tokio::select! {
            tcp = listeners.tcp.accept() => accepted_tcp(tcp?),
            local = local.accept() => local.map(|(stream, source)| (Arrived::File(stream), source)),
        };
    }
    accepted_tcp(listeners.tcp.accept().await?)
}

fn accepted_tcp((stream, from): (TcpStream, SocketAddr)) -> std::io::Result<(Arrived, Source)> {
    stream.set_nodelay(true)?;
    let to = stream.local_addr()?.ip();
    Ok((Arrived::Port(stream), Source::Tcp { from, to }))
}
