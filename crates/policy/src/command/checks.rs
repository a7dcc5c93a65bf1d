//! Rules of single programs that do not fit in a list of options.

use super::args::{Objection, Reading};
use super::row::Check;
use super::word::Word;

/// Applies the check of a row to what was read from its arguments.
pub(super) fn apply(check: Check, reading: &Reading) -> Result<(), Objection> {
    let texts: Vec<String> = reading.operands.iter().map(Word::text).collect();
    match check {
        Check::Nothing | Check::Find | Check::Git => Ok(()),
        Check::Date => only(
            texts.iter().all(|text| text.starts_with('+')),
            "Without a leading + this sets the clock.",
        ),
        Check::Jq => only(
            reading
                .patterns
                .iter()
                .all(|filter| jq_is_plain(&filter.text()))
                && !reading.patterns.is_empty(),
            "This filter may read the environment or load modules.",
        ),
        Check::Sed => only(
            !reading.patterns.is_empty()
                && reading
                    .patterns
                    .iter()
                    .all(|script| sed_only_prints(&script.text())),
            "This script of sed does more than print, delete and substitute.",
        ),
        Check::Printf => only(
            // Where the format comes from a pattern, a file could be called like an option.
            printf_is_plain(&texts) && !reading.operands.first().is_some_and(Word::has_glob),
            "This form of printf assigns to a variable.",
        ),
        Check::Set => only(
            set_is_strict(&texts),
            "This changes how the shell reads what follows.",
        ),
        Check::Test => only(
            test_is_plain(&texts) && !reading.operands.iter().any(Word::has_glob),
            "This test evaluates its text or is not known.",
        ),
        Check::NoResponseFiles => only(
            !texts.iter().any(|text| text.starts_with('@')),
            "An argument with @ reads further options from a file.",
        ),
        Check::ListOnly => only(
            texts.is_empty()
                || reading
                    .options
                    .iter()
                    .any(|o| matches!(o.as_str(), "-l" | "--list")),
            "With a name and without --list this changes the repository.",
        ),
        Check::ListOrShow => only(
            // Any option in front would make it another sub-command.
            matches!(reading.first.as_deref(), Some("list" | "show")),
            "Only list and show leave the repository as it is.",
        ),
        Check::Remote => only(
            texts.is_empty() || texts.first().is_some_and(|text| text == "get-url"),
            "This changes the repository or reaches the network.",
        ),
    }
}

fn only(fine: bool, reason: &str) -> Result<(), Objection> {
    if fine {
        Ok(())
    } else {
        Err(Objection::Operand(reason.to_owned()))
    }
}

/// No word in the filter that reads the environment, loads a module or asks for more input.
fn jq_is_plain(filter: &str) -> bool {
    const FORBIDDEN: &[&str] = &[
        "env",
        "ENV",
        "import",
        "include",
        "input_filename",
        "modulemeta",
        "get_search_list",
        "debug",
        "stderr",
    ];
    !filter
        .split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .any(|name| FORBIDDEN.contains(&name))
}

/// No option, and no `%n`, which stores into a variable whose name may hold a command.
fn printf_is_plain(texts: &[String]) -> bool {
    let Some(format) = texts.first() else {
        return false;
    };
    if format.starts_with('-') {
        return false;
    }
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        while chars
            .next_if(|c| {
                matches!(
                    c,
                    '#' | ' ' | '+' | '-' | '\'' | '.' | '*' | '0'
                        ..='9' | 'l' | 'h' | 'L' | 'j' | 'z' | 't'
                )
            })
            .is_some()
        {}
        // A conversion spelt with a backslash is not worth the risk of reading it differently.
        if matches!(chars.peek(), Some('n' | '\\')) {
            return false;
        }
        chars.next();
    }
    true
}

fn set_is_strict(texts: &[String]) -> bool {
    let mut rest = texts.iter();
    let mut any = false;
    while let Some(text) = rest.next() {
        any = true;
        let Some(letters) = text.strip_prefix('-') else {
            return false;
        };
        let names_option = letters.ends_with('o');
        let letters = letters.strip_suffix('o').unwrap_or(letters);
        if !letters.chars().all(|c| matches!(c, 'e' | 'u' | 'x'))
            || (letters.is_empty() && !names_option)
        {
            return false;
        }
        if names_option {
            let option = rest.next().map(String::as_str);
            if !matches!(option, Some("pipefail" | "errexit" | "nounset" | "xtrace")) {
                return false;
            }
        }
    }
    any
}

fn test_is_plain(texts: &[String]) -> bool {
    // `-v` and `-R` evaluate array subscripts; `-t` and the rest below only look.
    const KNOWN: &[&str] = &[
        "-a", "-b", "-c", "-d", "-e", "-f", "-g", "-h", "-k", "-n", "-p", "-r", "-s", "-t", "-u",
        "-w", "-x", "-z", "-G", "-L", "-N", "-O", "-S", "-eq", "-ne", "-lt", "-le", "-gt", "-ge",
        "-nt", "-ot", "-ef", "-o",
    ];
    texts.iter().all(|text| {
        !text.starts_with('-') || KNOWN.contains(&text.as_str()) || text.parse::<i64>().is_ok()
    }) && !texts.iter().any(|text| text.contains(['$', '`']))
}

/// Predicates of `find` without a value.
const FIND_PLAIN: &[&str] = &[
    "-print",
    "-print0",
    "-ls",
    "-prune",
    "-not",
    "!",
    "(",
    ")",
    "-a",
    "-and",
    "-o",
    "-or",
    ",",
    "-depth",
    "-d",
    "-mount",
    "-xdev",
    "-readable",
    "-writable",
    "-executable",
    "-empty",
    "-true",
    "-false",
    "-quit",
    "-daystart",
    "-noleaf",
    "-nogroup",
    "-nouser",
    "-follow",
    "-ignore_readdir_race",
    "-noignore_readdir_race",
    "-nowarn",
    "-warn",
    "-help",
    "--help",
    "-version",
    "--version",
];
/// Predicates of `find` that compare with a value.
const FIND_VALUED: &[&str] = &[
    "-name",
    "-iname",
    "-path",
    "-ipath",
    "-wholename",
    "-iwholename",
    "-regex",
    "-iregex",
    "-lname",
    "-ilname",
    "-regextype",
    "-type",
    "-xtype",
    "-size",
    "-mtime",
    "-mmin",
    "-ctime",
    "-cmin",
    "-atime",
    "-amin",
    "-maxdepth",
    "-mindepth",
    "-perm",
    "-user",
    "-group",
    "-uid",
    "-gid",
    "-links",
    "-inum",
    "-used",
    "-fstype",
    "-newermt",
    "-newerct",
    "-newerat",
    "-printf",
];
/// Predicates of `find` that compare with a file.
const FIND_FILES: &[&str] = &["-newer", "-anewer", "-cnewer", "-samefile"];

/// What `find` is asked to do, with the places it starts from and the files it compares with.
pub(super) fn find(args: &[Word]) -> Result<Vec<Word>, Objection> {
    let mut paths = Vec::new();
    let mut rest = args.iter().peekable();
    let mut in_expression = false;
    while let Some(word) = rest.next() {
        let text = word.text();
        if word.begins_with_glob() || (in_expression && word.has_glob()) {
            return Err(Objection::Glob(text));
        }
        let leads = matches!(text.as_str(), "-H" | "-L" | "-P") || text.starts_with("-O");
        if !in_expression && leads && text.chars().skip(2).all(|c| c.is_ascii_digit()) {
            continue;
        }
        in_expression |= text.starts_with('-') || matches!(text.as_str(), "(" | ")" | "!" | ",");
        if !in_expression {
            paths.push(word.clone());
        } else if FIND_VALUED.contains(&text.as_str()) {
            let value = rest.next().ok_or_else(|| Objection::Flag(text.clone()))?;
            if value.has_glob() {
                return Err(Objection::Glob(value.text()));
            }
        } else if FIND_FILES.contains(&text.as_str()) {
            paths.push(rest.next().cloned().ok_or(Objection::Flag(text))?);
        } else if !FIND_PLAIN.contains(&text.as_str()) {
            return Err(Objection::Flag(text));
        }
    }
    Ok(paths)
}

/// Whether a script of `sed` holds only addresses and the commands `p d q = n l` and `s` with harmless flags.
///
/// Anything this small reader is not sure about counts as doing more.
pub(super) fn sed_only_prints(script: &str) -> bool {
    let mut reader = Sed {
        chars: script.chars().collect(),
        at: 0,
    };
    let mut depth = 0_usize;
    loop {
        reader.skip(|c| matches!(c, ' ' | '\t' | '\n' | ';'));
        let Some(c) = reader.peek() else {
            return depth == 0;
        };
        if c == '}' {
            let Some(less) = depth.checked_sub(1) else {
                return false;
            };
            depth = less;
            reader.at += 1;
            continue;
        }
        if !reader.addresses() {
            return false;
        }
        reader.skip(|c| matches!(c, ' ' | '!'));
        match reader.take() {
            Some('{') => depth += 1,
            Some('p' | 'd' | 'q' | '=' | 'n' | 'l') => {
                reader.skip(|c| c == ' ');
                if !reader.at_end_of_command() {
                    return false;
                }
            }
            Some('s') => {
                if !reader.substitution() {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

struct Sed {
    chars: Vec<char>,
    at: usize,
}

impl Sed {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn at_end_of_command(&self) -> bool {
        matches!(self.peek(), None | Some(';' | '\n' | '}'))
    }

    /// Up to two addresses. False if one cannot be read.
    fn addresses(&mut self) -> bool {
        loop {
            match self.peek() {
                Some('0'..='9' | '$' | '+' | '~') => {
                    self.skip(|c| matches!(c, '0'..='9' | '$' | '+' | '~'))
                }
                Some('/') => {
                    self.at += 1;
                    if self.part('/').is_none() {
                        return false;
                    }
                    self.skip(|c| c == 'I');
                }
                Some(',') => self.at += 1,
                _ => return true,
            }
            self.skip(|c| c == ' ');
        }
    }

    /// Text up to an unescaped `delimiter`. A bracket must close in the same part, because versions of `sed` disagree
    /// on whether a delimiter may stand inside one.
    fn part(&mut self, delimiter: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.take()? {
                c if c == delimiter => {
                    let open = text.rfind('[');
                    let closes =
                        open.is_none_or(|open| text.rfind(']').is_some_and(|close| open < close));
                    let plain = !text.contains("[]") && !text.contains("[^]");
                    return (closes && plain).then_some(text);
                }
                '\n' => return None,
                '\\' => {
                    let escaped = self.take()?;
                    if escaped == delimiter || matches!(escaped, 'c' | '\n') {
                        return None;
                    }
                    // An escaped bracket does not open anything.
                    if !matches!(escaped, '[' | ']') {
                        text.extend(['\\', escaped]);
                    }
                }
                c => text.push(c),
            }
        }
    }

    fn substitution(&mut self) -> bool {
        let Some(delimiter) = self.take() else {
            return false;
        };
        let usual = matches!(
            delimiter,
            '/' | '|' | '#' | ',' | ':' | '@' | '%' | '!' | '_'
        );
        if !usual || self.part(delimiter).is_none() || self.part(delimiter).is_none() {
            return false;
        }
        self.skip(|c| matches!(c, 'g' | 'p' | 'i' | 'I' | '0'..='9'));
        self.skip(|c| c == ' ');
        self.at_end_of_command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_sed_are_read_with_care() {
        for script in [
            "1,20p",
            "$p",
            "/a b/d",
            "s/a/b/g",
            "s|/x|/y|",
            "/x/,/y/p",
            "1d;$d",
            "s/[0-9]*//",
            "/a/{p;q}",
            "5q",
            "1!p",
        ] {
            assert!(sed_only_prints(script), "{script}");
        }
        for script in [
            "s/a/id/e",
            "w out",
            "1w out",
            "s/a/b/w out",
            "e",
            "1e id",
            "r /etc/passwd",
            "R x",
            "s/[/]/x/;w y",
            "s/a/b/gw out",
            "a\\\nx",
            "y/a/b/",
            "s/a\nb/c/",
            "\\cXcw out",
            "W x",
            "s/][/]/g;s/w out/x/",
            "s/[]/]/g;s/w out/x/",
            "{p",
            "p}",
            "s/a/b/m;e",
            "p w x",
            "F",
        ] {
            assert!(!sed_only_prints(script), "{script}");
        }
    }

    #[test]
    fn printf_may_not_assign() {
        let plain = |format: &str| printf_is_plain(&[format.to_owned()]);
        assert!(plain("%s\\n") && plain("100%%n") && plain("%-10s"));
        assert!(!plain("%n") && !plain("%5n") && !plain("-v") && !plain("%ln"));
    }
}
