//! The door to acts: a permit goes in, an outcome comes out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::agent::Agent;
use adjutant_domain::id::{OwnerId, RunId, SessionId, ThreadId};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::{ToolCall, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;

use crate::files::Files;

/// What one call may use. Everything a tool needs from outside beyond its own doors comes through here.
#[derive(Clone)]
pub struct ToolCx {
    /// Whose data.
    pub owner: OwnerId,
    /// The agent that asks.
    pub agent: Arc<Agent>,
    /// The run.
    pub run: RunId,
    /// The session.
    pub session: SessionId,
    /// The conversation.
    pub thread: ThreadId,
    /// The moment, as the engine sees it.
    pub now: Timestamp,
    /// The agent's folder; relative paths start here.
    pub workspace: PathBuf,
    /// The agent's files, beneath its allowed roots only (S39).
    pub files: Arc<dyn Files>,
    /// Wall-clock ceiling for this call.
    pub deadline: Duration,
}

/// Why a tool could not even say what happened. The engine turns it into an outcome for the model.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The permit does not cover what the tool was about to do.
    #[error("the permit does not cover this: {reason}")]
    NotPermitted {
        /// What was missing.
        reason: String,
    },
    /// A door it needs is shut.
    #[error("{what} is unavailable: {reason}")]
    Unavailable {
        /// Which door.
        what: &'static str,
        /// Why, and what would open it.
        reason: String,
    },
    /// Something of ours broke.
    #[error("the tool failed: {reason}")]
    Internal {
        /// What broke.
        reason: String,
    },
}

/// Something an agent can do.
///
/// Dropping the future of [`Tool::run`] stops the work; a tool that holds outside state cleans up in `Drop`.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Name, schema, effect class, trust level.
    fn spec(&self) -> &ToolSpec;
    /// Does it. The permit is consumed: one admission, one effect.
    ///
    /// # Errors
    /// [`ToolError`] when nothing can be said for the model; failures the model can repair are outcomes.
    async fn run(&self, permit: Permit, cx: &ToolCx) -> Result<ToolOutcome, ToolError>;
    /// Finds out whether a call that was in doubt did happen. `None`: cannot tell.
    async fn probe(&self, call: &ToolCall, cx: &ToolCx) -> Option<ToolOutcome> {
        let _ = (call, cx);
        None
    }
}
