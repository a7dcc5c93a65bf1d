//! A reply under construction: what every wire format reads into, and the only place that says when it is complete.

use std::collections::VecDeque;

use serde_json::Value;

use adjutant_domain::money::Usage;
use adjutant_domain::run::{ModelFault, StopReason};
use adjutant_ports::provider::{ModelCall, ModelEnd, ModelEvent};

/// Most tool calls of one reply.
const CALLS_MAX: usize = 128;
/// Bytes of text per seven tokens times two: 3.5 bytes a token, for usage nobody reported.
const ESTIMATE: (u64, u64) = (2, 7);

/// What arrived so far, and the events not yet handed out.
#[derive(Default)]
pub(crate) struct Reply {
    text: String,
    thinking: Vec<(String, Option<String>)>,
    calls: Vec<Draft>,
    stop: Option<StopReason>,
    usage: Option<Usage>,
    events: VecDeque<ModelEvent>,
    complete: bool,
    seed: String,
}

struct Draft {
    /// Where the format says this call belongs.
    slot: u32,
    wire_id: String,
    name: String,
    args: Args,
}

enum Args {
    Text(String),
    Whole(Value),
}

impl Reply {
    /// An empty reply; `seed` makes the identifiers unique that a format does not give.
    pub(crate) fn new(seed: String) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// More words.
    pub(crate) fn text(&mut self, more: String) {
        if !more.is_empty() {
            self.text.push_str(&more);
            self.events.push_back(ModelEvent::Text(more));
        }
    }

    /// More reasoning in the block that is open.
    pub(crate) fn thinking(&mut self, more: String) {
        if more.is_empty() {
            return;
        }
        match self.thinking.last_mut() {
            Some((text, None)) => text.push_str(&more),
            _ => self.thinking.push((more.clone(), None)),
        }
        self.events.push_back(ModelEvent::Thinking(more));
    }

    /// Seals the open block of reasoning, or an empty one, with what the provider wants back.
    pub(crate) fn sign(&mut self, signature: String) {
        match self.thinking.last_mut() {
            Some((_, seal @ None)) => *seal = Some(signature),
            _ => self.thinking.push((String::new(), Some(signature))),
        }
    }

    /// A block of its own that holds nothing but what the provider wants back.
    pub(crate) fn keep(&mut self, signature: String) {
        self.thinking.push((String::new(), Some(signature)));
    }

    /// Whether a call stands at `slot`, and its identifier.
    pub(crate) fn call_at(&self, slot: u32) -> Option<&str> {
        self.calls
            .iter()
            .rev()
            .find(|call| call.slot == slot)
            .map(|call| call.wire_id.as_str())
    }

    /// How many calls there are.
    pub(crate) fn n_calls(&self) -> usize {
        self.calls.len()
    }

    /// The model began to ask for `name`; returns the identifier, made up if the format gave none.
    ///
    /// # Errors
    /// [`ModelFault::Garbage`] when there are absurdly many.
    pub(crate) fn begin(
        &mut self,
        slot: u32,
        wire_id: String,
        name: String,
    ) -> Result<&str, ModelFault> {
        if CALLS_MAX <= self.calls.len() {
            return Err(garbage("more tool calls than a reply can hold"));
        }
        let wire_id = match wire_id.as_str() {
            "" => format!("adj_{}_{}", self.seed, self.calls.len()),
            _ => wire_id,
        };
        self.events.push_back(ModelEvent::CallBegun {
            wire_id: wire_id.clone(),
            name: name.clone(),
        });
        self.calls.push(Draft {
            slot,
            wire_id,
            name,
            args: Args::Text(String::new()),
        });
        Ok(self.calls.last().map_or("", |call| call.wire_id.as_str()))
    }

    /// More of the arguments of the call at `slot`, as JSON text.
    ///
    /// # Errors
    /// [`ModelFault::Garbage`] when no call began there.
    pub(crate) fn args(&mut self, slot: u32, more: &str) -> Result<(), ModelFault> {
        match self.draft(slot)?.args {
            Args::Text(ref mut text) => text.push_str(more),
            Args::Whole(_) => return Err(garbage("arguments after complete arguments")),
        }
        Ok(())
    }

    /// The complete arguments of the call at `slot`, in place of what arrived in pieces.
    ///
    /// # Errors
    /// [`ModelFault::Garbage`] when no call began there.
    pub(crate) fn whole_args(&mut self, slot: u32, args: Value) -> Result<(), ModelFault> {
        self.draft(slot)?.args = Args::Whole(args);
        Ok(())
    }

    fn draft(&mut self, slot: u32) -> Result<&mut Draft, ModelFault> {
        self.calls
            .iter_mut()
            .rev()
            .find(|call| call.slot == slot)
            .ok_or_else(|| garbage("arguments of a tool call that never began"))
    }

    /// Why it stopped. A refusal is not taken back by a later, weaker word.
    pub(crate) fn stop(&mut self, stop: StopReason) {
        if self.stop != Some(StopReason::Refusal) {
            self.stop = Some(stop);
        }
    }

    /// Whether the provider said why it stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether any word arrived.
    pub(crate) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Token counts; the last ones count.
    pub(crate) fn usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// The format's own end was seen: nothing more is read.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the format's own end was seen.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next event that was not handed out.
    pub(crate) fn next_event(&mut self) -> Option<ModelEvent> {
        self.events.pop_front()
    }

    /// The complete reply.
    ///
    /// # Errors
    /// [`ModelFault::Cut`] when the provider never said why it stopped (R6).
    pub(crate) fn finish(&mut self, prompt_bytes: usize) -> Result<ModelEnd, ModelFault> {
        let stop = self.stop.take().ok_or(ModelFault::Cut)?;
        let mut bytes = self.text.len();
        bytes += self
            .thinking
            .iter()
            .map(|(text, _)| text.len())
            .sum::<usize>();
        let calls: Vec<ModelCall> = std::mem::take(&mut self.calls)
            .into_iter()
            .map(|call| {
                bytes += call.name.len();
                let args = match call.args {
                    Args::Whole(args) => args,
                    Args::Text(text) => {
                        bytes += text.len();
                        parse_args(text)
                    }
                };
                ModelCall {
                    wire_id: call.wire_id,
                    name: call.name,
                    args,
                }
            })
            .collect();
        let stop = match (stop, calls.is_empty()) {
            // Some compatible servers say `stop` after a tool call, or `tool_calls` after none.
            (StopReason::End, false) => StopReason::ToolUse,
            (StopReason::ToolUse, true) => StopReason::End,
            (stop, _) => stop,
        };
        let usage = self.usage.take().unwrap_or_else(|| Usage {
            input: estimate(prompt_bytes),
            output: estimate(bytes),
            estimated: true,
            ..Usage::default()
        });
        Ok(ModelEnd {
            text: std::mem::take(&mut self.text),
            thinking: std::mem::take(&mut self.thinking),
            calls,
            stop,
            usage,
        })
    }
}

/// Arguments as JSON; none means an empty object; unparsable ones stay text, which the engine answers with an error.
fn parse_args(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Tokens in so many bytes, when nobody counted (TE-5).
pub(crate) fn estimate(bytes: usize) -> u64 {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    bytes.saturating_mul(ESTIMATE.0).div_ceil(ESTIMATE.1)
}

/// `total` without `part`. A part larger than its total is counted as an anomaly and clamped (TE-5).
pub(crate) fn less(total: u64, part: u64) -> u64 {
    total.checked_sub(part).unwrap_or_else(|| {
        metrics::counter!("adjutant_usage_anomalies_total").increment(1);
        tracing::warn!(
            total,
            part,
            "a provider counted more cached tokens than prompt tokens"
        );
        0
    })
}

/// A fault that says what could not be understood.
pub(crate) fn garbage(text: &str) -> ModelFault {
    ModelFault::Garbage {
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    // covers: R6
    #[test]
    fn a_reply_without_a_stop_reason_is_cut() {
        let mut reply = Reply::new("t".to_owned());
        reply.text("half a sen".to_owned());
        assert_eq!(reply.finish(10), Err(ModelFault::Cut));
    }

    #[test]
    fn unreported_usage_is_estimated_and_says_so() {
        let mut reply = Reply::new("t".to_owned());
        reply.text("seven b".to_owned());
        reply.stop(StopReason::End);
        let usage = reply.finish(70).unwrap().usage;
        assert_eq!(
            usage,
            Usage {
                input: 20,
                output: 2,
                estimated: true,
                ..Usage::default()
            }
        );
    }

    #[test]
    fn arguments_are_parsed_once_they_are_whole() {
        let mut reply = Reply::new("t".to_owned());
        for (slot, name) in [(0, "a"), (1, "b"), (2, "c")] {
            reply.begin(slot, String::new(), name.to_owned()).unwrap();
        }
        reply.args(1, "{\"x\":").unwrap();
        reply.args(0, "{oops").unwrap();
        reply.args(1, "1}").unwrap();
        assert!(reply.args(7, "{}").is_err());
        reply.stop(StopReason::End);
        let end = reply.finish(0).unwrap();
        let args: Vec<&Value> = end.calls.iter().map(|call| &call.args).collect();
        assert_eq!(args, [&json!("{oops"), &json!({"x": 1}), &json!({})]);
        assert_eq!(end.stop, StopReason::ToolUse);
        assert_eq!(end.calls[2].wire_id, "adj_t_2");
    }
}
