//! One streamed reply, put together so that no word is lost or doubled whatever the connection did (M015).

use adjutant_protocol::methods::system::{DeltaKind, WireDelta};

/// The text of one model reply as it grows. Begin a new one for each reply of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    shown: String,
    last_seq: u64,
    /// A piece is missing: nothing is shown until the whole text is known.
    broken: bool,
}

/// What to do with the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Nothing.
    Nothing,
    /// Append these words.
    Append(String),
    /// What was shown of this reply is void; these words stand instead.
    Replace(String),
}

impl Reply {
    /// A reply of which nothing was seen. `after` is the last one of the same run, whose numbering goes on.
    #[must_use]
    pub fn after(after: &Self) -> Self {
        Self {
            shown: String::new(),
            last_seq: after.last_seq,
            broken: false,
        }
    }

    /// Takes a live piece.
    pub fn take(&mut self, delta: &WireDelta) -> Update {
        let expected = self.last_seq.saturating_add(1);
        if delta.seq < expected {
            return Update::Nothing;
        }
        let missing = expected < delta.seq;
        self.last_seq = delta.seq;
        match delta.kind {
            // From here on the text is whole again, whatever was lost before.
            DeltaKind::Reset => {
                self.broken = false;
                match std::mem::take(&mut self.shown) {
                    void if void.is_empty() => Update::Nothing,
                    _void => Update::Replace(String::new()),
                }
            }
            DeltaKind::Text | DeltaKind::Thinking | DeltaKind::Progress => {
                self.broken |= missing;
                if self.broken || delta.kind != DeltaKind::Text {
                    return Update::Nothing;
                }
                self.shown.push_str(&delta.text);
                Update::Append(delta.text.clone())
            }
        }
    }

    /// The connection was lost, or pieces were dropped: the numbering starts again, and what is missing is not known.
    pub fn interrupt(&mut self) {
        self.broken = true;
        self.last_seq = 0;
    }

    /// Takes the whole text, once the reply is complete.
    pub fn settle(&mut self, whole: &str) -> Update {
        self.broken = false;
        let update = match whole.strip_prefix(self.shown.as_str()) {
            Some("") => Update::Nothing,
            Some(rest) => Update::Append(rest.to_owned()),
            None => Update::Replace(whole.to_owned()),
        };
        whole.clone_into(&mut self.shown);
        update
    }

    /// What was shown so far.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(seq: u64, kind: DeltaKind, text: &str) -> WireDelta {
        WireDelta {
            run_id: "r".to_owned(),
            session_key: "agent:main:main".to_owned(),
            seq,
            kind,
            text: text.to_owned(),
            call_id: None,
        }
    }

    /// Plays the updates on a screen.
    fn screen(updates: impl IntoIterator<Item = Update>) -> String {
        let mut screen = String::new();
        for update in updates {
            match update {
                Update::Nothing => {}
                Update::Append(text) => screen.push_str(&text),
                Update::Replace(text) => screen = text,
            }
        }
        screen
    }

    #[test]
    fn pieces_in_order_are_shown_as_they_come() {
        let mut reply = Reply::default();
        let shown = screen([
            reply.take(&delta(1, DeltaKind::Text, "Hello ")),
            reply.take(&delta(2, DeltaKind::Thinking, "hm")),
            reply.take(&delta(3, DeltaKind::Text, "world")),
            reply.settle("Hello world"),
        ]);
        assert_eq!(shown, "Hello world");
    }

    #[test]
    fn a_lost_piece_is_neither_lost_nor_doubled_in_the_end() {
        let mut reply = Reply::default();
        let shown = screen([
            reply.take(&delta(1, DeltaKind::Text, "Hello ")),
            reply.take(&delta(3, DeltaKind::Text, "again")),
            reply.take(&delta(3, DeltaKind::Text, "again")),
            reply.settle("Hello world again"),
        ]);
        assert_eq!(shown, "Hello world again");
    }

    #[test]
    fn after_a_new_connection_pieces_wait_for_the_whole_text() {
        let mut reply = Reply::default();
        let first = reply.take(&delta(7, DeltaKind::Text, "no beginning"));
        assert_eq!(first, Update::Nothing);
        reply.interrupt();
        let shown = screen([
            reply.take(&delta(1, DeltaKind::Text, "middle")),
            reply.settle("start middle end"),
        ]);
        assert_eq!(shown, "start middle end");
    }

    #[test]
    fn a_void_attempt_is_replaced() {
        let mut reply = Reply::default();
        let shown = screen([
            reply.take(&delta(1, DeltaKind::Text, "wrong")),
            reply.take(&delta(2, DeltaKind::Reset, "")),
            reply.take(&delta(3, DeltaKind::Text, "right")),
            reply.settle("right"),
        ]);
        assert_eq!(shown, "right");
    }

    #[test]
    fn the_next_reply_of_a_run_goes_on_with_the_numbering() {
        let mut first = Reply::default();
        first.take(&delta(1, DeltaKind::Text, "one"));
        let mut second = Reply::after(&first);
        assert_eq!(
            second.take(&delta(2, DeltaKind::Text, "two")),
            Update::Append("two".to_owned())
        );
    }
}
