//! `ask_user`: a question that parks the run until the owner answers.
//!
//! The engine sees [`ToolSpec::asks_owner`] and asks; this tool exists to be offered to a model.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{ToolCx, ToolError};

use crate::tool::{Act, Halt, Traits};

/// The arguments, for the schema; the engine reads them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the engine reads the arguments from the call")]
pub(crate) struct Args {
    question: String,
    options: Option<Vec<String>>,
}

pub(crate) struct AskUser {
    spec: ToolSpec,
}

impl AskUser {
    pub(crate) fn new() -> Self {
        let traits = Traits {
            name: "ask_user",
            about: "Ask the user and wait for the answer.",
            effect: Effect::Reads,
            level: TrustLevel::L1,
            class: ActionClass::Talk,
            operands: Vec::new(),
        };
        Self {
            spec: ToolSpec {
                asks_owner: true,
                ..traits.with::<Args>()
            },
        }
    }
}

#[async_trait]
impl Act for AskUser {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, _args: Args, _permit: &Permit, _cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let reason = "a question to the owner reached the tool instead of the owner".to_owned();
        Err(ToolError::Internal { reason }.into())
    }
}
