//! Opening one socket: the stream, the upgrade, the bearer token.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adjutant_tls::{ClientStream, ConnectError, Trust};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::endpoint::{Credential, Endpoint};
use crate::error::ClientError;
use crate::socket_file::{self, FileStream};

/// The largest message taken from a gateway.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long opening a connection may take, upgrade included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Socket = WebSocketStream<Stream>;

/// Opens a connection that is ready for JSON-RPC.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    credential: &Credential,
) -> Result<Socket, ClientError> {
    match tokio::time::timeout(DIAL_TIMEOUT, open(endpoint, credential)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(ClientError::TimedOut {
            what: "connect".to_owned(),
            after: DIAL_TIMEOUT,
        }),
    }
}

async fn open(endpoint: &Endpoint, credential: &Credential) -> Result<Socket, ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable {
        endpoint: endpoint.to_string(),
        reason,
    };
    let (stream, address) = match endpoint {
        Endpoint::Unix(path) => {
            let stream = socket_file::connect(path)
                .await
                .map_err(|error| unreachable(plainly(&error)))?;
            (Stream::Unix(stream), "ws://localhost/rpc".to_owned())
        }
        Endpoint::Ws(url) => (
            Stream::Tcp(connect(url, Reach::ThisMachine, &unreachable).await?),
            url.to_string(),
        ),
        Endpoint::Wss { url, trust } => {
            let stream = connect(url, Reach::Anywhere, &unreachable).await?;
            (
                encrypt(stream, endpoint, url, trust).await?,
                url.to_string(),
            )
        }
    };
    let mut request = address
        .into_client_request()
        .map_err(|error| unreachable(format!("the address is not usable: {error}")))?;
    if let Credential::Token(token) = credential {
        let mut value =
            HeaderValue::from_str(&token.bearer()).map_err(|_not_text| ClientError::Refused {
                code: "UNAUTHORIZED".to_owned(),
                message: "the gateway token contains characters a header cannot carry".to_owned(),
                hint: Some(
                    "check the token file: it holds one line of printable characters".to_owned(),
                ),
                retry_after: None,
            })?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _response)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(refusal(&response)),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

/// Which addresses of a name may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Loopback alone: `localhost` is a name, too, and plain text leaves this machine never (S6).
    ThisMachine,
    /// All.
    Anywhere,
}

/// A TCP connection.
async fn connect(
    url: &url::Url,
    reach: Reach,
    unreachable: &impl Fn(String) -> ClientError,
) -> Result<TcpStream, ClientError> {
    let host = url
        .host_str()
        .unwrap_or("127.0.0.1")
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| unreachable(plainly(&error)))?;
    let mut reason = match reach {
        Reach::ThisMachine => "the name has no address on this machine".to_owned(),
        Reach::Anywhere => "the name has no address".to_owned(),
    };
    for address in addresses.filter(|it| reach == Reach::Anywhere || it.ip().is_loopback()) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream
                    .set_nodelay(true)
                    .map_err(|error| unreachable(plainly(&error)))?;
                return Ok(stream);
            }
            Err(error) => reason = plainly(&error),
        }
    }
    Err(unreachable(reason))
}

async fn encrypt(
    stream: TcpStream,
    endpoint: &Endpoint,
    url: &url::Url,
    trust: &Trust,
) -> Result<Stream, ClientError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let error = match adjutant_tls::connect(stream, host, trust).await {
        Ok(stream) => return Ok(Stream::Tls(Box::new(stream))),
        Err(error) => error,
    };
    let reason = error.to_string();
    let endpoint = endpoint.to_string();
    Err(match error {
        ConnectError::Mismatch { .. } => ClientError::Untrusted {
            endpoint,
            reason,
            hint: "compare with `adjutant gateway fingerprint` on the gateway's machine: if it says the new one, pin that; \
                   if not, somebody is in between"
                .to_owned(),
        },
        ConnectError::Untrusted { seen, .. } => ClientError::Untrusted {
            endpoint,
            reason,
            hint: format!(
                "compare with `adjutant gateway fingerprint` on the gateway's machine; if it says the same, use \
                 `--tls-fingerprint {seen}`"
            ),
        },
        ConnectError::NotTls => ClientError::Unreachable {
            endpoint,
            reason: format!("{reason}: a gateway without TLS is reached through an SSH tunnel"),
        },
        ConnectError::Name { .. } | ConnectError::Roots { .. } | ConnectError::Handshake(_) => {
            ClientError::Unreachable { endpoint, reason }
        }
    })
}

/// An operating system error in words, without its number.
fn plainly(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "the socket file does not exist".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "the socket may not be opened by this user".to_owned()
        }
        _ => error.to_string(),
    }
}

/// What an HTTP answer to the upgrade means.
fn refusal(response: &http::Response<Option<Vec<u8>>>) -> ClientError {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    let body: Option<serde_json::Value> = response
        .body()
        .as_deref()
        .and_then(|bytes| serde_json::from_slice(bytes).ok());
    let said = body
        .as_ref()
        .and_then(|body| body.pointer("/error/message")?.as_str());
    let (code, message, hint) = match status.as_u16() {
        401 => (
            "UNAUTHORIZED",
            "the gateway does not accept this token",
            Some(
                "use the token of that gateway: `--token-file <path>` or `ADJUTANT_GATEWAY_TOKEN`",
            ),
        ),
        403 | 421 => (
            "FORBIDDEN",
            "the gateway refuses connections from here",
            None,
        ),
        404 => (
            "NOT_FOUND",
            "something answers there, but it is not an adjutant gateway",
            Some("check the address and the port"),
        ),
        429 => (
            "RATE_LIMITED",
            "too many failed attempts; the gateway is not listening for now",
            None,
        ),
        503 => (
            "UNAVAILABLE",
            "the gateway is starting or stopping",
            Some("try again in a moment"),
        ),
        _ => (
            "UNAVAILABLE",
            "the gateway did not open the connection",
            None,
        ),
    };
    ClientError::Refused {
        code: code.to_owned(),
        message: said.map_or_else(
            || format!("{message} (HTTP {})", status.as_u16()),
            str::to_owned,
        ),
        hint: hint.map(str::to_owned),
        retry_after,
    }
}

/// The kinds of stream below a connection.
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
