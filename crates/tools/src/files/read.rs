//! `file_read`: the text of a file, or some lines of it.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::files::FileContent;

use crate::cut;
use crate::files::is_binary;
use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, found};

/// How far into a file lines can be reached, in bytes.
const READ_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    /// First line, from 1
    offset: Option<u32>,
    /// Most lines
    limit: Option<u32>,
}

pub(crate) struct Read {
    spec: ToolSpec,
    shown_max: usize,
}

impl Read {
    pub(crate) fn new(shown_max: usize) -> Self {
        let traits = Traits {
            name: "file_read",
            about: "Read a text file.",
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
impl Act for Read {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        let shown_max = self.shown_max;
        apart(cx.deadline, move |_until| {
            let content = files.read(&args.path, READ_BYTES_MAX)?;
            let text = lines(&content, &args, shown_max)?;
            Ok(found(text, Origin::File { path: args.path }))
        })
        .await
    }
}

/// The lines that were asked for, as many as can be shown.
fn lines(content: &FileContent, args: &Args, shown_max: usize) -> Result<String, Halt> {
    let Args {
        path,
        offset,
        limit,
    } = args;
    let total = content.total_bytes;
    if is_binary(&content.bytes) {
        return Err(Halt::failed(format!(
            "`{path}` is not text ({total} bytes); a program can read it"
        )));
    }
    let text = String::from_utf8_lossy(&content.bytes);
    let whole = offset.is_none_or(|it| it <= 1) && limit.is_none();
    if whole && text.len() <= shown_max && !content.is_truncated() {
        return Ok(text.into_owned());
    }
    let n_lines = text.lines().count();
    let first = usize::try_from(offset.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
    if n_lines < first {
        return Err(Halt::failed(format!(
            "`{path}` has {n_lines} lines, so there is no line {first}"
        )));
    }
    let wanted = limit.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
    let mut shown = String::new();
    let mut n_shown = 0;
    let mut split = "";
    for line in text.split_inclusive('\n').skip(first - 1).take(wanted) {
        if shown_max < shown.len() + line.len() {
            if n_shown == 0 {
                // Not even one line fits: show its start rather than nothing.
                shown.push_str(cut::head(line, shown_max));
                shown.push('\n');
                n_shown = 1;
                split = ", the line is longer than can be shown";
            }
            break;
        }
        shown.push_str(line);
        n_shown += 1;
    }
    let last = first + n_shown - 1;
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
    let of = if content.is_truncated() {
        format!(
            "{n_lines} in the first {} of {total} bytes",
            content.bytes.len()
        )
    } else {
        format!("{n_lines}, {total} bytes")
    };
    let more = if last < n_lines {
        format!("; next: offset {}", last + 1)
    } else {
        String::new()
    };
    shown.push_str(&format!("[lines {first}-{last} of {of}{split}{more}]"));
    Ok(shown)
}
