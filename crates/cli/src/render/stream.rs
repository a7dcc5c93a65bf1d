//! Markdown that arrives in pieces.

use super::markdown::markdown;
use super::paint::Paint;

/// A block longer than this is not rendered with every piece, only when it is complete.
const SHOWN_UNFINISHED_MAX: usize = 32 * 1024;

/// Markdown that arrives in pieces: gives out each block once it is complete.
///
/// A block ends at an empty line outside of a code fence and outside of a list, because there the blocks before it can
/// no longer change.
#[derive(Debug, Default)]
pub(crate) struct MarkdownStream {
    held: String,
    written: bool,
}

impl MarkdownStream {
    /// Takes the next piece and gives back what can be printed now, line breaks included.
    pub(crate) fn push(&mut self, piece: &str, paint: Paint, width: usize) -> String {
        self.held.push_str(piece);
        let Some(end) = settled(&self.held) else {
            return String::new();
        };
        let rest = self.held.split_off(end);
        let done = std::mem::replace(&mut self.held, rest);
        self.print(&done, paint, width)
    }

    /// What is left, line break included.
    pub(crate) fn finish(&mut self, paint: Paint, width: usize) -> String {
        let rest = std::mem::take(&mut self.held);
        let shown = self.print(&rest, paint, width);
        self.written = false;
        shown
    }

    /// How the block that is not complete yet looks so far, empty line before it included.
    pub(crate) fn unfinished(&self, paint: Paint, width: usize) -> String {
        if SHOWN_UNFINISHED_MAX < self.held.len() {
            return String::new();
        }
        let shown = markdown(paint, &self.held, width);
        if self.written && !shown.is_empty() {
            format!("\n{shown}")
        } else {
            shown
        }
    }

    fn print(&mut self, source: &str, paint: Paint, width: usize) -> String {
        let shown = markdown(paint, source, width);
        if shown.is_empty() {
            return shown;
        }
        let gap = if self.written { "\n" } else { "" };
        self.written = true;
        format!("{gap}{shown}\n")
    }
}

/// The length of the beginning that later text cannot change.
fn settled(text: &str) -> Option<usize> {
    let mut fence: Option<&str> = None;
    let mut in_list = false;
    let mut after_gap: Option<usize> = None;
    let mut position = 0;
    let mut end = None;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let begins = line.trim_start();
        position += line.len();
        if let Some(mark) = fence {
            let closes =
                trimmed.starts_with(mark) && trimmed.trim_start_matches(['`', '~']).is_empty();
            if closes && line.ends_with('\n') {
                fence = None;
            }
            continue;
        }
        if trimmed.is_empty() {
            if line.ends_with('\n') && in_list {
                after_gap = Some(position);
            } else if line.ends_with('\n') {
                end = Some(position);
            }
            continue;
        }
        if let Some(gap) = after_gap.take() {
            // After an empty line a list goes on with the next item, or with an indented line.
            let goes_on =
                line.starts_with([' ', '\t']) || is_list_item(begins) || may_become_item(line);
            if !goes_on {
                in_list = false;
                end = Some(gap);
            }
        }
        in_list |= is_list_item(begins);
        fence = ["```", "~~~"]
            .into_iter()
            .find(|mark| begins.starts_with(mark));
    }
    end
}

fn is_list_item(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "));
    numbered || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
}

/// Whether a line that is not complete yet can still turn out to be a list item.
fn may_become_item(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(line, "-" | "*" | "+") || (rest.len() < line.len() && matches!(rest, "" | "." | ")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_prints_each_block_once_and_ends_up_with_the_whole() {
        let source = "one\ntwo\n\n- a\n\n- b\n\n```\nx\n\ny\n```\n\n1. c\n\n2. d\n\n12 monkeys";
        for size in 1..=source.len() {
            let mut stream = MarkdownStream::default();
            let mut shown = String::new();
            for piece in source.as_bytes().chunks(size) {
                shown.push_str(&stream.push(&String::from_utf8_lossy(piece), Paint::None, 60));
            }
            shown.push_str(&stream.finish(Paint::None, 60));
            assert_eq!(
                shown.trim_end(),
                markdown(Paint::None, source, 60),
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn a_code_fence_is_held_back_until_it_is_closed() {
        let mut stream = MarkdownStream::default();
        assert_eq!(stream.push("```\na\n\nb\n", Paint::None, 60), "");
        assert_eq!(
            stream.push("```\n\nnext", Paint::None, 60),
            "    a\n\n    b\n"
        );
        assert_eq!(stream.finish(Paint::None, 60), "\nnext\n");
    }

    #[test]
    fn a_paragraph_is_seen_while_it_grows() {
        let mut stream = MarkdownStream::default();
        assert_eq!(
            stream.push("first\n\nIt is **go", Paint::None, 60),
            "first\n"
        );
        assert_eq!(stream.unfinished(Paint::None, 60), "\nIt is **go");
        assert_eq!(stream.push("od**", Paint::None, 60), "");
        assert_eq!(stream.unfinished(Paint::None, 60), "\nIt is good");
        assert_eq!(stream.finish(Paint::None, 60), "\nIt is good\n");
        assert_eq!(stream.unfinished(Paint::None, 60), "");
    }
}
