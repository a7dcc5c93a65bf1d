//! What happened: logs, metrics, the decision graph.
//!
//! This crate never learns how to change anything: it reads entries, events and spans. Begin reading at [`graph`], which
//! answers "why did you do that?" from a run's log.

mod config;
pub mod graph;
mod log;
mod metrics;
mod redact;

pub use config::{Config, Finding, Format, Level};
pub use graph::Graph;
pub use log::{Guard, LogError, Target, init};
pub use metrics::{Load, Metrics, RequestOutcome};
pub use redact::{hide, redact};
