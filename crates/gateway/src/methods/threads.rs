//! `threads.*`.

use std::fmt::Write as _;

use adjutant_domain::code::Code;
use adjutant_domain::id::ThreadId;
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::session::Thread;
use adjutant_ports::store::{Hidden, Page};
use adjutant_protocol::methods::common::{PageParams, ThreadParams};
use adjutant_protocol::methods::threads::{
    ExportFormat, ThreadDeleted, ThreadExported, ThreadHit, ThreadRenamed, ThreadShown,
    ThreadsDelete, ThreadsExport, ThreadsExportParams, ThreadsFound, ThreadsList, ThreadsPage,
    ThreadsRename, ThreadsRenameParams, ThreadsSearch, ThreadsSearchParams, ThreadsShow,
    ThreadsShowParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::chat::hidden;
use crate::methods::{PAGE_MAX, page};
use crate::wire;

/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 1_024;
/// Characters of a title.
const TITLE_CHARS_MAX: usize = 200;
/// Characters of a hit.
const SNIPPET_CHARS: usize = 240;
/// Messages read at once.
const READ_AT_ONCE: u32 = 500;
/// Bytes of an export.
const EXPORT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of messages in one answer.
const SHOW_BYTES_MAX: usize = 2 * 1024 * 1024;

impl Handle<ThreadsList> for Core {
    async fn handle(&self, _caller: &Caller, params: PageParams) -> Result<ThreadsPage, Fault> {
        let limit = page(params.limit, 100, PAGE_MAX);
        let offset = params.offset.unwrap_or(0);
        let threads = self
            .deps
            .store
            .threads(self.owner(), Page { limit, offset })
            .await?;
        let full = u32::try_from(threads.len()).unwrap_or(u32::MAX) >= limit;
        Ok(ThreadsPage {
            threads,
            next_offset: full.then_some(offset.saturating_add(limit)),
        })
    }
}

impl Handle<ThreadsShow> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ThreadsShowParams,
    ) -> Result<ThreadShown, Fault> {
        let thread = self.thread(params.thread_id).await?;
        let limit = page(params.limit, 200, PAGE_MAX);
        let hidden = hidden(params.include_hidden);
        let (messages, has_more) = self
            .page_of(thread.id, limit, params.before, hidden, SHOW_BYTES_MAX)
            .await?;
        Ok(ThreadShown {
            thread,
            messages,
            has_more,
        })
    }
}

impl Handle<ThreadsSearch> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ThreadsSearchParams,
    ) -> Result<ThreadsFound, Fault> {
        let query = params.query.trim();
        if query.is_empty() || query.len() > QUERY_BYTES_MAX {
            return Err(Fault::params(
                "threads.search",
                format!("query must have 1 to {QUERY_BYTES_MAX} bytes"),
            ));
        }
        let limit = page(params.limit, 20, 200);
        let found = self
            .deps
            .store
            .search_messages(self.owner(), query, limit)
            .await?;
        let hits = found.iter().map(|message| {
            let wired = wire::message(message);
            ThreadHit {
                thread_id: message.thread,
                message_id: message.id,
                seq: message.seq,
                role: wired.role,
                snippet: wire::beginning(&wired.text(), SNIPPET_CHARS),
                at: message.at,
            }
        });
        Ok(ThreadsFound {
            hits: hits.collect(),
        })
    }
}

impl Handle<ThreadsExport> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ThreadsExportParams,
    ) -> Result<ThreadExported, Fault> {
        let thread = self.thread(params.thread_id).await?;
        let messages = self.all_messages(thread.id).await?;
        let mut text = match params.format {
            ExportFormat::Markdown => {
                format!("# {}\n", thread.title.as_deref().unwrap_or("Conversation"))
            }
            ExportFormat::Jsonl => String::new(),
        };
        for message in &messages {
            match params.format {
                ExportFormat::Markdown => markdown(&mut text, message),
                ExportFormat::Jsonl => {
                    let line = serde_json::to_string(&wire::message(message));
                    text.push_str(&line.map_err(|e| Fault::new(Code::Internal, e.to_string()))?);
                    text.push('\n');
                }
            }
            if text.len() > EXPORT_BYTES_MAX {
                let message = format!("the thread has more than {EXPORT_BYTES_MAX} bytes");
                return Err(Fault::new(Code::TooLarge, message)
                    .with_hint("read it page by page with threads.show"));
            }
        }
        let n_messages = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        Ok(ThreadExported {
            thread_id: thread.id,
            format: params.format,
            text,
            messages: n_messages,
        })
    }
}

impl Handle<ThreadsRename> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ThreadsRenameParams,
    ) -> Result<ThreadRenamed, Fault> {
        let title = params.title.trim();
        if title.is_empty() || title.chars().count() > TITLE_CHARS_MAX {
            let reason = format!("title must have 1 to {TITLE_CHARS_MAX} characters");
            return Err(Fault::params("threads.rename", reason));
        }
        self.thread(params.thread_id).await?;
        let subject = params.thread_id.to_string();
        self.audit(
            caller,
            "thread.rename",
            &subject,
            serde_json::json!({ "title": title }),
        )
        .await?;
        self.deps
            .store
            .rename_thread(self.owner(), params.thread_id, title)
            .await?;
        Ok(ThreadRenamed {
            thread: self.thread(params.thread_id).await?,
        })
    }
}

impl Handle<ThreadsDelete> for Core {
    async fn handle(&self, caller: &Caller, params: ThreadParams) -> Result<ThreadDeleted, Fault> {
        let subject = params.thread_id.to_string();
        self.audit(caller, "thread.delete", &subject, serde_json::json!({}))
            .await?;
        let deleted = self
            .deps
            .store
            .forget_thread(self.owner(), params.thread_id)
            .await?;
        Ok(ThreadDeleted { deleted })
    }
}

impl Core {
    async fn thread(&self, id: ThreadId) -> Result<Thread, Fault> {
        let found = self.deps.store.thread(self.owner(), id).await?;
        found.ok_or_else(|| Fault::not_found("thread", id))
    }

    /// Everything that was ever said, oldest first.
    async fn all_messages(&self, thread: ThreadId) -> Result<Vec<Message>, Fault> {
        let mut pages: Vec<Vec<Message>> = Vec::new();
        let mut before = None;
        loop {
            let read = self
                .deps
                .store
                .messages(self.owner(), thread, READ_AT_ONCE, before, Hidden::Show)
                .await?;
            let first = read.iter().find_map(|message| message.seq);
            let full = u32::try_from(read.len()).unwrap_or(u32::MAX) >= READ_AT_ONCE;
            pages.push(read);
            match first {
                Some(seq) if full && seq > 1 => before = Some(seq),
                _ => break,
            }
        }
        pages.reverse();
        Ok(pages.concat())
    }
}

fn markdown(out: &mut String, message: &Message) {
    let who = match message.role {
        Role::User => "You",
        Role::Assistant => "Agent",
        Role::Tool => "Tool",
        Role::Summary => "Summary",
    };
    // Writing to a String cannot fail.
    let _infallible = write!(out, "\n## {who} · {}\n\n", message.at);
    for part in &message.parts {
        match part {
            Part::Text { text } => {
                out.push_str(text);
                out.push('\n');
            }
            Part::Thinking { .. } => {}
            Part::ToolCall { name, args, .. } => fenced(out, name, &args.to_string()),
            Part::ToolResult { name, text, .. } => fenced(out, name, text),
        }
    }
}

/// A code block whose fence is longer than any run of backticks inside.
fn fenced(out: &mut String, name: &str, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _infallible = writeln!(out, "`{name}`\n\n{fence}\n{text}\n{fence}");
}
