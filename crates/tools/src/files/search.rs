//! `file_search`: lines that match, in the files of a folder.

use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::files::{FileKind, WalkLimits};
use adjutant_ports::{Files, ToolCx};

use crate::cut;
use crate::files::is_binary;
use crate::thread::{Until, apart};
use crate::tool::{Act, Halt, Traits, found};

/// How much of one file is searched, in bytes.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// How much is searched in one call, in bytes.
const SEARCHED_BYTES_MAX: u64 = 256 << 20;

/// Most lines in one answer.
const MATCHES_MAX: usize = 200;

/// Longest part of a matching line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    query: String,
    /// Folder or file
    path: Option<String>,
    /// Like *.md
    glob: Option<String>,
    /// Query is a regular expression
    regex: Option<bool>,
}

pub(crate) struct Search {
    spec: ToolSpec,
    shown_max: usize,
}

impl Search {
    pub(crate) fn new(shown_max: usize) -> Self {
        let traits = Traits {
            name: "file_search",
            about: "Find lines in files; lower-case queries ignore case.",
            effect: Effect::Reads,
            level: TrustLevel::L2,
            class: ActionClass::Read,
            operands: vec![Operand::ReadPath {
                arg: "path".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
            shown_max,
        }
    }
}

#[async_trait]
impl Act for Search {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let pattern = pattern(&args)?;
        let glob = args.glob.as_deref().map(matcher).transpose()?;
        let path = args.path.unwrap_or_else(|| ".".to_owned());
        let files = cx.files.clone();
        let shown_max = self.shown_max;
        apart(cx.deadline, move |until| {
            let mut hits = Hits {
                text: String::new(),
                n_lines: 0,
                n_files: 0,
                shown_max,
                stopped: None,
            };
            search(&*files, &path, &pattern, glob.as_ref(), until, &mut hits)?;
            Ok(found(hits.into_text(), Origin::File { path }))
        })
        .await
    }
}

fn pattern(args: &Args) -> Result<Regex, Halt> {
    if args.query.is_empty() {
        return Err(Halt::failed("`query` is empty"));
    }
    let is_regex = args.regex.unwrap_or(false);
    let source = if is_regex {
        args.query.clone()
    } else {
        regex::escape(&args.query)
    };
    // Escapes such as `\S` hold upper-case letters that are not meant as such.
    let bare: String = args
        .query
        .split('\\')
        .enumerate()
        .map(|(i, it)| if i == 0 { it } else { rest(it) })
        .collect();
    RegexBuilder::new(&source)
        .case_insensitive(!bare.chars().any(char::is_uppercase))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| {
            Halt::failed(format!(
                "`query` is not a usable regular expression: {error}"
            ))
        })
}

/// A text without its first character.
fn rest(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

fn matcher(glob: &str) -> Result<GlobMatcher, Halt> {
    // A pattern without a folder is meant for names at any depth.
    let full = if glob.contains('/') {
        glob.to_owned()
    } else {
        format!("**/{glob}")
    };
    GlobBuilder::new(&full)
        .literal_separator(true)
        .build()
        .map(|it| it.compile_matcher())
        .map_err(|error| Halt::failed(format!("`glob` is not a usable pattern: {error}")))
}

fn search(
    files: &dyn Files,
    path: &str,
    pattern: &Regex,
    glob: Option<&GlobMatcher>,
    until: &Until,
    hits: &mut Hits,
) -> Result<(), Halt> {
    if files.stat(path)?.kind == FileKind::File {
        let content = files.read(path, FILE_BYTES_MAX)?;
        if is_binary(&content.bytes) {
            return Err(Halt::failed(format!("`{path}` is not text")));
        }
        hits.look(path, &String::from_utf8_lossy(&content.bytes), pattern);
        if content.is_truncated() {
            hits.stop("only the first 2 MiB of the file were searched");
        }
        return Ok(());
    }
    let listing = files.walk(path, &WalkLimits::default())?;
    let prefix = match path.trim_end_matches('/') {
        "" if path.starts_with('/') => "/".to_owned(),
        "" | "." => String::new(),
        other => format!("{other}/"),
    };
    let mut left = SEARCHED_BYTES_MAX;
    let wanted = listing
        .entries
        .iter()
        .filter(|it| it.stat.kind == FileKind::File);
    for entry in wanted.filter(|it| glob.is_none_or(|glob| glob.is_match(&it.path))) {
        if hits.stopped.is_some() {
            return Ok(());
        }
        if until.is_over() {
            hits.stop("the time for the search is over");
            return Ok(());
        }
        let Some(after) = left.checked_sub(entry.stat.bytes.min(FILE_BYTES_MAX)) else {
            hits.stop("256 MiB were searched; name a folder or a glob for the rest");
            return Ok(());
        };
        left = after;
        let name = format!("{prefix}{}", entry.path);
        // A file that went away, or that may not be read, is not a match.
        let Ok(content) = files.read(&name, FILE_BYTES_MAX) else {
            continue;
        };
        if !is_binary(&content.bytes) {
            hits.look(&name, &String::from_utf8_lossy(&content.bytes), pattern);
        }
    }
    if listing.truncated {
        hits.stop("there are more files than are searched at once; name a folder");
    }
    Ok(())
}

/// Matching lines so far.
struct Hits {
    text: String,
    n_lines: usize,
    n_files: usize,
    shown_max: usize,
    stopped: Option<&'static str>,
}

impl Hits {
    fn look(&mut self, path: &str, text: &str, pattern: &Regex) {
        let before = self.n_lines;
        for (index, line) in text.lines().enumerate() {
            let Some(hit) = pattern.find(line) else {
                continue;
            };
            // The match is what matters: show what is around it when the line is long.
            let from = line.floor_char_boundary(hit.start().saturating_sub(LINE_BYTES_MAX / 3));
            let around = cut::head(&line[from..], LINE_BYTES_MAX);
            let before = if from == 0 { "" } else { "…" };
            let after = if from + around.len() < line.len() {
                "…"
            } else {
                ""
            };
            let row = format!(
                "{path}:{}: {before}{}{after}\n",
                index + 1,
                around.trim_end()
            );
            if MATCHES_MAX <= self.n_lines || self.shown_max < self.text.len() + row.len() {
                self.stop("there are more matches");
                break;
            }
            self.text.push_str(&row);
            self.n_lines += 1;
        }
        if before < self.n_lines {
            self.n_files += 1;
        }
    }

    fn stop(&mut self, why: &'static str) {
        self.stopped.get_or_insert(why);
    }

    fn into_text(self) -> String {
        let why = self
            .stopped
            .map(|it| format!("; stopped: {it}"))
            .unwrap_or_default();
        match self.n_lines {
            0 => format!("[no match{why}]"),
            n => format!(
                "{}[{n} matching lines in {} files{why}]",
                self.text, self.n_files
            ),
        }
    }
}
