//! Server-sent events, as strict as a model API needs and as bounded as a stranger deserves.
//!
//! Source: WHATWG HTML, section 9.2 "Server-sent events". Two deviations: a line that cannot be a field is an error
//! (a proxy's error page is not an event stream), and lines and events have a longest size.

use std::ops::ControlFlow;

/// Longest line and longest event. The final event of the Responses API repeats the whole reply.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// Longest field name that is taken for one.
const FIELD_BYTES_MAX: usize = 32;

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    #[error("a line or event is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the stream is not UTF-8")]
    NotUtf8,
    #[error("a line is not part of an event stream")]
    NotAnEvent,
}

/// Cuts bytes into events. Chunks may end anywhere, also inside a character or between CR and LF.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
    skip_lf: bool,
    past_start: bool,
}

impl Decoder {
    /// Takes `chunk` and hands every complete event, as `(event name, data)`, to `each`.
    ///
    /// # Errors
    /// [`SseError`] as soon as something is wrong; or what `each` broke off with.
    pub(crate) fn feed<B>(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(&str, &str) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, SseError> {
        let mut rest = chunk;
        if self.skip_lf && !rest.is_empty() {
            self.skip_lf = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|&b| b == b'\n' || b == b'\r') {
            let (line, tail) = rest.split_at(end);
            rest = match tail {
                [b'\r'] => {
                    self.skip_lf = true;
                    &[]
                }
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => &[],
            };
            let complete = if self.partial.is_empty() {
                self.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                if EVENT_BYTES_MAX < whole.len() + line.len() {
                    return Err(SseError::TooLong);
                }
                whole.extend_from_slice(line);
                let complete = self.line(&whole)?;
                whole.clear();
                self.partial = whole;
                complete
            };
            if complete {
                let flow = each(&self.event, &self.data);
                self.event.clear();
                self.data.clear();
                self.has_data = false;
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        if EVENT_BYTES_MAX < self.partial.len() + rest.len() {
            return Err(SseError::TooLong);
        }
        self.partial.extend_from_slice(rest);
        Ok(ControlFlow::Continue(()))
    }

    /// Takes one line; true when it ends an event that has data.
    fn line(&mut self, line: &[u8]) -> Result<bool, SseError> {
        let mut line = line;
        if !self.past_start {
            self.past_start = true;
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            if !self.has_data {
                self.event.clear();
            }
            return Ok(self.has_data);
        }
        let line = std::str::from_utf8(line).map_err(|_not_utf8| SseError::NotUtf8)?;
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line, ""),
        };
        match field {
            "data" => {
                if EVENT_BYTES_MAX < self.data.len() + value.len() {
                    return Err(SseError::TooLong);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => {
                self.event.clear();
                self.event.push_str(value);
            }
            "" | "id" | "retry" => {}
            other => {
                let plausible = other.len() <= FIELD_BYTES_MAX
                    && line.len() != other.len()
                    && other
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                if !plausible {
                    return Err(SseError::NotAnEvent);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Result<Vec<(String, String)>, SseError> {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            let flow: ControlFlow<()> = decoder.feed(chunk, |event, data| {
                seen.push((event.to_owned(), data.to_owned()));
                ControlFlow::Continue(())
            })?;
            assert!(flow.is_continue());
        }
        Ok(seen)
    }

    fn pair(event: &str, data: &str) -> (String, String) {
        (event.to_owned(), data.to_owned())
    }

    #[test]
    fn events_have_a_name_and_joined_data() {
        let text = b"\xef\xbb\xbf: hello\nevent: a\ndata: 1\ndata:2\nid: 7\n\ndata\n\nevent: lost\n\ndata: x\n\n";
        assert_eq!(
            events(&[text]),
            Ok(vec![pair("a", "1\n2"), pair("", ""), pair("", "x")])
        );
    }

    #[test]
    fn an_error_page_is_not_an_event_stream() {
        assert_eq!(events(&[b"<!doctype html>\n"]), Err(SseError::NotAnEvent));
        assert_eq!(
            events(&[b"{\"error\":{\"message\":\"no\"}}\n"]),
            Err(SseError::NotAnEvent)
        );
        assert_eq!(
            events(&[b"upstream connect error\n"]),
            Err(SseError::NotAnEvent)
        );
        assert_eq!(events(&[b"data: \xff\n"]), Err(SseError::NotUtf8));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let piece = vec![b'a'; 1 << 20];
        let mut decoder = Decoder::default();
        let mut last = Ok(ControlFlow::Continue(()));
        for _ in 0..9 {
            last = decoder.feed(&piece, |_, _| ControlFlow::<()>::Continue(()));
        }
        assert_eq!(last, Err(SseError::TooLong));
    }

    proptest! {
        #[test]
        fn where_chunks_end_does_not_matter(
            cuts in proptest::collection::vec(0usize..90, 0..12),
            newline in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            let text = "event: é\ndata: {\"a\":\"ü\"}\n\n: ping\n\ndata: one\ndata: two\n\ndata: [DONE]\n\n"
                .replace('\n', newline);
            let whole = events(&[text.as_bytes()]).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            chunks.push(&text.as_bytes()[from..]);
            prop_assert_eq!(events(&chunks).unwrap(), whole.clone());
            prop_assert_eq!(whole.len(), 3);
        }
    }
}
