//! One utterance in a thread.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{CallId, MessageId, RunId, ThreadId};
use crate::label::Label;
use crate::time::Timestamp;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person (or whatever stands in for one: cron, a webhook).
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// A summary of earlier messages, made by compaction.
    Summary,
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Part {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// The model's reasoning, kept so that it can be sent back where a provider wants it.
    Thinking {
        /// The words, possibly empty.
        text: String,
        /// The provider's opaque signature.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// A wish of the model to use a tool.
    ToolCall {
        /// Our identifier.
        call: CallId,
        /// The provider's identifier, sent back with the result.
        wire_id: String,
        /// Tool name.
        name: String,
        /// Arguments as the model gave them.
        args: Value,
    },
    /// What a tool call came to.
    ToolResult {
        /// Our identifier.
        call: CallId,
        /// The provider's identifier.
        wire_id: String,
        /// Tool name.
        name: String,
        /// Text for the model.
        text: String,
        /// Whether the call failed, was denied or is in doubt.
        is_error: bool,
    },
}

/// One utterance in a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Identifier.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub thread: ThreadId,
    /// Position in the thread, gapless from 1; none while its run has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
    /// The run that wrote or consumed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Where it came from and how far it is trusted.
    pub label: Label,
    /// When it was said.
    pub at: Timestamp,
}

impl Message {
    /// The words of the message, parts joined by a newline, without reasoning, calls and results.
    #[must_use]
    pub fn text(&self) -> String {
        text_of(&self.parts)
    }
}

/// The words among `parts`, joined by a newline.
#[must_use]
pub fn text_of(parts: &[Part]) -> String {
    let mut out = String::new();
    for part in parts {
        if let Part::Text { text } = part {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(text);
        }
    }
    out
}
