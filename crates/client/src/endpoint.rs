//! Where a gateway is, and what is shown to get in.

use std::fmt;
use std::path::PathBuf;

use adjutant_tls::{Fingerprint, Trust};
use url::{Host, Url};

use crate::error::ClientError;

/// Where a gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket file that only its owner can open.
    Unix(PathBuf),
    /// A plain WebSocket on this machine. Build it with [`Endpoint::parse`], which checks it.
    Ws(Url),
    /// An encrypted WebSocket. Build it with [`Endpoint::parse`].
    Wss {
        /// The address.
        url: Url,
        /// Whom to believe that it is the gateway.
        trust: Trust,
    },
}

impl Endpoint {
    /// Reads `wss://home.example:18789`, `http://127.0.0.1:18789`, `ws://localhost:18789/rpc`,
    /// `unix:/run/gateway.sock` or `/run/gateway.sock`.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`] when the text is no address, names another machine without TLS (S6), or carries a
    /// credential (S9).
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let bad = |reason: &str, hint: &str| ClientError::BadEndpoint {
            endpoint: without_secrets(text),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(
                path.strip_prefix("//").unwrap_or(path),
            )));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| {
            bad(
                &error.to_string(),
                "write it like `wss://home.example:18789`, `http://127.0.0.1:18789` or `unix:/path/to/gateway.sock`",
            )
        })?;
        Self::from_url(url)
    }

    /// Checks an address and brings it into the form the transport uses.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub fn from_url(mut url: Url) -> Result<Self, ClientError> {
        let shown = without_secrets(url.as_str());
        let bad = |reason: &str, hint: &str| ClientError::BadEndpoint {
            endpoint: shown.clone(),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        let scheme = match url.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            other => {
                return Err(bad(
                    &format!("`{other}` is not a scheme a gateway speaks"),
                    "use `wss`, `ws`, `https`, `http` or `unix`",
                ));
            }
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(bad(
                "an address must not carry a user, a query or a fragment",
                "give the token with `--token-file` or `ADJUTANT_GATEWAY_TOKEN`",
            ));
        }
        let on_this_machine = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if scheme == "ws" && !on_this_machine {
            return Err(bad(
                "a plain connection is made to this machine only",
                "use `wss://`, or forward the port: `ssh -L 18789:127.0.0.1:18789 <host>`, then use `http://127.0.0.1:18789`",
            ));
        }
        if url.set_scheme(scheme).is_err() {
            return Err(bad(
                &format!("the scheme cannot be changed to `{scheme}`"),
                "write the address with `wss://` or `ws://`",
            ));
        }
        if !url.path().ends_with("/rpc") {
            let path = format!("{}/rpc", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(match scheme {
            "ws" => Self::Ws(url),
            _ => Self::Wss {
                url,
                trust: Trust::System,
            },
        })
    }

    /// The same, where no other certificate is accepted.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`] when the connection is not encrypted: there is nothing to compare.
    pub fn pinned(self, fingerprint: Fingerprint) -> Result<Self, ClientError> {
        match self {
            Self::Wss { url, .. } => Ok(Self::Wss {
                url,
                trust: Trust::Pinned(fingerprint),
            }),
            plain => Err(ClientError::BadEndpoint {
                endpoint: plain.to_string(),
                reason: "a fingerprint belongs to an encrypted connection".to_owned(),
                hint: "write the gateway's address with `wss://`".to_owned(),
            }),
        }
    }

    /// The same, with a hand-built address checked (S6).
    pub(crate) fn checked(self) -> Result<Self, ClientError> {
        match self {
            Self::Unix(path) => Ok(Self::Unix(path)),
            Self::Ws(url) => Self::from_url(url),
            Self::Wss { url, trust } => match (Self::from_url(url)?, trust) {
                (Self::Wss { url, .. }, trust) => Ok(Self::Wss { url, trust }),
                (plain, Trust::Pinned(fingerprint)) => plain.pinned(fingerprint),
                (plain, Trust::System | Trust::Authorities(_)) => Ok(plain),
            },
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Ws(url) | Self::Wss { url, .. } => f.write_str(url.as_str()),
        }
    }
}

/// The address without anything after `?` or `#`, and without a user.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!(
                "{}{}",
                text.get(..scheme + 3).unwrap_or_default(),
                text.get(at + 1..).unwrap_or_default()
            )
        }
        _ => text.to_owned(),
    }
}

/// What is shown to a gateway.
#[derive(Clone)]
pub enum Credential {
    /// Nothing: the socket file is the proof, or the gateway refuses.
    None,
    /// A bearer token.
    Token(Token),
}

impl Credential {
    /// A bearer token.
    #[must_use]
    pub fn token(text: impl Into<String>) -> Self {
        Self::Token(Token(text.into()))
    }
}

/// Says whether there is one, never which.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("Credential::None"),
            Self::Token(_) => f.write_str("Credential::Token(redacted)"),
        }
    }
}

/// A bearer token. It is not printed, not compared and not serialized.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
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
            (Err(error), Err(part)) => {
                let shown = error.to_string();
                assert!(shown.contains(part), "`{shown}` does not say `{part}`");
            }
            (got, _) => panic!("`{text}` gave {got:?}"),
        }
    }

    #[test]
    fn web_addresses_of_this_machine_become_the_rpc_socket() {
        check("http://127.0.0.1:18789", Ok("ws://127.0.0.1:18789/rpc"));
        check("http://localhost:1/", Ok("ws://localhost:1/rpc"));
        check("ws://[::1]:9/rpc", Ok("ws://[::1]:9/rpc"));
        check("http://127.0.0.1:1/base", Ok("ws://127.0.0.1:1/base/rpc"));
    }

    #[test]
    fn socket_files_are_read_with_and_without_a_scheme() {
        check("unix:/tmp/g.sock", Ok("unix:/tmp/g.sock"));
        check("unix:///tmp/g.sock", Ok("unix:/tmp/g.sock"));
        check("/tmp/g.sock", Ok("unix:/tmp/g.sock"));
    }

    // covers: S6
    #[test]
    fn plain_connections_to_other_machines_are_refused() {
        check("http://192.0.2.7:18789", Err("to this machine only"));
        check("ws://gateway.example", Err("to this machine only"));
        check("http://localhost.example.com", Err("to this machine only"));
        check("wss://gateway.example:1", Ok("wss://gateway.example:1/rpc"));
        check("https://192.0.2.7/base", Ok("wss://192.0.2.7/base/rpc"));
        let built = |url: &str| Endpoint::Wss {
            url: Url::parse(url).unwrap(),
            trust: Trust::System,
        };
        assert!(built("ws://192.0.2.7").checked().is_err());
        assert!(built("wss://192.0.2.7/?token=x").checked().is_err());
    }

    #[test]
    fn a_fingerprint_belongs_to_an_encrypted_connection() {
        let print = || Fingerprint::of(b"certificate");
        let pinned = |text: &str| Endpoint::parse(text).unwrap().pinned(print());
        let kept = pinned("wss://gateway.example").unwrap().checked().unwrap();
        assert!(matches!(kept, Endpoint::Wss { trust: Trust::Pinned(it), .. } if it == print()));
        assert!(pinned("http://127.0.0.1:1").is_err());
        assert!(pinned("/run/g.sock").is_err());
    }

    // covers: S9
    #[test]
    fn a_credential_in_an_address_is_refused_and_not_repeated() {
        for text in [
            "http://127.0.0.1:1/?token=s3cret",
            "http://me:s3cret@127.0.0.1:1/",
            "http://127.0.0.1:1/#s3cret",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    // covers: S9
    #[test]
    fn a_credential_is_not_printed() {
        assert!(!format!("{:?}", Credential::token("s3cret")).contains("s3cret"));
    }
}
