//! One line: secrets masked, control characters escaped, so that no text can forge a second line.

use std::io::{self, Write};

use crate::redact::redact;

/// Cleans what is written and passes it on, one whole line at a time.
///
/// The formatter hands over each event with one call and a line break at its end, so the break at the end is ours and
/// every other one came from a field.
pub(super) struct Cleaned<W> {
    inner: W,
}

impl<W: Write> Cleaned<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner }
    }
}

impl<W: Write> Write for Cleaned<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (text.as_ref(), ""),
        };
        let clean = format!("{}{end}", escaped(&redact(line)));
        self.inner.write_all(clean.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// `text` without anything a terminal or a reader of lines would obey.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\t') || is_direction || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_text_cannot_forge_a_line_or_steer_a_terminal() {
        let mut out = Vec::new();
        let line = "INFO said=hello\nERROR forged \u{1b}[31mred\r\u{202e}\n";
        Cleaned::new(&mut out).write_all(line.as_bytes()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "INFO said=hello\\nERROR forged \\u{1b}[31mred\\r\\u{202e}\n"
        );
    }

    #[test]
    fn a_secret_does_not_reach_the_line() {
        let mut out = Vec::new();
        Cleaned::new(&mut out)
            .write_all(b"key=sk-abcdefghijklmnopqrst\n")
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "key=sk-[redacted]\n");
    }
}
