//! Turns what providers say about failures into the few things a caller can do (R31).
//!
//! Every text that leaves this file is scrubbed: no key, nothing that looks like one, no control characters, bounded.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use serde_json::Value;

use adjutant_domain::run::ModelFault;
use adjutant_domain::time::{Span, Timestamp};

use crate::secret::Key;

/// Longest text of a fault, in characters: enough for a reason, too short for a dump.
const TEXT_CHARS_MAX: usize = 400;
/// Longest wait that is believed; a longer hint is a mistake or an attack.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// What keys look like, so that somebody else's key in an echo is not shown either.
const KEY_PREFIXES: &[&str] = &[
    "sk-", "sk_", "gsk_", "xai-", "AIza", "ya29.", "pk-", "hf_", "r8_", "eyJ",
];

/// What a complete HTTP error says.
pub(crate) fn of_response(
    status: u16,
    headers: &HeaderMap,
    body: &str,
    now: Timestamp,
    key: Option<&Key>,
) -> ModelFault {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let words = json
        .as_ref()
        .and_then(message_of)
        .unwrap_or_else(|| plain(body));
    let text = match words.trim() {
        "" => format!("HTTP {status}"),
        words => clean(&format!("{words} (HTTP {status})"), key),
    };
    let wait = retry_after(headers, now).or_else(|| json.as_ref().and_then(retry_delay));
    match status {
        401..=403 | 407 => ModelFault::Auth { text },
        // Gemini answers a wrong key with 400.
        400 if body.contains("API_KEY_INVALID") => ModelFault::Auth { text },
        429 => ModelFault::RateLimited { retry_after: wait },
        408 | 504 => ModelFault::TimedOut,
        409 | 425 | 500..=599 => match wait {
            Some(wait) => ModelFault::RateLimited {
                retry_after: Some(wait),
            },
            None => ModelFault::Unavailable { text },
        },
        300..=399 => ModelFault::Rejected {
            text: format!("the server redirects elsewhere (HTTP {status}); check the base URL"),
        },
        _ => ModelFault::Rejected { text },
    }
}

/// What an error object inside a stream says: `{"message", "type", "code", "status"}` in any mixture.
pub(crate) fn of_error(error: &Value, key: Option<&Key>) -> ModelFault {
    let words = message_of(error).unwrap_or_else(|| plain(&error.to_string()));
    let text = clean(&words, key);
    let inner = error
        .get("error")
        .filter(|inner| inner.is_object())
        .unwrap_or(error);
    let code = inner.get("code");
    let status = code
        .and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()))
        .and_then(|code| u16::try_from(code).ok());
    if let Some(status @ 400..=599) = status {
        return match status {
            401..=403 => ModelFault::Auth { text },
            429 => ModelFault::RateLimited {
                retry_after: retry_delay(error),
            },
            408 | 504 => ModelFault::TimedOut,
            409 | 425 | 500..=599 => ModelFault::Unavailable { text },
            _ => ModelFault::Rejected { text },
        };
    }
    let kinds = ["type", "code", "status"].map(|field| {
        inner
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_ascii_lowercase()
    });
    let says = |words: &[&str]| {
        kinds
            .iter()
            .any(|kind| words.iter().any(|w| kind.contains(w)))
    };
    if says(&[
        "rate_limit",
        "insufficient_quota",
        "resource_exhausted",
        "too_many",
    ]) {
        ModelFault::RateLimited {
            retry_after: retry_delay(error),
        }
    } else if says(&[
        "authentication",
        "permission",
        "unauthenticated",
        "invalid_api_key",
        "billing",
    ]) {
        ModelFault::Auth { text }
    } else if says(&["timeout", "deadline_exceeded"]) {
        ModelFault::TimedOut
    } else if says(&[
        "invalid_request",
        "not_found",
        "too_large",
        "invalid_argument",
        "invalid_prompt",
        "failed_precondition",
        "context_length",
    ]) {
        ModelFault::Rejected { text }
    } else {
        ModelFault::Unavailable { text }
    }
}

/// The hint in the headers: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
    };
    let seconds = |text: &str, unit: f64| {
        let n: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(n.max(0.0) * unit).ok()
    };
    let wait = if let Some(wait) = text("retry-after-ms").and_then(|ms| seconds(ms, 0.001)) {
        wait
    } else {
        let text = text("retry-after")?;
        match seconds(text, 1.0) {
            Some(wait) => wait,
            None => {
                let at = httpdate::parse_http_date(text).ok()?;
                let at = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
                let now = Duration::from_millis(now.as_millis_u64());
                at.saturating_sub(now)
            }
        }
    };
    Some(Span::from(wait.min(RETRY_AFTER_MAX)))
}

/// The hint in a Google error body: `error.details[].retryDelay`, as in `"17s"`.
fn retry_delay(json: &Value) -> Option<Span> {
    let json = json.get(0).unwrap_or(json);
    let details = json
        .pointer("/error/details")
        .or_else(|| json.get("details"))?
        .as_array()?;
    let text = details
        .iter()
        .find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let secs: f64 = text.strip_suffix('s')?.parse().ok()?;
    let wait = Duration::try_from_secs_f64(secs.max(0.0)).ok()?;
    Some(Span::from(wait.min(RETRY_AFTER_MAX)))
}

/// The words of an error body, wherever this vendor puts them.
fn message_of(json: &Value) -> Option<String> {
    let json = json.get(0).unwrap_or(json);
    let found = [
        "/error/message",
        "/message",
        "/error",
        "/detail",
        "/error_description",
    ]
    .iter()
    .find_map(|path| json.pointer(path)?.as_str())?;
    // OpenRouter hides the upstream's words one floor deeper.
    match json.pointer("/error/metadata/raw").and_then(Value::as_str) {
        Some(raw) if !raw.is_empty() => Some(format!("{found}: {raw}")),
        _ => Some(found.to_owned()),
    }
}

/// A body that is not JSON: nothing of a page, the words of a plain text.
fn plain(body: &str) -> String {
    if body.trim_start().starts_with('<') {
        String::new()
    } else {
        body.to_owned()
    }
}

/// `fault` without `key`.
pub(crate) fn scrub(fault: ModelFault, key: Option<&Key>) -> ModelFault {
    let Some(key) = key else { return fault };
    match fault {
        ModelFault::Auth { text } => ModelFault::Auth {
            text: key.redact(&text),
        },
        ModelFault::Unavailable { text } => ModelFault::Unavailable {
            text: key.redact(&text),
        },
        ModelFault::Garbage { text } => ModelFault::Garbage {
            text: key.redact(&text),
        },
        ModelFault::Rejected { text } => ModelFault::Rejected {
            text: key.redact(&text),
        },
        ModelFault::RateLimited { .. }
        | ModelFault::TimedOut
        | ModelFault::Cut
        | ModelFault::Lost => fault,
    }
}

/// `text` fit for people: one line, bounded, and without anything that is or looks like a key.
pub(crate) fn clean(text: &str, key: Option<&Key>) -> String {
    let text = key.map_or_else(|| text.to_owned(), |key| key.redact(text));
    let mut out = String::new();
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        match KEY_PREFIXES
            .iter()
            .filter_map(|prefix| word.find(prefix))
            .min()
        {
            // `sk-` alone is a word; with something behind it, it is a key.
            Some(at) if 12 <= word.len() - at => {
                out.push_str(&word[..at]);
                out.push_str("[redacted]");
            }
            _ => out.push_str(word),
        }
    }
    match out.char_indices().nth(TEXT_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &out[..cut]),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::header::HeaderValue;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v)))
            .collect()
    }

    fn check(status: u16, body: &str, expect: ModelFault) {
        assert_eq!(
            of_response(status, &HeaderMap::new(), body, NOW, None),
            expect
        );
    }

    // covers: R31
    #[test]
    fn every_status_is_one_thing_the_caller_can_do() {
        let text = |t: &str| t.to_owned();
        check(
            401,
            r#"{"error":{"message":"no"}}"#,
            ModelFault::Auth {
                text: text("no (HTTP 401)"),
            },
        );
        check(
            403,
            "",
            ModelFault::Auth {
                text: text("HTTP 403"),
            },
        );
        check(429, "", ModelFault::RateLimited { retry_after: None });
        check(
            529,
            r#"{"error":{"message":"Overloaded"}}"#,
            ModelFault::Unavailable {
                text: text("Overloaded (HTTP 529)"),
            },
        );
        check(
            502,
            "<html>bad gateway",
            ModelFault::Unavailable {
                text: text("HTTP 502"),
            },
        );
        check(408, "", ModelFault::TimedOut);
        check(
            404,
            r#"{"error":"model not found"}"#,
            ModelFault::Rejected {
                text: text("model not found (HTTP 404)"),
            },
        );
        check(
            400,
            r#"[{"error":{"message":"API key not valid","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            ModelFault::Auth {
                text: text("API key not valid (HTTP 400)"),
            },
        );
        assert!(matches!(
            of_response(307, &HeaderMap::new(), "", NOW, None),
            ModelFault::Rejected { .. }
        ));
    }

    // covers: R30
    #[test]
    fn retry_hints_are_read_in_every_form() {
        let secs = |s| Some(Span::from_secs(s));
        assert_eq!(retry_after(&headers(&[("retry-after", "7")]), NOW), secs(7));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "1.5")]), NOW),
            Some(Span::from_millis(1500))
        );
        assert_eq!(
            retry_after(
                &headers(&[("retry-after-ms", "250"), ("retry-after", "1")]),
                NOW
            ),
            Some(Span::from_millis(250))
        );
        let date = headers(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]);
        assert_eq!(retry_after(&date, NOW), secs(60));
        let past = headers(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]);
        assert_eq!(retry_after(&past, NOW), secs(0));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "99999999999")]), NOW),
            secs(86_400)
        );
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")]), NOW), None);
        let google = r#"{"error":{"message":"quota","details":[{"retryDelay":"17s"}]}}"#;
        assert_eq!(
            of_response(429, &HeaderMap::new(), google, NOW, None),
            ModelFault::RateLimited {
                retry_after: secs(17)
            }
        );
        let busy = headers(&[("retry-after", "3")]);
        assert_eq!(
            of_response(503, &busy, "", NOW, None),
            ModelFault::RateLimited {
                retry_after: secs(3)
            }
        );
    }

    #[test]
    fn errors_inside_a_stream_are_classed_by_their_kind() {
        let kind = |json: Value| of_error(&json, None);
        assert!(matches!(
            kind(json!({"type": "overloaded_error", "message": "Overloaded"})),
            ModelFault::Unavailable { .. }
        ));
        assert!(matches!(
            kind(json!({"type": "rate_limit_error"})),
            ModelFault::RateLimited { .. }
        ));
        assert!(matches!(
            kind(json!({"code": 502, "message": "x"})),
            ModelFault::Unavailable { .. }
        ));
        assert!(matches!(
            kind(json!({"code": "429"})),
            ModelFault::RateLimited { .. }
        ));
        assert!(matches!(
            kind(json!({"type": "authentication_error"})),
            ModelFault::Auth { .. }
        ));
        assert!(matches!(
            kind(json!({"type": "invalid_request_error", "message": "too long"})),
            ModelFault::Rejected { .. }
        ));
        assert!(matches!(
            kind(json!({"status": "DEADLINE_EXCEEDED"})),
            ModelFault::TimedOut
        ));
    }

    // covers: S45
    #[test]
    fn a_fault_never_shows_a_key() {
        let key = Key::new("planted-secret-4711").unwrap();
        let body = json!({"error": {"message":
            "Incorrect API key provided: planted-secret-4711, \u{1b}[31mor sk-live-abcdefghijkl?"}});
        let ModelFault::Auth { text } =
            of_response(401, &HeaderMap::new(), &body.to_string(), NOW, Some(&key))
        else {
            unreachable!("401 is always about the credential");
        };
        assert_eq!(
            text,
            "Incorrect API key provided: [redacted], [31mor [redacted] (HTTP 401)"
        );
        assert!(clean(&"x".repeat(9_999), None).chars().count() <= 401);
    }
}
