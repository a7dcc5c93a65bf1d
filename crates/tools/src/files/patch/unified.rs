//! Unified diffs with one or more files.

use super::{Change, Edit};

/// Names no file.
const NOWHERE: &str = "/dev/null";

/// Splits a diff into its files. Lines inside a hunk are counted, so that a removed line `-- x` is not a header.
pub(super) fn parse(patch: &str) -> Result<Vec<Change<'_>>, String> {
    let lines: Vec<(usize, &str)> = line_starts(patch);
    let mut changes = Vec::new();
    let mut index = 0;
    while let Some((begin, line)) = lines.get(index) {
        let header = line.strip_prefix("--- ").zip(
            lines
                .get(index + 1)
                .and_then(|(_, it)| it.strip_prefix("+++ ")),
        );
        let Some((old, new)) = header else {
            refuse_extended(line)?;
            index += 1;
            continue;
        };
        let next = after_hunks(&lines, index + 2);
        let end = lines.get(next).map_or(patch.len(), |(at, _)| *at);
        let section = patch.get(*begin..end).unwrap_or_default();
        changes.push(change(name(old)?, name(new)?, section)?);
        index = next;
    }
    Ok(changes)
}

fn change<'a>(old: &str, new: &str, section: &'a str) -> Result<Change<'a>, String> {
    let patch = diffy::Patch::from_str(section).map_err(|error| error.to_string())?;
    if patch.hunks().is_empty() {
        return Err(format!("`{new}` has no `@@` hunk"));
    }
    match (old, new) {
        (NOWHERE, NOWHERE) => Err("a file is needed on one side".to_owned()),
        (NOWHERE, path) => {
            let content = diffy::apply("", &patch).map_err(|error| format!("`{path}`: {error}"))?;
            Ok(Change::Add {
                path: path.to_owned(),
                content,
            })
        }
        (path, NOWHERE) => Ok(Change::Delete {
            path: path.to_owned(),
            expected: Some(patch),
        }),
        (from, to) if from != to => Err(format!(
            "`{from}` becomes `{to}`; a new name needs the `*** Begin Patch` form with `*** Move to:`"
        )),
        (path, _) => Ok(Change::Update {
            path: path.to_owned(),
            to: None,
            edit: Edit::Unified(patch),
        }),
    }
}

/// The name in a header. Policy judged exactly this reading of it: both must stay the same.
fn name(header: &str) -> Result<&str, String> {
    let name = header.split('\t').next().unwrap_or(header);
    let name = name
        .strip_prefix("a/")
        .or_else(|| name.strip_prefix("b/"))
        .unwrap_or(name)
        .trim();
    if name.is_empty() || name.starts_with('"') {
        return Err(format!("`{header}` is not a plain file name"));
    }
    Ok(name)
}

/// Git headers that say more than the hunks do.
fn refuse_extended(line: &str) -> Result<(), String> {
    let extended = [
        "rename from ",
        "copy from ",
        "GIT binary patch",
        "Binary files ",
        "old mode ",
    ];
    match extended.iter().find(|it| line.starts_with(**it)) {
        Some(what) => Err(format!("`{}` is not supported", what.trim_end())),
        None => Ok(()),
    }
}

/// The first line after the hunks that begin at `index`.
fn after_hunks(lines: &[(usize, &str)], mut index: usize) -> usize {
    while let Some((mut old_left, mut new_left)) =
        lines.get(index).and_then(|(_, line)| counts(line))
    {
        index += 1;
        while let Some((_, line)) = lines.get(index) {
            match line.as_bytes().first() {
                Some(b'\\') => {}
                _ if old_left == 0 && new_left == 0 => break,
                Some(b'-') => old_left = old_left.saturating_sub(1),
                Some(b'+') => new_left = new_left.saturating_sub(1),
                Some(b' ') | None => {
                    old_left = old_left.saturating_sub(1);
                    new_left = new_left.saturating_sub(1);
                }
                Some(_) => break,
            }
            index += 1;
        }
    }
    index
}

/// How many old and new lines a hunk header announces.
fn counts(line: &str) -> Option<(u64, u64)> {
    let ranges = line.strip_prefix("@@ -")?;
    let (old, rest) = ranges.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |range: &str| {
        range
            .split_once(',')
            .map_or(Some(1), |(_, n)| n.parse().ok())
    };
    Some((count(old)?, count(new)?))
}

/// Lines with the position where each begins, without their ends.
fn line_starts(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let begin = at;
            at += line.len();
            (begin, line.trim_end_matches(['\n', '\r']))
        })
        .collect()
}
