//! One shell word: what it means after quotes are taken away, and which of its characters the shell would act on.
//!
//! The grammar comes from the parser; this file only takes a raw word apart. Whatever it cannot reduce to fixed text
//! is recorded as an [`Issue`], never guessed.

use std::collections::BTreeSet;

/// Why a word is not simply its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Issue {
    /// `$NAME`, `${…}`: the value is decided when the command runs.
    Expansion,
    /// `$(…)` or backquotes: another command decides the text.
    Substitution,
    /// `$((…))` or `$[…]`, which may run commands through array subscripts.
    Arithmetic,
    /// `{a,b}`: one word becomes several.
    Brace,
    /// `$'…'` or `$"…"`, which shells read differently.
    SpecialQuote,
    /// `~` at a place where the shell puts in a home directory.
    Tilde,
    /// Quotes or brackets that do not close.
    Malformed,
}

impl Issue {
    /// Whether the text of the word is unknown before it runs.
    pub(super) fn is_opaque(self) -> bool {
        self != Self::Tilde
    }

    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Expansion => "shell.expansion",
            Self::Substitution => "shell.substitution",
            Self::Arithmetic => "shell.arithmetic",
            Self::Brace => "shell.brace-expansion",
            Self::SpecialQuote => "shell.special-quote",
            Self::Tilde => "operand.home",
            Self::Malformed => "parse.word",
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Expansion => "A variable decides part of the command when it runs.",
            Self::Substitution => "The output of another command becomes part of this one.",
            Self::Arithmetic => "Shell arithmetic can run commands of its own.",
            Self::Brace => "A brace expression turns one word into several.",
            Self::SpecialQuote => "This kind of quoting is read differently by different shells.",
            Self::Tilde => "It reaches into a home directory.",
            Self::Malformed => "A word of the command could not be read completely.",
        }
    }
}

/// A character of a word after quote removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) c: char,
    /// Unquoted: the shell may treat it as part of a pattern.
    pub(super) active: bool,
}

/// A word taken apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    pub(super) raw: String,
    pub(super) glyphs: Vec<Glyph>,
    pub(super) issues: BTreeSet<Issue>,
    /// Scripts inside `$(…)` and backquotes.
    pub(super) nested: Vec<String>,
    /// Some of the text is not known (not even by way of `$HOME` or `$PWD`).
    pub(super) unknown: bool,
}

/// Values that a few expansions are known to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) home: &'a str,
    pub(super) cwd: &'a str,
}

impl Word {
    /// Takes `raw` apart.
    pub(super) fn decode(raw: &str, known: Known<'_>) -> Self {
        let mut decoder = Decoder {
            chars: raw.chars().collect(),
            at: 0,
            known,
            word: Self {
                raw: raw.to_owned(),
                ..Self::default()
            },
        };
        decoder.run();
        let mut word = decoder.word;
        if has_brace_expansion(&word.glyphs) {
            word.issues.insert(Issue::Brace);
        }
        word
    }

    pub(super) fn text(&self) -> String {
        self.glyphs.iter().map(|g| g.c).collect()
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.issues.iter().any(|issue| issue.is_opaque())
    }

    /// Whether the shell would replace the word by the names of matching files.
    pub(super) fn has_glob(&self) -> bool {
        has_glob(&self.glyphs)
    }

    /// Whether a file name that begins with anything at all, a dash included, could take the place of this word.
    pub(super) fn begins_with_glob(&self) -> bool {
        self.has_glob()
            && self
                .glyphs
                .first()
                .is_some_and(|g| g.active && matches!(g.c, '*' | '?' | '['))
    }

    /// The word from character `start` on.
    pub(super) fn from(&self, start: usize) -> Self {
        Self {
            glyphs: self.glyphs.iter().skip(start).copied().collect(),
            ..self.clone()
        }
    }
}

/// Whether `glyphs` hold an active pattern.
pub(super) fn has_glob(glyphs: &[Glyph]) -> bool {
    glyphs.iter().enumerate().any(|(index, g)| {
        g.active
            && match g.c {
                '*' | '?' => true,
                '[' => glyphs.iter().skip(index + 1).any(|later| later.c == ']'),
                _ => false,
            }
    })
}

/// Wider than the shell's own rule: an open brace, then a comma or two dots, then a closing one.
fn has_brace_expansion(glyphs: &[Glyph]) -> bool {
    let active = |g: &Glyph, c: char| g.active && g.c == c;
    let Some(open) = glyphs.iter().position(|g| active(g, '{')) else {
        return false;
    };
    let Some(close) = glyphs.iter().rposition(|g| active(g, '}')) else {
        return false;
    };
    let inner = glyphs.get(open..close).unwrap_or_default();
    let range = inner.windows(2).any(|pair| pair.iter().all(|g| g.c == '.'));
    range || inner.iter().any(|g| active(g, ','))
}

struct Decoder<'a> {
    chars: Vec<char>,
    at: usize,
    known: Known<'a>,
    word: Word,
}

impl Decoder<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0);
        self.at += 1;
        c
    }

    fn push(&mut self, c: char, active: bool) {
        self.word.glyphs.push(Glyph { c, active });
    }

    fn issue(&mut self, issue: Issue) {
        self.word.issues.insert(issue);
    }

    fn run(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(escaped) => self.push(escaped, false),
                    None => self.issue(Issue::Malformed),
                },
                '\'' => self.single(),
                '"' => self.double(),
                '$' => self.dollar(true),
                '`' => self.backquote(),
                '~' if self.tilde_counts() => self.tilde(),
                _ => self.push(c, true),
            }
        }
    }

    fn single(&mut self) {
        loop {
            match self.next() {
                Some('\'') => return,
                Some(c) => self.push(c, false),
                None => return self.issue(Issue::Malformed),
            }
        }
    }

    fn double(&mut self) {
        loop {
            match self.next() {
                Some('"') => return,
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c, false),
                    Some(c) => {
                        self.push('\\', false);
                        self.push(c, false);
                    }
                    None => return self.issue(Issue::Malformed),
                },
                Some('$') => self.dollar(false),
                Some('`') => self.backquote(),
                Some(c) => self.push(c, false),
                None => return self.issue(Issue::Malformed),
            }
        }
    }

    /// What follows a dollar sign. `bare` means outside double quotes.
    fn dollar(&mut self, bare: bool) {
        match self.peek(0) {
            Some('\'') if bare => {
                self.at += 1;
                self.issue(Issue::SpecialQuote);
                self.ansi_c();
            }
            Some('"') if bare => {
                self.at += 1;
                self.issue(Issue::SpecialQuote);
                self.double();
            }
            Some('(') => {
                let inner = self.balanced('(', ')');
                self.word.unknown = true;
                if let Some(arithmetic) = inner.strip_prefix('(') {
                    self.issue(Issue::Arithmetic);
                    self.word.nested.extend(embedded(arithmetic, self.known));
                } else {
                    self.issue(Issue::Substitution);
                    self.word.nested.push(inner);
                }
            }
            Some('[') => {
                let inner = self.balanced('[', ']');
                self.word.unknown = true;
                self.issue(Issue::Arithmetic);
                self.word.nested.extend(embedded(&inner, self.known));
            }
            Some('{') => {
                let inner = self.balanced('{', '}');
                self.variable(&inner);
            }
            // A process number or an exit code: digits, whatever happens.
            Some(c @ ('?' | '$' | '#')) => {
                self.at += 1;
                self.push('$', false);
                self.push(c, false);
            }
            Some(c @ ('@' | '*' | '!' | '-' | '0'..='9')) => {
                self.at += 1;
                self.variable(&c.to_string());
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let mut name = String::new();
                while let Some(c) = self
                    .peek(0)
                    .filter(|c| *c == '_' || c.is_ascii_alphanumeric())
                {
                    name.push(c);
                    self.at += 1;
                }
                self.variable(&name);
            }
            _ => self.push('$', bare),
        }
    }

    fn variable(&mut self, name: &str) {
        self.issue(Issue::Expansion);
        let known = match name {
            "HOME" => self.known.home,
            "PWD" => self.known.cwd,
            _ => {
                self.word.unknown = true;
                self.word.nested.extend(embedded(name, self.known));
                return;
            }
        };
        for c in known.chars() {
            self.push(c, false);
        }
    }

    /// Consumes from an opening bracket to its partner and returns what lies between.
    fn balanced(&mut self, open: char, close: char) -> String {
        let mut inner = String::new();
        let mut depth = 0_usize;
        let mut quote = None;
        while let Some(c) = self.next() {
            match (quote, c) {
                (None | Some('"'), '\\') => {
                    inner.push(c);
                    inner.extend(self.next());
                    continue;
                }
                (None, '\'' | '"') => quote = Some(c),
                (Some(q), _) if q == c => quote = None,
                (None, _) if c == open => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                (None, _) if c == close => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return inner;
                    }
                }
                _ => {}
            }
            inner.push(c);
        }
        self.issue(Issue::Malformed);
        inner
    }

    fn backquote(&mut self) {
        self.issue(Issue::Substitution);
        self.word.unknown = true;
        let mut inner = String::new();
        while let Some(c) = self.next() {
            match c {
                '`' => {
                    self.word.nested.push(inner);
                    return;
                }
                '\\' => inner.extend(self.next()),
                _ => inner.push(c),
            }
        }
        self.issue(Issue::Malformed);
    }

    fn ansi_c(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\'' => return,
                '\\' => self.ansi_c_escape(),
                _ => self.push(c, false),
            }
        }
        self.issue(Issue::Malformed);
    }

    fn ansi_c_escape(&mut self) {
        let Some(c) = self.next() else {
            return self.issue(Issue::Malformed);
        };
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'e' | 'E' => '\u{1b}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => self.number(16, 2),
            'u' => self.number(16, 4),
            'U' => self.number(16, 8),
            '0'..='7' => {
                self.at -= 1;
                self.number(8, 3)
            }
            other => other,
        };
        self.push(plain, false);
    }

    fn number(&mut self, radix: u32, digits_max: usize) -> char {
        let mut value = 0_u32;
        let mut n_digits = 0;
        while n_digits < digits_max {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(radix)) else {
                break;
            };
            value = value.saturating_mul(radix).saturating_add(digit);
            self.at += 1;
            n_digits += 1;
        }
        char::from_u32(value).unwrap_or('\u{fffd}')
    }

    /// At the start of a word, and after `=` or `:` as in an assignment.
    fn tilde_counts(&self) -> bool {
        match self.at.checked_sub(2).and_then(|at| self.chars.get(at)) {
            None => true,
            Some(before) => matches!(before, '=' | ':'),
        }
    }

    fn tilde(&mut self) {
        let mut user = String::new();
        while let Some(c) = self
            .peek(user.chars().count())
            .filter(|c| !matches!(c, '/' | ':'))
        {
            user.push(c);
        }
        self.issue(Issue::Tilde);
        if user.is_empty() {
            for c in self.known.home.chars() {
                self.push(c, false);
            }
        } else {
            // Another user's directory, or the previous working directory: not ours in any case.
            self.word.unknown = true;
            self.push('~', false);
        }
    }
}

/// Scripts inside the substitutions of `text`, found one level down.
fn embedded(text: &str, known: Known<'_>) -> Vec<String> {
    if !text.contains(['$', '`']) {
        return Vec::new();
    }
    let mut decoder = Decoder {
        chars: text.chars().collect(),
        at: 0,
        known,
        word: Word::default(),
    };
    while let Some(c) = decoder.next() {
        match c {
            '$' => decoder.dollar(false),
            '`' => decoder.backquote(),
            _ => {}
        }
    }
    decoder.word.nested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(raw: &str) -> Word {
        Word::decode(
            raw,
            Known {
                home: "/home/ada",
                cwd: "/home/ada/work",
            },
        )
    }

    #[test]
    fn quotes_are_removed_as_a_shell_would() {
        for (raw, text) in [
            ("l\"\"s", "ls"),
            ("\\ls", "ls"),
            ("'a b'\"c d\"e", "a bc de"),
            ("\"a\\$b\\n\"", "a$b\\n"),
            ("a\\\nb", "ab"),
            ("$'\\x72\\155'", "rm"),
            ("cost$", "cost$"),
            ("$HOME/x", "/home/ada/x"),
            ("~/x", "/home/ada/x"),
        ] {
            assert_eq!(decode(raw).text(), text, "{raw}");
        }
    }

    #[test]
    fn what_a_shell_would_compute_is_recorded() {
        for (raw, issue) in [
            ("$x", Issue::Expansion),
            ("\"${x:-y}\"", Issue::Expansion),
            ("$(id)", Issue::Substitution),
            ("\"`id`\"", Issue::Substitution),
            ("$((1+1))", Issue::Arithmetic),
            ("$[1]", Issue::Arithmetic),
            ("{a,b}", Issue::Brace),
            ("x{1..3}", Issue::Brace),
            ("$'a'", Issue::SpecialQuote),
            ("$\"a\"", Issue::SpecialQuote),
            ("~bob/x", Issue::Tilde),
            ("'a", Issue::Malformed),
        ] {
            assert!(decode(raw).issues.contains(&issue), "{raw}");
        }
        for raw in [
            "'$x'",
            "\"a\"",
            "'{a,b}'",
            "a~",
            "$?",
            "stash@{0}",
            "\\$x",
            "'~'",
        ] {
            assert!(decode(raw).issues.is_empty(), "{raw}");
        }
    }

    #[test]
    fn commands_inside_substitutions_are_found() {
        assert_eq!(decode("$(rm x)").nested, ["rm x"]);
        assert_eq!(decode("a`rm x`b").nested, ["rm x"]);
        assert_eq!(decode("\"${x:-$(rm x)}\"").nested, ["rm x"]);
        assert_eq!(decode("$((a[$(rm x)]))").nested, ["rm x"]);
    }
}
