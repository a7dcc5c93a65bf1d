//! Answers to requests for a canvas: our page around it, its files, the renderer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use adjutant_ports::canvas::CANVAS_FILE_BYTES_MAX;

use super::address::{Address, Asked, Board};
use super::policy::Place;
use super::{Room, address, blocking, renderer};
use crate::edge::{Connection, kind_of};

type Answer = Response<Full<Bytes>>;

const SHELL_HTML: &str = include_str!("page/shell.html");
const SHELL_JS: &str = include_str!("page/shell.js");
const SHELL_CSS: &str = include_str!("page/shell.css");
/// What a page of the agent may load to send actions; a file of this name at the top of the canvas is ours.
const BRIDGE: (&str, &str) = ("adjutant.js", include_str!("page/adjutant.js"));
const EMPTY: &str = "<!doctype html><title>canvas</title><p>Nothing is shown here yet.";

/// Answers what `address::is_ours` said is ours.
pub(crate) async fn serve(connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
    let core = &connection.core;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allow);
        return answer;
    }
    let Some(address) = address::read(request.uri().path()) else {
        return nothing();
    };
    let now = core.deps.clock.monotonic();
    let Some(ticket) = core.canvases.tickets.show(address.ticket, now) else {
        return nothing();
    };
    connection.authenticated();
    let Ok(room) = core.canvas(ticket.session).await else {
        return nothing();
    };
    let host = request.headers().get(header::HOST);
    let place = Place {
        host: host.and_then(|it| it.to_str().ok()).unwrap_or_default(),
        ticket: address.ticket,
        origins: &core.config.allowed_origins,
    };
    let mut answer = answer(
        &room,
        &address,
        &place,
        &core.canvases.reads,
        request.headers(),
    )
    .await;
    let headers = answer.headers_mut();
    let rules = [
        ("referrer-policy", "no-referrer"),
        ("x-dns-prefetch-control", "off"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
        ),
    ];
    for (name, value) in rules {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages of a canvas have an origin like no other, which calls itself `null`; its own files are for it to read.
    if request
        .headers()
        .get(header::ORIGIN)
        .is_some_and(|it| it == "null")
    {
        let null = HeaderValue::from_static("null");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, null);
    }
    answer
}

async fn answer(
    room: &Arc<Room>,
    address: &Address<'_>,
    place: &Place<'_>,
    reads: &tokio::sync::Semaphore,
    headers: &HeaderMap,
) -> Answer {
    match &address.asked {
        Asked::Part(name) => part(name),
        Asked::Live => nothing(),
        Asked::Either(board, name) if wants_page(headers, name) => shell(place, *board, name),
        Asked::Content(board, name) if is_window(headers) => shell(place, *board, name),
        Asked::Content(Board::A2ui, name) => {
            let found = match renderer::part(name) {
                Some(part) => part,
                // A surface may show files of the canvas; nothing of the agent's runs beside the renderer.
                None if is_media(name) => file(room, name, reads, headers).await,
                None => nothing(),
            };
            under(found, place.renderer())
        }
        Asked::Either(Board::A2ui, _) => shell(place, Board::A2ui, ""),
        Asked::Either(Board::Canvas, name) | Asked::Content(Board::Canvas, name) => {
            let found = file(room, name, reads, headers).await;
            under(found, place.content())
        }
    }
}

fn under(mut answer: Answer, policy: HeaderValue) -> Answer {
    answer
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

/// Whether a browser is about to show this in a window or a frame, and it is a page.
fn wants_page(headers: &HeaderMap, name: &str) -> bool {
    let shown = headers
        .get("sec-fetch-dest")
        .is_some_and(|it| it == "document" || it == "iframe" || it == "frame");
    shown && kind_of(name).starts_with("text/html")
}

/// Whether a browser is about to show this in a window of its own, where our page would not be around it.
fn is_window(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-dest")
        .is_some_and(|it| it == "document")
}

fn is_media(name: &str) -> bool {
    let kind = kind_of(name);
    ["image/", "audio/", "video/"]
        .iter()
        .any(|it| kind.starts_with(it))
}

fn shell(place: &Place<'_>, board: Board, name: &str) -> Answer {
    let page = if name == "index.html" { "" } else { name };
    let escaped: String = page
        .chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let html = SHELL_HTML
        .replace("{ticket}", place.ticket)
        .replace("{board}", board.word())
        .replace("{path}", &escaped);
    under(
        whole("text/html; charset=utf-8", html.into()),
        place.shell(),
    )
}

fn part(name: &str) -> Answer {
    match name {
        "shell.js" => whole(
            "text/javascript; charset=utf-8",
            Bytes::from_static(SHELL_JS.as_bytes()),
        ),
        "shell.css" => whole(
            "text/css; charset=utf-8",
            Bytes::from_static(SHELL_CSS.as_bytes()),
        ),
        _ => nothing(),
    }
}

async fn file(
    room: &Arc<Room>,
    name: &str,
    reads: &tokio::sync::Semaphore,
    headers: &HeaderMap,
) -> Answer {
    if name == BRIDGE.0 {
        return whole(kind_of(name), Bytes::from_static(BRIDGE.1.as_bytes()));
    }
    let Ok(_turn) = reads.acquire().await else {
        return nothing();
    };
    let said = |header| {
        headers
            .get(header)
            .and_then(|it: &HeaderValue| it.to_str().ok())
            .map(str::to_owned)
    };
    let (known, range) = (said(header::IF_NONE_MATCH), said(header::RANGE));
    let (room, name) = (Arc::clone(room), name.to_owned());
    blocking(move || read(&room, &name, known.as_deref(), range.as_deref()))
        .await
        .unwrap_or_else(|_broken| nothing())
}

fn read(room: &Room, name: &str, known: Option<&str>, range: Option<&str>) -> Answer {
    let Some(tag) = room.stat(name) else {
        if name == "index.html" {
            let mut answer = whole(
                "text/html; charset=utf-8",
                Bytes::from_static(EMPTY.as_bytes()),
            );
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return answer;
        }
        return nothing();
    };
    let tagged = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"0\""));
    if known.is_some_and(|known| known.split(',').any(|it| it.trim() == tag)) {
        let mut answer = plain(StatusCode::NOT_MODIFIED, "");
        answer.headers_mut().insert(header::ETAG, tagged);
        return answer;
    }
    let Ok(bytes) = room.read(name, CANVAS_FILE_BYTES_MAX) else {
        return nothing();
    };
    let total = bytes.len();
    let mut answer = match range.map(|it| span(it, total)) {
        None | Some(Span::All) => whole(kind_of(name), bytes),
        Some(Span::Part(from, to)) => {
            let mut answer = whole(kind_of(name), bytes.slice(from..to));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let said = format!("bytes {from}-{}/{total}", to.saturating_sub(1));
            if let Ok(said) = HeaderValue::from_str(&said) {
                answer.headers_mut().insert(header::CONTENT_RANGE, said);
            }
            answer
        }
        Some(Span::None) => {
            let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            if let Ok(said) = HeaderValue::from_str(&format!("bytes */{total}")) {
                answer.headers_mut().insert(header::CONTENT_RANGE, said);
            }
            answer
        }
    };
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, tagged);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

#[derive(Debug, PartialEq, Eq)]
enum Span {
    /// Not one range of bytes: then the whole file is right, too.
    All,
    Part(usize, usize),
    None,
}

/// One range of `total` bytes.
fn span(range: &str, total: usize) -> Span {
    let Some((from, to)) = range
        .strip_prefix("bytes=")
        .and_then(|it| it.split_once('-'))
    else {
        return Span::All;
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let (from, to) = match (from.trim(), to.trim()) {
        ("", last) => match number(last) {
            Some(0) => return Span::None,
            Some(last) => (total.saturating_sub(last), total),
            None => return Span::All,
        },
        (from, "") => match number(from) {
            Some(from) => (from, total),
            None => return Span::All,
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(total)),
            _ => return Span::All,
        },
    };
    if from < to {
        Span::Part(from, to)
    } else {
        Span::None
    }
}

fn nothing() -> Answer {
    plain(StatusCode::NOT_FOUND, "nothing here\n")
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = whole(
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    );
    *answer.status_mut() = status;
    answer
}

pub(super) fn whole(kind: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file_or_refused() {
        assert_eq!(span("bytes=0-3", 10), Span::Part(0, 4));
        assert_eq!(span("bytes=8-99", 10), Span::Part(8, 10));
        assert_eq!(span("bytes=4-", 10), Span::Part(4, 10));
        assert_eq!(span("bytes=-3", 10), Span::Part(7, 10));
        assert_eq!(span("bytes=-99", 10), Span::Part(0, 10));
        assert_eq!(span("bytes=10-", 10), Span::None);
        assert_eq!(span("bytes=-0", 10), Span::None);
        for odd in [
            "bytes=a-b",
            "lines=0-1",
            "bytes=3-1",
            "bytes=0-1,4-5",
            "bytes",
        ] {
            assert_eq!(span(odd, 10), Span::All, "{odd}");
        }
    }

    #[test]
    fn our_page_has_no_script_or_style_inline_or_from_elsewhere() {
        assert!(!SHELL_HTML.contains("<style") && !SHELL_HTML.contains("style="));
        assert!(
            SHELL_HTML.matches("<script").count() == 1 && SHELL_HTML.contains("<script defer src=")
        );
        assert!(!SHELL_HTML.contains("http") && !SHELL_JS.contains("innerHTML"));
        assert!(!SHELL_JS.contains("allow-same-origin"));
    }
}
