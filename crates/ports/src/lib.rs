//! Every door to the outside, as a small trait.
//!
//! Never learns any vendor, any database, any socket. A trait earns its place by having two real implementations or by
//! being needed for simulation.

pub mod bus;
pub mod canvas;
pub mod clock;
pub mod config;
pub mod egress;
pub mod failpoint;
pub mod files;
pub mod nodes;
pub mod provider;
pub mod sandbox;
pub mod store;
pub mod tool;

pub use bus::{Bus, Notice, Pulse, PulseKind, Topics};
pub use canvas::Canvas;
pub use clock::{Clock, Entropy};
pub use config::{ConfigDoor, ConfigFault};
pub use egress::Egress;
pub use files::Files;
pub use nodes::{NodeAsk, NodeInfo, Nodes, NodesError};
pub use provider::{Models, Provider};
pub use sandbox::Sandbox;
pub use store::{Store, StoreError};
pub use tool::{Tool, ToolCx, ToolError};
