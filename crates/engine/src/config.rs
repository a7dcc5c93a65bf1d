//! The `[worker]` section.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::need::{NEEDS_MAX, Needs};
use adjutant_domain::time::Span;

/// What to do with a model whose price is not known (TE-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// Let it run and flag the call.
    #[default]
    Warn,
    /// Refuse the call while any money cap applies.
    Block,
}

/// Tokens per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRate {
    /// Refill per minute, in tokens.
    pub tokens_per_minute: u64,
    /// Most that can be saved up, in tokens.
    pub burst: u64,
}

/// Longest wait for a step under way when a worker is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// Settings of the workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many runs one worker drives at once.
    pub runs_at_once: u32,
    /// What this worker has for runs that need it, such as `gpu`; `machine:<host name>` it offers by itself.
    pub offers: Needs,
    /// How long a claim holds without a sign of life. Only matters across machines.
    pub lease: Span,
    /// How often a worker says that it lives, as a part of the lease.
    pub heartbeat: Span,
    /// How long a worker that is told to stop waits for the step under way; what is not done by then goes on elsewhere from
    /// its log.
    pub drain: Span,
    /// How often a worker looks for work when no hint arrives.
    pub poll: Span,
    /// First wait before a failed model call is tried again; doubles each time, with jitter.
    pub backoff_first: Span,
    /// Longest such wait. A provider's own hint may be longer.
    pub backoff_max: Span,
    /// Longest wait a provider may ask for; more than this is a failure of that route.
    pub retry_after_max: Span,
    /// Read-only calls of one turn that run side by side.
    pub parallel_reads: u32,
    /// Longest text of a tool result that the model sees, in bytes.
    pub tool_result_bytes: u32,
    /// Longest time of one tool call.
    pub tool_timeout: Span,
    /// Messages of earlier runs that are sent at most.
    pub history_messages: u32,
    /// Facts recalled into a prompt at most.
    pub recall: u32,
    /// Whether a short background run may look back after an answer (never with the offline provider).
    pub reflect: bool,
    /// Tool calls a run must have made before it is looked back at.
    pub reflect_after_calls: u32,
    /// What to do with a model whose price is not known.
    pub unpriced: Unpriced,
    /// Tokens an owner may use per minute; absent means no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_rate: Option<TokenRate>,
    /// Tokens a model may use per minute, by `provider/model`.
    pub model_rates: BTreeMap<String, TokenRate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runs_at_once: 8,
            offers: Needs::default(),
            lease: Span::from_secs(30),
            heartbeat: Span::from_secs(10),
            drain: Span::from_secs(10),
            poll: Span::from_secs(5),
            backoff_first: Span::from_millis(500),
            backoff_max: Span::from_secs(30),
            retry_after_max: Span::from_secs(300),
            parallel_reads: 8,
            tool_result_bytes: 16 * 1024,
            tool_timeout: Span::from_secs(120),
            history_messages: 100,
            recall: 5,
            reflect: true,
            reflect_after_calls: 3,
            unpriced: Unpriced::Warn,
            owner_rate: None,
            model_rates: BTreeMap::new(),
        }
    }
}

impl Config {
    /// What is out of range: key within the section, and a sentence.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        if !(1..=256).contains(&self.runs_at_once) {
            out.push(("runs_at_once", "must be between 1 and 256".to_owned()));
        }
        if NEEDS_MAX <= self.offers.len() {
            out.push(("offers", format!("must be fewer than {NEEDS_MAX}")));
        }
        if self.lease.duration() < self.heartbeat.duration() * 2 {
            out.push((
                "lease",
                "must be at least twice `worker.heartbeat`".to_owned(),
            ));
        }
        if self.heartbeat.duration().is_zero() || self.poll.duration().is_zero() {
            out.push((
                "heartbeat",
                "`heartbeat` and `poll` must be longer than zero".to_owned(),
            ));
        }
        if DRAIN_MAX < self.drain.duration() {
            out.push(("drain", "must not be longer than ten minutes".to_owned()));
        }
        if self.backoff_max < self.backoff_first {
            out.push((
                "backoff_max",
                "must not be shorter than `worker.backoff_first`".to_owned(),
            ));
        }
        if !(1..=64).contains(&self.parallel_reads) {
            out.push(("parallel_reads", "must be between 1 and 64".to_owned()));
        }
        if self.tool_result_bytes < 1_024 {
            out.push(("tool_result_bytes", "must be at least 1024".to_owned()));
        }
        if !(1..=1_000).contains(&self.history_messages) {
            out.push(("history_messages", "must be between 1 and 1000".to_owned()));
        }
        out
    }
}
