//! Holding the arguments of a command against its row in the table.

use super::row::{Check, Globs, Operands, Program};
use super::word::Word;

/// What a row says about a list of arguments.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Arguments that name files, to be judged by where they point.
    pub(super) paths: Vec<Word>,
    /// Arguments that name revisions or files of a repository.
    pub(super) revisions: Vec<Word>,
    /// Scripts and filters, for rows with a check of their own.
    pub(super) patterns: Vec<Word>,
    /// Operands in order.
    pub(super) operands: Vec<Word>,
    /// Options as written, values excluded.
    pub(super) options: Vec<String>,
    /// The very first argument.
    pub(super) first: Option<String>,
    /// Values of options.
    pub(super) values: Vec<Word>,
}

/// Why a row does not allow a list of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// An option that is not on the list.
    Flag(String),
    /// A pattern that could turn into an option.
    Glob(String),
    /// An argument that the row forbids, with the reason.
    Operand(String),
}

impl Objection {
    pub(super) fn reason(&self, program: &str) -> String {
        match self {
            Self::Flag(flag) => {
                format!("The option {flag} of {program} is not among those known to only read.")
            }
            Self::Glob(word) => {
                format!(
                    "The pattern {word} could match a file whose name {program} would take for an option."
                )
            }
            Self::Operand(why) => why.clone(),
        }
    }
}

fn lists(list: &str, flag: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == flag)
}

/// Reads `args` (without the program's name) by the rules of `row`.
pub(super) fn read(row: &Program, args: &[Word]) -> Result<Reading, Objection> {
    let mut reading = Reading {
        first: args.first().map(Word::text),
        ..Reading::default()
    };
    let mut rest = args.iter();
    let mut only_operands = row.operands == Operands::Literal;
    while let Some(word) = rest.next() {
        let text = word.text();
        if word.has_glob()
            && row.globs == Globs::Anchored
            && !only_operands
            && word.begins_with_glob()
        {
            return Err(Objection::Glob(text));
        }
        if only_operands || !text.starts_with('-') || text == "-" {
            reading.operands.push(word.clone());
        } else if text == "--" {
            only_operands = true;
        } else if word.has_glob() {
            return Err(Objection::Flag(text));
        } else if text.starts_with("--") {
            long(row, word, &text, &mut rest, &mut reading)?;
        } else {
            short(row, word, &text, &mut rest, &mut reading)?;
        }
    }
    sort_operands(row, &mut reading)?;
    Ok(reading)
}

fn long<'a>(
    row: &Program,
    word: &Word,
    text: &str,
    rest: &mut impl Iterator<Item = &'a Word>,
    reading: &mut Reading,
) -> Result<(), Objection> {
    let (name, attached) = match text.split_once('=') {
        Some((name, _)) => (name, Some(word.from(name.chars().count() + 1))),
        None => (text, None),
    };
    reading.options.push(name.to_owned());
    let refused = || Objection::Flag(text.to_owned());
    if lists(row.attached, name) {
        reading.values.extend(attached);
        return Ok(());
    }
    let is_file = lists(row.files, name);
    if is_file || lists(row.valued, name) {
        let value = match attached {
            Some(value) => value,
            None => separate(rest).ok_or_else(refused)?,
        };
        return take_value(row, name, value, is_file, reading);
    }
    (attached.is_none() && lists(row.flags, name))
        .then_some(())
        .ok_or_else(refused)
}

fn short<'a>(
    row: &Program,
    word: &Word,
    text: &str,
    rest: &mut impl Iterator<Item = &'a Word>,
    reading: &mut Reading,
) -> Result<(), Objection> {
    let refused = || Objection::Flag(text.to_owned());
    if lists(row.flags, text) {
        reading.options.push(text.to_owned());
        return Ok(());
    }
    if text.chars().skip(1).all(|c| c.is_ascii_digit()) && lists(row.flags, "-#") {
        return Ok(());
    }
    for (index, c) in text.chars().enumerate().skip(1) {
        let flag = format!("-{c}");
        reading.options.push(flag.clone());
        if lists(row.attached, &flag) {
            reading.values.push(word.from(index + 1));
            return Ok(());
        }
        let is_file = lists(row.files, &flag);
        if is_file || lists(row.valued, &flag) {
            let attached = word.from(index + 1);
            let value = if attached.glyphs.is_empty() {
                separate(rest).ok_or_else(refused)?
            } else {
                attached
            };
            return take_value(row, &flag, value, is_file, reading);
        }
        if !lists(row.flags, &flag) {
            return Err(refused());
        }
    }
    Ok(())
}

/// The next argument as a value. One that looks like an option is not taken: should the program at hand read the line
/// differently, it would act on it.
fn separate<'a>(rest: &mut impl Iterator<Item = &'a Word>) -> Option<Word> {
    rest.next()
        .filter(|value| {
            let text = value.text();
            let negative = text
                .strip_prefix('-')
                .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
            (negative || !text.starts_with('-')) && !value.has_glob()
        })
        .cloned()
}

fn take_value(
    row: &Program,
    flag: &str,
    value: Word,
    is_file: bool,
    reading: &mut Reading,
) -> Result<(), Objection> {
    if value.has_glob() {
        return Err(Objection::Glob(value.text()));
    }
    if is_file {
        reading.paths.push(value);
    } else {
        let is_script = matches!(flag, "-e" | "--expression") && row.check == Check::Sed;
        if is_script {
            reading.patterns.push(value.clone());
        }
        reading.values.push(value);
    }
    Ok(())
}

fn sort_operands(row: &Program, reading: &mut Reading) -> Result<(), Objection> {
    let operands = reading.operands.clone();
    match row.operands {
        Operands::None => {
            if let Some(first) = operands.first() {
                return Err(Objection::Operand(format!(
                    "{} is not expected to be given {}.",
                    row.name,
                    first.text()
                )));
            }
        }
        Operands::Paths => reading.paths.extend(operands),
        Operands::OnePath => {
            let many = 1 < operands.len() || operands.iter().any(Word::has_glob);
            if many {
                return Err(Objection::Operand(format!(
                    "{} with more than one file writes to the last.",
                    row.name
                )));
            }
            reading.paths.extend(operands);
        }
        Operands::PatternThenPaths => {
            let named = reading.options.iter().any(|flag| {
                matches!(
                    flag.as_str(),
                    "-e" | "-f"
                        | "--regexp"
                        | "--file"
                        | "--expression"
                        | "--files"
                        | "--type-list"
                )
            });
            // `-e` of `jq` is an exit code, not a filter.
            let n_patterns = usize::from(!named || row.check == Check::Jq);
            for (index, word) in operands.into_iter().enumerate() {
                // An unquoted pattern has become file names by the time the program looks.
                if index < n_patterns && !word.has_glob() {
                    reading.patterns.push(word);
                } else {
                    reading.paths.push(word);
                }
            }
        }
        Operands::Text | Operands::Literal => {
            // Even plain text becomes a list of files when it holds an unquoted pattern.
            reading
                .paths
                .extend(operands.into_iter().filter(Word::has_glob));
        }
        Operands::Revisions => reading.revisions.extend(operands),
    }
    Ok(())
}
