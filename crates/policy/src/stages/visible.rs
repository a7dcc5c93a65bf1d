//! Is this tool offered to this agent at all: does it exist, does the level reach, is it on the agent's list.

use crate::call::{Draft, Facts};
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let name = &draft.call.name;
    let Some(card) = facts.card else {
        return Step::deny(format!("there is no tool `{name}`"));
    };
    let spec = card.spec();
    if facts.agent.trust_level < spec.level {
        return Step::deny(format!(
            "`{name}` needs trust level L{}, and agent `{}` has L{}; the owner can raise it with `adjutant agent trust {} {}`",
            spec.level.number(),
            facts.agent.name,
            facts.agent.trust_level.number(),
            facts.agent.name,
            spec.level.number()
        ));
    }
    if let Some(tools) = &facts.agent.tools
        && !tools.contains(name)
    {
        return Step::deny(format!(
            "`{name}` is not on the tool list of agent `{}`",
            facts.agent.name
        ));
    }
    Step::pass(format!("L{} reaches", facts.agent.trust_level.number()))
}
