//! What a request and an answer must look like.

use std::net::{IpAddr, UdpSocket};

use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION};
use url::Url;

use adjutant_ports::egress::{EgressError, EgressGrant};

/// Longest address, in bytes. Source: what common servers accept.
const URL_BYTES_MAX: usize = 8 << 10;

/// Most headers a caller may add, and the longest value in bytes.
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 4 << 10;

/// Headers that carry credentials, name the target or belong to the connection.
const REFUSED_HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "metadata",
    "metadata-flavor",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-real-ip",
];
const REFUSED_HEADER_PREFIXES: &[&str] = &[
    "proxy-",
    "x-aws-",
    "x-forwarded-",
    "x-google-",
    "x-metadata",
    "sec-",
];

/// Ports of other protocols, which could be made to read a request as their own. Source: the fetch standard, bad ports.
const ODD_PORTS: &[u16] = &[
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
    103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
    512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
    995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080, 11211,
];

/// Parses an address that a model wrote.
pub(super) fn parse(text: &str) -> Result<Url, EgressError> {
    let bad = |reason: String| EgressError::BadAddress { reason };
    if URL_BYTES_MAX < text.len() {
        return Err(bad(format!("it is longer than {URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    accept(url)
}

/// The rules every address obeys, redirect targets too.
fn accept(mut url: Url) -> Result<Url, EgressError> {
    let bad = |reason: &str| {
        Err(EgressError::BadAddress {
            reason: reason.to_owned(),
        })
    };
    if !matches!(url.scheme(), "http" | "https") {
        return bad("only `http` and `https` are possible");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("it contains a user name or password");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return bad("it names no host");
    }
    url.set_fragment(None);
    Ok(url)
}

/// The caller's headers, checked.
pub(super) fn headers(given: &[(String, String)]) -> Result<HeaderMap, EgressError> {
    let bad = |reason: String| EgressError::BadAddress { reason };
    if HEADERS_MAX < given.len() {
        return Err(bad(format!("more than {HEADERS_MAX} headers")));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        let is_refused = REFUSED_HEADERS.contains(&lower.as_str())
            || REFUSED_HEADER_PREFIXES
                .iter()
                .any(|it| lower.starts_with(it));
        if is_refused {
            return Err(bad(format!("the header `{lower}` cannot be set")));
        }
        let name =
            HeaderName::from_bytes(lower.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if HEADER_BYTES_MAX < value.len() {
            return Err(bad(format!("the header `{lower}` is too long")));
        }
        headers.append(
            name,
            HeaderValue::from_str(value).map_err(|error| bad(error.to_string()))?,
        );
    }
    Ok(headers)
}

/// Where an answer sends us, if it does.
pub(super) fn redirect(
    from: &Url,
    response: &reqwest::Response,
) -> Result<Option<Url>, EgressError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    let bad = |reason: String| EgressError::BadAddress {
        reason: format!("the server redirects: {reason}"),
    };
    let location = location.to_str().map_err(|error| bad(error.to_string()))?;
    if URL_BYTES_MAX < location.len() {
        return Err(bad("the new address is too long".to_owned()));
    }
    let next = accept(
        from.join(location)
            .map_err(|error| bad(error.to_string()))?,
    )?;
    if from.scheme() == "https" && next.scheme() == "http" {
        let host = next.host_str().unwrap_or_default().to_owned();
        return Err(EgressError::Refused {
            host,
            reason: "a redirect leads from `https` to `http`".to_owned(),
        });
    }
    Ok(Some(next))
}

/// Refuses a body that would have to be unpacked: its bound would mean nothing.
pub(super) fn refuse_encoded(response: &reqwest::Response) -> Result<(), EgressError> {
    let encoding = response
        .headers()
        .get(CONTENT_ENCODING)
        .map(HeaderValue::as_bytes);
    match encoding.is_none_or(|it| it.is_empty() || it.eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => Err(EgressError::Failed {
            reason: "the server sent a compressed body that was not asked for".to_owned(),
        }),
    }
}

/// Whether the grant names this host and port. IPv6 literals are written in brackets.
pub(super) fn is_granted(name: &str, port: u16, grant: &EgressGrant) -> bool {
    let wanted = format!("{name}:{port}");
    grant
        .private_hosts
        .iter()
        .any(|it| it.trim().eq_ignore_ascii_case(&wanted))
}

pub(super) fn is_odd_port(port: u16) -> bool {
    port == 0 || ODD_PORTS.contains(&port)
}

/// Whether packets to `address` end on this machine.
pub(super) fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    // A socket can be bound to an address exactly when it is one of ours. Cheap, and no list of interfaces to get wrong.
    !address.is_multicast() && UdpSocket::bind((address, 0)).is_ok()
}

/// What failed, without addresses.
pub(super) fn failed(error: &reqwest::Error) -> EgressError {
    let reason = if error.is_timeout() {
        "the server does not answer in time"
    } else if error.is_connect() {
        "no connection could be made, or its certificate is not trusted"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the server's answer is not usable"
    };
    EgressError::Failed {
        reason: reason.to_owned(),
    }
}
