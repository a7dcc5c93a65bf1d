//! `canvas_write`: a file of the canvas.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{Canvas, ToolCx};

use crate::canvas::of;
use crate::tool::{Act, Halt, Traits, report};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Relative, such as index.html
    path: String,
    /// Absent: the file is removed
    #[serde(default)]
    content: Option<String>,
}

pub(crate) struct Write {
    spec: ToolSpec,
    canvas: Arc<dyn Canvas>,
}

impl Write {
    pub(crate) fn new(canvas: Arc<dyn Canvas>) -> Self {
        let traits = Traits {
            name: "canvas_write",
            about: "Write a file of the page the owner is shown; open views reload. It loads its own files only. With \
                    `<script src=\"adjutant.js\">`, `adjutant.act(name, context)` sends you an action.",
            effect: Effect::Idempotent,
            level: TrustLevel::L3,
            class: ActionClass::Write,
            operands: vec![],
        };
        Self {
            spec: traits.with::<Args>(),
            canvas,
        }
    }
}

#[async_trait]
impl Act for Write {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let Some(content) = args.content else {
            self.canvas.remove(&of(cx), &args.path).await?;
            return Ok(report(format!("removed `{}` from the canvas", args.path)));
        };
        let bytes = content.len();
        self.canvas
            .write(&of(cx), &args.path, content.into())
            .await?;
        let path = args.path;
        Ok(report(format!(
            "wrote `{path}` of the canvas ({bytes} bytes)"
        )))
    }
}
