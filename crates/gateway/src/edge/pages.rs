//! A browser Control UI of the `OpenClaw` family, served as it is from one folder.
//!
//! The pages are public: they hold no secret, and the browser shows its token over the socket, as every client. What an
//! address names is opened beneath the folder by descriptor (the door to files), and only names that a web build makes
//! are looked up at all. Scripts run from the gateway's own origin only; those that stand in the page itself are let run
//! by their hash, so that text which found its way into the page does not run.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use adjutant_ports::Files;
use adjutant_ports::files::FileError;

/// Largest file that is served, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest address that is looked up, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// Where the releases ask for the names to show: first the older, then the newer way.
const NAMES: [&str; 2] = [
    "/__openclaw/control-ui-config.json",
    "/control-ui-config.json",
];

/// A page or a part of one.
pub(crate) struct Page {
    pub(crate) bytes: Bytes,
    pub(crate) kind: &'static str,
    pub(crate) policy: HeaderValue,
}

/// The Control UI.
pub(crate) struct Pages {
    files: Arc<dyn Files>,
    /// What it shows as the agent's name, and which agent that is.
    agent: String,
}

impl Pages {
    pub(crate) fn new(files: Arc<dyn Files>, agent: &str) -> Self {
        Self {
            files,
            agent: agent.to_owned(),
        }
    }

    /// What is at this address. None: nothing that may be seen.
    pub(crate) async fn get(self: &Arc<Self>, path: &str, headers: &HeaderMap) -> Option<Page> {
        if NAMES.contains(&path) {
            return Some(self.names());
        }
        let name = name_of(path, headers)?;
        let pages = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || pages.read(&name));
        read.await.ok().flatten()
    }

    fn names(&self) -> Page {
        let names = json!({
            "basePath": "",
            "assistantName": "Adjutant",
            "assistantAvatar": "A",
            "assistantAgentId": self.agent,
        });
        Page {
            bytes: Bytes::from(names.to_string()),
            kind: "application/json",
            policy: policy(&[]),
        }
    }

    fn read(&self, name: &str) -> Option<Page> {
        let content = match self.files.read(name, FILE_BYTES_MAX) {
            Ok(content) if !content.is_truncated() => content,
            Ok(_) => {
                tracing::warn!(name, "a file of the control UI is too large to be served");
                return None;
            }
            Err(FileError::NotFound { .. } | FileError::IsDirectory { .. }) => return None,
            Err(error) => {
                tracing::warn!(name, %error, "a file of the control UI cannot be read");
                return None;
            }
        };
        let kind = kind_of(name);
        let scripts = match std::str::from_utf8(&content.bytes) {
            Ok(text) if kind.starts_with("text/html") => scripts_in(text),
            _ => Vec::new(),
        };
        let policy = policy(&scripts);
        Some(Page {
            bytes: content.bytes,
            kind,
            policy,
        })
    }
}

/// Which file an address means. Places within the program (`/chat`) are the program itself.
fn name_of(path: &str, headers: &HeaderMap) -> Option<String> {
    let name = path.strip_prefix('/')?;
    let is_plain = |part: &str| {
        let mut bytes = part.bytes();
        !part.starts_with('.')
            && bytes
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+'))
    };
    if path.len() > PATH_BYTES_MAX || !name.split('/').all(is_plain) {
        return None;
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    if !last.contains('.') && wants_page(headers) {
        return Some("index.html".to_owned());
    }
    let in_order = !name.is_empty() && name.split('/').all(|part| !part.is_empty());
    in_order.then(|| name.to_owned())
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

/// What a file is, by the ending of its name.
pub(crate) fn kind_of(name: &str) -> &'static str {
    let ending = name.rsplit('.').next().unwrap_or_default();
    match ending {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/vnd.microsoft.icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "webm" => "video/webm",
        "avif" => "image/avif",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What the page may load: scripts and connections from here only, nobody may frame it.
fn policy(scripts: &[&str]) -> HeaderValue {
    let hashes: String = scripts
        .iter()
        .map(|text| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text))))
        .collect();
    let text = format!(
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'; \
         script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data:; worker-src 'self'"
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

/// The texts of the scripts that stand in a page.
fn scripts_in(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("<script") {
        let (Some((tag, body)), true) = (after.split_once('>'), after.contains("</script>")) else {
            break;
        };
        let (text, next) = body.split_once("</script>").unwrap_or((body, ""));
        if !tag.contains("src=") && !text.is_empty() {
            found.push(text);
        }
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, accept: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        name_of(path, &headers)
    }

    #[test]
    fn an_address_is_a_name_that_a_build_makes_or_a_place_in_the_program() {
        assert_eq!(
            asked("/assets/index-a_B1.js", "*/*").as_deref(),
            Some("assets/index-a_B1.js")
        );
        assert_eq!(asked("/", "text/html").as_deref(), Some("index.html"));
        assert_eq!(
            asked("/chat", "text/html,*/*").as_deref(),
            Some("index.html")
        );
        assert_eq!(asked("/chat", "*/*").as_deref(), Some("chat"));
    }

    #[test]
    fn an_address_that_would_lead_elsewhere_is_not_looked_up() {
        for path in [
            "/../token",
            "/assets/../../token",
            "/.git/config",
            "/a//b.js",
            "/%2e%2e/token",
            "/a\\b.js",
            "//etc/passwd",
            "/a/",
            "",
        ] {
            assert_eq!(asked(path, "*/*"), None, "{path}");
        }
        assert_eq!(asked("/../x", "text/html"), None);
    }

    #[test]
    fn scripts_in_the_page_run_by_their_hash_only() {
        let page = "<script>a()</script><p>x</p><script type=\"module\" src=\"/b.js\"></script><script data-x=\"1\">c()</script>";
        assert_eq!(scripts_in(page), ["a()", "c()"]);
        let policy = policy(&scripts_in("<script>alert(1)</script>"));
        // What openssl makes of the same text.
        let expected = "script-src 'self' 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert!(
            policy.to_str().is_ok_and(|text| text.contains(expected)),
            "{policy:?}"
        );
    }

    #[test]
    fn a_script_without_an_end_is_not_one() {
        assert!(scripts_in("<script>a(").is_empty());
        assert!(scripts_in("<script").is_empty());
    }
}
