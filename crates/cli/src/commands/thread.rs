//! `adjutant thread`: conversations.

use std::io::Write as _;
use std::path::Path;

use adjutant_domain::id::ThreadId;
use adjutant_protocol::methods::common::{
    ContentPart, PageParams, ThreadParams, WireMessage, WireRole,
};
use adjutant_protocol::methods::threads::{
    ExportFormat as WireFormat, ThreadsDelete, ThreadsExport, ThreadsExportParams, ThreadsList,
    ThreadsSearch, ThreadsSearchParams, ThreadsShow, ThreadsShowParams,
};
use serde_json::json;

use super::parse_id;
use crate::args::{ExportFormat, Removal, ThreadCommand};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, ago, one_line, when, words};
use crate::terminal::{Form, Terminal};
use crate::view::prose;

pub(super) async fn thread(cx: &Cx<'_>, command: ThreadCommand) -> Result<Exit, Failure> {
    match command {
        ThreadCommand::List { limit } => list(cx, limit).await?,
        ThreadCommand::Show { thread, limit } => show(cx, &thread, limit).await?,
        ThreadCommand::Search { query, limit } => search(cx, query, limit).await?,
        ThreadCommand::Export {
            thread,
            format,
            output,
        } => export(cx, &thread, format, output.as_deref()).await?,
        ThreadCommand::Delete { thread, removal } => delete(cx, &thread, removal).await?,
    }
    Ok(Exit::Done)
}

async fn list(cx: &Cx<'_>, limit: u32) -> Result<(), Failure> {
    let params = PageParams {
        limit: Some(limit),
        offset: None,
    };
    let page = Connection::for_data(cx)
        .await?
        .call::<ThreadsList>(params)
        .await?;
    cx.terminal.show(&page, || {
        let mut table = Table::new(&["THREAD", "AGENT", "MESSAGES", "USED", "TITLE"]);
        for it in &page.threads {
            table.row([
                it.id.to_string(),
                it.agent.to_string(),
                it.messages.to_string(),
                ago(it.updated_at, cx.now()),
                it.title.clone().unwrap_or_default(),
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })?;
    if page.next_offset.is_some() {
        cx.terminal.note("there are more; see `--limit`");
    }
    Ok(())
}

async fn show(cx: &Cx<'_>, thread: &str, limit: u32) -> Result<(), Failure> {
    let params = ThreadsShowParams {
        thread_id: parse_id::<ThreadId>("thread", thread)?,
        limit: Some(limit),
        before: None,
        include_hidden: None,
    };
    let shown = Connection::for_data(cx)
        .await?
        .call::<ThreadsShow>(params)
        .await?;
    cx.terminal
        .show(&shown, || conversation(&cx.terminal, &shown.messages))?;
    if shown.has_more {
        cx.terminal.note("there are older messages; see `--limit`");
    }
    Ok(())
}

async fn search(cx: &Cx<'_>, query: String, limit: u32) -> Result<(), Failure> {
    let params = ThreadsSearchParams {
        query,
        limit: Some(limit),
    };
    let found = Connection::for_data(cx)
        .await?
        .call::<ThreadsSearch>(params)
        .await?;
    cx.terminal.show(&found, || {
        let mut table = Table::new(&["THREAD", "WHEN", "WHO", "WORDS"]);
        for it in &found.hits {
            table.row([
                it.thread_id.to_string(),
                ago(it.at, cx.now()),
                who(it.role).to_owned(),
                it.snippet.clone(),
            ]);
        }
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    })
}

async fn export(
    cx: &Cx<'_>,
    thread: &str,
    format: ExportFormat,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let format = match format {
        ExportFormat::Markdown => WireFormat::Markdown,
        ExportFormat::Jsonl => WireFormat::Jsonl,
    };
    let params = ThreadsExportParams {
        thread_id: parse_id::<ThreadId>("thread", thread)?,
        format,
    };
    let exported = Connection::for_data(cx)
        .await?
        .call::<ThreadsExport>(params)
        .await?;
    let Some(path) = output else {
        // The text itself is the result; with `--json` it is a field of the document.
        return match cx.terminal.form {
            Form::Json => cx.terminal.document(&exported),
            Form::Human => cx.terminal.raw(&exported.text),
        };
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| Failure::io(format!("cannot write `{}`", path.display()), &error))?;
    file.write_all(exported.text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::io(format!("cannot write `{}`", path.display()), &error))?;
    let document =
        json!({ "threadId": exported.thread_id, "messages": exported.messages, "path": path });
    cx.terminal.show(&document, || {
        format!(
            "wrote {} to {}",
            words(exported.messages, "message", "messages"),
            path.display()
        )
    })
}

async fn delete(cx: &Cx<'_>, thread: &str, removal: Removal) -> Result<(), Failure> {
    let thread_id = parse_id::<ThreadId>("thread", thread)?;
    let gateway = Connection::for_data(cx).await?;
    let params = ThreadsShowParams {
        thread_id,
        limit: Some(1),
        before: None,
        include_hidden: None,
    };
    let shown = gateway.call::<ThreadsShow>(params).await?;
    let title = shown
        .thread
        .title
        .as_ref()
        .map_or_else(String::new, |title| format!(" “{}”", one_line(title, 60)));
    let messages = words(shown.thread.messages, "message", "messages");
    let what = [format!(
        "the thread `{thread}`{title} with {messages}, its runs and their logs, for good"
    )];
    if confirm::removal(cx, removal, thread, &what).await? == Go::NoFurther {
        return Ok(());
    }
    let params = ThreadParams {
        thread_id,
        idempotency_key: Some(fresh_key()?),
    };
    let deleted = gateway.call::<ThreadsDelete>(params).await?;
    cx.terminal
        .show(&deleted, || format!("deleted thread {thread}"))
}

/// Messages one after another.
pub(crate) fn conversation(terminal: &Terminal, messages: &[WireMessage]) -> String {
    let paint = terminal.paint();
    let mut blocks = Vec::new();
    for it in messages {
        let name = match it.role {
            WireRole::User => paint.bold("you"),
            WireRole::Assistant if it.summary => paint.bold("summary"),
            WireRole::Assistant => paint.bold("agent"),
            WireRole::ToolResult => paint.dim(it.tool_name.as_deref().unwrap_or("tool")),
        };
        let head = format!("{name} {}", paint.dim(&when(it.timestamp)));
        let mut body = Vec::new();
        for part in &it.content {
            match part {
                ContentPart::Text { text } if it.role == WireRole::ToolResult => {
                    body.push(paint.dim(&one_line(text, 200)));
                }
                ContentPart::Text { text } => body.push(prose(terminal, text)),
                ContentPart::ToolCall {
                    name, arguments, ..
                } => {
                    body.push(paint.dim(&format!(
                        "→ {name} {}",
                        one_line(&arguments.to_string(), 160)
                    )));
                }
                ContentPart::Thinking { .. } => {}
            }
        }
        blocks.push(format!("{head}\n{}", body.join("\n")));
    }
    blocks.join("\n\n")
}

fn who(role: WireRole) -> &'static str {
    match role {
        WireRole::User => "you",
        WireRole::Assistant => "agent",
        WireRole::ToolResult => "tool",
    }
}
