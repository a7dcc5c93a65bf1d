//! Masks secrets in text that is about to be written.

use std::borrow::Cow;
use std::sync::{LazyLock, PoisonError, RwLock};

/// What stands in place of a secret.
const MASK: &str = "[redacted]";

/// Shorter values are not masked by value: they would turn ordinary words into masks.
const SECRET_CHARS_MIN: usize = 8;

/// Registered values at most. A personal installation has a handful; beyond the bound the oldest goes.
const SECRETS_MAX: usize = 1_024;

/// Beginnings of credentials that are recognised without being registered, and how many characters must follow.
const SHAPES: &[(&str, usize)] = &[
    ("sk-", 16),
    ("sk_", 16),
    ("gsk_", 16),
    ("AIza", 24),
    ("ghp_", 20),
    ("github_pat_", 20),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("Bearer ", 12),
    ("bearer ", 12),
];

static SECRETS: LazyLock<RwLock<Vec<String>>> = LazyLock::new(RwLock::default);

/// Masks `secret` wherever a log line of this process would hold it, from now on.
pub fn hide(secret: &str) {
    let secret = secret.trim();
    if secret.chars().count() < SECRET_CHARS_MIN {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    // A JSON line holds the escaped form.
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    let escaped = escaped.trim_matches('"').to_owned();
    for form in [secret.to_owned(), escaped] {
        if !secrets.contains(&form) {
            if SECRETS_MAX <= secrets.len() {
                secrets.remove(0);
            }
            secrets.push(form);
        }
    }
    // A secret that contains another must be masked first.
    secrets.sort_by_key(|it| std::cmp::Reverse(it.len()));
}

/// `text` with registered secrets and well-known credential shapes masked.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for secret in SECRETS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        if out.contains(secret.as_str()) {
            out = Cow::Owned(out.replace(secret.as_str(), MASK));
        }
    }
    for (shape, follows) in SHAPES {
        if out.contains(shape) {
            out = Cow::Owned(mask_shape(&out, shape, *follows));
        }
    }
    if out.contains("PRIVATE KEY-----") {
        out = Cow::Owned(mask_private_key(&out));
    }
    if out.contains("://") {
        out = Cow::Owned(mask_password_in_url(&out));
    }
    out
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./+=~".contains(c)
}

fn mask_shape(text: &str, shape: &str, follows: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(shape) {
        let (before, found) = rest.split_at(at);
        let tail = found.get(shape.len()..).unwrap_or_default();
        let end = tail.find(|c| !is_token_char(c)).unwrap_or(tail.len());
        // `task-…` is a word; a credential begins where a word begins.
        let begins_a_word = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        out.push_str(before);
        out.push_str(shape);
        if begins_a_word && follows <= end {
            out.push_str(MASK);
            rest = tail.get(end..).unwrap_or_default();
        } else {
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

/// Everything from the header to the end of the line: an escaped key has no line breaks left to stop at.
fn mask_private_key(text: &str) -> String {
    let lines = text
        .split_inclusive('\n')
        .map(|line| match line.find("-----BEGIN ") {
            Some(at) if line.contains("PRIVATE KEY-----") => {
                let end = if line.ends_with('\n') { "\n" } else { "" };
                format!("{}{MASK}{end}", line.get(..at).unwrap_or_default())
            }
            _ => line.to_owned(),
        });
    lines.collect()
}

fn mask_password_in_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, found) = rest.split_at(at + 3);
        out.push_str(before);
        let end = found
            .find(|c: char| c.is_whitespace() || "/\"'<>?#".contains(c))
            .unwrap_or(found.len());
        let (authority, tail) = found.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                let name = user.split(':').next().unwrap_or_default();
                out.push_str(&format!("{name}:{MASK}@{host}"));
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(redact(text), expect);
    }

    #[test]
    fn a_registered_secret_is_masked_wherever_it_stands() {
        hide("hunter2-hunter2");
        hide("quo\"te\\d-secret");
        hide("short");
        check(
            "a hunter2-hunter2, hunter2-hunter2.",
            "a [redacted], [redacted].",
        );
        check(
            "{\"k\":\"quo\\\"te\\\\d-secret\"}",
            "{\"k\":\"[redacted]\"}",
        );
        check("a short word", "a short word");
    }

    #[test]
    fn credentials_are_known_by_their_shape() {
        check("key sk-abcdefghijklmnop1234 end", "key sk-[redacted] end");
        check(
            "Authorization: Bearer abc.def-ghi_jkl=",
            "Authorization: Bearer [redacted]",
        );
        check("AIzaSyA1234567890abcdefghijklmnopq", "AIza[redacted]");
        check(
            "postgres://ana:pa:ss@db/x?y",
            "postgres://ana:[redacted]@db/x?y",
        );
        check("x -----BEGIN RSA PRIVATE KEY-----\\nMII", "x [redacted]");
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "task-abcdefghijklmnopqrstu",
            "https://example.com/a:b@c",
            "Bearer of news",
            "sk-1",
            "ratio 1://2",
        ] {
            check(text, text);
        }
    }
}
