//! Two ways to write calls and answers down. Both give handlers the same input.

mod frames;
mod jsonrpc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::fault::Fault;

pub use frames::Frames;
pub use jsonrpc::JsonRpc;

/// Calls per batch.
pub const BATCH_CALLS_MAX: usize = 256;
/// Bytes of a request id.
pub const REQUEST_ID_BYTES_MAX: usize = 256;
/// Bytes of a method name.
pub const METHOD_BYTES_MAX: usize = 128;

/// The caller's name for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// JSON-RPC allows it and advises against it; also the id of answers to unreadable requests.
    Null,
    /// A number, exactly as it was written.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

impl RequestId {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number(n) => n.to_string(),
            Self::Text(text) => quoted(text),
        }
    }
}

/// One call, its parameters still unread.
#[derive(Debug, Clone)]
pub struct Request {
    /// None for a notification, which is never answered.
    pub id: Option<RequestId>,
    /// Method name.
    pub method: String,
    /// Parameters; `{}` when they were missing.
    pub params: Box<RawValue>,
}

/// A request that could not be read, and the id for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Goes into the answer.
    pub id: RequestId,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Requests that came together and are answered together.
pub type Batch = Vec<Result<Request, Refused>>;

/// What was read.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// One request.
    One(Box<Result<Request, Refused>>),
    /// Several.
    Batch(Batch),
}

impl Decoded {
    pub(crate) fn one(item: Result<Request, Refused>) -> Self {
        Self::One(Box::new(item))
    }
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub enum Outbound<'a> {
    /// An answer.
    Reply {
        /// To which request.
        id: &'a RequestId,
        /// The result or the fault.
        result: Result<&'a RawValue, &'a Fault>,
    },
    /// An answer that failed and still says something (the end of `agent` in Frames).
    Failed {
        /// To which request.
        id: &'a RequestId,
        /// The fault.
        fault: &'a Fault,
        /// What it says.
        payload: &'a RawValue,
    },
    /// Something nobody asked for.
    Event {
        /// Its name.
        name: &'a str,
        /// What it says.
        payload: &'a RawValue,
        /// Its number on this connection; Frames only.
        seq: Option<u64>,
        /// Counters of the snapshots (`presence`, `health`); Frames only.
        state_version: Option<(u64, u64)>,
    },
}

/// An envelope format.
pub trait Codec: Send + Sync {
    /// Reads what a client sent. Never panics, whatever the bytes.
    fn decode(&self, bytes: &[u8]) -> Decoded;
    /// Writes what a client gets.
    fn encode(&self, out: Outbound<'_>) -> String;
}

fn empty_params() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_e| RawValue::NULL.to_owned())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends `,"name":value`.
fn member<T: Serialize + ?Sized>(out: &mut String, name: &str, value: &T) {
    if let Ok(value) = serde_json::to_string(value) {
        member_raw(out, name, &value);
    }
}

fn member_raw(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(value);
}

#[cfg(test)]
mod tests;
