//! A run as a chat completion.
//!
//! The tools are the agent's own and have run when they are told, so they are not `tool_calls`, which a client would
//! have to answer: they come in `adjutant`, beside what OpenAI's shape has.

use serde_json::{Value, json};

use adjutant_domain::money::Usage;
use adjutant_protocol::methods::agent::{AgentWaited, RunPhase};

use crate::compat::ask::Ask;
use crate::compat::follow::Moment;
use crate::compat::problem::Problem;
use crate::compat::{Telling, failure, standing, waiting_words};

pub(super) struct Completion {
    id: String,
    created: i64,
    model: String,
    with_usage: bool,
    calls: Vec<Value>,
    /// Whether a reply was told whole, so that the next one begins a paragraph of its own.
    said: bool,
}

impl Completion {
    fn chunk(&self, delta: &Value, finish: Option<&str>, extra: Option<Value>) -> String {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }],
        });
        if let Some(extra) = extra {
            chunk["adjutant"] = extra;
        }
        line(&chunk)
    }

    fn calls_in(&mut self, moment: &Moment) -> Option<Value> {
        match moment {
            Moment::Started { call, name, args } => {
                self.calls.push(
                    json!({ "id": call, "name": name, "arguments": args, "status": "running" }),
                );
                Some(
                    json!({ "type": "tool_call.started", "id": call, "name": name, "arguments": args }),
                )
            }
            Moment::Ended {
                call,
                name,
                outcome,
                preview,
            } => {
                if let Some(known) = self.calls.iter_mut().find(|it| it["id"] == call.as_str()) {
                    known["status"] = json!(outcome);
                    known["output"] = json!(preview);
                } else {
                    self.calls.push(
                        json!({ "id": call, "name": name, "status": outcome, "output": preview }),
                    );
                }
                Some(json!({
                    "type": "tool_call.ended", "id": call, "name": name, "status": outcome, "output": preview,
                }))
            }
            _ => None,
        }
    }
}

fn line(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// `length` is the one word of OpenAI's that says: this is not the end.
fn finish(waited: &AgentWaited) -> &'static str {
    if waited.state == RunPhase::Done {
        "stop"
    } else {
        "length"
    }
}

fn usage(used: Usage) -> Value {
    let prompt = used
        .input
        .saturating_add(used.cache_read)
        .saturating_add(used.cache_write);
    json!({
        "prompt_tokens": prompt, "completion_tokens": used.output, "total_tokens": used.total(),
        "prompt_tokens_details": { "cached_tokens": used.cache_read },
    })
}

impl Telling for Completion {
    fn new(run: &str, created: i64, ask: &Ask) -> Self {
        Self {
            id: format!("chatcmpl-{run}"),
            created,
            model: ask.model.clone(),
            with_usage: ask.usage,
            calls: Vec::new(),
            said: false,
        }
    }

    fn begin(&mut self) -> Vec<String> {
        vec![self.chunk(&json!({ "role": "assistant", "content": "" }), None, None)]
    }

    fn moment(&mut self, moment: Moment) -> Vec<String> {
        let extra = self.calls_in(&moment);
        match moment {
            Moment::Words(words) => {
                let gap = if std::mem::take(&mut self.said) {
                    "\n\n"
                } else {
                    ""
                };
                vec![self.chunk(&json!({ "content": format!("{gap}{words}") }), None, None)]
            }
            // What was sent cannot be taken back; who knows the extension can drop it.
            Moment::Void => vec![self.chunk(&json!({}), None, Some(json!({ "type": "void" })))],
            Moment::Said => {
                self.said = true;
                Vec::new()
            }
            Moment::Started { .. } | Moment::Ended { .. } => {
                vec![self.chunk(&json!({}), None, extra)]
            }
            Moment::Still => Vec::new(),
        }
    }

    fn end(&mut self, waited: &AgentWaited) -> Vec<String> {
        if let Some(problem) = failure(waited) {
            return self.broken(&problem);
        }
        let mut lines = Vec::new();
        if let Some(words) = waiting_words(waited) {
            lines.extend(self.moment(Moment::Words(words)));
        }
        lines.push(self.chunk(&json!({}), Some(finish(waited)), Some(standing(waited))));
        if self.with_usage {
            lines.push(line(&json!({
                "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
                "choices": [], "usage": usage(waited.usage.unwrap_or_default()),
            })));
        }
        lines.push("data: [DONE]\n\n".to_owned());
        lines
    }

    fn broken(&mut self, problem: &Problem) -> Vec<String> {
        vec![
            line(&json!({ "error": problem.to_json() })),
            "data: [DONE]\n\n".to_owned(),
        ]
    }

    fn whole(&mut self, waited: &AgentWaited) -> Result<Value, Problem> {
        if let Some(problem) = failure(waited) {
            return Err(problem);
        }
        let words = waiting_words(waited)
            .or_else(|| waited.text.clone())
            .unwrap_or_default();
        let mut extra = standing(waited);
        if !self.calls.is_empty() {
            extra["tool_calls"] = Value::Array(std::mem::take(&mut self.calls));
        }
        Ok(json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0, "logprobs": null, "finish_reason": finish(waited),
                "message": { "role": "assistant", "content": words, "refusal": null },
            }],
            "usage": usage(waited.usage.unwrap_or_default()),
            "adjutant": extra,
        }))
    }
}
