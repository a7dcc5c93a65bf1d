//! The stages of the pipeline, in order, as data. A stage can only narrow what came before.

mod approval;
mod command;
mod flow;
mod sandbox;
mod scope;
mod shape;
mod visible;

use crate::call::{Draft, Facts};

/// What a stage said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Go on; the sentence is for the trail.
    Pass(String),
    /// Stop; the sentence is for the model and the trail.
    Deny(String),
}

impl Step {
    pub(crate) fn pass(said: impl Into<String>) -> Self {
        Self::Pass(said.into())
    }

    pub(crate) fn deny(reason: impl Into<String>) -> Self {
        Self::Deny(reason.into())
    }
}

/// A stage.
pub type Stage = fn(&mut Draft, &Facts<'_>) -> Step;

/// The order is the policy.
pub const STAGES: &[(&str, Stage)] = &[
    ("visible", visible::stage),
    ("shape", shape::stage),
    ("command", command::stage),
    ("scope", scope::stage),
    ("flow", flow::stage),
    ("sandbox", sandbox::stage),
    ("approval", approval::stage),
];
