//! `file_list`: what is in a directory.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::files::{FileEntry, FileKind, Listing, WalkLimits};

use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, found};

/// Most entries of one listing.
const ENTRIES_MAX: usize = 1_000;

/// Most levels of one listing.
const DEPTH_MAX: usize = 8;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: Option<String>,
    /// Levels, default 1
    depth: Option<u32>,
}

pub(crate) struct List {
    spec: ToolSpec,
    shown_max: usize,
}

impl List {
    pub(crate) fn new(shown_max: usize) -> Self {
        let traits = Traits {
            name: "file_list",
            about: "List a folder.",
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
impl Act for List {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        let shown_max = self.shown_max;
        apart(cx.deadline, move |_until| {
            let path = args.path.unwrap_or_else(|| ".".to_owned());
            let depth = args
                .depth
                .map_or(1, |it| usize::try_from(it).unwrap_or(DEPTH_MAX))
                .clamp(1, DEPTH_MAX);
            let listing = if depth == 1 {
                files.list(&path, ENTRIES_MAX)?
            } else {
                let limits = WalkLimits {
                    entries_max: ENTRIES_MAX,
                    depth_max: depth,
                    ..WalkLimits::default()
                };
                files.walk(&path, &limits)?
            };
            Ok(found(shown(&listing, shown_max), Origin::File { path }))
        })
        .await
    }
}

/// One entry a line; folders end in `/`, links in `@`, files carry their size.
fn shown(listing: &Listing, shown_max: usize) -> String {
    if listing.entries.is_empty() {
        return "[empty]".to_owned();
    }
    let mut out = String::new();
    let mut n_shown = 0;
    for entry in &listing.entries {
        let line = line(entry);
        if shown_max < out.len() + line.len() + 1 {
            break;
        }
        out.push_str(&line);
        out.push('\n');
        n_shown += 1;
    }
    if n_shown < listing.entries.len() || listing.truncated {
        let at_least = if listing.truncated { "more than " } else { "" };
        out.push_str(&format!(
            "[cut: {n_shown} of {at_least}{} entries shown]",
            listing.entries.len()
        ));
    } else {
        out.pop();
    }
    out
}

fn line(entry: &FileEntry) -> String {
    match entry.stat.kind {
        FileKind::File => format!("{}\t{}", entry.path, entry.stat.bytes),
        FileKind::Directory => format!("{}/", entry.path),
        FileKind::Link => format!("{}@", entry.path),
        FileKind::Special => format!("{}\t[not a regular file]", entry.path),
    }
}
