//! Markdown for a terminal: wrapped, indented, coloured if there is colour.
//!
//! Nothing is fetched, no link is opened, and HTML is shown as the text it is.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use unicode_width::UnicodeWidthStr as _;

use super::paint::Paint;
use super::safe::safe;

/// Markdown as text of at most `width` columns, without a final line break.
pub(crate) fn markdown(paint: Paint, source: &str, width: usize) -> String {
    let source = safe(source);
    let mut page = Page::new(paint, width.max(20));
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&source, options) {
        page.take(event);
    }
    page.finish()
}

/// A word with its colours, or what lies between words.
#[derive(Debug)]
enum Piece {
    Word { text: String, width: usize },
    Space,
    Break,
}

/// One level of indentation: what the first line shows, and what the others do.
#[derive(Debug)]
struct Indent {
    first: Option<String>,
    rest: String,
}

struct Page {
    paint: Paint,
    width: usize,
    out: String,
    pieces: Vec<Piece>,
    codes: Vec<&'static str>,
    indents: Vec<Indent>,
    /// Next number per open list; none for bullets.
    lists: Vec<Option<u64>>,
    links: Vec<String>,
    code: Option<String>,
    rows: Vec<Vec<Vec<Piece>>>,
    in_table: bool,
    /// Whether the next block is set off by an empty line.
    gap: bool,
}

impl Page {
    fn new(paint: Paint, width: usize) -> Self {
        Self {
            paint,
            width,
            out: String::new(),
            pieces: Vec::new(),
            codes: Vec::new(),
            indents: Vec::new(),
            lists: Vec::new(),
            links: Vec::new(),
            code: None,
            rows: Vec::new(),
            in_table: false,
            gap: false,
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.text(&text),
            },
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                let codes = [self.codes.as_slice(), &["36"]].concat();
                let shown = if self.paint == Paint::None {
                    format!("`{text}`")
                } else {
                    text.to_string()
                };
                let width = shown.width();
                self.pieces.push(Piece::Word {
                    text: self.paint.with(&codes, &shown),
                    width,
                });
            }
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::SoftBreak => self.pieces.push(Piece::Space),
            Event::HardBreak => self.pieces.push(Piece::Break),
            Event::Rule => {
                self.begin_block();
                let line = self.paint.dim(&"─".repeat(self.room().min(40)));
                self.line(&line);
            }
            Event::TaskListMarker(done) => {
                let mark = if done { "[x]" } else { "[ ]" };
                self.pieces.push(Piece::Word {
                    text: mark.to_owned(),
                    width: 3,
                });
                self.pieces.push(Piece::Space);
            }
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.begin_block();
                self.codes.push("1");
                if level == HeadingLevel::H1 {
                    self.codes.push("4");
                }
                if self.paint == Paint::None {
                    let marks = "#".repeat(level as usize);
                    self.text(&format!("{marks} "));
                }
            }
            Tag::Paragraph | Tag::HtmlBlock => self.begin_block(),
            Tag::BlockQuote(_) => {
                self.begin_block();
                self.gap = false;
                self.indents.push(Indent {
                    first: None,
                    rest: self.paint.dim("│ "),
                });
            }
            Tag::CodeBlock(kind) => {
                self.begin_block();
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    let name = self.paint.dim(&format!("  {language}"));
                    self.line(&name);
                }
                self.code = Some(String::new());
            }
            Tag::List(start) => {
                if self.lists.is_empty() {
                    self.begin_block();
                } else {
                    self.flush();
                }
                self.gap = false;
                self.lists.push(start);
            }
            Tag::Item => {
                self.flush();
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let mark = format!("{number}. ");
                        *number += 1;
                        mark
                    }
                    _ => "• ".to_owned(),
                };
                let rest = " ".repeat(mark.width());
                self.gap = false;
                self.indents.push(Indent {
                    first: Some(mark),
                    rest,
                });
            }
            Tag::Emphasis => self.codes.push("3"),
            Tag::Strong => self.codes.push("1"),
            Tag::Strikethrough => self.codes.push("9"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push(dest_url.to_string());
                self.codes.push("4");
            }
            Tag::Table(_) => {
                self.begin_block();
                self.in_table = true;
            }
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                self.codes.pop();
                if level == HeadingLevel::H1 {
                    self.codes.pop();
                }
                self.end_block();
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.end_block(),
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.indents.pop();
                self.gap = true;
            }
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                for line in code.trim_end_matches('\n').split('\n') {
                    let line = format!("    {}", self.paint.cyan(line));
                    self.line(&line);
                }
                self.gap = true;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap = self.lists.is_empty();
            }
            TagEnd::Item => {
                self.flush();
                self.indents.pop();
                self.gap = false;
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.codes.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.codes.pop();
                if let Some(url) = self.links.pop()
                    && !self.pieces_end_with(&url)
                {
                    self.pieces.push(Piece::Space);
                    let shown = format!("({url})");
                    self.pieces.push(Piece::Word {
                        width: shown.width(),
                        text: self.paint.dim(&shown),
                    });
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.pieces);
                if let Some(row) = self.rows.last_mut() {
                    row.push(cell);
                }
            }
            TagEnd::Table => {
                self.in_table = false;
                self.table();
                self.gap = true;
            }
            _ => {}
        }
    }

    /// An autolink shows its address already.
    fn pieces_end_with(&self, url: &str) -> bool {
        matches!(self.pieces.last(), Some(Piece::Word { text, .. }) if text.contains(url))
    }

    fn text(&mut self, text: &str) {
        for part in text.split_inclusive([' ', '\n', '\t']) {
            let word = part.trim_end_matches([' ', '\n', '\t']);
            if !word.is_empty() {
                let width = word.width();
                self.pieces.push(Piece::Word {
                    text: self.paint.with(&self.codes, word),
                    width,
                });
            }
            if word.len() < part.len() {
                self.pieces.push(Piece::Space);
            }
        }
    }

    fn begin_block(&mut self) {
        self.flush();
        if self.gap && !self.out.is_empty() {
            let bare: String = self.indents.iter().map(|it| it.rest.as_str()).collect();
            self.out.push_str(bare.trim_end());
            self.out.push('\n');
        }
        self.gap = false;
    }

    fn end_block(&mut self) {
        self.flush();
        self.gap = true;
    }

    /// Columns left beside the indentation.
    fn room(&self) -> usize {
        let taken: usize = self.indents.iter().map(|it| visible_width(&it.rest)).sum();
        self.width.saturating_sub(taken).max(10)
    }

    fn line(&mut self, text: &str) {
        for indent in &mut self.indents {
            match indent.first.take() {
                Some(first) => self.out.push_str(&first),
                None => self.out.push_str(&indent.rest),
            }
        }
        self.out.push_str(text);
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
    }

    /// Writes the pieces as wrapped lines.
    fn flush(&mut self) {
        if self.in_table || self.pieces.is_empty() {
            return;
        }
        let pieces = std::mem::take(&mut self.pieces);
        for line in wrap(pieces, self.room()) {
            self.line(&line);
        }
    }

    fn table(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let cells: Vec<Vec<(String, usize)>> = rows
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|pieces| {
                        let text = wrap(pieces, usize::MAX).join(" ");
                        let width = visible_width(&text);
                        (text, width)
                    })
                    .collect()
            })
            .collect();
        let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|index| {
                cells
                    .iter()
                    .filter_map(|row| row.get(index))
                    .map(|(_, width)| *width)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (number, row) in cells.iter().enumerate() {
            let mut line = String::new();
            for ((text, width), column) in row.iter().zip(&widths) {
                line.push_str(text);
                line.push_str(&" ".repeat(column.saturating_sub(*width) + 2));
            }
            let line = line.trim_end().to_owned();
            self.line(&line);
            if number == 0 {
                let rule = widths
                    .iter()
                    .map(|w| "─".repeat(*w))
                    .collect::<Vec<_>>()
                    .join("  ");
                let rule = self.paint.dim(&rule);
                self.line(&rule);
            }
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.out.trim_end().to_owned()
    }
}

/// Lines of at most `room` columns; a word that is longer stands alone.
fn wrap(pieces: Vec<Piece>, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut line_width = 0usize;
    let mut unit = String::new();
    let mut unit_width = 0usize;
    let mut place =
        |lines: &mut Vec<String>, unit: &mut String, unit_width: &mut usize, end: bool| {
            if !unit.is_empty() {
                let gap = usize::from(!line.is_empty());
                if room < line_width.saturating_add(gap).saturating_add(*unit_width)
                    && !line.is_empty()
                {
                    lines.push(std::mem::take(&mut line));
                    line_width = 0;
                }
                if !line.is_empty() {
                    line.push(' ');
                    line_width += 1;
                }
                line.push_str(unit);
                line_width = line_width.saturating_add(*unit_width);
                unit.clear();
                *unit_width = 0;
            }
            if end {
                lines.push(std::mem::take(&mut line));
                line_width = 0;
            }
        };
    for piece in pieces {
        match piece {
            Piece::Word { text, width } => {
                unit.push_str(&text);
                unit_width = unit_width.saturating_add(width);
            }
            Piece::Space => place(&mut lines, &mut unit, &mut unit_width, false),
            Piece::Break => place(&mut lines, &mut unit, &mut unit_width, true),
        }
    }
    place(&mut lines, &mut unit, &mut unit_width, true);
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Columns of a text without its ANSI sequences.
fn visible_width(text: &str) -> usize {
    let mut bare = String::with_capacity(text.len());
    let mut in_sequence = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => in_sequence = true,
            'm' if in_sequence => in_sequence = false,
            _ if in_sequence => {}
            c => bare.push(c),
        }
    }
    bare.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# Notes\n\nSome *emphasis*, **weight** and `code` in a paragraph that is longer than a line.\n\n\
        - first\n- second with more words than fit into one line of this width\n  1. inner\n  2. inner again\n\n\
        > quoted words that also have to be wrapped somewhere\n\n```sh\nls -la | wc -l\n```\n\n\
        | file | lines |\n|---|---|\n| a.md | 12 |\n| long-name.md | 3 |\n\nSee [the manual](https://example.com).\n";

    #[test]
    fn markdown_is_readable_without_colour() {
        insta::assert_snapshot!(markdown(Paint::None, SAMPLE, 44));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let bare: String = {
            let mut in_sequence = false;
            markdown(Paint::Ansi, "a **b** [c](https://d.example)", 80)
                .chars()
                .filter(|c| match c {
                    '\u{1b}' => {
                        in_sequence = true;
                        false
                    }
                    'm' if in_sequence => {
                        in_sequence = false;
                        false
                    }
                    _ => !in_sequence,
                })
                .collect()
        };
        assert_eq!(bare, "a b c (https://d.example)");
    }

    #[test]
    fn escape_sequences_of_a_model_do_not_reach_the_terminal() {
        assert!(!markdown(Paint::None, "hi \u{1b}]0;owned\u{7} there", 80).contains('\u{1b}'));
    }
}
