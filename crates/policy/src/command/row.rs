//! What a row of the table can say about a program.

use serde::Serialize;

/// A program, or a sub-command of one, that may run without asking.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// The name as typed.
    pub name: &'static str,
    /// Options without a value, separated by blanks. `-#` stands for digits, as in `head -5`.
    pub flags: &'static str,
    /// Options that take a value: `-n 5`, `-n5`, `--lines=5`, `--lines 5`.
    pub valued: &'static str,
    /// Options whose value must be attached if it is there at all: `--color`, `--color=never`, `-U3`.
    pub attached: &'static str,
    /// Options whose value names a file to be read; the value is judged like an operand.
    pub files: &'static str,
    /// What the remaining arguments are.
    pub operands: Operands,
    /// What an unquoted pattern such as `*` may do here.
    pub globs: Globs,
    /// A rule that does not fit in a list.
    pub check: Check,
    /// Sub-commands; if there are any, the first argument must name one.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub subcommands: &'static [Program],
}

/// What the arguments of a program mean that are not options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operands {
    /// None are allowed.
    None,
    /// Files or directories to be read.
    Paths,
    /// One file or directory at most, because a second one would be written.
    OnePath,
    /// A pattern or filter, then files to be read. The pattern moves into an option with `-e` or `-f`.
    PatternThenPaths,
    /// Plain text that names no file.
    Text,
    /// Everything is plain text, options included.
    Literal,
    /// Revisions or files of a repository.
    Revisions,
}

/// What an unquoted pattern may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Globs {
    /// Allowed: even a file called `--anything` can only change how this program reads.
    Anywhere,
    /// The pattern must begin with a fixed character (`./*`, `src/*`) or follow `--`, because a file whose name begins
    /// with a dash would be taken for an option that writes, runs something or reads other files.
    Anchored,
}

/// Rules that need more than a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// None.
    Nothing,
    /// Operands must begin with `+`: anything else sets the clock.
    Date,
    /// Expressions of `find`, by an allow-list of predicates.
    Find,
    /// `git` and its options before the sub-command.
    Git,
    /// Filters of `jq` without environment or modules.
    Jq,
    /// `printf` without assignments to variables.
    Printf,
    /// Scripts of `sed` that only print, delete and substitute.
    Sed,
    /// Options of the shell that only make it stricter.
    Set,
    /// `test` and `[` without predicates that evaluate text.
    Test,
    /// Operands beginning with `@` name a file of further options.
    NoResponseFiles,
    /// Only a listing: without `--list`, operands would create or delete something.
    ListOnly,
    /// No operands, or the word `list` or `show` first.
    ListOrShow,
    /// The only operand is `get-url` with a name, or nothing.
    Remote,
}
