//! A responder without a model: reads plain sentences by rules and drives the real loop with real tools.
//!
//! For surfaces, demonstrations and tests that must work without a key and without a network. It says what it is in
//! every reply, and what it does not understand it does not guess.

mod sentence;
mod turn;

use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _};

use adjutant_domain::money::Usage;
use adjutant_domain::run::StopReason;
use adjutant_ports::provider::{Asking, ModelAsk, ModelCall, ModelEnd, ModelEvent, Provider};

use crate::reply::estimate;

/// Provider name in routes.
pub(crate) const PROVIDER: &str = "offline";
/// Model name in routes.
pub(crate) const MODEL: &str = "rules";
/// What every reply begins with, so that nobody takes it for a model.
pub const LABEL: &str = "[offline responder]";

/// The responder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

impl Provider for Offline {
    fn stream(&self, ask: &ModelAsk) -> Asking<'_> {
        let turn = turn::answer(ask);
        let text = format!("{LABEL} {}", turn.text);
        let mut events: Vec<ModelEvent> = text
            .split_inclusive([' ', '\n'])
            .map(|word| ModelEvent::Text(word.to_owned()))
            .collect();
        let calls: Vec<ModelCall> = turn.call.into_iter().collect();
        events.extend(calls.iter().map(|call| ModelEvent::CallBegun {
            wire_id: call.wire_id.clone(),
            name: call.name.clone(),
        }));
        let said = text.len()
            + calls
                .iter()
                .map(|call| call.args.to_string().len())
                .sum::<usize>();
        let stop = if calls.is_empty() {
            StopReason::End
        } else {
            StopReason::ToolUse
        };
        let usage = Usage {
            input: estimate(turn::prompt_bytes(ask)),
            output: estimate(said),
            estimated: true,
            ..Usage::default()
        };
        events.push(ModelEvent::End(ModelEnd {
            text,
            thinking: Vec::new(),
            calls,
            stop,
            usage,
        }));
        let reply = stream::iter(events.into_iter().map(Ok)).boxed();
        std::future::ready(Ok(reply)).boxed()
    }
}

#[cfg(test)]
mod tests;
