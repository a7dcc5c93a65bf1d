//! A run as a response with output items. The agent's tool calls are `mcp_call` items of the server `adjutant`: the
//! documented shape for tools that ran on the server's side.

use serde_json::{Value, json};

use adjutant_domain::money::Usage;
use adjutant_protocol::methods::agent::{AgentWaited, RunPhase};

use crate::compat::ask::Ask;
use crate::compat::follow::Moment;
use crate::compat::problem::Problem;
use crate::compat::{Telling, failure, standing, waiting_words};

pub(super) struct Response {
    id: String,
    created: i64,
    model: String,
    conversation: Option<String>,
    previous: Option<String>,
    output: Vec<Value>,
    /// The message that grows: its place in the output.
    open: Option<usize>,
    sequence: u64,
}

impl Response {
    fn body(&self, status: &str) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "model": self.model,
            "output": self.output, "error": null, "incomplete_details": null, "instructions": null, "metadata": {},
            "parallel_tool_calls": true, "temperature": null, "top_p": null, "tool_choice": "auto", "tools": [],
            "previous_response_id": self.previous, "usage": null,
            "conversation": self.conversation.as_ref().map(|id| json!({ "id": id })),
        })
    }

    fn event(&mut self, kind: &str, mut members: Value) -> String {
        members["type"] = json!(kind);
        members["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        format!("event: {kind}\ndata: {members}\n\n")
    }

    fn item_id(&self, prefix: &str, at: usize) -> String {
        format!("{prefix}_{}_{at}", self.id.trim_start_matches("resp_"))
    }

    fn words(&mut self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let at = match self.open {
            Some(at) => at,
            None => {
                let at = self.output.len();
                let id = self.item_id("msg", at);
                let item = json!({ "id": id, "type": "message", "role": "assistant", "status": "in_progress", "content": [] });
                self.output.push(item.clone());
                self.open = Some(at);
                lines.push(self.event(
                    "response.output_item.added",
                    json!({ "output_index": at, "item": item }),
                ));
                let part = part("");
                self.output[at]["content"] = json!([part]);
                let added =
                    json!({ "item_id": id, "output_index": at, "content_index": 0, "part": part });
                lines.push(self.event("response.content_part.added", added));
                at
            }
        };
        let item = &mut self.output[at];
        let id = item["id"].clone();
        if let Some(Value::String(text)) = item.pointer_mut("/content/0/text") {
            text.push_str(words);
        }
        let delta = json!({ "item_id": id, "output_index": at, "content_index": 0, "delta": words, "logprobs": [] });
        lines.push(self.event("response.output_text.delta", delta));
        lines
    }

    /// Closes the message that grows.
    fn close(&mut self, status: &str) -> Vec<String> {
        let Some(at) = self.open.take() else {
            return Vec::new();
        };
        self.output[at]["status"] = json!(status);
        let item = self.output[at].clone();
        let part = item["content"][0].clone();
        let place = |more: Value| {
            let mut all = json!({ "item_id": item["id"], "output_index": at, "content_index": 0 });
            if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
                all.extend(more);
            }
            all
        };
        let (text, closed) = (
            place(json!({ "text": part["text"], "logprobs": [] })),
            place(json!({ "part": part })),
        );
        vec![
            self.event("response.output_text.done", text),
            self.event("response.content_part.done", closed),
            self.event(
                "response.output_item.done",
                json!({ "output_index": at, "item": item }),
            ),
        ]
    }

    fn started(&mut self, call: &str, name: &str, args: &Value) -> Vec<String> {
        let mut lines = self.close("completed");
        let at = self.output.len();
        let arguments = args.to_string();
        let item = json!({
            "id": call, "type": "mcp_call", "server_label": "adjutant", "name": name, "arguments": arguments,
            "status": "in_progress", "output": null, "error": null, "approval_request_id": null,
        });
        self.output.push(item.clone());
        lines.push(self.event(
            "response.output_item.added",
            json!({ "output_index": at, "item": item }),
        ));
        let place = json!({ "item_id": call, "output_index": at });
        lines.push(self.event("response.mcp_call.in_progress", place));
        let done = json!({ "item_id": call, "output_index": at, "arguments": arguments });
        lines.push(self.event("response.mcp_call_arguments.done", done));
        lines
    }

    fn ended(&mut self, call: &str, name: &str, outcome: &str, preview: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let found = self.output.iter().position(|it| it["id"] == call);
        let at = found.unwrap_or_else(|| {
            // Refused before it started.
            lines.extend(self.started(call, name, &json!({})));
            self.output.len() - 1
        });
        let done = outcome == "done";
        let item = &mut self.output[at];
        item["status"] = json!(if done { "completed" } else { "failed" });
        if done {
            item["output"] = json!(preview);
        } else {
            item["error"] = json!(format!("{outcome}: {preview}"));
        }
        let item = item.clone();
        let kind = if done {
            "response.mcp_call.completed"
        } else {
            "response.mcp_call.failed"
        };
        lines.push(self.event(kind, json!({ "item_id": call, "output_index": at })));
        lines.push(self.event(
            "response.output_item.done",
            json!({ "output_index": at, "item": item }),
        ));
        lines
    }

    /// The response as it ends, and the word for how.
    fn ending(&mut self, waited: &AgentWaited) -> (&'static str, Value) {
        let (word, status) = match waited.state {
            RunPhase::Done => ("response.completed", "completed"),
            RunPhase::Failed => ("response.failed", "failed"),
            RunPhase::Cancelled => ("response.failed", "cancelled"),
            _ => ("response.incomplete", "incomplete"),
        };
        let mut body = self.body(status);
        if let Some(problem) = failure(waited) {
            let problem = problem.to_json();
            body["error"] = json!({ "code": "server_error", "message": problem["message"] });
        }
        if status == "incomplete" {
            let reason = if waited.approvals.is_empty() {
                "waiting_input"
            } else {
                "waiting_approval"
            };
            body["incomplete_details"] = json!({ "reason": reason });
        }
        body["usage"] = usage(waited.usage.unwrap_or_default());
        body["adjutant"] = standing(waited);
        (word, body)
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn usage(used: Usage) -> Value {
    let input = used
        .input
        .saturating_add(used.cache_read)
        .saturating_add(used.cache_write);
    json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": used.cache_read },
        "output_tokens": used.output, "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": used.total(),
    })
}

impl Telling for Response {
    fn new(run: &str, created: i64, ask: &Ask) -> Self {
        Self {
            id: format!("resp_{run}"),
            created,
            model: ask.model.clone(),
            conversation: ask.conversation.clone(),
            previous: ask.previous.clone(),
            output: Vec::new(),
            open: None,
            sequence: 0,
        }
    }

    fn begin(&mut self) -> Vec<String> {
        let body = self.body("in_progress");
        vec![
            self.event("response.created", json!({ "response": body })),
            self.event("response.in_progress", json!({ "response": body })),
        ]
    }

    fn moment(&mut self, moment: Moment) -> Vec<String> {
        match moment {
            Moment::Words(words) => self.words(&words),
            Moment::Void => self.close("incomplete"),
            Moment::Said => self.close("completed"),
            Moment::Started { call, name, args } => self.started(&call, &name, &args),
            Moment::Ended {
                call,
                name,
                outcome,
                preview,
            } => self.ended(&call, &name, &outcome, &preview),
            Moment::Still => Vec::new(),
        }
    }

    fn end(&mut self, waited: &AgentWaited) -> Vec<String> {
        let mut lines = self.close("completed");
        if let Some(words) = waiting_words(waited) {
            lines.extend(self.words(&words));
            lines.extend(self.close("completed"));
        }
        let (word, body) = self.ending(waited);
        lines.push(self.event(word, json!({ "response": body })));
        lines
    }

    fn broken(&mut self, problem: &Problem) -> Vec<String> {
        let problem = problem.to_json();
        let members =
            json!({ "code": problem["code"], "message": problem["message"], "param": null });
        vec![self.event("error", members)]
    }

    fn whole(&mut self, waited: &AgentWaited) -> Result<Value, Problem> {
        self.end(waited);
        Ok(self.ending(waited).1)
    }
}
