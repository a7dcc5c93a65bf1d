//! `logs.tail`: the gateway's own log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::method::{Order, methods};

methods! {
    /// Return the newest lines of the gateway's log, or those after a cursor. Secrets are masked. A gateway in a
    /// terminal keeps no file and returns nothing.
    LogsTail = "logs.tail" (LogsTailParams) -> LogLines
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `logs.tail`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogsTailParams {
    /// Only what was written after this place; it comes from the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// At most this many lines; 1 to 5,000, by default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// At most this many bytes; 1 to 1,000,000, by default 250,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// Result of `logs.tail`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLines {
    /// Name of the file, without its folder; empty when there is none.
    pub file: String,
    /// Where to go on.
    pub cursor: u64,
    /// Bytes of the file.
    pub size: u64,
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether older lines were left out.
    pub truncated: bool,
    /// Whether the file was begun anew since the cursor.
    pub reset: bool,
}
