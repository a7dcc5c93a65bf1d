//! The block that is still being written, drawn again in place with every piece until it is complete.

use unicode_width::UnicodeWidthStr as _;

/// The size of a terminal whose cursor can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// What stands below the finished lines and will be replaced.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Rows it takes on the screen; the cursor is in the last of them.
    rows: usize,
}

impl Draft {
    /// What to print so that it is gone and the cursor stands where it began.
    pub(crate) fn erase(&mut self) -> String {
        match std::mem::take(&mut self.rows) {
            0 => String::new(),
            1 => "\r\u{1b}[J".to_owned(),
            rows => format!("\r\u{1b}[{}A\u{1b}[J", rows - 1),
        }
    }

    /// What to print so that the end of `text` stands there. Only as much as fits: lines that scroll away could not be
    /// taken back.
    pub(crate) fn draw(&mut self, text: &str, screen: Screen) -> String {
        let room = screen.rows.saturating_sub(1);
        let mut shown = Vec::new();
        for line in text.lines().rev() {
            let rows = width(line).div_ceil(screen.columns.max(1)).max(1);
            if room < self.rows + rows {
                break;
            }
            self.rows += rows;
            shown.push(line);
        }
        shown.reverse();
        shown.join("\n")
    }
}

/// Columns of a line, colours not counted.
fn width(line: &str) -> usize {
    let mut columns = 0;
    for (index, part) in line.split('\u{1b}').enumerate() {
        let text = if index == 0 {
            part
        } else {
            part.split_once('m').map_or("", |(_, text)| text)
        };
        columns += text.width();
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Screen = Screen {
        columns: 10,
        rows: 5,
    };

    #[test]
    fn what_was_drawn_is_taken_back_row_by_row() {
        let mut draft = Draft::default();
        assert_eq!(draft.erase(), "");
        assert_eq!(draft.draw("one", SCREEN), "one");
        assert_eq!(draft.erase(), "\r\u{1b}[J");
        assert_eq!(draft.erase(), "");
        assert_eq!(draft.draw("one\ntwo\nthree", SCREEN), "one\ntwo\nthree");
        assert_eq!(draft.erase(), "\r\u{1b}[2A\u{1b}[J");
    }

    #[test]
    fn lines_that_wrap_count_as_the_rows_they_take() {
        let mut draft = Draft::default();
        draft.draw("exactly 10\nfifteen columns", SCREEN);
        assert_eq!(draft.erase(), "\r\u{1b}[2A\u{1b}[J");
    }

    #[test]
    fn only_the_end_is_drawn_when_there_is_more_than_the_screen_holds() {
        let mut draft = Draft::default();
        assert_eq!(draft.draw("1\n2\n3\n4\n5\n6", SCREEN), "3\n4\n5\n6");
        assert_eq!(draft.erase(), "\r\u{1b}[3A\u{1b}[J");
    }

    #[test]
    fn colours_take_no_room() {
        assert_eq!(width("\u{1b}[1;4mab\u{1b}[0m c\u{1b}[36md\u{1b}[0m"), 5);
        assert_eq!(width("\u{65e5}\u{672c}"), 4);
    }
}
