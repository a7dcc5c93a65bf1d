//! Proof that the pipeline admitted one call.

use serde_json::Value;

use adjutant_domain::id::CallId;
use adjutant_domain::label::Trust;
use adjutant_domain::tool::ToolCall;

/// How the workspace may be touched by a confined process of this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceMode {
    /// Look only.
    ReadOnly,
    /// Look and change.
    ReadWrite,
}

/// Proof that [`crate::admit_call`] admitted exactly this call. A tool takes it by value: one admission, one effect.
#[derive(Debug)]
pub struct Permit {
    call: ToolCall,
    digest: String,
    workspace: WorkspaceMode,
    lowest_trust: Trust,
}

impl Permit {
    pub(crate) fn new(
        call: ToolCall,
        digest: String,
        workspace: WorkspaceMode,
        lowest_trust: Trust,
    ) -> Self {
        Self {
            call,
            digest,
            workspace,
            lowest_trust,
        }
    }

    /// How far the least trusted text is trusted that the run had read when this was admitted. What is kept of the call
    /// (a memory) is trusted no further (S21).
    #[must_use]
    pub fn lowest_trust(&self) -> Trust {
        self.lowest_trust
    }

    /// The call's identifier, which is also the idempotency key for the tool.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.call.id
    }

    /// The tool that may run.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.call.name
    }

    /// The arguments that were judged; the tool must use these and no others.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.call.args
    }

    /// The call that was judged.
    #[must_use]
    pub fn call(&self) -> &ToolCall {
        &self.call
    }

    /// Digest of what was judged.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How a confined process may touch the workspace.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceMode {
        self.workspace
    }
}
