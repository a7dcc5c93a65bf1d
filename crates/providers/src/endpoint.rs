//! Addresses as people write them, and as requests need them.

use std::net::IpAddr;

use url::{Host, Url};

/// Which part of an address belongs to the API and not to the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `…/v1`, with `chat/completions` or `responses` behind it.
    OpenAi,
    /// `…`, with `v1/messages` behind it.
    Anthropic,
    /// `…`, with `v1beta/models/…` behind it.
    Gemini,
    /// `http://host:11434`, spoken to at `/v1`.
    Ollama,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("not an address: write it as `https://host/path`")]
    Malformed,
    #[error("must begin with `http://` or `https://`")]
    Scheme,
    #[error("must not hold a user name or password; keys have their own setting")]
    Credentials,
    #[error("must end with the path, without `?` or `#`")]
    Query,
}

/// Reads `text` and strips what people copy along, so that every habit gives the same base.
pub(crate) fn base_url(text: &str, style: Style) -> Result<Url, AddressError> {
    let mut url = Url::parse(text.trim()).map_err(|_malformed| AddressError::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Scheme);
    }
    if url.host().is_none() {
        return Err(AddressError::Malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Query);
    }
    let endings: &[&str] = match style {
        Style::OpenAi => &["/chat/completions", "/responses"],
        Style::Anthropic => &["/messages", "/v1"],
        Style::Gemini => &["/models", "/v1beta", "/v1"],
        Style::Ollama => &["/chat/completions", "/api/chat", "/api", "/v1"],
    };
    let mut path = url.path().trim_end_matches('/').to_owned();
    for ending in endings {
        if let Some(shorter) = path.strip_suffix(ending) {
            path = shorter.trim_end_matches('/').to_owned();
        }
    }
    // A bare host means the usual place; a path of one's own is kept as it is.
    if style == Style::Ollama || (style == Style::OpenAi && path.is_empty()) {
        path.push_str("/v1");
    }
    url.set_path(&path);
    Ok(url)
}

/// Whether `url` stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost")
        }
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(style: Style, texts: &[&str], expect: &str) {
        for text in texts {
            assert_eq!(base_url(text, style).unwrap().as_str(), expect, "{text}");
        }
    }

    #[test]
    fn every_habit_of_writing_a_base_url_means_the_same() {
        let h = "http://127.0.0.1:9";
        check(
            Style::OpenAi,
            &[
                h,
                "http://127.0.0.1:9/",
                "http://127.0.0.1:9/v1",
                "http://127.0.0.1:9/v1/",
                "http://127.0.0.1:9/v1/chat/completions",
            ],
            "http://127.0.0.1:9/v1",
        );
        check(
            Style::OpenAi,
            &["https://openrouter.ai/api/v1"],
            "https://openrouter.ai/api/v1",
        );
        check(
            Style::Anthropic,
            &[h, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/messages"],
            "http://127.0.0.1:9/",
        );
        check(
            Style::Anthropic,
            &["https://x.test/anthropic/"],
            "https://x.test/anthropic",
        );
        check(
            Style::Gemini,
            &[
                h,
                "http://127.0.0.1:9/v1beta/",
                "http://127.0.0.1:9/v1",
                "http://127.0.0.1:9/v1beta/models",
            ],
            "http://127.0.0.1:9/",
        );
        check(
            Style::Ollama,
            &[h, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/api"],
            "http://127.0.0.1:9/v1",
        );
    }

    #[test]
    fn an_address_with_a_secret_or_a_strange_scheme_is_refused() {
        let fails = |text| base_url(text, Style::OpenAi).unwrap_err();
        assert_eq!(fails("https://me:pw@host/v1"), AddressError::Credentials);
        assert_eq!(fails("https://host/v1?key=x"), AddressError::Query);
        assert_eq!(fails("ftp://host"), AddressError::Scheme);
        assert_eq!(fails("host:80/v1"), AddressError::Scheme);
        assert_eq!(fails("hello"), AddressError::Malformed);
    }
}
