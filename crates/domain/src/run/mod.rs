//! The durable run: its log of entries, the state folded from it, and the rows projected from it.
//!
//! Invariant 1: a run has no state outside its log; every other row about it can be rebuilt with [`project`].

mod entry;
mod fault;
mod project;
mod state;

pub use entry::{
    AskedBudget, ClaimedFrom, Entry, FailKind, Fence, Limits, Logged, Outcome, Run, Seq, Signal,
    TrailStep, Wake, Work,
};
pub use fault::{ModelFault, Retry, StopReason};
pub use project::{LedgerLine, Row, RunStatus, project};
pub use state::{CallState, ModelPhase, Phase, RunState};
