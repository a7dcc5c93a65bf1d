//! OpenAI Responses.
//!
//! Source: OpenAI API reference, "Responses" and "Streaming events". Nothing is stored there (`store: false`), so
//! reasoning items come back encrypted and are sent again with the turn they belong to. The reply is complete after
//! `response.completed` or `response.incomplete`.

use std::borrow::Cow;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use adjutant_domain::message::{Part, Role};
use adjutant_domain::money::Usage;
use adjutant_domain::run::{ModelFault, StopReason};
use adjutant_ports::provider::{ModelAsk, ModelMessage, ModelTool};

use super::{Reader, ToolLists, Wire, args_text, join, own_signature, parse, words};
use crate::fault;
use crate::reply::{Reply, garbage, less};
use crate::secret::Key;

/// Marks a reasoning item as ours to send back.
const SIGNED: &str = "responses";

/// The format.
pub(crate) struct Responses {
    tools: ToolLists,
}

impl Responses {
    pub(crate) fn new() -> Self {
        Self {
            tools: ToolLists::new(render_tools),
        }
    }
}

impl Wire for Responses {
    fn url(&self, base: &Url, _model: &str) -> Url {
        join(base, &["responses"])
    }

    fn credential(&self, key: &Key) -> (HeaderName, HeaderValue) {
        (AUTHORIZATION, key.header("Bearer "))
    }

    fn body(&self, ask: &ModelAsk) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Body {
            model: &ask.model,
            instructions: &ask.system,
            tools: self.tools.get(&ask.tools)?,
            input: items(ask),
            max_output_tokens: ask.max_output_tokens,
            include: if reasons(&ask.model) {
                &["reasoning.encrypted_content"]
            } else {
                &[]
            },
            store: false,
            stream: true,
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Stream)
    }
}

/// Whether a model reasons; others refuse the request when encrypted reasoning is asked for.
fn reasons(model: &str) -> bool {
    let model = model.rsplit('/').next().unwrap_or(model);
    let o_series = model
        .strip_prefix('o')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    o_series || model.contains("codex") || (model.starts_with("gpt-5") && !model.contains("chat"))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Arc<RawValue>>,
    input: Vec<Item<'a>>,
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    store: bool,
    stream: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Said {
        role: &'static str,
        content: Cow<'a, str>,
    },
    Call {
        #[serde(rename = "type")]
        kind: &'static str,
        call_id: &'a str,
        name: &'a str,
        arguments: String,
    },
    Result {
        #[serde(rename = "type")]
        kind: &'static str,
        call_id: &'a str,
        output: &'a str,
    },
    Kept(&'a RawValue),
}

fn render_tools(tools: &[ModelTool]) -> serde_json::Result<Box<RawValue>> {
    #[derive(Serialize)]
    struct Tool<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
        description: &'a str,
        parameters: &'a Value,
        strict: bool,
    }
    let tools: Vec<Tool<'_>> = tools
        .iter()
        .map(|tool| Tool {
            kind: "function",
            name: &tool.name,
            description: &tool.description,
            parameters: &tool.schema,
            strict: false,
        })
        .collect();
    serde_json::value::to_raw_value(&tools)
}

fn items(ask: &ModelAsk) -> Vec<Item<'_>> {
    let reasoning = reasons(&ask.model);
    let mut out = Vec::with_capacity(ask.messages.len());
    for message in &ask.messages {
        push(&mut out, message, reasoning);
    }
    out
}

fn push<'a>(out: &mut Vec<Item<'a>>, message: &'a ModelMessage, reasoning: bool) {
    if message.role == Role::Assistant && reasoning {
        // Reasoning stands before what it led to.
        out.extend(message.parts.iter().filter_map(|part| match part {
            Part::Thinking { signature, .. } => {
                let json = own_signature(SIGNED, signature.as_ref())?;
                serde_json::from_str(json).ok().map(Item::Kept)
            }
            _ => None,
        }));
    }
    for part in &message.parts {
        if let Part::ToolResult { wire_id, text, .. } = part {
            out.push(Item::Result {
                kind: "function_call_output",
                call_id: wire_id,
                output: text,
            });
        }
    }
    let said = words(&message.parts);
    if !said.is_empty() {
        let role = match message.role {
            Role::Assistant => "assistant",
            Role::User | Role::Summary | Role::Tool => "user",
        };
        out.push(Item::Said {
            role,
            content: said,
        });
    }
    for part in &message.parts {
        if let Part::ToolCall {
            wire_id,
            name,
            args,
            ..
        } = part
        {
            let arguments = args_text(args);
            out.push(Item::Call {
                kind: "function_call",
                call_id: wire_id,
                name,
                arguments,
            });
        }
    }
}

struct Stream;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    delta: Option<String>,
    #[serde(default)]
    output_index: u32,
    item: Option<OutputItem>,
    response: Option<Summary>,
}

#[derive(Deserialize)]
struct OutputItem {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    encrypted_content: Option<String>,
    summary: Option<Value>,
}

#[derive(Deserialize)]
struct Summary {
    usage: Option<Counts>,
    incomplete_details: Option<Incomplete>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Incomplete {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    input_tokens_details: Option<InputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

impl Reader for Stream {
    fn event(&mut self, _name: &str, data: &str, reply: &mut Reply) -> Result<(), ModelFault> {
        if data == "[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = parse(data)?;
        let delta = event.delta.unwrap_or_default();
        match &*event.kind {
            "response.output_text.delta" => reply.text(delta),
            "response.refusal.delta" => {
                reply.text(delta);
                reply.stop(StopReason::Refusal);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                reply.thinking(delta);
            }
            "response.output_item.added" => {
                if let Some(item) = event.item.filter(|item| item.kind == "function_call") {
                    let name = item.name.filter(|name| !name.is_empty());
                    let name = name.ok_or_else(|| garbage("a tool call without a name"))?;
                    reply.begin(event.output_index, item.call_id.unwrap_or_default(), name)?;
                }
            }
            "response.function_call_arguments.delta" => reply.args(event.output_index, &delta)?,
            "response.output_item.done" => {
                if let Some(item) = event.item {
                    item_done(event.output_index, item, reply)?;
                }
            }
            "response.completed" => end(event.response, StopReason::End, reply),
            "response.incomplete" => end(event.response, StopReason::Length, reply),
            "response.failed" => {
                let error = event.response.and_then(|response| response.error);
                let error = error
                    .filter(Value::is_object)
                    .unwrap_or_else(|| serde_json::json!({ "message": "the response failed" }));
                return Err(fault::of_error(&error, None));
            }
            "error" => {
                let error: Value = parse(data)?;
                return Err(failed(&error));
            }
            _ => {}
        }
        Ok(())
    }
}

/// An `error` event: its own `type` is `error`, the kind stands in `code`.
fn failed(error: &Value) -> ModelFault {
    match error.get("error") {
        Some(inner) if inner.is_object() => fault::of_error(inner, None),
        _ => fault::of_error(error, None),
    }
}

fn item_done(slot: u32, item: OutputItem, reply: &mut Reply) -> Result<(), ModelFault> {
    match item.kind.as_str() {
        "function_call" => {
            if reply.call_at(slot).is_none() {
                let name = item.name.filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| garbage("a tool call without a name"))?;
                reply.begin(slot, item.call_id.unwrap_or_default(), name)?;
            }
            // The complete arguments stand here; what cannot be parsed keeps its pieces.
            if let Some(args) = item
                .arguments
                .and_then(|text| serde_json::from_str(&text).ok())
            {
                reply.whole_args(slot, args)?;
            }
        }
        "reasoning" => {
            if let Some(encrypted) = item.encrypted_content {
                let kept = serde_json::json!({
                    "type": "reasoning",
                    "id": item.id,
                    "summary": item.summary.unwrap_or_else(|| Value::Array(Vec::new())),
                    "encrypted_content": encrypted,
                });
                reply.sign(format!("{SIGNED}:{kept}"));
            }
        }
        _ => {}
    }
    Ok(())
}

fn end(response: Option<Summary>, stop: StopReason, reply: &mut Reply) {
    let response = response.unwrap_or(Summary {
        usage: None,
        incomplete_details: None,
        error: None,
    });
    // Zeros are no report; taken for one they would make a reply free.
    if let Some(counts) = response
        .usage
        .filter(|c| 0 < c.input_tokens || 0 < c.output_tokens)
    {
        let cache_read = counts
            .input_tokens_details
            .and_then(|d| d.cached_tokens)
            .unwrap_or(0);
        reply.usage(Usage {
            input: less(counts.input_tokens, cache_read),
            output: counts.output_tokens,
            cache_read,
            cache_write: 0,
            estimated: false,
        });
    }
    let filtered = response
        .incomplete_details
        .and_then(|details| details.reason)
        .is_some_and(|reason| reason == "content_filter");
    reply.stop(if filtered { StopReason::Refusal } else { stop });
    reply.complete();
}
