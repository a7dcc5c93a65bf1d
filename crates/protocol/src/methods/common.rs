//! Shapes that several namespaces use.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use adjutant_domain::id::{ClientKey, MessageId, ThreadId};
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::time::Timestamp;

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// No parameters but the key that makes a repeat harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyOnly {
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PageParams {
    /// At most this many; 1 to 1,000, by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Skip this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
}

/// Tells `null` (clear it) from absence (leave it). Use with `default`.
pub(crate) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Who said a message, in the words of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireRole {
    /// The person.
    User,
    /// The model, or a summary that stands for older messages.
    Assistant,
    /// What a tool call came to.
    ToolResult,
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum ContentPart {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// Reasoning.
    Thinking {
        /// The words.
        thinking: String,
    },
    /// The wish to use a tool.
    ToolCall {
        /// Identifier of the call.
        id: String,
        /// Tool name.
        name: String,
        /// Arguments.
        arguments: Value,
    },
}

/// A message as surfaces show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireMessage {
    /// Who speaks.
    pub role: WireRole,
    /// What is said.
    pub content: Vec<ContentPart>,
    /// When, in milliseconds.
    pub timestamp: Timestamp,
    /// Identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Position in the thread; none while its run waits in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The run it belongs to, by its name on the wire or its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// `<run>:user` for the message that began a run, where a client asks what became of what it sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// True for a summary that stands for older messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary: bool,
    /// The call a result answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The tool a result comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// Whether the call failed, was denied or is in doubt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
}

impl WireMessage {
    /// Says which run this message of a person began.
    #[must_use]
    pub fn began(mut self, run: &str) -> Self {
        self.idempotency_key = Some(format!("{run}:user"));
        self
    }

    /// The words, parts joined by a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for part in &self.content {
            if let ContentPart::Text { text } = part {
                if !out.is_empty() {
                    out.push('\n');
                }
                out.push_str(text);
            }
        }
        out
    }
}

/// What was spent and what is held in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Settled, in millionths of a dollar.
    pub used_micros: Micros,
    /// Held by calls under way.
    pub reserved_micros: Micros,
    /// Model calls.
    pub calls: u64,
    /// Calls without a known price.
    pub unpriced: u64,
    /// Token counts.
    pub usage: Usage,
}

/// A thread and how many messages to show of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThreadParams {
    /// Which thread.
    pub thread_id: ThreadId,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}
