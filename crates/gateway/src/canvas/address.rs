//! What an address of a canvas means. Decoded once, here; what is not plainly a place beneath the ticket is none.

/// Longest address, in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Names under which the programs of the family know these places.
const FAMILY: [&str; 4] = ["openclaw", "mayros", "moltbot", "clawdbot"];
/// Beneath this stands what the agent wrote; the rest is ours.
const CONTENT: &str = "~/";
/// Beneath this stand the parts of our own pages.
const PART: &str = "_/";

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Board {
    /// Pages the agent wrote.
    Canvas,
    /// Surfaces of A2UI.
    A2ui,
}

impl Board {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Canvas => "canvas",
            Self::A2ui => "a2ui",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A file as it is, or our page around it: what the browser is about to do with it decides.
    Either(Board, String),
    /// What belongs inside our page.
    Content(Board, String),
    /// A part of our page.
    Part(String),
    /// The live connection.
    Live,
}

/// A place beneath a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) ticket: &'a str,
    pub(crate) asked: Asked,
}

/// Whether `path` is one of ours, a good one or not.
pub(crate) fn is_ours(path: &str) -> bool {
    let family = |path: &str| {
        let rest = FAMILY
            .iter()
            .find_map(|name| path.strip_prefix(&format!("/__{name}__/")))?;
        let place = rest.split('/').next()?;
        Some(matches!(place, "cap" | "canvas" | "a2ui" | "ws"))
    };
    ["/canvas/", "/a2ui/", "/canvas-ws/"]
        .iter()
        .any(|start| path.starts_with(start))
        || family(path) == Some(true)
}

/// Reads an address.
pub(crate) fn read(path: &str) -> Option<Address<'_>> {
    if PATH_BYTES_MAX < path.len() {
        return None;
    }
    let (ticket, place, rest) = own(path).or_else(|| of_family(path))?;
    let asked = match place {
        "canvas" => asked(Board::Canvas, rest)?,
        "a2ui" => asked(Board::A2ui, rest)?,
        "canvas-ws" | "ws" if rest.is_empty() => Asked::Live,
        _ => return None,
    };
    let plain = ticket.len() == 32 && ticket.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then_some(Address { ticket, asked })
}

/// `/canvas/<ticket>/…`
fn own(path: &str) -> Option<(&str, &str, &str)> {
    let (place, rest) = path.strip_prefix('/')?.split_once('/')?;
    let (ticket, rest) = rest.split_once('/').unwrap_or((rest, ""));
    matches!(place, "canvas" | "a2ui" | "canvas-ws").then_some((ticket, place, rest))
}

/// `/__openclaw__/cap/<ticket>/__openclaw__/canvas/…`
fn of_family(path: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = path.strip_prefix("/__")?.split_once("__/cap/")?;
    let (ticket, rest) = rest.split_once('/')?;
    // Programs of one name append the paths of another, when a gateway was renamed after them.
    let (again, rest) = rest.strip_prefix("__")?.split_once("__/")?;
    let (place, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let known = FAMILY.contains(&name)
        && FAMILY.contains(&again)
        && matches!(place, "canvas" | "a2ui" | "ws");
    known.then_some((ticket, place, rest))
}

fn asked(board: Board, rest: &str) -> Option<Asked> {
    if let Some(part) = rest.strip_prefix(PART) {
        return Some(Asked::Part(name(part)?));
    }
    if let Some(content) = rest.strip_prefix(CONTENT) {
        return Some(Asked::Content(board, name(content)?));
    }
    Some(Asked::Either(board, name(rest)?))
}

/// The file that an address names, decoded once. None: no file may be called so.
pub(crate) fn name(encoded: &str) -> Option<String> {
    let mut text = decoded(encoded)?;
    if text.is_empty() || text.ends_with('/') {
        text.push_str("index.html");
    }
    is_name(&text).then_some(text)
}

/// Whether a file of a canvas may be called so: relative, nothing hidden, nothing that leads up.
pub(crate) fn is_name(text: &str) -> bool {
    let usual = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part
                .chars()
                .any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    text.len() <= 512
        && text.split('/').count() <= 16
        && !text.starts_with(PART)
        && !text.starts_with(CONTENT)
        && text.split('/').all(usual)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKET: &str = "0123456789abcdef0123456789abcdef";

    fn at(rest: &str) -> Option<Asked> {
        read(&format!("/canvas/{TICKET}{rest}")).map(|it| it.asked)
    }

    #[test]
    fn a_place_beneath_a_ticket_is_a_file_a_part_or_the_live_connection() {
        let file = |name: &str| Some(Asked::Either(Board::Canvas, name.to_owned()));
        assert_eq!(at(""), file("index.html"));
        assert_eq!(at("/"), file("index.html"));
        assert_eq!(at("/a/"), file("a/index.html"));
        assert_eq!(at("/a%20b.js"), file("a b.js"));
        let inside = Asked::Content(Board::Canvas, "x.css".to_owned());
        assert_eq!(at("/~/x.css"), Some(inside));
        assert_eq!(at("/_/shell.js"), Some(Asked::Part("shell.js".to_owned())));
        let live = read(&format!("/canvas-ws/{TICKET}")).map(|it| it.asked);
        assert_eq!(live, Some(Asked::Live));
    }

    #[test]
    fn the_names_of_the_family_lead_to_the_same_places() {
        for name in FAMILY {
            let path = format!("/__{name}__/cap/{TICKET}/__{name}__/canvas/a.html");
            let found = read(&path).map(|it| (it.ticket.to_owned(), it.asked));
            let file = Asked::Either(Board::Canvas, "a.html".to_owned());
            assert!(is_ours(&path));
            assert_eq!(found, Some((TICKET.to_owned(), file)));
            let path = format!("/__{name}__/cap/{TICKET}/__{name}__/a2ui/?platform=ios");
            let path = path.split('?').next().unwrap_or_default();
            let page = Asked::Either(Board::A2ui, "index.html".to_owned());
            assert_eq!(read(path).map(|it| it.asked), Some(page));
        }
        assert_eq!(read("/__openclaw__/canvas/index.html"), None, "no ticket");
        assert!(!is_ours("/__openclaw__/control-ui-config.json"));
    }

    #[test]
    fn what_would_lead_elsewhere_is_nothing() {
        for rest in [
            "/../x",
            "/%2e%2e/x",
            "/%2e%2e%2fx",
            "/.env",
            "/a/.git/config",
            "/a//b",
            "/a%00b",
            "/a%5cb",
            "/a\\b",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/~/../x",
            "/~/~/x",
            "/c:x",
        ] {
            assert_eq!(at(rest), None, "{rest}");
        }
        assert_eq!(read("/canvas/short/index.html"), None);
        assert_eq!(read("/canvas/"), None);
    }

    proptest! {
        // covers: D3
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn no_address_names_anything_outside(rest in "[%2eEfF./\\\\~_a0-9:\u{0}-]{0,40}") {
            if let Some(Asked::Either(_, name) | Asked::Content(_, name) | Asked::Part(name)) = at(&format!("/{rest}")) {
                prop_assert!(!name.starts_with('/') && !name.contains('\\') && !name.contains('\0'));
                prop_assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
            }
        }
    }
}
