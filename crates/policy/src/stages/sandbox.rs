//! The tightest walls that let the call work: only level L4 and above may change the workspace from a process.

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::ActionClass;

use crate::call::{Draft, Facts};
use crate::permit::WorkspaceMode;
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let reads = matches!(draft.class, ActionClass::Talk | ActionClass::Read);
    if reads || facts.agent.trust_level < TrustLevel::L4 {
        draft.workspace = WorkspaceMode::ReadOnly;
    }
    Step::pass(match draft.workspace {
        WorkspaceMode::ReadOnly => "workspace read-only, no network",
        WorkspaceMode::ReadWrite => "workspace read-write, no network",
    })
}
