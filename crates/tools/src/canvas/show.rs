//! `canvas_show`: which page open views look at.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{Canvas, ToolCx};

use crate::canvas::{of, seen_by};
use crate::tool::{Act, Halt, Traits, report};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Such as index.html
    path: String,
}

pub(crate) struct Show {
    spec: ToolSpec,
    canvas: Arc<dyn Canvas>,
}

impl Show {
    pub(crate) fn new(canvas: Arc<dyn Canvas>) -> Self {
        let traits = Traits {
            name: "canvas_show",
            about: "Turn the owner's open views of the canvas to one of its pages.",
            effect: Effect::Idempotent,
            level: TrustLevel::L2,
            class: ActionClass::Talk,
            operands: vec![],
        };
        Self {
            spec: traits.with::<Args>(),
            canvas,
        }
    }
}

#[async_trait]
impl Act for Show {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let views = self.canvas.show(&of(cx), &args.path).await?;
        Ok(report(format!(
            "`{}` is shown. {}",
            args.path,
            seen_by(views)
        )))
    }
}
