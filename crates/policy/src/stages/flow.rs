//! A run that has read text from outside asks before every effect whose exact destination is not granted (S22, S24).

use adjutant_domain::label::Trust;
use adjutant_domain::tool::ActionClass;

use crate::call::{Draft, Facts};
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    if facts.by_owner {
        return Step::pass("a person asked for exactly this");
    }
    let asks = match facts.lowest_trust {
        Trust::Outside => !matches!(draft.class, ActionClass::Talk | ActionClass::Read),
        // Own files may be private: what was read there must not leave unasked.
        Trust::Workspace => draft.class == ActionClass::NetRead,
        Trust::Model | Trust::Owner => false,
    };
    if asks {
        let source = if facts.lowest_trust == Trust::Outside {
            "a page from outside"
        } else {
            "your files"
        };
        draft.tainted = true;
        draft.ask(format!("this run has read {source}"));
        return Step::pass("untrusted text was read: ask");
    }
    Step::pass("nothing untrusted flows out")
}
