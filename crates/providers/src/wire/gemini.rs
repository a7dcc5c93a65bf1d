//! Gemini, `streamGenerateContent` with server-sent events.
//!
//! Source: Gemini API reference, "Generating content", and the guides "Function calling" and "Thought signatures".
//! There is no end event: the reply is complete when the body ends in good order after a `finishReason`.

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
use crate::reply::{Reply, less};
use crate::secret::Key;

/// Marks a thought signature as ours: `gemini:<call or nothing>:<signature>`.
const SIGNED: &str = "gemini";
/// What Gemini 3 accepts in place of a signature for a call that another model made.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The format.
pub(crate) struct Gemini {
    tools: ToolLists,
}

impl Gemini {
    pub(crate) fn new() -> Self {
        Self {
            tools: ToolLists::new(render_tools),
        }
    }
}

impl Wire for Gemini {
    fn url(&self, base: &Url, model: &str) -> Url {
        let model = model.strip_prefix("models/").unwrap_or(model);
        let call = format!("{model}:streamGenerateContent");
        let mut url = join(base, &["v1beta", "models", &call]);
        url.set_query(Some("alt=sse"));
        url
    }

    fn credential(&self, key: &Key) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static("x-goog-api-key"), key.header(""))
    }

    fn body(&self, ask: &ModelAsk) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Body {
            system_instruction: (!ask.system.is_empty()).then(|| System {
                parts: [Text { text: &ask.system }],
            }),
            tools: self.tools.get(&ask.tools)?,
            contents: contents(ask),
            generation_config: Generation {
                max_output_tokens: ask.max_output_tokens,
            },
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Stream)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<System<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Arc<RawValue>>,
    contents: Vec<Content<'a>>,
    generation_config: Generation,
}

#[derive(Serialize)]
struct System<'a> {
    parts: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    max_output_tokens: u32,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<Piece<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    name: &'a str,
    args: Cow<'a, Value>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    name: &'a str,
    response: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<'a> {
    Output(&'a str),
    Error(&'a str),
}

fn render_tools(tools: &[ModelTool]) -> serde_json::Result<Box<RawValue>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Tools<'a> {
        function_declarations: Vec<Tool<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Tool<'a> {
        name: &'a str,
        description: &'a str,
        // `parameters` only takes a subset of OpenAPI and refuses `additionalProperties`.
        parameters_json_schema: &'a Value,
    }
    let function_declarations = tools
        .iter()
        .map(|tool| Tool {
            name: &tool.name,
            description: &tool.description,
            parameters_json_schema: &tool.schema,
        })
        .collect();
    serde_json::value::to_raw_value(&[Tools {
        function_declarations,
    }])
}

fn contents(ask: &ModelAsk) -> Vec<Content<'_>> {
    let needs_signature = ask.model.contains("gemini-3");
    let mut out: Vec<Content<'_>> = Vec::with_capacity(ask.messages.len());
    for message in &ask.messages {
        let role = match message.role {
            Role::Assistant => "model",
            Role::User | Role::Summary | Role::Tool => "user",
        };
        let mut pieces = pieces(message);
        if needs_signature {
            sign_foreign(&mut pieces);
        }
        if pieces.is_empty() {
            continue;
        }
        match out.last_mut() {
            // All results of a turn stand in one content.
            Some(last) if last.role == role => last.parts.extend(pieces),
            _ => out.push(Content {
                role,
                parts: pieces,
            }),
        }
    }
    if out.first().is_none_or(|content| content.role != "user") {
        let parts = vec![Piece {
            text: Some("(continued)"),
            ..Piece::default()
        }];
        out.insert(
            0,
            Content {
                role: "user",
                parts,
            },
        );
    }
    out
}

fn pieces(message: &ModelMessage) -> Vec<Piece<'_>> {
    let signature_of = |call: &str| {
        message.parts.iter().find_map(|part| match part {
            Part::Thinking { signature, .. } => {
                let (of, signature) =
                    own_signature(SIGNED, signature.as_ref())?.rsplit_once(':')?;
                (of == call).then_some(signature)
            }
            _ => None,
        })
    };
    let mut text_signature = signature_of("");
    message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text } if text.is_empty() => None,
            Part::Text { text } => Some(Piece {
                text: Some(text),
                thought_signature: text_signature.take(),
                ..Piece::default()
            }),
            Part::Thinking { .. } => None,
            Part::ToolCall {
                wire_id,
                name,
                args,
                ..
            } => Some(Piece {
                function_call: Some(FunctionCall {
                    name,
                    args: args_object(args),
                }),
                thought_signature: signature_of(wire_id),
                ..Piece::default()
            }),
            Part::ToolResult {
                name,
                text,
                is_error,
                ..
            } => {
                let response = if *is_error {
                    Outcome::Error(text)
                } else {
                    Outcome::Output(text)
                };
                Some(Piece {
                    function_response: Some(FunctionResponse { name, response }),
                    ..Piece::default()
                })
            }
        })
        .collect()
}

/// The first call of a turn must carry a signature; a call of another model has none.
fn sign_foreign(pieces: &mut [Piece<'_>]) {
    if let Some(first) = pieces
        .iter_mut()
        .find(|piece| piece.function_call.is_some())
    {
        first.thought_signature.get_or_insert(NO_SIGNATURE);
    }
}

struct Stream;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counts>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    index: u32,
    content: Option<Said>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    parts: Option<Vec<SaidPart>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidPart {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    thought_signature: Option<String>,
    function_call: Option<SaidCall>,
}

#[derive(Deserialize)]
struct SaidCall {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Counts {
    prompt_token_count: u64,
    candidates_token_count: u64,
    cached_content_token_count: u64,
    thoughts_token_count: u64,
    tool_use_prompt_token_count: u64,
}

impl Counts {
    fn usage(&self) -> Usage {
        let fresh = less(self.prompt_token_count, self.cached_content_token_count);
        Usage {
            input: fresh.saturating_add(self.tool_use_prompt_token_count),
            output: self
                .candidates_token_count
                .saturating_add(self.thoughts_token_count),
            cache_read: self.cached_content_token_count,
            cache_write: 0,
            estimated: false,
        }
    }
}

impl Reader for Stream {
    fn event(&mut self, _name: &str, data: &str, reply: &mut Reply) -> Result<(), ModelFault> {
        let chunk: Chunk = parse(data)?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(fault::of_error(&error, None));
        }
        if let Some(feedback) = chunk.prompt_feedback
            && let Some(reason) = feedback.block_reason
        {
            let why = feedback.block_reason_message.unwrap_or(reason);
            reply.text(format!(
                "The prompt was blocked: {}",
                fault::clean(&why, None)
            ));
            reply.stop(StopReason::Refusal);
        }
        for candidate in chunk
            .candidates
            .into_iter()
            .flatten()
            .filter(|c| c.index == 0)
        {
            for part in candidate
                .content
                .and_then(|said| said.parts)
                .into_iter()
                .flatten()
            {
                said(part, reply)?;
            }
            if let Some(reason) = candidate.finish_reason {
                finish(&reason, candidate.finish_message, reply)?;
            }
        }
        // Zeros are no report; taken for one they would make a reply free.
        if let Some(counts) = chunk
            .usage_metadata
            .filter(|counts| 0 < counts.prompt_token_count)
        {
            reply.usage(counts.usage());
        }
        Ok(())
    }

    fn end_of_stream(&mut self, reply: &mut Reply) {
        if reply.has_stopped() {
            reply.complete();
        }
    }
}

fn said(part: SaidPart, reply: &mut Reply) -> Result<(), ModelFault> {
    if let Some(call) = part.function_call {
        let slot = u32::try_from(reply.n_calls()).unwrap_or(u32::MAX);
        let id = reply
            .begin(slot, call.id.unwrap_or_default(), call.name)?
            .to_owned();
        let args = call
            .args
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        reply.whole_args(slot, args)?;
        if let Some(signature) = part.thought_signature {
            reply.keep(format!("{SIGNED}:{id}:{signature}"));
        }
        return Ok(());
    }
    match (part.text, part.thought) {
        (Some(text), true) => reply.thinking(text),
        (Some(text), false) => reply.text(text),
        (None, _) => {}
    }
    if let Some(signature) = part.thought_signature.filter(|_| !part.thought) {
        reply.keep(format!("{SIGNED}::{signature}"));
    }
    Ok(())
}

fn finish(reason: &str, words: Option<String>, reply: &mut Reply) -> Result<(), ModelFault> {
    match reason {
        "FINISH_REASON_UNSPECIFIED" => {}
        "STOP" => reply.stop(StopReason::End),
        // Gemini itself says `STOP` after calls; servers that imitate it say this.
        "FUNCTION_CALL" | "TOOL_CALL" => reply.stop(StopReason::ToolUse),
        "MAX_TOKENS" => reply.stop(StopReason::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE"
        | "IMAGE_SAFETY" => {
            if !reply.has_text() {
                let why = words.unwrap_or_else(|| reason.to_owned());
                reply.text(format!(
                    "The answer was blocked: {}",
                    fault::clean(&why, None)
                ));
            }
            reply.stop(StopReason::Refusal);
        }
        // The model tried to call a tool and produced nonsense; asking again often helps.
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE" => {
            return Err(ModelFault::Garbage {
                text: fault::clean(&words.unwrap_or_else(|| reason.to_owned()), None),
            });
        }
        other => reply.stop(StopReason::Other {
            text: fault::clean(other, None),
        }),
    }
    Ok(())
}
