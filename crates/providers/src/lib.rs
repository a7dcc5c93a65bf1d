//! Model APIs, their catalogue and prices, and how each of them is doing.
//!
//! Four wire formats (OpenAI Chat Completions and Responses, Anthropic Messages, Gemini) are spoken by small adapters
//! in `wire`; everything else is an address and a dialect. [`Registry`] is the door: it reads the `[providers]` section
//! and implements [`adjutant_ports::Models`]. A reply without a clean end is never complete (R6), every request has
//! connect, first-byte, idle and total deadlines (R30), and faults are classed (R31).
//!
//! Never learns what a run, a policy or a store is. Vendor types never leave the file of their wire format. Begin
//! reading at `registry.rs`, then `remote.rs`.

mod config;
mod registry;

mod kind;

mod breaker;
mod catalogue;
mod discover;
mod endpoint;
mod secret;

mod fault;
mod http;
mod remote;
mod reply;
mod sse;
mod wire;

mod offline;

#[cfg(test)]
mod tests_support;

pub use catalogue::{Catalogue, CatalogueError, Model};
pub use config::{Breaker, Config, Custom, Finding, PriceOverride, Remote};
pub use discover::Discovered;
pub use offline::{LABEL as OFFLINE_LABEL, Offline};
pub use registry::{BuildError, Registry};
