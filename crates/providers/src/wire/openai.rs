//! OpenAI Chat Completions, which half the world speaks with an accent.
//!
//! Source: OpenAI API reference, "Chat"; Groq, OpenRouter and Ollama compatibility pages.
//! The reply is complete after `data: [DONE]`, or when the body ends in good order after a `finish_reason`, because
//! some compatible servers leave the former out.

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

const OPENROUTER: &str = "openrouter";

/// Whose accent is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI and Groq: `max_completion_tokens`.
    Native,
    /// OpenRouter: `reasoning_details` go back with the turn they came from.
    OpenRouter,
    /// Ollama and everybody else: `max_tokens`.
    Compatible,
}

/// The format.
pub(crate) struct OpenAi {
    dialect: Dialect,
    tools: ToolLists,
}

impl OpenAi {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            tools: ToolLists::new(render_tools),
        }
    }
}

impl Wire for OpenAi {
    fn url(&self, base: &Url, _model: &str) -> Url {
        join(base, &["chat", "completions"])
    }

    fn credential(&self, key: &Key) -> (HeaderName, HeaderValue) {
        (AUTHORIZATION, key.header("Bearer "))
    }

    fn body(&self, ask: &ModelAsk) -> Result<Vec<u8>, serde_json::Error> {
        let native = self.dialect == Dialect::Native;
        serde_json::to_vec(&Body {
            model: &ask.model,
            tools: self.tools.get(&ask.tools)?,
            messages: messages(ask, self.dialect),
            stream: true,
            stream_options: StreamOptions {
                include_usage: true,
            },
            max_completion_tokens: native.then_some(ask.max_output_tokens),
            max_tokens: (!native).then_some(ask.max_output_tokens),
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Stream {
            dialect: self.dialect,
            details: Vec::new(),
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Arc<RawValue>>,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    fn said(role: &'static str, content: Cow<'a, str>) -> Self {
        Self {
            role,
            content: Some(content),
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning_details: None,
        }
    }
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

fn render_tools(tools: &[ModelTool]) -> serde_json::Result<Box<RawValue>> {
    #[derive(Serialize)]
    struct Tool<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Declared<'a>,
    }
    #[derive(Serialize)]
    struct Declared<'a> {
        name: &'a str,
        description: &'a str,
        parameters: &'a Value,
    }
    let tools: Vec<Tool<'_>> = tools
        .iter()
        .map(|tool| Tool {
            kind: "function",
            function: Declared {
                name: &tool.name,
                description: &tool.description,
                parameters: &tool.schema,
            },
        })
        .collect();
    serde_json::value::to_raw_value(&tools)
}

fn messages(ask: &ModelAsk, dialect: Dialect) -> Vec<Message<'_>> {
    let mut out = Vec::with_capacity(ask.messages.len() + 1);
    if !ask.system.is_empty() {
        out.push(Message::said("system", Cow::Borrowed(&ask.system)));
    }
    for message in &ask.messages {
        push(&mut out, message, dialect);
    }
    out
}

fn push<'a>(out: &mut Vec<Message<'a>>, message: &'a ModelMessage, dialect: Dialect) {
    let mut calls = Vec::new();
    let mut details = None;
    let mut has_words = false;
    let mut has_results = false;
    for part in &message.parts {
        match part {
            Part::Text { .. } => has_words = true,
            Part::Thinking { signature, .. } => {
                if dialect == Dialect::OpenRouter {
                    details = own_signature(OPENROUTER, signature.as_ref())
                        .and_then(|json| serde_json::from_str(json).ok())
                        .or(details);
                }
            }
            Part::ToolCall {
                wire_id,
                name,
                args,
                ..
            } => calls.push(Call {
                id: wire_id,
                kind: "function",
                function: Function {
                    name,
                    arguments: args_text(args),
                },
            }),
            Part::ToolResult { wire_id, text, .. } => {
                has_results = true;
                out.push(Message {
                    tool_call_id: Some(wire_id),
                    ..Message::said("tool", Cow::Borrowed(text))
                });
            }
        }
    }
    match message.role {
        Role::Assistant if has_words || !calls.is_empty() => out.push(Message {
            role: "assistant",
            content: has_words.then(|| words(&message.parts)),
            tool_calls: calls,
            tool_call_id: None,
            reasoning_details: details,
        }),
        Role::Assistant => {}
        Role::User | Role::Summary | Role::Tool if has_words || !has_results => {
            out.push(Message::said("user", words(&message.parts)));
        }
        Role::User | Role::Summary | Role::Tool => {}
    }
}

struct Stream {
    dialect: Dialect,
    details: Vec<Value>,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Counts>,
    x_groq: Option<Groq>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    reasoning_details: Option<Vec<Value>>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<u32>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Groq {
    usage: Option<Counts>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    /// DeepSeek's place for the same number.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl Counts {
    fn usage(&self) -> Usage {
        let details = self.prompt_tokens_details.as_ref();
        let cache_read = details
            .and_then(|details| details.cached_tokens)
            .or(self.prompt_cache_hit_tokens)
            .unwrap_or(0);
        let cache_write = details
            .and_then(|details| details.cache_write_tokens)
            .unwrap_or(0);
        Usage {
            input: less(self.prompt_tokens, cache_read.saturating_add(cache_write)),
            output: self.completion_tokens,
            cache_read,
            cache_write,
            estimated: false,
        }
    }
}

impl Reader for Stream {
    fn event(&mut self, _name: &str, data: &str, reply: &mut Reply) -> Result<(), ModelFault> {
        if data == "[DONE]" {
            self.seal(reply);
            reply.complete();
            return Ok(());
        }
        let chunk: Chunk = parse(data)?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(fault::of_error(&error, None));
        }
        if let Some(groq) = &chunk.x_groq
            && let Some(error) = &groq.error
        {
            return Err(ModelFault::Unavailable {
                text: fault::clean(error, None),
            });
        }
        for choice in chunk
            .choices
            .into_iter()
            .flatten()
            .filter(|choice| choice.index == 0)
        {
            self.choice(choice, reply)?;
        }
        let counts = chunk
            .usage
            .or_else(|| chunk.x_groq.and_then(|groq| groq.usage));
        // Some servers send zeros with every chunk; they are no report.
        if let Some(counts) = counts.filter(|c| 0 < c.prompt_tokens || 0 < c.completion_tokens) {
            reply.usage(counts.usage());
        }
        Ok(())
    }

    fn end_of_stream(&mut self, reply: &mut Reply) {
        if reply.has_stopped() {
            self.seal(reply);
            reply.complete();
        }
    }
}

impl Stream {
    fn choice(&mut self, choice: Choice, reply: &mut Reply) -> Result<(), ModelFault> {
        if let Some(error) = choice.error.filter(|error| !error.is_null()) {
            return Err(fault::of_error(&error, None));
        }
        if let Some(delta) = choice.delta {
            if let Some(more) = delta.reasoning_content.or(delta.reasoning) {
                reply.thinking(more);
            }
            if self.dialect == Dialect::OpenRouter {
                self.details
                    .extend(delta.reasoning_details.into_iter().flatten());
            }
            if let Some(more) = delta.content {
                reply.text(more);
            }
            if let Some(more) = delta.refusal.filter(|more| !more.is_empty()) {
                reply.text(more);
                reply.stop(StopReason::Refusal);
            }
            for call in delta.tool_calls.into_iter().flatten() {
                call_delta(call, reply)?;
            }
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("stop") => reply.stop(StopReason::End),
            Some("tool_calls" | "function_call") => reply.stop(StopReason::ToolUse),
            Some("length") => reply.stop(StopReason::Length),
            Some("content_filter") => reply.stop(StopReason::Refusal),
            Some("error") => {
                return Err(ModelFault::Unavailable {
                    text: "the model stopped with an error".to_owned(),
                });
            }
            Some(other) => reply.stop(StopReason::Other {
                text: fault::clean(other, None),
            }),
        }
        Ok(())
    }

    /// Keeps what OpenRouter wants back: its pieces of reasoning, as one list.
    fn seal(&mut self, reply: &mut Reply) {
        let details = merge_details(std::mem::take(&mut self.details));
        if !details.is_empty() {
            reply.sign(format!("{OPENROUTER}:{}", Value::Array(details)));
        }
    }
}

/// Joins streamed pieces of one reasoning item: same `index` and `type`, text appended, the rest from the last that has it.
fn merge_details(pieces: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for piece in pieces {
        let same = |known: &Value| {
            piece.get("index").is_some()
                && known.get("index") == piece.get("index")
                && known.get("type") == piece.get("type")
        };
        let Some(known) = out.last_mut().filter(|known| same(known)) else {
            out.push(piece);
            continue;
        };
        for (field, value) in piece.as_object().into_iter().flatten() {
            let appends = matches!(field.as_str(), "text" | "summary" | "data");
            match (known.get_mut(field), value) {
                (Some(Value::String(text)), Value::String(more)) if appends => text.push_str(more),
                (_, Value::Null) => {}
                (Some(place), value) => *place = value.clone(),
                (None, value) => known[field] = value.clone(),
            }
        }
    }
    out
}

fn call_delta(call: CallDelta, reply: &mut Reply) -> Result<(), ModelFault> {
    let id = call.id.unwrap_or_default();
    let (name, args) = call
        .function
        .map(|function| {
            (
                function.name.unwrap_or_default(),
                function.arguments.unwrap_or_default(),
            )
        })
        .unwrap_or_default();
    let last = u32::try_from(reply.n_calls()).unwrap_or(u32::MAX);
    // Servers without `index` send whole calls, and some send index 0 for every one of several calls.
    let slot = call
        .index
        .unwrap_or(match (id.is_empty() && name.is_empty(), last) {
            (true, 1..) => last - 1,
            _ => last,
        });
    let begins = match reply.call_at(slot) {
        None => true,
        Some(known) => !id.is_empty() && known != id && !name.is_empty(),
    };
    if begins {
        if name.is_empty() {
            return Err(garbage("a tool call without a name"));
        }
        reply.begin(slot, id, name)?;
    }
    reply.args(slot, &args)
}
