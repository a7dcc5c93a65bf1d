//! `threads.*`: conversations, apart from who sits in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::{ClientKey, MessageId, ThreadId};
use adjutant_domain::session::Thread;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::common::{PageParams, ThreadParams, WireMessage, WireRole};

methods! {
    /// List threads, last used first.
    ThreadsList = "threads.list" (PageParams) -> ThreadsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return a thread and its newest messages.
    ThreadsShow = "threads.show" (ThreadsShowParams) -> ThreadShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Search the words of all messages, best first.
    ThreadsSearch = "threads.search" (ThreadsSearchParams) -> ThreadsFound
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return a whole thread as Markdown or JSON Lines, hidden messages included.
    ThreadsExport = "threads.export" (ThreadsExportParams) -> ThreadExported
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Set a thread's title.
    ThreadsRename = "threads.rename" (ThreadsRenameParams) -> ThreadRenamed
        { access: Write, kind: Write, order: Order::Free, reply: Once }

    /// Remove a thread for good, with its messages, runs and logs.
    ThreadsDelete = "threads.delete" (ThreadParams) -> ThreadDeleted
        { access: Admin, kind: Write, order: Order::Free, reply: Once }
}

/// Result of `threads.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadsPage {
    /// The threads.
    pub threads: Vec<Thread>,
    /// Where the next page begins; null at the end.
    pub next_offset: Option<u32>,
}

/// Parameters of `threads.show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThreadsShowParams {
    /// Which thread.
    pub thread_id: ThreadId,
    /// At most this many messages; 1 to 1,000, by default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only messages before this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Also messages that are hidden behind a summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_hidden: Option<bool>,
}

/// Result of `threads.show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadShown {
    /// The thread.
    pub thread: Thread,
    /// Its newest messages, oldest first.
    pub messages: Vec<WireMessage>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// Parameters of `threads.search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThreadsSearchParams {
    /// Words.
    pub query: String,
    /// At most this many; 1 to 200, by default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Result of `threads.search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadsFound {
    /// Messages, best first.
    pub hits: Vec<ThreadHit>,
}

/// One message that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadHit {
    /// The thread.
    pub thread_id: ThreadId,
    /// The message.
    pub message_id: MessageId,
    /// Its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Who speaks.
    pub role: WireRole,
    /// The beginning of the words.
    pub snippet: String,
    /// When.
    pub at: Timestamp,
}

/// How a thread is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// For people.
    #[default]
    Markdown,
    /// One JSON message per line.
    Jsonl,
}

/// Parameters of `threads.export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThreadsExportParams {
    /// Which thread.
    pub thread_id: ThreadId,
    /// How to write it down.
    #[serde(default)]
    pub format: ExportFormat,
}

/// Result of `threads.export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadExported {
    /// The thread.
    pub thread_id: ThreadId,
    /// How it is written down.
    pub format: ExportFormat,
    /// The text.
    pub text: String,
    /// How many messages it has.
    pub messages: u64,
}

/// Parameters of `threads.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThreadsRenameParams {
    /// Which thread.
    pub thread_id: ThreadId,
    /// 1 to 200 characters.
    pub title: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `threads.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadRenamed {
    /// The thread.
    pub thread: Thread,
}

/// Result of `threads.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadDeleted {
    /// Whether there was one.
    pub deleted: bool,
}
