//! Opening one socket: TCP, TLS where the address says so, the upgrade.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

use adjutant_tls::{ClientStream, Trust};

use crate::endpoint::Endpoint;
use crate::socket_file::{self, FileStream};

/// Bytes of a message taken from a gateway.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// How long opening a connection may take, upgrade included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) type Socket = WebSocketStream<Stream>;

/// Opens a connection on which the gateway speaks first.
///
/// # Errors
/// What stands in the way, in words.
pub(crate) async fn dial(endpoint: &Endpoint, trust: &Trust) -> Result<Socket, String> {
    tokio::time::timeout(DIAL_TIMEOUT, open(endpoint, trust))
        .await
        .unwrap_or_else(|_late| Err("the gateway does not answer".to_owned()))
}

async fn open(endpoint: &Endpoint, trust: &Trust) -> Result<Socket, String> {
    let (stream, address) = match endpoint {
        Endpoint::Unix(path) => {
            let stream = socket_file::connect(path)
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?;
            (Stream::Unix(stream), "ws://localhost/".to_owned())
        }
        Endpoint::Ws(url) => (connect(url, trust).await?, url.to_string()),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match tokio_tungstenite::client_async_with_config(address, stream, Some(config)).await {
        Ok((socket, _response)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(format!(
            "something answers there, but it opens no WebSocket (HTTP {})",
            response.status().as_u16()
        )),
        Err(error) => Err(error.to_string()),
    }
}

async fn connect(url: &Url, trust: &Trust) -> Result<Stream, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(18_789);
    let plain = url.scheme() == "ws";
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("`{host}` cannot be resolved: {error}"))?;
    let mut reason = format!("`{host}` has no address that may be used");
    for address in addresses {
        // `localhost` is a name: only loopback addresses of the answer carry plain text (S6).
        if plain && !address.ip().is_loopback() {
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|it| it.to_string())?;
                if plain {
                    return Ok(Stream::Tcp(stream));
                }
                let stream = adjutant_tls::connect(stream, host, trust)
                    .await
                    .map_err(|error| error.to_string())?;
                return Ok(Stream::Tls(Box::new(stream)));
            }
            Err(error) => reason = format!("{address}: {error}"),
        }
    }
    Err(reason)
}

/// What lies below a connection.
pub(crate) enum Stream {
    Unix(FileStream),
    Tcp(TcpStream),
    Tls(Box<ClientStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, from),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, from),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
