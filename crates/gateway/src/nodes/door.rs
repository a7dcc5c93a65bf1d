//! The way from a tool to the nodes: open while the gateway serves.

use std::sync::{Mutex, PoisonError, Weak};

use async_trait::async_trait;

use adjutant_domain::code::Code;
use adjutant_domain::id::OwnerId;
use adjutant_ports::{NodeAsk, NodeInfo, Nodes, NodesError};
use adjutant_protocol::Fault;
use serde_json::Value;

use super::Ask;
use crate::core::Core;

/// The nodes of the gateway of this process, once it serves.
#[derive(Default)]
pub struct NodesDoor(Mutex<Weak<Core>>);

impl std::fmt::Debug for NodesDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodesDoor")
    }
}

impl NodesDoor {
    pub(crate) fn open(&self, core: Weak<Core>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = core;
    }

    fn core(&self, owner: &OwnerId) -> Result<std::sync::Arc<Core>, NodesError> {
        let core = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        core.upgrade()
            .filter(|core| core.owner() == owner)
            .ok_or_else(|| NodesError {
                message: "no gateway serves nodes here".to_owned(),
                in_doubt: false,
            })
    }
}

fn sentence(fault: &Fault) -> NodesError {
    let detail = |name: &str| {
        let details = fault.details.as_deref();
        details.and_then(|it| it.get(name)).and_then(Value::as_str)
    };
    let message = match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message.clone(),
    };
    NodesError {
        message,
        in_doubt: fault.code == Code::Unavailable && detail("code") == Some("TIMEOUT"),
    }
}

#[async_trait]
impl Nodes for NodesDoor {
    async fn list(&self, owner: &OwnerId) -> Result<Vec<NodeInfo>, NodesError> {
        let core = self.core(owner)?;
        let devices = core.node_devices().await.map_err(|it| sentence(&it))?;
        let mut all: Vec<NodeInfo> = devices
            .iter()
            .map(|device| core.node_row(device))
            .map(|row| NodeInfo {
                id: row.node_id.to_string(),
                name: row.display_name,
                platform: row.platform,
                connected: row.connected,
                commands: row.commands,
            })
            .collect();
        all.sort_by(|a, b| (!a.connected, &a.name).cmp(&(!b.connected, &b.name)));
        Ok(all)
    }

    async fn ask(&self, ask: NodeAsk) -> Result<Option<String>, NodesError> {
        let core = self.core(&ask.owner)?;
        let mut params = ask.params;
        // Policy has admitted exactly this call. What the model itself wrote about approval does not count.
        if let Some(params) = params.as_object_mut() {
            for name in super::ask::APPROVAL_MEMBERS {
                params.remove(name);
            }
            if ask.command == "system.run" {
                params.insert("approved".to_owned(), Value::Bool(true));
                params.insert("approvalDecision".to_owned(), Value::from("allow-once"));
            }
        }
        let told = core
            .ask_node(Ask {
                node: ask.node,
                command: ask.command,
                params: Some(params),
                timeout: Some(ask.timeout),
                queue: false,
                by: format!("run:{}", ask.key),
                key: ask.key,
                approves: true,
                admin: false,
            })
            .await
            .map_err(|it| sentence(&it))?;
        Ok(told.payload)
    }
}
