//! `adjutant canvas`: what agents show.

use adjutant_protocol::methods::canvas::{
    A2uiPush, A2uiPushParams, A2uiReset, A2uiResetParams, CanvasBoard, CanvasList, CanvasOfParams,
    CanvasOpen, CanvasOpenParams,
};

use crate::args::CanvasCommand;
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, safe};

pub(super) async fn canvas(cx: &Cx<'_>, command: CanvasCommand) -> Result<Exit, Failure> {
    let gateway = Connection::to_running(cx).await?;
    match command {
        CanvasCommand::Open { session, ui } => {
            let board = if ui {
                CanvasBoard::A2ui
            } else {
                CanvasBoard::Canvas
            };
            let params = CanvasOpenParams {
                session_key: session,
                board,
            };
            let opened = gateway.call::<CanvasOpen>(params).await?;
            cx.terminal.show(&opened, || opened.url.clone())?;
        }
        CanvasCommand::List { session } => {
            let params = CanvasOfParams {
                session_key: session,
            };
            let files = gateway.call::<CanvasList>(params).await?;
            cx.terminal.show(&files, || {
                let mut table = Table::new(&["FILE", "BYTES"]);
                for it in &files.files {
                    table.row([safe(&it.path), it.bytes.to_string()]);
                }
                table.render(cx.terminal.paint(), cx.terminal.table_width())
            })?;
        }
        CanvasCommand::Push { file, session } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::io(file.display(), &error))?;
            let params = A2uiPushParams {
                session_key: session,
                messages: None,
                jsonl: Some(text),
                idempotency_key: Some(fresh_key()?),
            };
            let pushed = gateway.call::<A2uiPush>(params).await?;
            cx.terminal.show(&pushed, || {
                let mut lines = vec![format!(
                    "{} messages were taken, {} views are open",
                    pushed.accepted, pushed.views
                )];
                let flaws = pushed.rejected.iter();
                lines.extend(flaws.map(|it| {
                    format!(
                        "message {} at {}: {}",
                        it.index + 1,
                        safe(&it.path),
                        safe(&it.reason)
                    )
                }));
                lines.join("\n")
            })?;
            if !pushed.rejected.is_empty() {
                return Ok(Exit::Failed);
            }
        }
        CanvasCommand::Reset { surface, session } => {
            let params = A2uiResetParams {
                session_key: session,
                surface_id: surface,
                idempotency_key: Some(fresh_key()?),
            };
            let done = gateway.call::<A2uiReset>(params).await?;
            cx.terminal.show(&done, || {
                format!("{} surfaces were taken away", done.removed)
            })?;
        }
    }
    Ok(Exit::Done)
}
