//! Where the gateway is.

use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

/// Why a text is not a gateway's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EndpointError {
    /// Why not, and what to write instead. Never repeats a credential.
    pub reason: String,
}

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket file that only its owner can open.
    Unix(PathBuf),
    /// A WebSocket: `ws` on this machine, `wss` anywhere.
    Ws(Url),
}

impl Endpoint {
    /// Reads `wss://host:18789`, `https://host`, `ws://127.0.0.1:18789` or `unix:/run/gateway.sock`.
    ///
    /// # Errors
    /// [`EndpointError`] when the text is no address, names another machine without TLS (S6), or carries a credential
    /// (S9).
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let bad = |reason: &str| {
            Err(EndpointError {
                reason: reason.to_owned(),
            })
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let Ok(mut url) = Url::parse(text) else {
            return bad("the gateway's address is written like `wss://host:18789`");
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return bad("an address must not carry a user, a query or a fragment");
        }
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return bad("a gateway speaks `wss`, `ws` or `unix`"),
        };
        let here = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => return bad("the address names no host"),
        };
        if scheme == "ws" && !here {
            return bad(
                "a plain connection is made to this machine only: use `wss://`, or forward the port with `ssh -L`",
            );
        }
        if url.set_scheme(scheme).is_err() {
            return bad("write the address with `ws://` or `wss://`");
        }
        Ok(Self::Ws(url))
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Ws(url) if url.scheme() == "wss")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Ws(url) => f.write_str(url.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, &str>) {
        match (Endpoint::parse(text), expect) {
            (Ok(endpoint), Ok(shown)) => assert_eq!(endpoint.to_string(), shown),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("`{text}` gave {got:?}"),
        }
    }

    // covers: S6
    #[test]
    fn a_plain_connection_leaves_this_machine_never() {
        check("ws://192.0.2.7:18789", Err("to this machine only"));
        check("http://gateway.example", Err("to this machine only"));
        check("ws://127.0.0.1:18789", Ok("ws://127.0.0.1:18789/"));
        check("http://localhost:1/base", Ok("ws://localhost:1/base"));
        check("wss://gateway.example", Ok("wss://gateway.example/"));
        check("https://192.0.2.7:9/x", Ok("wss://192.0.2.7:9/x"));
        check("unix:/run/g.sock", Ok("unix:/run/g.sock"));
        check("ftp://h", Err("wss"));
    }

    // covers: S9
    #[test]
    fn a_credential_in_an_address_is_refused_and_not_repeated() {
        for text in [
            "wss://h/?token=s3cret",
            "wss://me:s3cret@h/",
            "wss://h/#s3cret",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
