//! `node_look`, `node_invoke`: asking a device.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::node::CommandKind;
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::{NodeAsk, Nodes, NodesError, ToolCx};

use crate::cut;
use crate::tool::{Act, Halt, Traits, found};

/// Bytes of a picture or film beyond which its text is left out for the model.
const BASE64_KEPT: usize = 256;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Name or id, see `node_list`.
    node: String,
    /// Such as `system.which`.
    command: String,
    /// Parameters of the command.
    #[serde(default)]
    params: Option<Map<String, Value>>,
}

/// Commands that only look and tell nothing private.
pub(crate) struct Look(Door);

/// Everything else a node offers.
pub(crate) struct Invoke(Door);

struct Door {
    spec: ToolSpec,
    nodes: Arc<dyn Nodes>,
    shown_max: usize,
}

impl Look {
    pub(crate) fn new(nodes: Arc<dyn Nodes>, shown_max: usize) -> Self {
        let traits = Traits {
            name: "node_look",
            about: "Ask a node for a command that only looks: system.which, device.info, device.status, camera.list.",
            effect: Effect::Reads,
            level: TrustLevel::L5,
            class: ActionClass::Read,
            operands: vec![],
        };
        Self(Door {
            spec: traits.with::<Args>(),
            nodes,
            shown_max,
        })
    }
}

impl Invoke {
    pub(crate) fn new(nodes: Arc<dyn Nodes>, shown_max: usize) -> Self {
        let traits = Traits {
            name: "node_invoke",
            about: "Ask a node for a command that acts, records or tells something private, such as system.run or \
                    camera.snap.",
            effect: Effect::Once,
            level: TrustLevel::L5,
            class: ActionClass::Device,
            operands: vec![],
        };
        Self(Door {
            spec: traits.with::<Args>(),
            nodes,
            shown_max,
        })
    }
}

impl Door {
    async fn ask(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let node = args.node.clone();
        let ask = NodeAsk {
            owner: cx.owner.clone(),
            node: args.node,
            command: args.command,
            params: Value::Object(args.params.unwrap_or_default()),
            // A little earlier than the call itself ends, so that the reason is told.
            timeout: cx.deadline.saturating_sub(Duration::from_secs(2)),
            key: permit.call_id().to_string(),
        };
        match self.nodes.ask(ask).await {
            Ok(text) => {
                let text = readable(text.as_deref().unwrap_or("null"));
                let total = text.len() as u64;
                let shown = cut::keep_head(&text, self.shown_max, total, "");
                Ok(found(shown, Origin::Node { node }))
            }
            Err(NodesError {
                message,
                in_doubt: true,
            }) if self.spec.effect == Effect::Once => Ok(ToolOutcome::Unknown { text: message }),
            Err(error) => Err(Halt::failed(error.to_string())),
        }
    }
}

/// What a model can read of an answer: pictures and films are named by their size.
fn readable(text: &str) -> String {
    let Ok(Value::Object(mut answer)) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    if let Some(Value::String(base64)) = answer.get("base64")
        && BASE64_KEPT < base64.len()
    {
        let bytes = base64.len() / 4 * 3;
        answer.insert("base64".to_owned(), Value::from(format!("({bytes} bytes)")));
    }
    Value::Object(answer).to_string()
}

#[async_trait]
impl Act for Look {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.0.spec
    }

    async fn act(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        // The permit is for looking; what acts has another tool and another question.
        let plain = CommandKind::of(&args.command) == CommandKind::Plain;
        if !plain || !CommandKind::only_reads(&args.command) {
            let text = format!("`{}` does more than look; use `node_invoke`", args.command);
            return Err(Halt::failed(text));
        }
        self.0.ask(args, permit, cx).await
    }
}

#[async_trait]
impl Act for Invoke {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.0.spec
    }

    async fn act(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        self.0.ask(args, permit, cx).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_named_by_its_size_and_the_rest_is_kept() {
        let text = format!(
            r#"{{"format":"jpg","base64":"{}","width":3}}"#,
            "A".repeat(400)
        );
        assert_eq!(
            readable(&text),
            r#"{"format":"jpg","base64":"(300 bytes)","width":3}"#
        );
        assert_eq!(readable("[1]"), "[1]");
    }
}
