//! From a connection that arrived to a stream that speaks HTTP.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use adjutant_tls::Server;

use crate::edge::listen::{Arrived, Stream};

/// First byte of every TLS connection: a record of the handshake. Source: RFC 8446, section 5.1.
const HANDSHAKE: u8 = 22;
/// Bytes of a plain request that are read before the connection is closed, so that the answer is not lost to a reset.
const DRAINED_MAX: u64 = 16 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

const PLAIN: &str =
    "{\"error\":{\"message\":\"this port speaks TLS only: use https:// or wss://\"}}";

/// Encrypts what came through the port, if the port is encrypted. None: there is nobody to serve. The caller bounds the
/// time.
pub(crate) async fn secure(tls: Option<&Server>, arrived: Arrived) -> Option<Stream> {
    let stream = match arrived {
        Arrived::File(stream) => return Some(stream),
        Arrived::Port(stream) => stream,
    };
    let Some(tls) = tls else {
        return Some(Box::new(stream));
    };
    let mut first = [0; 1];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == HANDSHAKE => {}
        Ok(1) if first[0].is_ascii_alphabetic() => {
            refuse_plain(stream).await;
            return None;
        }
        _ => return None,
    }
    match tls.accept(stream).await {
        Ok(stream) => Some(Box::new(stream)),
        Err(error) => {
            tracing::debug!(%error, "no encrypted connection");
            None
        }
    }
}

/// Says to a plain client what is spoken here.
async fn refuse_plain(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PLAIN}",
        PLAIN.len()
    );
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(DRAINED_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(DRAIN_TIMEOUT, said).await);
}
