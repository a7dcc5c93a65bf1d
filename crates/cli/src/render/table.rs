//! Rows with a head, and lists of facts.

use unicode_width::UnicodeWidthStr as _;

use super::paint::Paint;
use super::safe::{one_line, safe};

/// Columns under a head. The last column takes what is left of the line.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// Columns before the last are cut at this many characters.
const CELL_MAX: usize = 48;

/// With less room than this the last column stands below the others.
const LAST_MIN: usize = 20;

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| one_line(cell.as_ref(), 400))
                .collect(),
        );
    }

    /// The table as text without a final line break. `width` is the terminal's, none when it does not matter.
    pub(crate) fn render(&self, paint: Paint, width: Option<usize>) -> String {
        let last = self.head.len().saturating_sub(1);
        let cut = |index: usize, cell: &str| {
            // Identifiers and the last column are never cut when nobody looks: a script may read them.
            if width.is_some() && index != last && index != 0 {
                one_line(cell, CELL_MAX)
            } else {
                cell.to_owned()
            }
        };
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                row.iter()
                    .enumerate()
                    .map(|(index, cell)| cut(index, cell))
                    .collect()
            })
            .collect();
        let widths: Vec<usize> = self
            .head
            .iter()
            .enumerate()
            .map(|(index, head)| {
                rows.iter()
                    .filter_map(|row| row.get(index))
                    .map(|cell| cell.width())
                    .fold(head.width(), usize::max)
            })
            .collect();
        let before_last: usize = widths.iter().take(last).map(|w| w + 2).sum();
        let room = width.map(|width| width.saturating_sub(before_last).max(12));
        let longest = rows
            .iter()
            .filter_map(|row| row.get(last))
            .map(|cell| cell.width())
            .fold(0, usize::max);
        // Too narrow for the last column to say anything: it gets lines of its own.
        let below = width.filter(|_| room.is_some_and(|room| room < LAST_MIN && room < longest));
        let line = |cells: &[&str], paint_cell: &dyn Fn(&str) -> String| {
            let mut out = String::new();
            for (index, cell) in cells.iter().enumerate() {
                let cell = match (room, below) {
                    (_, Some(width)) if index == last => {
                        out = format!("{}\n  ", out.trim_end());
                        one_line(cell, width.saturating_sub(2))
                    }
                    (Some(room), None) if index == last => one_line(cell, room),
                    _ => (*cell).to_owned(),
                };
                out.push_str(&paint_cell(&cell));
                if index != last {
                    let pad = widths
                        .get(index)
                        .copied()
                        .unwrap_or(0)
                        .saturating_sub(cell.width())
                        + 2;
                    out.push_str(&" ".repeat(pad));
                }
            }
            out.trim_end().to_owned()
        };
        let mut lines = vec![line(&self.head, &|cell| paint.dim(cell))];
        for row in &rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            lines.push(line(&cells, &str::to_owned));
        }
        lines.join("\n")
    }
}

/// One fact a line: `name  value`. Facts with an empty value are left out; further lines of a value are indented.
pub(crate) fn facts(paint: Paint, rows: &[(&str, String)]) -> String {
    let shown: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0);
    shown
        .iter()
        .map(|(name, value)| {
            let pad = " ".repeat(width.saturating_sub(name.width()) + 2);
            let value = safe(value).replace('\n', &format!("\n{}", " ".repeat(width + 2)));
            format!("{}{pad}{value}", paint.dim(name))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "TRUST", "WHAT"]);
        table.row([
            "main",
            "3",
            "answers everything that nobody else answers, at length",
        ]);
        table.row(["日本", "1", "wide\nand two lines"]);
        table
    }

    #[test]
    fn columns_line_up_and_the_last_is_cut_at_the_terminal() {
        insta::assert_snapshot!(table().render(Paint::None, Some(40)), @r"
        NAME  TRUST  WHAT
        main  3      answers everything that no…
        日本  1      wide and two lines
        ");
    }

    #[test]
    fn a_last_column_without_room_stands_below() {
        insta::assert_snapshot!(table().render(Paint::None, Some(30)), @r"
        NAME  TRUST
          WHAT
        main  3
          answers everything that nob…
        日本  1
          wide and two lines
        ");
    }

    #[test]
    fn nothing_is_cut_when_nobody_looks() {
        insta::assert_snapshot!(table().render(Paint::None, None), @r"
        NAME  TRUST  WHAT
        main  3      answers everything that nobody else answers, at length
        日本  1      wide and two lines
        ");
    }

    #[test]
    fn facts_line_up_and_leave_out_what_is_empty() {
        let shown = facts(
            Paint::None,
            &[
                ("name", "main".to_owned()),
                ("model", String::new()),
                ("instructions", "a\nb".to_owned()),
            ],
        );
        insta::assert_snapshot!(shown, @r"
        name          main
        instructions  a
                      b
        ");
    }
}
