//! The `*** Begin Patch` form: files by name, places by their text.

use super::{Change, Edit};

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const END_OF_FILE: &str = "*** End of File";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";

/// One line of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Keep(&'a str),
    Remove(&'a str),
    Add(&'a str),
}

/// Lines that stand together in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Block<'a> {
    /// A line somewhere above.
    below: Option<&'a str>,
    lines: Vec<Line<'a>>,
    at_end: bool,
}

impl Block<'_> {
    /// The block that undoes this one.
    pub(super) fn reversed(&self) -> Self {
        let mut block = self.clone();
        for line in &mut block.lines {
            *line = match *line {
                Line::Keep(text) => Line::Keep(text),
                Line::Remove(text) => Line::Add(text),
                Line::Add(text) => Line::Remove(text),
            };
        }
        block
    }
}

/// Whether a patch is in this form.
pub(super) fn is_meant(patch: &str) -> bool {
    patch.lines().any(|line| {
        [BEGIN, ADD, DELETE, UPDATE]
            .iter()
            .any(|it| line.starts_with(it))
    })
}

pub(super) fn parse(patch: &str) -> Result<Vec<Change<'_>>, String> {
    let mut changes = Vec::new();
    let mut lines = patch.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with(BEGIN) {
            continue;
        }
        if line.starts_with(END) {
            break;
        }
        let mut body = Vec::new();
        while let Some(next) = lines.next_if(|it| !is_header(it)) {
            body.push(next);
        }
        let change = if let Some(path) = line.strip_prefix(ADD) {
            Change::Add {
                path: name(path)?,
                content: content(&body)?,
            }
        } else if let Some(path) = line.strip_prefix(DELETE) {
            Change::Delete {
                path: name(path)?,
                expected: None,
            }
        } else if let Some(path) = line.strip_prefix(UPDATE) {
            let (to, body) = match body.split_first() {
                Some((first, rest)) if first.starts_with(MOVE) => (first.strip_prefix(MOVE), rest),
                _ => (None, body.as_slice()),
            };
            let blocks = blocks(body)?;
            if blocks.is_empty() && to.is_none() {
                return Err(format!("`{path}` has no change"));
            }
            Change::Update {
                path: name(path)?,
                to: to.map(name).transpose()?,
                edit: Edit::Blocks(blocks),
            }
        } else {
            return Err(format!("`{line}` is not a line of this form"));
        };
        changes.push(change);
    }
    Ok(changes)
}

fn is_header(line: &str) -> bool {
    [ADD, DELETE, UPDATE, END]
        .iter()
        .any(|it| line.starts_with(it))
}

/// The name in a header. Policy judged exactly this reading of it: both must stay the same.
fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("a file has no name".to_owned());
    }
    Ok(name.to_owned())
}

fn content(body: &[&str]) -> Result<String, String> {
    let mut content = String::new();
    for line in body {
        let Some(text) = line.strip_prefix('+') else {
            return Err(format!(
                "a line of a new file must begin with `+`: `{line}`"
            ));
        };
        content.push_str(text);
        content.push('\n');
    }
    Ok(content)
}

fn blocks<'a>(body: &[&'a str]) -> Result<Vec<Block<'a>>, String> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    let mut block = Block::default();
    for line in body {
        if let Some(below) = line.strip_prefix("@@") {
            blocks.extend(Some(std::mem::take(&mut block)).filter(|it| !it.lines.is_empty()));
            block.below = Some(below.trim()).filter(|it| !it.is_empty());
        } else if line.starts_with(END_OF_FILE) {
            block.at_end = true;
        } else {
            block.lines.push(match line.split_at_checked(1) {
                Some((" ", text)) => Line::Keep(text),
                Some(("-", text)) => Line::Remove(text),
                Some(("+", text)) => Line::Add(text),
                None if line.is_empty() => Line::Keep(""),
                Some(_) | None => {
                    return Err(format!("a line must begin with ` `, `-` or `+`: `{line}`"));
                }
            });
        }
    }
    blocks.extend(Some(block).filter(|it| !it.lines.is_empty()));
    Ok(blocks)
}

/// Applies blocks in order, each below the one before.
pub(super) fn apply(text: &str, blocks: &[Block<'_>]) -> Result<String, String> {
    let ends_with_newline = text.is_empty() || text.ends_with('\n');
    let carriage = if text.contains("\r\n") { "\r" } else { "" };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<&str> = if text.is_empty() {
        Vec::new()
    } else {
        body.split('\n').collect()
    };
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut done = 0;
    for block in blocks {
        let at = place(&lines, done, block)?;
        out.extend(lines[done..at].iter().map(|it| (*it).to_owned()));
        done = at;
        for line in &block.lines {
            match line {
                Line::Keep(_) => {
                    out.push(lines[done].to_owned());
                    done += 1;
                }
                Line::Remove(_) => done += 1,
                Line::Add(text) => out.push(format!("{text}{carriage}")),
            }
        }
    }
    out.extend(lines[done..].iter().map(|it| (*it).to_owned()));
    let mut result = out.join("\n");
    if ends_with_newline && !out.is_empty() {
        result.push('\n');
    }
    Ok(result)
}

/// Where the old lines of a block begin.
fn place(lines: &[&str], from: usize, block: &Block<'_>) -> Result<usize, String> {
    let mut from = from;
    if let Some(below) = block.below {
        let found = lines[from..].iter().position(|it| it.trim() == below);
        from += found.ok_or_else(|| format!("the line `{below}` was not found"))? + 1;
    }
    let old: Vec<&str> = block
        .lines
        .iter()
        .filter_map(|it| match it {
            Line::Keep(text) | Line::Remove(text) => Some(*text),
            Line::Add(_) => None,
        })
        .collect();
    if old.is_empty() {
        return Ok(if block.below.is_some() {
            from
        } else {
            lines.len()
        });
    }
    let exact = |a: &str, b: &str| a == b;
    let loose = |a: &str, b: &str| a.trim_end() == b.trim_end();
    for same in [exact as fn(&str, &str) -> bool, loose] {
        let fits = |at: &usize| lines[*at..].iter().zip(&old).all(|(a, b)| same(a, b));
        let last = (lines.len() + 1).saturating_sub(old.len());
        let mut places = (from..last).filter(fits);
        if block.at_end {
            if let Some(at) = places
                .next_back()
                .filter(|at| at + old.len() == lines.len())
            {
                return Ok(at);
            }
            continue;
        }
        match (places.next(), places.next()) {
            (Some(at), None) => return Ok(at),
            // With a line above as anchor, the nearest place below it is meant.
            (Some(at), Some(_)) if block.below.is_some() => return Ok(at),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "the lines from `{}` on are found more than once; give more lines",
                    old[0]
                ));
            }
            (None, _) => {}
        }
    }
    Err(format!("the lines from `{}` on were not found", old[0]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn update(text: &str, body: &str) -> Result<String, String> {
        let lines: Vec<&str> = body.lines().collect();
        apply(text, &blocks(&lines)?)
    }

    #[test]
    fn blocks_find_their_place_by_text() {
        assert_eq!(
            update("a\nb\nc\n", "@@\n a\n-b\n+B\n c").unwrap(),
            "a\nB\nc\n"
        );
        assert_eq!(
            update("f\nx\ng\nx\n", "@@ g\n-x\n+y").unwrap(),
            "f\nx\ng\ny\n"
        );
        assert_eq!(
            update("x\na\nx\n", "-x\n+y\n*** End of File").unwrap(),
            "x\na\ny\n"
        );
        assert_eq!(update("a\r\nb\r\n", "-a\n+A").unwrap(), "A\r\nb\r\n");
        assert_eq!(update("", "+a").unwrap(), "a\n");
        assert_eq!(update("a", "-a\n+b").unwrap(), "b");
    }

    #[test]
    fn a_place_that_is_not_there_or_not_clear_is_refused() {
        assert!(update("a\n", "-b\n+c").unwrap_err().contains("not found"));
        assert!(
            update("a\na\n", "-a\n+c")
                .unwrap_err()
                .contains("more than once")
        );
        assert!(update("a\n", "*b").is_err());
    }

    #[test]
    fn a_block_and_its_reverse_cancel_out() {
        let body: Vec<&str> = "@@\n a\n-b\n+B\n+C".lines().collect();
        let blocks = blocks(&body).unwrap();
        let there = apply("a\nb\nz\n", &blocks).unwrap();
        let reversed: Vec<_> = blocks.iter().map(Block::reversed).collect();
        assert_eq!(apply(&there, &reversed).unwrap(), "a\nb\nz\n");
    }
}
