//! `canvas_ui`: surfaces of controls, said in A2UI.

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

/// Flaws that are told at once.
const FLAWS_MAX: usize = 10;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Messages of A2UI v0.9 or v0.8, one JSON object a line
    #[serde(default)]
    messages: Option<String>,
    /// Take away all surfaces first
    #[serde(default)]
    reset: bool,
}

pub(crate) struct Ui {
    spec: ToolSpec,
    canvas: Arc<dyn Canvas>,
}

impl Ui {
    pub(crate) fn new(canvas: Arc<dyn Canvas>) -> Self {
        let traits = Traits {
            name: "canvas_ui",
            about: "Show the owner forms, lists and buttons with A2UI messages (createSurface, updateComponents, \
                    updateDataModel, deleteSurface; catalogId \
                    https://a2ui.org/specification/v0_9/catalogs/basic/catalog.json). What is pressed comes back as a message.",
            effect: Effect::Once,
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
impl Act for Ui {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let of = of(cx);
        let mut said = Vec::new();
        if args.reset {
            let n = self.canvas.reset(&of, None).await?;
            said.push(format!("{n} surfaces were taken away."));
        }
        let Some(messages) = args.messages else {
            if said.is_empty() {
                return Err(Halt::failed("give `messages`, or `reset`"));
            }
            return Ok(report(said.join(" ")));
        };
        let pushed = self.canvas.push(&of, &messages).await?;
        said.push(format!(
            "{} messages were taken. {}",
            pushed.accepted,
            seen_by(pushed.views)
        ));
        if pushed.rejected.is_empty() {
            return Ok(report(said.join(" ")));
        }
        said.push(format!(
            "A2UI_INVALID: {} were not, and changed nothing:",
            pushed.rejected.len()
        ));
        for flaw in pushed.rejected.iter().take(FLAWS_MAX) {
            let place = if flaw.path.is_empty() {
                "/"
            } else {
                &flaw.path
            };
            said.push(format!(
                "\nmessage {} at {place}: {}",
                flaw.index + 1,
                flaw.reason
            ));
        }
        Err(Halt::failed(said.join(" ")))
    }
}
