//! What is checked about every request before anything else: host, forwarding, secrets in the address, origin,
//! credential — in that order (S3, S4, S5, S7, S9).

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

use adjutant_domain::code::Code;
use adjutant_protocol::Fault;
use adjutant_vault::Token;

use crate::config::Config;
use crate::core::Core;
use crate::edge::throttle::Class;

/// Where a connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The port.
    Tcp {
        /// The other end.
        from: SocketAddr,
        /// Our own address that was connected to.
        to: IpAddr,
    },
    /// The socket file, which only the owner can open.
    #[cfg_attr(windows, allow(dead_code, reason = "it has no socket files"))]
    Socket,
}

/// Who is at the other end, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The connection's own address.
    pub(crate) source: Source,
    /// The address that failed credentials count against: a proxy's client, where the proxy is trusted.
    pub(crate) counted: Option<IpAddr>,
    /// Whether it is on this machine, not behind a proxy, and called the gateway by a name of this machine.
    pub(crate) local: bool,
}

/// A request that is turned away.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fault: Fault,
    /// `error.type` for clients that look for it.
    pub(crate) kind: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            fault: Fault::new(code, message),
            kind: None,
        }
    }
}

/// Routes that say only that somebody is there.
pub(crate) fn is_liveness(method: &Method, path: &str) -> bool {
    *method == Method::GET && matches!(path, "/" | "/healthz" | "/readyz")
}

/// Addresses at which a Control UI may have its pages: all that mean nothing else.
pub(crate) fn is_page(path: &str) -> bool {
    !matches!(path, "/rpc" | "/healthz" | "/readyz" | "/metrics")
}

/// Checks everything but the credential.
pub(crate) fn check(
    config: &Config,
    token: &Token,
    port: u16,
    source: Source,
    parts: &Parts,
) -> Result<Peer, Refusal> {
    let near = match source {
        Source::Tcp { to, .. } => check_host(config, to, parts)?,
        Source::Socket => true,
    };
    let mut peer = check_forwarding(config, source, &parts.headers)?;
    peer.local &= near;
    check_address(token, parts)?;
    check_origin(config, port, parts)?;
    Ok(peer)
}

/// Whether the name is one of this machine's own.
fn check_host(config: &Config, to: IpAddr, parts: &Parts) -> Result<bool, Refusal> {
    let refuse = || {
        let message = "this gateway does not answer to that host name";
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            Code::Forbidden,
            message,
        ))
    };
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return refuse();
    };
    let Some(name) = host.to_str().ok().and_then(host_name) else {
        return refuse();
    };
    // An absolute address in the request line must say the same.
    if let Some(authority) = parts.uri.authority()
        && host_name(authority.as_str()).as_deref() != Some(name.as_str())
    {
        return refuse();
    }
    let address = name.parse::<IpAddr>();
    let near = name == "localhost" || address.as_ref().is_ok_and(IpAddr::is_loopback);
    let known = near
        || address.is_ok_and(|ip| ip == to.to_canonical())
        || config
            .allowed_hosts
            .iter()
            .chain(&config.tls.names)
            .any(|allowed| is_same_host(allowed, &name));
    if known { Ok(near) } else { refuse() }
}

/// Addresses are the same however they are written.
fn is_same_host(allowed: &str, name: &str) -> bool {
    match (allowed.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        (Ok(allowed), Ok(name)) => allowed == name,
        _ => allowed.eq_ignore_ascii_case(name),
    }
}

/// The name without port, brackets and final dot, in lower case.
fn host_name(host: &str) -> Option<String> {
    if host.contains('@') {
        return None;
    }
    let name = if let Some(rest) = host.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        name
    } else if let Some((name, port)) = host.split_once(':') {
        if !is_port(port) {
            return None;
        }
        name
    } else {
        host
    };
    if name.is_empty() {
        None
    } else {
        Some(name.to_ascii_lowercase())
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

const FORWARDING: [&str; 13] = [
    "via",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-remote-user",
    "remote-user",
    "x-auth-request-user",
    "tailscale-user-login",
    "x-original-forwarded-for",
];

fn check_forwarding(config: &Config, source: Source, headers: &HeaderMap) -> Result<Peer, Refusal> {
    let forwarded = headers.keys().any(|name| {
        name.as_str().starts_with("x-forwarded-") || FORWARDING.contains(&name.as_str())
    });
    let Source::Tcp { from: address, .. } = source else {
        return if forwarded {
            Err(unlisted_proxy())
        } else {
            Ok(Peer {
                source,
                counted: None,
                local: true,
            })
        };
    };
    let ip = address.ip().to_canonical();
    let proxy = config.trusted_proxies.contains(&ip);
    if !forwarded {
        // A proxy that forgot its headers still speaks for somebody else.
        return Ok(Peer {
            source,
            counted: Some(ip),
            local: ip.is_loopback() && !proxy,
        });
    }
    if !proxy {
        return Err(unlisted_proxy());
    }
    // The nearest address that is not one of our proxies; what stands left of it, anybody may have written.
    let chain: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let client = chain
        .iter()
        .rev()
        .map(|text| text.parse::<IpAddr>())
        .find(|parsed| {
            parsed
                .as_ref()
                .map_or(true, |ip| !config.trusted_proxies.contains(ip))
        });
    match client {
        Some(Ok(client)) => Ok(Peer {
            source,
            counted: Some(client.to_canonical()),
            local: false,
        }),
        Some(Err(_)) => Err(unlisted_proxy()),
        None => Ok(Peer {
            source,
            counted: Some(ip),
            local: false,
        }),
    }
}

fn unlisted_proxy() -> Refusal {
    let message =
        "forwarding headers are accepted from the proxies in `gateway.trusted_proxies` only";
    let mut refusal = Refusal::new(StatusCode::FORBIDDEN, Code::Forbidden, message);
    refusal.kind = Some("proxy_attribution_required");
    refusal
}

const SECRET_NAMES: [&str; 13] = [
    "token",
    "access_token",
    "auth",
    "authorization",
    "bearer",
    "password",
    "passwd",
    "secret",
    "key",
    "api_key",
    "apikey",
    "devicetoken",
    "bootstraptoken",
];

/// Secrets do not belong into addresses: those end up in logs and histories.
fn check_address(token: &Token, parts: &Parts) -> Result<(), Refusal> {
    let refuse = || {
        tracing::warn!(
            path = parts.uri.path().len(),
            "refused a request with a secret in its address"
        );
        let message = "a secret in the address is refused; send it in the Authorization header";
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Code::InvalidRequest,
            message,
        ))
    };
    if parts.uri.path().contains(token.expose()) {
        return refuse();
    }
    for pair in parts.uri.query().unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = unescaped(name).to_ascii_lowercase().replace('-', "_");
        if SECRET_NAMES.contains(&name.as_str())
            || SECRET_NAMES.contains(&name.replace('_', "").as_str())
            || token.matches(&unescaped(value))
        {
            return refuse();
        }
    }
    Ok(())
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Requests that a browser made must come from a listed origin. Cookies never count for anything.
fn check_origin(config: &Config, port: u16, parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    let browser = headers.contains_key(header::ORIGIN)
        || headers.contains_key(header::COOKIE)
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"));
    if !browser {
        return Ok(());
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let allowed = match (origins.next(), origins.next()) {
        (Some(origin), None) => origin
            .to_str()
            .is_ok_and(|origin| is_allowed(config, port, origin)),
        // Somebody typed the address, or a page of ours or of the Control UI asks for its parts: only that the gateway lives and
        // those pages may be seen, the latter not from within pages of others.
        (None, _) => {
            let path = parts.uri.path();
            let served =
                config.control_ui.dir.is_some() && is_page(path) || crate::node_page::is_part(path);
            let page = served && parts.method == Method::GET && is_own_fetch(headers);
            (is_liveness(&parts.method, path) || page) && !headers.contains_key(header::UPGRADE)
        }
        (Some(_), Some(_)) => false,
    };
    if allowed {
        return Ok(());
    }
    let message = "origin not allowed; list it in `gateway.allowed_origins`";
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        Code::Forbidden,
        message,
    ))
}

/// Whether the browser says that nobody else's page asked for this.
fn is_own_fetch(headers: &HeaderMap) -> bool {
    let link = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate");
    headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| site == "same-origin" || site == "none" || link)
}

fn is_allowed(config: &Config, port: u16, origin: &str) -> bool {
    let scheme = if config.tls.is_on() { "https" } else { "http" };
    let own = ["127.0.0.1", "localhost", "[::1]"]
        .into_iter()
        .any(|host| origin == format!("{scheme}://{host}:{port}"));
    own || config
        .allowed_origins
        .iter()
        .any(|allowed| allowed == origin)
}

/// Checks the bearer token. Connections over the socket file need none, and a wrong one is refused all the same.
pub(crate) fn authenticate(core: &Core, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
    let offered = bearer(headers);
    let Some(counted) = peer.counted else {
        return match offered {
            Some(text) if !core.deps.token.matches(text) => Err(wrong_token()),
            _ => Ok(()),
        };
    };
    let now = core.deps.clock.monotonic();
    if let Some(left) = core.throttle.locked(counted, Class::Shared, now) {
        return Err(locked_out(left));
    }
    match offered {
        None => {
            let message = "unauthorized: a bearer token is required";
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                Code::Unauthorized,
                message,
            ))
        }
        Some(text) if core.deps.token.matches(text) => Ok(()),
        Some(_) => {
            core.throttle.failed(counted, Class::Shared, now);
            tracing::warn!(source = %counted, "wrong gateway token");
            Err(wrong_token())
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    Some(if scheme.eq_ignore_ascii_case("bearer") {
        token.trim()
    } else {
        ""
    })
}

fn wrong_token() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        Code::Unauthorized,
        "unauthorized: gateway token mismatch",
    )
}

fn locked_out(left: std::time::Duration) -> Refusal {
    let message = "unauthorized: too many failed attempts, try again later";
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, message);
    refusal.fault = refusal.fault.with_retry_after(left);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_when_it_is_listed_or_the_address_that_was_connected_to() {
        // covers: S4
        let config = Config {
            allowed_hosts: vec!["Box.lan".to_owned(), "2001:db8::2".to_owned()],
            ..Config::default()
        };
        let known = |host: &str| {
            let request = http::Request::builder().header(header::HOST, host).body(());
            let parts = request.map(|it| it.into_parts().0);
            let to = IpAddr::from([192, 0, 2, 7]);
            parts.ok().and_then(|it| check_host(&config, to, &it).ok())
        };
        assert_eq!(known("192.0.2.7:18789"), Some(false));
        assert_eq!(known("box.LAN"), Some(false));
        assert_eq!(known("[2001:DB8:0::2]:1"), Some(false));
        assert_eq!(known("localhost"), Some(true));
        assert_eq!(known("192.0.2.8"), None);
        assert_eq!(known("[2001:db8::3]"), None);
    }
}
