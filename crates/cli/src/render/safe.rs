//! Text from models, tools and pages must not drive the terminal.

/// The text with everything visible: control characters and direction marks are written out, line breaks and tabs stay.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let plain = c == '\n' || c == '\t' || !(c.is_control() || is_direction_mark(c));
        if plain {
            out.push(c);
        } else if c != '\r' {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
    out
}

/// The text on one line, at most `max` characters, cut with `…`.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let flat = safe(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= max {
        return flat;
    }
    let mut cut: String = flat.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_become_visible() {
        assert_eq!(safe("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(safe("rm \u{202e}txt.cod"), "rm \\u{202e}txt.cod");
        assert_eq!(safe("ä\n\tb\r\n"), "ä\n\tb\n");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(one_line("ä ö\nü ß", 4), "ä ö…");
        assert_eq!(one_line("short", 5), "short");
    }
}
