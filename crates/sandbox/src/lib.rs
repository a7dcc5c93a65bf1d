//! The walls: what a process, a path and a packet may reach.
//!
//! Three brokers, each standing alone: [`best`] gives the process sandbox, [`paths::Roots`] the files beneath granted
//! directories, [`EgressBroker`] the only way to the network. [`verify`] attacks the first from the inside and judges from
//! the outside. This crate must never learn who asked and why; it never runs anything on the host, and it is the only
//! crate with `unsafe`. Begin reading at [`best`].

mod config;
mod driver;
mod egress;
mod environment;
mod nothing;
pub mod paths;

#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod ceilings;
#[cfg(target_os = "linux")]
mod footprint;
#[cfg(target_os = "linux")]
mod inner;
#[cfg(target_os = "linux")]
mod native;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod request;
#[cfg(target_os = "linux")]
mod resident;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod spawn;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod verify;

#[cfg(target_os = "linux")]
pub use bubblewrap::Bubblewrap;
pub use config::{Config, Driver, Finding};
#[cfg(target_os = "linux")]
pub use driver::BestWalls;
pub use driver::best;
#[cfg(not(target_os = "linux"))]
pub use driver::play_inner_part;
pub use egress::{EgressBroker, Resolve, SystemResolver, is_global};
pub use environment::check as check_variables;
#[cfg(target_os = "linux")]
pub use footprint::give_back_code;
#[cfg(target_os = "linux")]
pub use inner::{Inner, play_inner_part};
#[cfg(target_os = "linux")]
pub use native::Native;
pub use nothing::NoWalls;
#[cfg(target_os = "linux")]
pub use verify::{EscapeTrial, Verdict, verify};
