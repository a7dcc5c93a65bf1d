//! `memory_forget`: a fact that goes.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::id::MemoryId;
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::store::MemoryStore;

use crate::memory::{is_visible, line};
use crate::tool::{Act, Halt, Traits, report};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// From memory_search
    id: String,
}

pub(crate) struct Forget {
    spec: ToolSpec,
    memories: Arc<dyn MemoryStore>,
}

impl Forget {
    pub(crate) fn new(memories: Arc<dyn MemoryStore>) -> Self {
        let traits = Traits {
            name: "memory_forget",
            about: "Forget a fact.",
            effect: Effect::Idempotent,
            level: TrustLevel::L3,
            class: ActionClass::Remember,
            operands: Vec::new(),
        };
        Self {
            spec: traits.with::<Args>(),
            memories,
        }
    }
}

#[async_trait]
impl Act for Forget {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let id: MemoryId = args.id.parse().map_err(|error| {
            Halt::failed(format!("{error}; search the memory to find the identifier"))
        })?;
        let memory = self.memories.memory(&cx.owner, id).await?;
        // What this agent may not recall, it may not remove, and not learn about either.
        let Some(memory) = memory.filter(|it| is_visible(it, cx)) else {
            return Ok(report(format!(
                "there is no memory {id}; it was forgotten before, or never there"
            )));
        };
        self.memories.forget(&cx.owner, &[id]).await?;
        let label = Label::of(Origin::Memory).at_most(memory.trust);
        Ok(ToolOutcome::Done {
            text: format!("forgot {}", line(&memory)),
            label,
        })
    }
}
