//! What a page of a canvas may do.
//!
//! Everything of a canvas stands on the gateway's own port, so none of it may have the gateway's origin: the policy puts
//! every page into a sandbox, where its origin is like no other, whatever frame or tab it is opened in. It has no storage,
//! no cookies, and the API refuses its origin. What it may load is beneath its own ticket. The agent's page is shown in a
//! frame of ours, and that frame may lead to places beneath the ticket only: so the page cannot carry off what it knows by
//! leading its own window elsewhere.

use http::HeaderValue;

use super::address::Board;

/// The addresses beneath one ticket, as a policy names them.
pub(crate) struct Place<'a> {
    /// Name and port by which the browser called; checked by the guard.
    pub(crate) host: &'a str,
    pub(crate) ticket: &'a str,
    /// Who may have our page in a frame besides the gateway's own pages.
    pub(crate) origins: &'a [String],
}

const SANDBOX: &str = "sandbox allow-scripts allow-forms";
const NOTHING_ELSE: &str = "base-uri 'none'; form-action 'none'; object-src 'none'";

impl Place<'_> {
    /// What our own page may do: its two parts, the live connection, frames beneath the ticket.
    pub(crate) fn shell(&self) -> HeaderValue {
        let Self { host, ticket, .. } = self;
        let parts = self.beneath(Board::Canvas, "_");
        let frames = format!(
            "{} {}",
            self.beneath(Board::Canvas, "~"),
            self.beneath(Board::A2ui, "~")
        );
        let live = format!("ws://{host}/canvas-ws/{ticket} wss://{host}/canvas-ws/{ticket}");
        let live = if host.starts_with('[') {
            "'self'"
        } else {
            &live
        };
        let origins = self.origins.join(" ");
        header(&format!(
            "{SANDBOX}; default-src 'none'; script-src {parts}; style-src {parts}; connect-src {live}; \
             frame-src {frames}; frame-ancestors 'self' {origins}; {NOTHING_ELSE}"
        ))
    }

    /// What the agent's page may do: its own files, and what it brings along itself.
    pub(crate) fn content(&self) -> HeaderValue {
        let own = self.beneath(Board::Canvas, "~");
        header(&format!(
            "{SANDBOX}; default-src 'none'; script-src {own} 'unsafe-inline'; style-src {own} 'unsafe-inline'; \
             img-src {own} data: blob:; font-src {own} data:; media-src {own} data: blob:; connect-src {own}; \
             {NOTHING_ELSE}"
        ))
    }

    /// What the page that draws A2UI may do: our renderer, its styles, pictures that came with the message. The files of
    /// the canvas may be shown, nothing may be asked for.
    pub(crate) fn renderer(&self) -> HeaderValue {
        let own = self.beneath(Board::A2ui, "~");
        header(&format!(
            "{SANDBOX}; default-src 'none'; script-src {own}; style-src {own} 'unsafe-inline'; \
             img-src {own} data: blob:; media-src {own} data: blob:; {NOTHING_ELSE}"
        ))
    }

    fn beneath(&self, board: Board, folder: &str) -> String {
        let Self { host, ticket, .. } = self;
        // A policy has no words for an address in brackets; then it is the whole port, still without its origin.
        if host.starts_with('[') {
            return "'self'".to_owned();
        }
        format!("{host}/{}/{ticket}/{folder}/", board.word())
    }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("sandbox; default-src 'none'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_in_a_sandbox_without_the_gateways_origin() {
        let place = Place {
            host: "localhost:18789",
            ticket: "ab",
            origins: &["https://panel.example".to_owned()],
        };
        for policy in [place.shell(), place.content(), place.renderer()] {
            let text = policy.to_str().unwrap_or_default();
            assert!(
                text.starts_with("sandbox allow-scripts allow-forms;"),
                "{text}"
            );
            assert!(text.contains("default-src 'none'") && text.contains("form-action 'none'"));
            for word in [
                "allow-same-origin",
                "allow-top",
                "allow-popups",
                "unsafe-eval",
                "*",
            ] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
        let content = place.content();
        let text = content.to_str().unwrap_or_default();
        assert!(
            text.contains("connect-src localhost:18789/canvas/ab/~/;"),
            "{text}"
        );
        assert!(!text.contains("'self'"), "the API is on the same port");
    }
}
