//! The protocol from the other side.
//!
//! [`Client`] calls methods of the protocol's table over one WebSocket, dials again when the connection is lost, and
//! gives out what the gateway says in order. It never learns what a surface does with it.

mod client;
mod config;
mod dial;
mod endpoint;
mod error;
mod link;
mod notices;
mod reply;
#[cfg(unix)]
mod socket_file;
#[cfg(not(unix))]
#[path = "no_socket_file.rs"]
mod socket_file;

pub use adjutant_tls::{Fingerprint, Trust};
pub use client::{CALL_TIMEOUT, Client, Notification, PATIENCE};
pub use config::{Config, Finding};
pub use endpoint::{Credential, Endpoint, Token};
pub use error::ClientError;
pub use notices::{Gap, Notice, Notices};
pub use reply::{Reply, Update};
