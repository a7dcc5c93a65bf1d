//! `memory_search`: facts that match.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::store::MemoryStore;

use crate::memory::line;
use crate::tool::{Act, Halt, Traits, found};

/// Facts shown when the call does not say (`subsystems/memory.md`, ME-12).
const LIMIT: u32 = 6;

/// Most facts a call may ask for.
const LIMIT_MAX: u32 = 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Empty lists the newest
    query: String,
    limit: Option<u32>,
}

pub(crate) struct Search {
    spec: ToolSpec,
    memories: Arc<dyn MemoryStore>,
}

impl Search {
    pub(crate) fn new(memories: Arc<dyn MemoryStore>) -> Self {
        let traits = Traits {
            name: "memory_search",
            about: "Recall remembered facts.",
            effect: Effect::Reads,
            level: TrustLevel::L2,
            class: ActionClass::Read,
            operands: Vec::new(),
        };
        Self {
            spec: traits.with::<Args>(),
            memories,
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
        let limit = args.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
        let agent = Some(&cx.agent.name);
        let facts = self
            .memories
            .recall(&cx.owner, agent, Some(cx.session), &args.query, limit)
            .await?;
        if facts.is_empty() {
            return Ok(found("[nothing is remembered about this]", Origin::Memory));
        }
        let lines: Vec<String> = facts.iter().map(line).collect();
        // The least trusted fact decides about the whole text (S21).
        let label = facts.iter().fold(Label::of(Origin::Memory), |label, it| {
            label.at_most(it.trust)
        });
        Ok(ToolOutcome::Done {
            text: lines.join("\n"),
            label,
        })
    }
}
