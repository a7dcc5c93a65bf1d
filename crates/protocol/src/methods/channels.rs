//! Chat networks: `channels.status`, `send`, `poll`. There are none yet, and these methods say so in the shapes that
//! clients know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::ClientKey;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};

methods! {
    /// Return the chat networks and how they are doing: none.
    ChannelsStatus = "channels.status" (ChannelsStatusParams) -> ChannelsReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Send words over a chat network: refused while none is configured.
    ChannelSend = "send" (SendParams) -> Sent
        { access: Write, kind: Write, order: Order::Free, reply: Once }

    /// Ask a question with choices over a chat network: refused while none is configured.
    ChannelPoll = "poll" (PollParams) -> Sent
        { access: Write, kind: Write, order: Order::Free, reply: Once }
}

/// Parameters of `channels.status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelsStatusParams {
    /// Whether to ask the networks; there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
    /// How long that may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Result of `channels.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelsReport {
    /// Now.
    pub ts: Timestamp,
    /// Their order.
    pub channel_order: Vec<String>,
    /// Their names.
    pub channel_labels: BTreeMap<String, String>,
    /// Their names in full.
    pub channel_detail_labels: BTreeMap<String, String>,
    /// Their pictures.
    pub channel_system_images: BTreeMap<String, String>,
    /// More about them.
    pub channel_meta: Vec<Value>,
    /// How they are doing.
    pub channels: BTreeMap<String, Value>,
    /// Their accounts.
    pub channel_accounts: BTreeMap<String, Vec<Value>>,
    /// Which account is used unless one is named.
    pub channel_default_account_id: BTreeMap<String, String>,
}

/// Parameters of `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendParams {
    /// To whom.
    pub to: String,
    /// The words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A picture or file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// Pictures or files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_urls: Option<Vec<String>>,
    /// Over which network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// From which account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// As which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// In which thread there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Which session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Whether a film is sent as a moving picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gif_playback: Option<bool>,
    /// Makes a repeat harmless.
    pub idempotency_key: ClientKey,
}

/// Parameters of `poll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PollParams {
    /// To whom.
    pub to: String,
    /// The question.
    pub question: String,
    /// The choices.
    pub options: Vec<String>,
    /// How many may be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_selections: Option<u32>,
    /// How long it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// The same in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_hours: Option<u64>,
    /// Whether nobody is woken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Whether nobody sees who chose what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// In which thread there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Over which network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// From which account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Makes a repeat harmless.
    pub idempotency_key: ClientKey,
}

/// Result of `send` and `poll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The idempotency key.
    pub run_id: String,
    /// Its name on the network.
    pub message_id: String,
    /// Over which network.
    pub channel: String,
}
