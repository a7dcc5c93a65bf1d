//! `node_list`: the devices that were lent, and what they may be asked.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{Nodes, ToolCx};

use crate::cut;
use crate::tool::{Act, Halt, Traits, found, report};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {}

pub(crate) struct List {
    spec: ToolSpec,
    nodes: Arc<dyn Nodes>,
    shown_max: usize,
}

impl List {
    pub(crate) fn new(nodes: Arc<dyn Nodes>, shown_max: usize) -> Self {
        let traits = Traits {
            name: "node_list",
            about: "List the owner's other devices (nodes) and the commands they offer.",
            effect: Effect::Reads,
            level: TrustLevel::L5,
            class: ActionClass::Read,
            operands: vec![],
        };
        Self {
            spec: traits.with::<Args>(),
            nodes,
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

    async fn act(&self, _args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let nodes = self
            .nodes
            .list(&cx.owner)
            .await
            .map_err(|error| Halt::failed(error.to_string()))?;
        if nodes.is_empty() {
            return Ok(report("There are no nodes."));
        }
        let lines: Vec<String> = nodes
            .iter()
            .map(|it| {
                format!(
                    "{} ({}, {}) id {}: {}",
                    it.name.as_deref().unwrap_or("unnamed"),
                    it.platform.as_deref().unwrap_or("unknown"),
                    if it.connected { "connected" } else { "away" },
                    it.id.get(..12).unwrap_or(&it.id),
                    it.commands.join(", ")
                )
            })
            .collect();
        let text = lines.join("\n");
        let shown = cut::keep_head(&text, self.shown_max, text.len() as u64, "");
        // Names and commands are what the devices say of themselves.
        let node = "all".to_owned();
        Ok(found(shown, Origin::Node { node }))
    }
}
