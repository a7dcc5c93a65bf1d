//! `canvas_read`: the files of the canvas, or one of them.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{Canvas, ToolCx};

use crate::canvas::of;
use crate::cut;
use crate::tool::{Act, Halt, Traits, found};

/// How much of a file is read.
const READ_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Absent: all files are listed
    #[serde(default)]
    path: Option<String>,
}

pub(crate) struct Read {
    spec: ToolSpec,
    canvas: Arc<dyn Canvas>,
    shown_max: usize,
}

impl Read {
    pub(crate) fn new(canvas: Arc<dyn Canvas>, shown_max: usize) -> Self {
        let traits = Traits {
            name: "canvas_read",
            about: "Read a file of the canvas, or list its files.",
            effect: Effect::Reads,
            level: TrustLevel::L2,
            class: ActionClass::Read,
            operands: vec![],
        };
        Self {
            spec: traits.with::<Args>(),
            canvas,
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
        let (text, path) = match args.path {
            Some(path) => {
                let bytes = self.canvas.read(&of(cx), &path, READ_BYTES_MAX).await?;
                (String::from_utf8_lossy(&bytes).into_owned(), path)
            }
            None => {
                let files = self.canvas.list(&of(cx)).await?;
                let lines = files
                    .iter()
                    .map(|it| format!("{} ({} bytes)", it.path, it.bytes));
                let lines: Vec<String> = lines.collect();
                let text = if lines.is_empty() {
                    "The canvas is empty.".to_owned()
                } else {
                    lines.join("\n")
                };
                (text, ".".to_owned())
            }
        };
        let shown = cut::keep_head(&text, self.shown_max, text.len() as u64, "");
        let path = format!("canvas/{path}");
        Ok(found(shown, Origin::File { path }))
    }
}
