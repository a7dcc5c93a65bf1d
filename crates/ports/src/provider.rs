//! The door to models.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use adjutant_domain::message::{Part, Role};
use adjutant_domain::money::{Price, Usage};
use adjutant_domain::run::{ModelFault, StopReason};

/// One utterance as a model sees it. Already fenced where it must be: providers only translate.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelMessage {
    /// Who speaks. Summaries arrive as user text.
    pub role: Role,
    /// What is said. `ToolCall` and `ToolResult` parts carry the provider's own `wire_id`.
    pub parts: Vec<Part>,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelTool {
    /// Name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// JSON Schema of the arguments.
    pub schema: serde_json::Value,
}

/// One request to a model.
#[derive(Debug, Clone)]
pub struct ModelAsk {
    /// Model name, without the provider.
    pub model: String,
    /// Instructions; stable between turns so that the provider's prefix cache stays warm (TE-18).
    pub system: Arc<str>,
    /// Tools; stable between turns, too.
    pub tools: Arc<[ModelTool]>,
    /// The conversation, oldest first.
    pub messages: Vec<ModelMessage>,
    /// Tokens the model may generate.
    pub max_output_tokens: u32,
}

/// What a model says, as it says it.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// More words.
    Text(String),
    /// More reasoning.
    Thinking(String),
    /// The model began to ask for a tool (for surfaces; arguments come with [`ModelEvent::End`]).
    CallBegun {
        /// The provider's identifier.
        wire_id: String,
        /// Tool name.
        name: String,
    },
    /// The clean end. A stream without it is cut (R6).
    End(ModelEnd),
}

/// One tool call of a complete reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCall {
    /// The provider's identifier; made up by the provider crate where the API has none.
    pub wire_id: String,
    /// Tool name.
    pub name: String,
    /// Arguments; unparsable ones arrive as a JSON string holding the raw text.
    pub args: serde_json::Value,
}

/// The complete reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEnd {
    /// All words.
    pub text: String,
    /// All reasoning, with the signatures the provider wants back.
    pub thinking: Vec<(String, Option<String>)>,
    /// Calls, in order.
    pub calls: Vec<ModelCall>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Token counts; `estimated` when the provider sent none.
    pub usage: Usage,
}

/// A reply as it comes.
pub type ReplyStream = BoxStream<'static, Result<ModelEvent, ModelFault>>;

/// A request that is written down. It is sent when this is polled.
pub type Asking<'a> = BoxFuture<'a, Result<ReplyStream, ModelFault>>;

/// A model API.
///
/// The stream ends after [`ModelEvent::End`] or after an error; an error before any event is a refused request.
/// Dropping the stream stops the request. Deadlines (connect, first byte, idle, total) are the provider's own.
pub trait Provider: Send + Sync {
    /// Asks, and streams the reply.
    ///
    /// The call itself only writes the request down, which takes time with a long conversation: the engine does it while the
    /// intent to ask is on its way to the disk. Nothing happens outside before the future is polled.
    ///
    /// # Errors
    /// A [`ModelFault`] says what the caller can do: wait, ask again, fail over, or tell the owner.
    fn stream(&self, ask: &ModelAsk) -> Asking<'_>;
}

/// A route: a provider, a model, and what is known about it.
#[derive(Clone)]
pub struct Route {
    /// `provider/model`.
    pub name: String,
    /// Model name as the provider knows it.
    pub model: String,
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// Price; none means unpriced, which is never free.
    pub price: Option<Price>,
    /// Tokens the model can take in, if known.
    pub context_tokens: Option<u32>,
    /// Whether this is the built-in rule-based responder.
    pub offline: bool,
}

/// One model of the catalogue, for `models.list`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// Model name as the provider knows it.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Provider name.
    pub provider: String,
    /// Tokens it can take in, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u32>,
    /// Price per million tokens, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Whether a credential for its provider is at hand.
    pub available: bool,
}

/// One provider and how it is doing, for `models status` (M022).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// Provider name.
    pub name: String,
    /// Whether a credential is at hand (or none is needed).
    pub configured: bool,
    /// Where requests go, without any secret.
    pub base_url: String,
    /// The last fault, as a sentence; none while it works or has not been used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// How long it will not be asked because it kept failing; zero when open for business.
    pub resting: Duration,
}

/// Finds providers by name.
pub trait Models: Send + Sync {
    /// The route for `provider/model`, or for a provider's default model when only a provider is named.
    ///
    /// # Errors
    /// A sentence naming what is unknown or not configured and how to fix it.
    fn route(&self, name: &str) -> Result<Route, String>;
    /// The route used when an agent names none: `provider/model`.
    fn default_route(&self) -> String;
    /// Routes tried after the first, when an agent names none.
    fn fallbacks(&self) -> Vec<String>;
    /// The catalogue.
    fn list(&self) -> Vec<ModelInfo>;
    /// The providers and how they are doing.
    fn status(&self) -> Vec<ProviderStatus>;
}
