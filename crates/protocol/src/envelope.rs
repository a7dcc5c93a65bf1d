//! The three frames as types: what the schema, generated models and tests know of them.
//!
//! The codec writes and reads frames by hand, because payloads stay raw; a test compares the two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frames::StateVersion;

/// A frame of the WebSocket `/`, in either direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Frame {
    /// A call.
    Req {
        /// Chosen by the caller; unique among its open calls.
        id: String,
        /// What is called.
        method: String,
        /// Its parameters; absent means none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
        /// W3C trace context.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
        /// Accepted for newer clients.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_profile_id: Option<String>,
    },
    /// An answer. A call of `agent` has two: accepted, then the end.
    Res {
        /// As in the call.
        id: String,
        /// Whether it succeeded.
        ok: bool,
        /// The result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<FrameError>,
    },
    /// Something that happened.
    Event {
        /// Its name.
        event: String,
        /// What it carries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// Counts from 1 per socket. Events for one socket only have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// Counters of the snapshots, with `presence` and `health`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state_version: Option<StateVersion>,
        /// Only from newer gateways than this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient_profile_id: Option<String>,
    },
}

/// What went wrong, in a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrameError {
    /// One of the codes.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// More, by code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same call may succeed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
