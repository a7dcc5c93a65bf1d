//! Facts that may help with this input, as one fenced fragment. Looked up once a claim.

use adjutant_domain::message::{Role, text_of};

use crate::context::fence;
use crate::drive::{Cx, Halt};

/// Longest fragment, in bytes: about 1,500 tokens (ME-13).
const FRAGMENT_BYTES_MAX: usize = 6_000;

/// The fragment, empty when nothing was found.
pub(crate) async fn recalled(cx: &mut Cx) -> Result<String, Halt> {
    if let Some(text) = &cx.recalled {
        return Ok(text.clone());
    }
    let text = if cx.config.recall == 0 {
        String::new()
    } else {
        look_up(cx).await?
    };
    cx.recalled = Some(text.clone());
    Ok(text)
}

async fn look_up(cx: &mut Cx) -> Result<String, Halt> {
    let run = cx.run.id;
    let query = cx
        .history()
        .await?
        .iter()
        .rev()
        .find(|m| m.run == Some(run) && m.role == Role::User)
        .map(|m| text_of(&m.parts))
        .unwrap_or_default();
    // An empty query would list the newest facts, relevant or not.
    if query.trim().is_empty() {
        return Ok(String::new());
    }
    let limit = cx.config.recall;
    let owner = cx.run.owner.clone();
    let agent = cx.run.agent.clone();
    let found = cx
        .deps
        .store
        .recall(&owner, Some(&agent), Some(cx.run.session), &query, limit)
        .await?;
    if found.is_empty() {
        return Ok(String::new());
    }
    let mut text = String::new();
    let mut nonce = run.as_u128();
    for memory in &found {
        if FRAGMENT_BYTES_MAX < text.len() + memory.text.len() {
            break;
        }
        cx.lowest_trust = cx.lowest_trust.min(memory.trust);
        nonce ^= memory.id.as_u128().rotate_left(17);
        text.push_str("- ");
        text.push_str(&memory.text);
        text.push('\n');
    }
    Ok(fence::fenced(
        "memory (remembered facts that may help)",
        nonce,
        text.trim_end(),
    ))
}
