//! Whether something may happen, under which conditions, and why.
//!
//! Never learns where facts come from or how a tool works. Pure. Begin reading at [`admit_call`]: it is the only
//! maker of a [`Permit`], and no tool runs without one (invariant 6).

pub mod command;

mod budget;
mod call;
mod permit;
mod stages;

pub use budget::{estimate_tokens, reservation};
pub use call::{Card, CardError, Decision, Draft, Facts, Question, Verdict, admit_call};
pub use permit::{Permit, WorkspaceMode};
pub use stages::{STAGES, Stage, Step};
