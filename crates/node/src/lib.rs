//! Lends this machine's abilities to a gateway: the node host.
//!
//! It dials a gateway in the role `node`, says what this machine really has, runs what it is asked to run under the
//! machine's own policy, and answers a repeated request from its memory instead of running it twice. It speaks the frame
//! protocol, so gateways of the OpenClaw family are served as well as ours.
//!
//! Adding an ability is one file in `families/` that implements [`Capability`], and a line in `families/mod.rs`. Begin
//! reading at [`Node::run`]. This crate must never learn what an agent is.

mod capability;
mod config;
mod credential;
mod dial;
mod endpoint;
mod families;
mod frames;
mod handshake;
mod host;
mod link;
mod platform;
mod process;
mod results;
mod run;
#[cfg(unix)]
mod socket_file;
#[cfg(not(unix))]
#[path = "no_socket_file.rs"]
mod socket_file;
mod state;

pub use adjutant_tls::Fingerprint;
pub use capability::{Capability, Effect, NodeFault, Offer, Order};
pub use config::{Config, Finding, Media, Place, Run};
pub use endpoint::{Endpoint, EndpointError};
pub use host::NodeHost;
pub use run::{Deps, Node, NodeError};
pub use state::{Phase, Status, read_status};
