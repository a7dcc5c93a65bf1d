//! The four wire formats. Each file mirrors one vendor's JSON; nothing of it leaves the file.

mod anthropic;
mod gemini;
mod openai;
mod responses;

pub(crate) use anthropic::Anthropic;
pub(crate) use gemini::Gemini;
pub(crate) use openai::{Dialect, OpenAi};
pub(crate) use responses::Responses;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use adjutant_domain::message::Part;
use adjutant_domain::run::ModelFault;
use adjutant_ports::provider::{ModelAsk, ModelTool};

use crate::reply::Reply;
use crate::secret::Key;

/// How many rendered tool lists are kept: one per agent that is active at a time.
const TOOL_LISTS_MAX: usize = 16;

/// A model API's way of writing requests and replies.
pub(crate) trait Wire: Send + Sync {
    /// Where a request for `model` goes.
    fn url(&self, base: &Url, model: &str) -> Url;
    /// How the key is shown.
    fn credential(&self, key: &Key) -> (HeaderName, HeaderValue);
    /// Headers every request has.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// The request. The same ask gives the same bytes, so that prefix caches stay warm (TE-18).
    ///
    /// # Errors
    /// When something in the ask cannot be written as JSON.
    fn body(&self, ask: &ModelAsk) -> Result<Vec<u8>, serde_json::Error>;
    /// Reads one reply.
    fn reader(&self) -> Box<dyn Reader>;
}

/// Reads one streamed reply.
pub(crate) trait Reader: Send {
    /// Takes one event of the stream.
    ///
    /// # Errors
    /// What the event says went wrong, or [`ModelFault::Garbage`].
    fn event(&mut self, name: &str, data: &str, reply: &mut Reply) -> Result<(), ModelFault>;
    /// The stream ended in good order. Formats without an end event of their own complete the reply here.
    fn end_of_stream(&mut self, reply: &mut Reply) {
        let _ = reply;
    }
}

/// A tool list and what a vendor wants to see of it.
type Rendered = (Arc<[ModelTool]>, Arc<RawValue>);

/// Tool lists as a vendor wants them, rendered once per list.
pub(crate) struct ToolLists {
    render: fn(&[ModelTool]) -> serde_json::Result<Box<RawValue>>,
    slots: Mutex<Vec<Rendered>>,
}

impl ToolLists {
    pub(crate) fn new(render: fn(&[ModelTool]) -> serde_json::Result<Box<RawValue>>) -> Self {
        Self {
            render,
            slots: Mutex::new(Vec::new()),
        }
    }

    /// The rendered list; none when there are no tools.
    pub(crate) fn get(
        &self,
        tools: &Arc<[ModelTool]>,
    ) -> serde_json::Result<Option<Arc<RawValue>>> {
        if tools.is_empty() {
            return Ok(None);
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // The same list by address is the common case; an equal one made anew is still cheaper to compare than to render.
        let found = slots
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, tools))
            .or_else(|| slots.iter().position(|(known, _)| known == tools));
        if let Some(at) = found {
            let slot = slots.remove(at);
            let rendered = Arc::clone(&slot.1);
            slots.push(slot);
            return Ok(Some(rendered));
        }
        let rendered: Arc<RawValue> = Arc::from((self.render)(tools)?);
        if TOOL_LISTS_MAX <= slots.len() {
            slots.remove(0);
        }
        slots.push((Arc::clone(tools), Arc::clone(&rendered)));
        Ok(Some(rendered))
    }
}

/// Reads the data of one event as a vendor's structure.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(data: &'a str) -> Result<T, ModelFault> {
    serde_json::from_str(data).map_err(|error| ModelFault::Garbage {
        // Only the position and kind: the message of a data error may quote the reply.
        text: format!(
            "an event is not the expected JSON ({:?} error at column {})",
            error.classify(),
            error.column()
        ),
    })
}

/// The words among `parts`, joined by a newline; borrowed when there is only one piece.
pub(crate) fn words(parts: &[Part]) -> Cow<'_, str> {
    let mut texts = parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let Some(first) = texts.next() else {
        return Cow::Borrowed("");
    };
    let mut all = Cow::Borrowed(first);
    for text in texts {
        let all = all.to_mut();
        all.push('\n');
        all.push_str(text);
    }
    all
}

/// Arguments as the text of a JSON object: some compatible servers read it before the model does.
pub(crate) fn args_text(args: &Value) -> String {
    args_object(args).to_string()
}

/// Arguments as a JSON object. Unparsable ones went into the log as a string; no vendor takes that back.
pub(crate) fn args_object(args: &Value) -> Cow<'_, Value> {
    match args {
        Value::Object(_) => Cow::Borrowed(args),
        other => Cow::Owned(serde_json::json!({ "raw": other })),
    }
}

/// The part of `signature` that the provider `of` made; signatures of others mean nothing to it and stay here.
pub(crate) fn own_signature<'a>(of: &str, signature: Option<&'a String>) -> Option<&'a str> {
    signature?.strip_prefix(of)?.strip_prefix(':')
}

/// `base` with `more` behind its path.
pub(crate) fn join(base: &Url, more: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(more);
    }
    url
}
