//! Anthropic Messages.
//!
//! Source: Anthropic API reference, "Messages" and "Streaming messages". The reply is complete after `message_stop`.
//! Three cache breakpoints (tools, system text, end of the conversation) keep the stable prefix warm (TE-18).

use std::borrow::Cow;
use std::sync::Arc;

use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use adjutant_domain::message::{Part, Role};
use adjutant_domain::money::Usage;
use adjutant_domain::run::{ModelFault, StopReason};
use adjutant_ports::provider::{ModelAsk, ModelMessage, ModelTool};

use super::{Reader, ToolLists, Wire, args_object, join, own_signature, parse};
use crate::fault;
use crate::reply::{Reply, garbage};
use crate::secret::Key;

/// Marks a thinking signature as ours to send back.
const SIGNED: &str = "anthropic";
/// Marks reasoning that the provider encrypted.
const REDACTED: &str = "anthropic-redacted";

/// The format.
pub(crate) struct Anthropic {
    tools: ToolLists,
}

impl Anthropic {
    pub(crate) fn new() -> Self {
        Self {
            tools: ToolLists::new(render_tools),
        }
    }
}

impl Wire for Anthropic {
    fn url(&self, base: &Url, _model: &str) -> Url {
        join(base, &["v1", "messages"])
    }

    fn credential(&self, key: &Key) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static("x-api-key"), key.header(""))
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn body(&self, ask: &ModelAsk) -> Result<Vec<u8>, serde_json::Error> {
        let system = (!ask.system.trim().is_empty()).then(|| {
            [Block::Text {
                text: &ask.system,
                cache_control: Some(EPHEMERAL),
            }]
        });
        serde_json::to_vec(&Body {
            model: &ask.model,
            tools: self.tools.get(&ask.tools)?,
            system,
            messages: turns(ask),
            max_tokens: ask.max_output_tokens,
            stream: true,
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Stream>::default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Arc<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<[Block<'a>; 1]>,
    messages: Vec<Turn<'a>>,
    max_tokens: u32,
    stream: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

const EPHEMERAL: CacheControl = CacheControl { kind: "ephemeral" };

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Cow<'a, Value>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

impl Block<'_> {
    /// Order the API insists on: reasoning before everything a turn says, results before words.
    fn rank(&self) -> u8 {
        match self {
            Self::Thinking { .. } | Self::RedactedThinking { .. } => 0,
            Self::ToolResult { .. } => 1,
            Self::Text { .. } => 2,
            Self::ToolUse { .. } => 3,
        }
    }
}

fn render_tools(tools: &[ModelTool]) -> serde_json::Result<Box<RawValue>> {
    #[derive(Serialize)]
    struct Tool<'a> {
        name: &'a str,
        description: &'a str,
        input_schema: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    }
    let last = tools.len().saturating_sub(1);
    let tools: Vec<Tool<'_>> = tools
        .iter()
        .enumerate()
        .map(|(at, tool)| Tool {
            name: &tool.name,
            description: &tool.description,
            input_schema: &tool.schema,
            cache_control: (at == last).then_some(EPHEMERAL),
        })
        .collect();
    serde_json::value::to_raw_value(&tools)
}

fn turns(ask: &ModelAsk) -> Vec<Turn<'_>> {
    let mut out: Vec<Turn<'_>> = Vec::with_capacity(ask.messages.len());
    for message in &ask.messages {
        let role = match message.role {
            Role::Assistant => "assistant",
            Role::User | Role::Summary | Role::Tool => "user",
        };
        let blocks = blocks(message);
        if blocks.is_empty() {
            continue;
        }
        match out.last_mut() {
            // Roles must alternate, and all results of a turn stand in one message.
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => out.push(Turn {
                role,
                content: blocks,
            }),
        }
    }
    for turn in &mut out {
        turn.content.sort_by_key(Block::rank);
    }
    // The conversation must begin with the person; after compaction it may not.
    if out.first().is_none_or(|turn| turn.role != "user") {
        let content = vec![Block::Text {
            text: "(continued)",
            cache_control: None,
        }];
        out.insert(
            0,
            Turn {
                role: "user",
                content,
            },
        );
    }
    if let Some(Block::Text { cache_control, .. } | Block::ToolResult { cache_control, .. }) =
        out.last_mut().and_then(|turn| turn.content.last_mut())
    {
        *cache_control = Some(EPHEMERAL);
    }
    out
}

fn blocks(message: &ModelMessage) -> Vec<Block<'_>> {
    let assistant = message.role == Role::Assistant;
    message
        .parts
        .iter()
        .filter_map(|part| match part {
            // Blank text blocks are refused.
            Part::Text { text } if text.trim().is_empty() => None,
            Part::Text { text } => Some(Block::Text {
                text,
                cache_control: None,
            }),
            Part::Thinking { text, signature } if assistant => {
                if let Some(data) = own_signature(REDACTED, signature.as_ref()) {
                    return Some(Block::RedactedThinking { data });
                }
                let signature = own_signature(SIGNED, signature.as_ref())?;
                Some(Block::Thinking {
                    thinking: text,
                    signature,
                })
            }
            Part::Thinking { .. } => None,
            Part::ToolCall {
                wire_id,
                name,
                args,
                ..
            } => Some(Block::ToolUse {
                id: safe_id(wire_id),
                name,
                input: args_object(args),
            }),
            Part::ToolResult {
                wire_id,
                text,
                is_error,
                ..
            } => Some(Block::ToolResult {
                tool_use_id: safe_id(wire_id),
                content: text,
                is_error: *is_error,
                cache_control: None,
            }),
        })
        .collect()
}

/// Identifiers of other providers, in the characters that are accepted here.
fn safe_id(id: &str) -> Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.chars().all(safe) {
        return Cow::Borrowed(id);
    }
    let safe: String = id.chars().map(|c| if safe(c) { c } else { '_' }).collect();
    Cow::Owned(if safe.is_empty() {
        "_".to_owned()
    } else {
        safe
    })
}

#[derive(Default)]
struct Stream {
    usage: Usage,
    signature: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u32,
        content_block: Opened,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta,
    },
    ContentBlockStop {},
    MessageDelta {
        delta: MessageDelta,
        usage: Option<Counts>,
    },
    MessageStop {},
    Ping {},
    Error {
        error: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Start {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Opened {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl Reader for Stream {
    fn event(&mut self, _name: &str, data: &str, reply: &mut Reply) -> Result<(), ModelFault> {
        match parse(data)? {
            Event::MessageStart { message } => self.count(message.usage),
            Event::ContentBlockStart {
                index,
                content_block,
            } => {
                self.seal(reply);
                match content_block {
                    Opened::Text { text } => reply.text(text),
                    Opened::Thinking { thinking } => reply.thinking(thinking),
                    Opened::RedactedThinking { data } => reply.keep(format!("{REDACTED}:{data}")),
                    Opened::ToolUse { id, name } => {
                        if name.is_empty() {
                            return Err(garbage("a tool call without a name"));
                        }
                        reply.begin(index, id, name)?;
                    }
                    Opened::Unknown => {}
                }
            }
            Event::ContentBlockDelta { index, delta } => match delta {
                Delta::Text { text } => reply.text(text),
                Delta::Thinking { thinking } => reply.thinking(thinking),
                Delta::Signature { signature } => self.signature.push_str(&signature),
                Delta::InputJson { partial_json } => {
                    // Server-side tools stream their input, too; those calls are not ours to run.
                    if reply.call_at(index).is_some() {
                        reply.args(index, &partial_json)?;
                    }
                }
                Delta::Unknown => {}
            },
            Event::ContentBlockStop {} => self.seal(reply),
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                match delta.stop_reason.as_deref() {
                    None => {}
                    Some("end_turn" | "stop_sequence") => reply.stop(StopReason::End),
                    Some("tool_use") => reply.stop(StopReason::ToolUse),
                    Some("max_tokens" | "model_context_window_exceeded") => {
                        reply.stop(StopReason::Length);
                    }
                    Some("refusal") => reply.stop(StopReason::Refusal),
                    Some(other) => {
                        reply.stop(StopReason::Other {
                            text: fault::clean(other, None),
                        });
                    }
                }
            }
            Event::MessageStop {} => {
                self.seal(reply);
                // Zeros are no report; taken for one they would make a reply free.
                if 0 < self.usage.total() {
                    reply.usage(self.usage);
                }
                reply.complete();
            }
            Event::Error { error } => return Err(fault::of_error(&error, None)),
            Event::Ping {} | Event::Unknown => {}
        }
        Ok(())
    }
}

impl Stream {
    /// Counts are cumulative; the later event only has some of them.
    fn count(&mut self, counts: Option<Counts>) {
        let Some(counts) = counts else { return };
        let usage = &mut self.usage;
        usage.input = counts.input_tokens.unwrap_or(usage.input);
        usage.output = counts.output_tokens.unwrap_or(usage.output);
        usage.cache_read = counts.cache_read_input_tokens.unwrap_or(usage.cache_read);
        usage.cache_write = counts
            .cache_creation_input_tokens
            .unwrap_or(usage.cache_write);
    }

    fn seal(&mut self, reply: &mut Reply) {
        if !self.signature.is_empty() {
            reply.sign(format!("{SIGNED}:{}", std::mem::take(&mut self.signature)));
        }
    }
}
