//! The outer wall: listeners, budgets before authentication, guards over headers, throttling.

mod admission;
mod guard;
mod http;
mod listen;
mod meter;
mod pages;
mod replay;
mod secure;
#[cfg(unix)]
mod socket_file;
#[cfg(not(unix))]
#[path = "no_socket_file.rs"]
mod socket_file;
mod throttle;

pub(crate) use admission::Admission;
pub(crate) use guard::{Peer, Refusal, Source};
pub(crate) use http::{Connection, principal, serve_connection};
pub(crate) use listen::{Arrived, accept};
pub use listen::{ListenError, Listeners, SOCKET_FILE};
pub(crate) use meter::{Meter, Metered};
pub(crate) use pages::Pages;
pub(crate) use replay::Signatures;
pub(crate) use throttle::{Class, Throttle};
