//! Which messages fit, and how a window begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adjutant_domain::id::RunId;
use adjutant_domain::message::{Message, Part, Role};
use adjutant_ports::provider::ModelMessage;

/// Bytes that a message's frame costs besides its text.
const FRAME_BYTES: usize = 24;

/// Roughly how many bytes a message costs on the wire.
pub(crate) fn bytes(parts: &[Part]) -> usize {
    let text: usize = parts
        .iter()
        .map(|part| match part {
            Part::Text { text } | Part::Thinking { text, .. } | Part::ToolResult { text, .. } => {
                text.len()
            }
            Part::ToolCall { name, args, .. } => name.len() + json_bytes(args),
        })
        .sum();
    text + FRAME_BYTES
}

/// The length of a value's JSON text, without writing it.
pub(crate) fn json_bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) => 5,
        serde_json::Value::Number(_) => 8,
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(items) => {
            2 + items.iter().map(|v| json_bytes(v) + 1).sum::<usize>()
        }
        serde_json::Value::Object(map) => {
            2 + map
                .iter()
                .map(|(k, v)| k.len() + 4 + json_bytes(v))
                .sum::<usize>()
        }
    }
}

/// The positions of the messages to send: everything of this run, then the newest earlier ones that fit. The window
/// begins at words of the owner or a summary, never in the middle of an exchange.
pub(crate) fn window(
    history: &[Arc<Message>],
    run: RunId,
    bytes_max: usize,
) -> std::ops::Range<usize> {
    let own = history
        .iter()
        .position(|m| m.run == Some(run))
        .unwrap_or(history.len());
    let mut used: usize = history[own..].iter().map(|m| bytes(&m.parts)).sum();
    let mut start = own;
    for (index, message) in history[..own].iter().enumerate().rev() {
        used += bytes(&message.parts);
        if bytes_max < used {
            break;
        }
        if matches!(message.role, Role::User | Role::Summary) {
            start = index;
        }
    }
    start..history.len()
}

/// Results this short stay whole.
const RESULT_BYTES_KEPT: usize = 512;

/// Shortens old results until everything fits: a run that reads much outgrows its own context. The results of the last
/// turn stay whole.
pub(crate) fn shorten_results(messages: &mut [ModelMessage], bytes_max: usize) {
    let mut used: usize = messages.iter().map(|m| bytes(&m.parts)).sum();
    let last_turn = messages
        .iter()
        .rposition(|m| m.role == Role::Assistant)
        .unwrap_or(0);
    for part in messages[..last_turn].iter_mut().flat_map(|m| &mut m.parts) {
        if used <= bytes_max {
            return;
        }
        if let Part::ToolResult { text, .. } = part
            && RESULT_BYTES_KEPT < text.len()
        {
            let note = format!(
                "[{} bytes, left out: the context is full; call again if needed]",
                text.len()
            );
            used = used.saturating_sub(text.len()) + note.len();
            *text = note;
        }
    }
}

/// Puts results right behind the message that asked for them. Words of the owner, or another run of the thread, may have
/// come in between, and some providers refuse anything there.
pub(crate) fn in_order(messages: &mut Vec<ModelMessage>) {
    let mut asked_at = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        for part in &message.parts {
            if let Part::ToolCall { call, .. } = part {
                asked_at.insert(*call, index);
            }
        }
    }
    let mut placed: Vec<(usize, ModelMessage)> = messages
        .drain(..)
        .enumerate()
        .map(|(index, message)| {
            let after = message.parts.iter().find_map(|part| match part {
                Part::ToolResult { call, .. } => asked_at.get(call).copied(),
                _ => None,
            });
            (after.unwrap_or(index), message)
        })
        .collect();
    // Stable: the asking message stands before its results already.
    placed.sort_by_key(|(place, _)| *place);
    messages.extend(placed.into_iter().map(|(_, message)| message));
}

/// Makes calls and results match: a call without a result gets none shown, a result without its call is dropped. A
/// provider refuses anything else.
pub(crate) fn pair_up(messages: &mut Vec<ModelMessage>) {
    let mut results = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for part in messages.iter().flat_map(|m| &m.parts) {
        match part {
            Part::ToolCall { call, .. } => {
                calls.insert(*call);
            }
            Part::ToolResult { call, .. } => {
                results.insert(*call);
            }
            Part::Text { .. } | Part::Thinking { .. } => {}
        }
    }
    if calls == results {
        return;
    }
    for message in messages.iter_mut() {
        message.parts.retain(|part| match part {
            Part::ToolCall { call, .. } => results.contains(call),
            Part::ToolResult { call, .. } => calls.contains(call),
            Part::Text { .. } | Part::Thinking { .. } => true,
        });
    }
    messages.retain(|m| !m.parts.is_empty());
}
