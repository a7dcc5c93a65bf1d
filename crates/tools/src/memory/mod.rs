//! Facts the agent keeps.

mod forget;
mod instruction;
mod search;
mod write;

pub(crate) use forget::Forget;
pub(crate) use search::Search;
pub(crate) use write::Write;

use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryScope};
use adjutant_ports::ToolCx;

use crate::cut;

/// Longest part of a fact in a list, in bytes (`subsystems/memory.md`, ME-12).
const SNIPPET_BYTES_MAX: usize = 700;

/// Whether the agent of this call, in its session, may recall it.
fn is_visible(memory: &Memory, cx: &ToolCx) -> bool {
    let expired = memory.expires_at.is_some_and(|at| at <= cx.now);
    !expired
        && match &memory.scope {
            MemoryScope::Owner => true,
            MemoryScope::Agent { agent } => *agent == cx.agent.name,
            MemoryScope::Session { session } => *session == cx.session,
        }
}

/// One fact on one line, with what is known about it.
fn line(memory: &Memory) -> String {
    let day = memory.created_at.rfc3339();
    let day = day.split('T').next().unwrap_or_default();
    let scope = match &memory.scope {
        MemoryScope::Owner => "owner",
        MemoryScope::Agent { .. } => "agent",
        MemoryScope::Session { .. } => "session",
    };
    let key = memory
        .key
        .as_ref()
        .map(|it| format!(" {it}:"))
        .unwrap_or_default();
    let outside = if memory.trust == Trust::Outside {
        ", from outside"
    } else {
        ""
    };
    let text = memory.text.replace('\n', " ");
    let snippet = cut::head(&text, SNIPPET_BYTES_MAX);
    let more = if snippet.len() < text.len() {
        format!("… [{} bytes]", text.len())
    } else {
        String::new()
    };
    format!(
        "{} [{scope}, {day}{outside}]{key} {snippet}{more}",
        memory.id
    )
}
