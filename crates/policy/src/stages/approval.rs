//! Admit or ask: the floor, the lasting answers, then the agent's policy.

use adjutant_domain::agent::{ApprovalPolicy, TrustLevel};
use adjutant_domain::approval::GrantEffect;
use adjutant_domain::tool::ActionClass;

use crate::call::{Draft, Facts};
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let policy = facts.agent.approval_policy;
    if policy == ApprovalPolicy::Block && draft.class != ActionClass::Talk && !facts.by_owner {
        return Step::deny(format!(
            "agent `{}` is set to block every tool",
            facts.agent.name
        ));
    }
    if facts.by_owner {
        draft.ask = None;
        return Step::pass("a person asked for exactly this");
    }
    if let Some(key) = draft.grant_key(facts) {
        let mut matching = facts
            .grants
            .iter()
            .filter(|g| g.tool == draft.call.name && g.key == key)
            .filter(|g| g.in_force(facts.now, &facts.agent.name, facts.session))
            .peekable();
        if matching.peek().is_some() {
            // A deny beats any allow.
            let denied = matching.clone().find(|g| g.effect == GrantEffect::Deny);
            if let Some(grant) = denied {
                return Step::deny(format!("the owner said never to this ({})", grant.id));
            }
            if let Some(grant) = matching.next() {
                let said = format!("covered by {}", grant.id);
                draft.ask = None;
                return Step::pass(said);
            }
        }
    }
    if let Some(reason) = &draft.ask {
        let auto = policy == ApprovalPolicy::Auto && facts.agent.trust_level == TrustLevel::L5;
        if !auto || draft.tainted {
            return Step::pass(format!("ask: {reason}"));
        }
        draft.ask = None;
    }
    let asks = match policy {
        ApprovalPolicy::Block => false,
        ApprovalPolicy::AskAlways => draft.class != ActionClass::Talk,
        ApprovalPolicy::AskNewTools => !matches!(
            draft.class,
            ActionClass::Talk | ActionClass::Read | ActionClass::Remember
        ),
        ApprovalPolicy::AskDestructive => draft.class.is_destructive(),
        // `auto` below L5 is a mistake in the definition; treat it as the default.
        ApprovalPolicy::Auto => {
            facts.agent.trust_level != TrustLevel::L5
                && !matches!(
                    draft.class,
                    ActionClass::Talk | ActionClass::Read | ActionClass::Remember
                )
        }
    };
    if asks {
        let reason = reason_for(draft, policy);
        draft.ask(reason);
        return Step::pass("ask");
    }
    Step::pass(format!("`{}` lets it run", word(policy)))
}

fn reason_for(draft: &Draft, policy: ApprovalPolicy) -> String {
    if policy == ApprovalPolicy::AskAlways {
        return "this agent asks before every tool".to_owned();
    }
    if let Some(analysis) = &draft.analysis {
        return analysis.reason.clone();
    }
    match draft.class {
        ActionClass::Write => "it changes a file",
        ActionClass::WriteOutside => "it changes a file outside the workspace",
        ActionClass::Delete => "it removes something",
        ActionClass::ExecSandbox => "it runs a command",
        ActionClass::NetRead => "it contacts another machine",
        ActionClass::Device => "it has another device do or record something",
        ActionClass::Talk | ActionClass::Read | ActionClass::Remember => {
            "it is new in this session"
        }
    }
    .to_owned()
}

/// The policy's name as people write it.
fn word(policy: ApprovalPolicy) -> &'static str {
    match policy {
        ApprovalPolicy::Block => "block",
        ApprovalPolicy::AskAlways => "ask_always",
        ApprovalPolicy::AskNewTools => "ask_new_tools",
        ApprovalPolicy::AskDestructive => "ask_destructive",
        ApprovalPolicy::Auto => "auto",
    }
}
