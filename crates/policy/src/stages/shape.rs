//! Do the arguments fit the schema, and are their texts free of characters a person would not see (S30).

use serde_json::Value;

use adjutant_domain::tool::Operand;

use crate::call::{Draft, Facts, escape};
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let Some(card) = facts.card else {
        return Step::deny("there is no such tool");
    };
    if let Some(misfit) = card.misfit(&draft.call.args) {
        return Step::deny(format!(
            "the arguments of `{}` do not fit: {misfit}",
            draft.call.name
        ));
    }
    for operand in &card.spec().operands {
        // Contents may hold any character; names, addresses and commands may not.
        let arg = match operand {
            Operand::ReadPath { arg } | Operand::WritePath { arg } | Operand::Url { arg } => arg,
            Operand::Patch { .. } | Operand::Command { .. } | Operand::Code { .. } => continue,
        };
        if let Some(text) = draft.call.args.get(arg).and_then(Value::as_str) {
            let odd = escape(text) != text || text.contains(['\n', '\t']);
            if odd {
                return Step::deny(format!(
                    "`{arg}` holds invisible characters: {}",
                    escape(text)
                ));
            }
        }
    }
    Step::pass("the arguments fit")
}
