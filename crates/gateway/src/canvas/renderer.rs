//! The pages that draw A2UI: the published renderer, built from the npm registry when this program is built where there is
//! Node, and kept packed. A program that was built without it says how to get it.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

use super::serve::whole;

include!(concat!(env!("OUT_DIR"), "/renderer.rs"));

const V08_HTML: &str = include_str!("page/v08.html");
const V09_HTML: &str = include_str!("page/v09.html");
const MISSING_HTML: &str = include_str!("page/no_renderer.html");

/// Whether the renderer was built in.
pub(crate) const fn is_there() -> bool {
    !PARTS.is_empty()
}

/// A part of the page that draws.
pub(super) fn part(name: &str) -> Option<Response<Full<Bytes>>> {
    let page = match name {
        "v08.html" => Some(V08_HTML),
        "v09.html" => Some(V09_HTML),
        _ => None,
    };
    if let Some(page) = page {
        let page = if is_there() { page } else { MISSING_HTML };
        let bytes = Bytes::from_static(page.as_bytes());
        return Some(whole("text/html; charset=utf-8", bytes));
    }
    let (_, packed) = PARTS.iter().find(|(known, _)| *known == name)?;
    let mut answer = whole("text/javascript; charset=utf-8", Bytes::from_static(packed));
    // Every browser unpacks it; here it is never unpacked.
    let gzip = HeaderValue::from_static("gzip");
    answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    Some(answer)
}
