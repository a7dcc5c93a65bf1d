//! What the terminal needs from the program around it to lend this machine.

use std::path::PathBuf;

use adjutant_domain::time::Timestamp;
use async_trait::async_trait;
use serde::Serialize;

use crate::failure::Failure;
use crate::host::{Removing, ServiceState};

/// This machine as a node.
#[async_trait]
pub trait NodeControl: Send + Sync {
    /// Lends this machine in the foreground until it is told to stop.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) when it does so already, `Denied` when the gateway refuses it for good.
    async fn node_run(&self, options: NodeOptions) -> Result<(), Failure>;

    /// Whether the node runs, where it is connected and what it offers.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn node_state(&self) -> Result<NodeState, Failure>;

    /// Lends this machine at every login.
    ///
    /// # Errors
    /// When the system has no service manager we know.
    async fn node_install(&self, options: NodeOptions) -> Result<ServiceState, Failure>;

    /// Undoes [`NodeControl::node_install`], or says what would be undone.
    ///
    /// # Errors
    /// When something cannot be removed.
    async fn node_uninstall(&self, how: Removing) -> Result<ServiceState, Failure>;
}

/// How a node is run. Absent means as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// The gateway's address.
    pub gateway: Option<String>,
    /// File with the gateway's token.
    pub token_file: Option<PathBuf>,
    /// Name for people.
    pub name: Option<String>,
    /// SHA-256 of the gateway's certificate.
    pub fingerprint: Option<String>,
    /// Commands and families that are not offered, beside those of the configuration.
    pub without: Vec<String>,
}

/// How the node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Whether it runs.
    pub running: bool,
    /// `stopped`, `connecting`, `pairing` or `connected`; none when it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it is not connected, or what has to be approved at the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its id at the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What it offers.
    pub commands: Vec<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it is started at login.
    pub installed: bool,
}
