//! Shortening text for a model: at a character, with a mark that states the size.

/// The longest start of `text` that is at most `bytes_max` long and ends at a character.
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The longest end of `text` that is at most `bytes_max` long and begins at a character.
pub(crate) fn tail(text: &str, bytes_max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes_max))..]
}

/// `text` if it is short enough, else its start with a mark that states `total` (bytes) and says `advice`.
pub(crate) fn keep_head(text: &str, bytes_max: usize, total: u64, advice: &str) -> String {
    if text.len() <= bytes_max && total <= text.len() as u64 {
        return text.to_owned();
    }
    let shown = head(text, bytes_max);
    format!(
        "{shown}\n[cut: {} of {total} bytes shown{advice}]",
        shown.len()
    )
}

/// `text` if it is short enough, else its start and its end with a mark in between. `total` is how long it really was:
/// what was never kept is at the end.
pub(crate) fn keep_ends(text: &str, bytes_max: usize, total: u64) -> String {
    let missing = total.saturating_sub(text.len() as u64);
    let mut out = if text.len() <= bytes_max {
        text.to_owned()
    } else {
        let first = head(text, bytes_max / 2);
        let last = tail(text, bytes_max - bytes_max / 2);
        let left_out = text.len() - first.len() - last.len();
        format!("{first}\n[cut: {left_out} of {total} bytes left out here]\n{last}")
    };
    if 0 < missing {
        out.push_str(&format!(
            "\n[cut: the last {missing} of {total} bytes were not kept]"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(head("aé", 2), "a");
        assert_eq!(tail("éa", 2), "a");
        assert_eq!(head("abc", 10), "abc");
        assert_eq!(tail("abc", 10), "abc");
    }

    #[test]
    fn a_mark_states_the_whole_size() {
        assert_eq!(
            keep_head("abcdef", 4, 6, ""),
            "abcd\n[cut: 4 of 6 bytes shown]"
        );
        assert_eq!(keep_head("abc", 4, 3, ""), "abc");
        assert_eq!(
            keep_ends("abcdef", 4, 6),
            "ab\n[cut: 2 of 6 bytes left out here]\nef"
        );
        assert_eq!(
            keep_ends("abc", 4, 9),
            "abc\n[cut: the last 6 of 9 bytes were not kept]"
        );
    }
}
