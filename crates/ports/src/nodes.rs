//! The door to other devices: what a gateway's nodes can be asked.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use adjutant_domain::id::OwnerId;

/// A node, as an agent needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: Option<String>,
    /// Its operating system.
    pub platform: Option<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// What it may be asked.
    pub commands: Vec<String>,
}

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeAsk {
    /// Whose node.
    pub owner: OwnerId,
    /// Its name, its id, or the beginning of the id.
    pub node: String,
    /// `system.which`.
    pub command: String,
    /// With what; an object.
    pub params: Value,
    /// How long to wait.
    pub timeout: Duration,
    /// The same key is the same request: the call's id.
    pub key: String,
}

/// Why a node did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NodesError {
    /// What happened, and what would help.
    pub message: String,
    /// Whether it may have been done all the same.
    pub in_doubt: bool,
}

/// The nodes of a gateway. What may be asked of one is decided behind this door, whoever asks.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// The nodes, connected ones first.
    ///
    /// # Errors
    /// When there is no gateway, or its store cannot be read.
    async fn list(&self, owner: &OwnerId) -> Result<Vec<NodeInfo>, NodesError>;

    /// Asks a node and waits for the text of its answer. The call was admitted by policy; a program it names counts as
    /// approved.
    ///
    /// # Errors
    /// [`NodesError`].
    async fn ask(&self, ask: NodeAsk) -> Result<Option<String>, NodesError>;
}
