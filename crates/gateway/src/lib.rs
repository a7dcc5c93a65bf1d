//! One port where everything meets: connections, identity, order, fan-out.
//!
//! This crate never learns how a run is executed: it accepts work into the store and tells surfaces what the store and
//! the bus say. Begin reading at [`Gateway::serve`]; the way of one request is `edge/` (may it come in), `call.rs` (may
//! it be called), `methods/` (what it does), `hub.rs` (who is told).

mod call;
mod canvas;
mod compat;
mod config;
mod core;
mod devices;
mod edge;
mod gateway;
mod hub;
mod lanes;
mod methods;
mod news;
mod node_page;
mod nodes;
mod questions;
mod snapshot;
mod socket;
mod waits;
mod wire;

pub use canvas::{CanvasDoor, CanvasFolders};
pub use config::{Config, Finding, NodesConfig, PairingConfig, RateConfig};
pub use core::{Deps, LimitsOf};
pub use edge::{ListenError, Listeners, SOCKET_FILE};
pub use gateway::{Gateway, GatewayError};
pub use nodes::NodesDoor;
