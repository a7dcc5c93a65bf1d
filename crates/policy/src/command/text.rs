//! What the text of a script may contain at all, and how it is shown to a person.
//!
//! A person can only judge what they can see, so characters that hide, reorder or imitate are refused before anything
//! is parsed. The display form turns everything that is not plainly visible into a mark that cannot be typed: the
//! brackets of a mark are themselves escaped when they occur in the text.

use std::fmt::Write as _;

/// What the characters of a script say about it, before any grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// Nothing to object to.
    Clean,
    /// Visible but unusual: a person has to look. The text names what was found.
    Odd(&'static str),
    /// Hidden or misleading: refused whatever anyone answers. The text names what was found.
    Hidden(&'static str),
}

/// Judges every character of `script`.
pub(super) fn screen(script: &str) -> Screen {
    let chars: Vec<char> = script.chars().collect();
    let quoted = quoted_positions(&chars);
    let mut worst = Screen::Clean;
    for (index, &c) in chars.iter().enumerate() {
        if let Some(what) = hidden(c) {
            let in_emoji =
                quoted.get(index).copied().unwrap_or(false) && is_emoji_joint(&chars, index);
            if !in_emoji {
                return Screen::Hidden(what);
            }
            worst = Screen::Odd("an emoji made of several characters");
        } else if let Some(what) = odd(c) {
            worst = Screen::Odd(what);
        }
    }
    worst
}

/// The display form of `script`: one line, every character that is not plainly visible replaced by a mark.
///
/// A line break becomes `⏎`, a tab `⇥`, anything else that hides `⟨U+200B⟩`. The three signs used for marks are
/// themselves shown as marks when they occur in the script, so no text can imitate one.
pub fn escape(script: &str) -> String {
    let mut shown = String::with_capacity(script.len());
    for c in script.chars() {
        match c {
            '\n' => shown.push('⏎'),
            '\t' => shown.push('⇥'),
            ' '..='~' => shown.push(c),
            _ if c.is_alphanumeric() && hidden(c).is_none() && odd(c).is_none() => shown.push(c),
            _ => {
                write!(shown, "⟨U+{:04X}⟩", u32::from(c)).expect("writing to a string cannot fail");
            }
        }
    }
    shown
}

fn hidden(c: char) -> Option<&'static str> {
    let what = match c {
        '\n' | '\t' => return None,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => "a control character",
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "a character that changes the direction of text"
        }
        '\u{ad}'
        | '\u{34f}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' => "an invisible character",
        '\u{e0000}'..='\u{e007f}' => "a tag character",
        '\u{fe00}'..='\u{fe0f}'
        | '\u{180b}'..='\u{180d}'
        | '\u{180f}'
        | '\u{e0080}'..='\u{e0fff}' => "a variation selector",
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{ffa0}' => "a filler character that looks like nothing",
        '\u{2028}' | '\u{2029}' => "a line break that is not a newline",
        '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' => "a code point that is not a character",
        _ => return None,
    };
    Some(what)
}

fn odd(c: char) -> Option<&'static str> {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some("a space that is not the usual one")
        }
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => {
            Some("a character without an agreed meaning")
        }
        _ => None,
    }
}

/// Whether the invisible character at `index` only holds an emoji together.
fn is_emoji_joint(chars: &[char], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|at| chars.get(at)).copied();
    let after = chars.get(index + 1).copied();
    match chars.get(index) {
        Some('\u{fe0f}') => before.is_some_and(is_emoji),
        Some('\u{200d}') => {
            before.is_some_and(|c| is_emoji(c) || c == '\u{fe0f}') && after.is_some_and(is_emoji)
        }
        _ => false,
    }
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

/// For each character, whether it stands between quotes. Good enough to place an emoji, not a grammar.
fn quoted_positions(chars: &[char]) -> Vec<bool> {
    let mut quote = None;
    let mut escaped = false;
    let mut quoted = Vec::with_capacity(chars.len());
    for &c in chars {
        quoted.push(quote.is_some());
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: S30
    #[test]
    fn invisible_characters_are_shown_as_marks() {
        assert_eq!(escape("ls\u{200b} a"), "ls⟨U+200B⟩ a");
        assert_eq!(
            escape("ls\u{202e}x\r\u{1b}[2K"),
            "ls⟨U+202E⟩x⟨U+000D⟩⟨U+001B⟩[2K"
        );
        assert_eq!(escape("ls\n\tpwd"), "ls⏎⇥pwd");
        assert_eq!(
            escape("caf\u{e9} \u{e0041}\u{3164}"),
            "caf\u{e9} ⟨U+E0041⟩⟨U+3164⟩"
        );
    }

    // covers: S30
    #[test]
    fn a_mark_cannot_be_imitated() {
        assert_eq!(escape("⟨U+200B⟩⏎"), "⟨U+27E8⟩U+200B⟨U+27E9⟩⟨U+23CE⟩");
    }

    // covers: S30
    #[test]
    fn hidden_characters_are_refused_and_a_quoted_emoji_is_not() {
        for c in [
            '\u{0}',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{e0041}',
            '\u{fe0f}',
        ] {
            assert!(
                matches!(screen(&format!("ls {c}")), Screen::Hidden(_)),
                "{:?}",
                c
            );
        }
        assert_eq!(screen("echo '\u{1f44d}'"), Screen::Clean);
        assert!(matches!(screen("echo '\u{2764}\u{fe0f}'"), Screen::Odd(_)));
        assert!(matches!(
            screen("echo '\u{1f469}\u{200d}\u{1f4bb}'"),
            Screen::Odd(_)
        ));
        assert!(matches!(
            screen("echo \u{1f469}\u{200d}\u{1f4bb}"),
            Screen::Hidden(_)
        ));
        assert!(matches!(screen("echo 'a\u{200d}b'"), Screen::Hidden(_)));
        assert!(matches!(screen("ls\u{a0}x"), Screen::Odd(_)));
    }
}
