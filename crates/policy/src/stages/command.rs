//! For shells: parse the whole script, take the worst class of its parts (S28).

use serde_json::{Value, json};

use adjutant_domain::tool::{ActionClass, Operand};

use crate::call::{Draft, Facts};
use crate::command::{Class, Surroundings, analyse};
use crate::permit::WorkspaceMode;
use crate::stages::Step;

/// Programs whose purpose is to remove things.
const REMOVERS: &[&str] = &["rm", "rmdir", "unlink", "shred", "truncate"];

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let Some(card) = facts.card else {
        return Step::deny("there is no such tool");
    };
    for operand in &card.spec().operands {
        match operand {
            Operand::Code { .. } => {
                // An interpreter runs anything: asked each time, never remembered (S32).
                draft.never_remember = true;
                draft.ask("it runs a program that the agent wrote");
                draft.workspace = WorkspaceMode::ReadWrite;
            }
            Operand::Command { arg } => {
                if let Some(script) = draft.call.args.get(arg).and_then(Value::as_str) {
                    let script = script.to_owned();
                    return judge(draft, facts, &script);
                }
            }
            Operand::ReadPath { .. }
            | Operand::WritePath { .. }
            | Operand::Patch { .. }
            | Operand::Url { .. } => {}
        }
    }
    Step::pass("no command")
}

fn judge(draft: &mut Draft, facts: &Facts<'_>, script: &str) -> Step {
    let around = Surroundings {
        workspace: facts.workspace,
        cwd: facts.workspace,
        state_dir: facts.state_dir,
        home: facts.home,
    };
    let analysis = analyse(script, &around);
    let said = format!(
        "{:?}: {} ({})",
        analysis.class, analysis.reason, analysis.rule
    );
    match analysis.class {
        Class::AlwaysDeny => {
            return Step::deny(format!("this command is never run: {}", analysis.reason));
        }
        Class::SafeRead => draft.class = ActionClass::Read,
        Class::NeedsApproval => {
            let removes = analysis
                .segments
                .iter()
                .any(|s| REMOVERS.contains(&s.program.as_str()));
            draft.class = if removes {
                ActionClass::Delete
            } else {
                ActionClass::ExecSandbox
            };
            draft.workspace = WorkspaceMode::ReadWrite;
            draft.never_remember = draft.never_remember || analysis.opaque;
            // The whole script, redirections and operators included: a lasting answer covers what was shown (S32).
            draft.grant_hint = Some(format!(
                "shell {} in {}",
                json!(script),
                facts.workspace.display()
            ));
            draft
                .resolved
                .push(("reason".to_owned(), json!(analysis.reason)));
        }
    }
    draft.analysis = Some(analysis);
    Step::pass(said)
}
