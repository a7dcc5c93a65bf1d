//! The page that makes a browser a node: files of this folder, no script inline, nothing from elsewhere.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

/// What a page may do: run and load what comes from here, talk to here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      media-src 'self' blob: mediastream:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Devices the page may ask the person for.
const PERMISSIONS: &str = "camera=(self), geolocation=(self), microphone=(), payment=(), usb=()";

/// Whether `path` is a file of the page.
pub(crate) fn is_part(path: &str) -> bool {
    matches!(path, "/node.html" | "/node.js" | "/node.css")
}

/// The file at `path`, if it is one of the page.
pub(crate) fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let (kind, content) = match path {
        "/node.html" => ("text/html; charset=utf-8", include_str!("node.html")),
        "/node.js" => ("text/javascript; charset=utf-8", include_str!("node.js")),
        "/node.css" => ("text/css; charset=utf-8", include_str!("node.css")),
        _ => return None,
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(content.as_bytes())));
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_script_or_style_inline_or_from_elsewhere() {
        let html = include_str!("node.html");
        assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onclick"));
        assert!(
            html.matches("<script").count() == 1
                && html.contains("<script type=\"module\" src=\"node.js\">")
        );
        assert!(!html.contains("http://") && !html.contains("https://"));
        assert!(!include_str!("node.js").contains("innerHTML"));
    }

    #[test]
    fn only_files_of_the_page_are_given_out() {
        for path in ["/node.html", "/node.js", "/node.css"] {
            let headers = file(path)
                .map(|it| it.headers().clone())
                .unwrap_or_default();
            let policy = headers.get(header::CONTENT_SECURITY_POLICY);
            assert!(is_part(path));
            assert!(policy.is_some_and(|it| !it.to_str().unwrap_or("unsafe").contains("unsafe")));
        }
        for path in ["/", "/node.rs", "/../node.html", "/mod.rs"] {
            assert!(file(path).is_none() && !is_part(path), "{path}");
        }
    }
}
