//! What a shell command would do, as far as its text can tell.
//!
//! The gate in front of every command. A script is read once, whole, with a bash grammar; every simple command in it is
//! looked up in a table of programs that only read; the worst part decides. Three rules settle doubts:
//!
//! 1. What cannot be read completely is *opaque*: it asks at best, and the answer is never remembered.
//! 2. What is not in the table asks. A program's name proves nothing without its options and operands.
//! 3. A limit that is exceeded refuses; it never makes a command look better.
//!
//! Everything here is a function of the text and of four paths. No disk is touched, so a link can still lead elsewhere:
//! that is the sandbox's business, in which even a safe-read command runs without network and with a workspace it
//! cannot write.
//!
//! # Patterns
//!
//! An unquoted pattern (`*`, `?`, `[…]`) becomes file names that nobody has seen yet, and a file may be called `-o`.
//! A row of the table says what that can do ([`Globs`]): for programs whose options can only change how they read,
//! nothing, so `wc -l *.md` runs; for the others the pattern has to begin with a fixed character (`./*.md`, `src/*`) or
//! follow `--`.

mod args;
mod checks;
mod deny;
mod document;
mod git;
mod judge;
mod kinds;
mod lex;
mod limits;
mod path;
mod row;
mod table;
mod text;
mod variables;
mod walk;
mod word;
mod wrapper;

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

pub use row::{Check, Globs, Operands, Program};
pub use table::{TABLE, table};
pub use text::escape;

/// Longest script that is looked at, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 16 * 1024;
/// Most simple commands in one script.
pub const SEGMENTS_MAX: usize = 50;
/// Most programs in front of a command that only run it.
pub const WRAPPERS_MAX: usize = 8;
/// Deepest nesting of brackets, groups and scripts within scripts. Ours: far beyond anything a person would read.
pub const NESTING_MAX: usize = 16;

/// How a command is answered. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Runs without asking: it only reads, and only inside the workspace.
    SafeRead,
    /// Runs if a person says so.
    NeedsApproval,
    /// Does not run, whatever anyone says.
    AlwaysDeny,
}

/// Where the command would run. Used by letters only; nothing is looked up on a disk.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The directory the agent may read.
    pub workspace: &'a Path,
    /// The working directory of the command.
    pub cwd: &'a Path,
    /// The directory of our own records, which no command may touch.
    pub state_dir: &'a Path,
    /// The home directory of the owner.
    pub home: &'a Path,
}

/// What a script would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The worst class of any part.
    pub class: Class,
    /// Part of it could not be read completely. An answer to such a command is never remembered.
    pub opaque: bool,
    /// The rule that decided, such as `table.git.read`.
    pub rule: String,
    /// One plain sentence for a person.
    pub reason: String,
    /// Every simple command that was found, in order of appearance.
    pub segments: Vec<Segment>,
    /// It needs a workspace it can write to.
    pub writes: bool,
    /// The script as it may be shown: nothing in it is invisible.
    pub escaped: String,
}

/// One simple command of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// The words after quotes were taken away, as far as they are known; otherwise as written.
    pub argv: Vec<String>,
    /// The program that runs in the end, after wrappers such as `timeout` were looked through.
    pub program: String,
    /// Those wrappers, outermost first.
    pub wrappers: Vec<String>,
    /// The class of this command alone.
    pub class: Class,
    /// The rule that decided for this command.
    pub rule: String,
    /// One plain sentence for a person.
    pub reason: String,
    /// Where its input and output go.
    pub redirections: Vec<Redirection>,
}

/// A redirection of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redirection {
    /// The descriptor in front of the operator, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<i32>,
    /// The operator, such as `>>`.
    pub operator: String,
    /// The file, descriptor or text behind it.
    pub target: String,
}

/// Something noticed that makes a command worse than a safe-read.
#[derive(Debug, Clone)]
struct Finding {
    class: Class,
    opaque: bool,
    writes: bool,
    rule: String,
    reason: String,
}

impl Finding {
    fn asks(rule: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            class: Class::NeedsApproval,
            opaque: false,
            writes: false,
            rule: rule.into(),
            reason: reason.into(),
        }
    }

    fn opaque(rule: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            opaque: true,
            ..Self::asks(rule, reason)
        }
    }

    fn refuses(rule: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            class: Class::AlwaysDeny,
            ..Self::asks(rule, reason)
        }
    }

    fn and_writes(self) -> Self {
        Self {
            writes: true,
            ..self
        }
    }
}

/// The finding that decides: the first of the worst class.
fn worst(findings: &[Finding]) -> Option<&Finding> {
    let class = findings.iter().map(|finding| finding.class).max()?;
    findings.iter().find(|finding| finding.class == class)
}

/// Reads `script` and says what it would do.
///
/// Never fails: what cannot be read asks or is refused, with the reason.
pub fn analyse(script: &str, around: &Surroundings<'_>) -> Analysis {
    let mut findings = Vec::new();
    let mut segments = Vec::new();
    if SCRIPT_BYTES_MAX < script.len() {
        findings.push(Finding::refuses(
            "limit.length",
            "The command is longer than anyone could check.",
        ));
    } else {
        match text::screen(script) {
            text::Screen::Hidden(what) => {
                findings.push(Finding::refuses(
                    "text.hidden",
                    format!("The command contains {what}."),
                ));
            }
            screen => {
                if let text::Screen::Odd(what) = screen {
                    findings.push(Finding::asks(
                        "text.odd",
                        format!("The command contains {what}."),
                    ));
                }
                let mut walk = walk::Walk::new(around);
                walk.script(script);
                let walked = walk.finish();
                findings.extend(walked.findings);
                segments = walked.segments;
            }
        }
    }
    let fallback = segments
        .first()
        .map_or("table.nothing", |segment: &Segment| segment.rule.as_str());
    let (class, rule, reason) = match worst(&findings) {
        Some(finding) => (finding.class, finding.rule.clone(), finding.reason.clone()),
        None => (
            Class::SafeRead,
            fallback.to_owned(),
            "It only reads, and only inside the workspace.".to_owned(),
        ),
    };
    Analysis {
        class,
        opaque: findings.iter().any(|finding| finding.opaque),
        rule,
        reason,
        writes: findings.iter().any(|finding| finding.writes),
        segments,
        escaped: text::escape(script),
    }
}
