//! Lines a person types, read by a thread of its own so that nothing else has to wait for them.

use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use tokio::sync::{mpsc, oneshot};

use crate::failure::{Exit, Failure};
use crate::platform::{TerminalState, for_owner};

/// Lines kept for the arrow keys.
const HISTORY_MAX: usize = 1_000;

/// What came of asking for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Whether a line is remembered for the arrow keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remember {
    Yes,
    No,
}

struct Ask {
    prompt: String,
    remember: Remember,
    reply: oneshot::Sender<Typed>,
}

/// A line that is being typed.
pub(crate) type Typing = oneshot::Receiver<Typed>;

/// The person at the terminal.
pub(crate) struct Lines {
    asks: mpsc::Sender<Ask>,
    /// How the terminal was before the first question.
    before: Option<TerminalState>,
}

/// The process may end while a question is still open; the terminal must not stay as the question needs it.
impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            before.restore();
        }
    }
}

impl Lines {
    /// Reads from the terminal; with a file, its lines are remembered over the end of the process.
    pub(crate) fn of_terminal(history: Option<PathBuf>) -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::new(
                Exit::Failed,
                "TERMINAL",
                format!("the terminal cannot be read: {error}"),
            )
        };
        let config = rustyline::Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(|error| unusable(&error))?
            .auto_add_history(false)
            .bracketed_paste(true)
            .build();
        let mut editor = rustyline::Editor::<(), FileHistory>::with_config(config)
            .map_err(|error| unusable(&error))?;
        if let Some(path) = &history {
            // There is none the first time.
            drop(editor.load_history(path));
        }
        let before = TerminalState::of_input();
        let (asks, mut inbox) = mpsc::channel::<Ask>(1);
        // The thread ends with the last sender; while it waits for a key it keeps nothing from ending.
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                while let Some(ask) = inbox.blocking_recv() {
                    let typed = match editor.readline(&ask.prompt) {
                        Ok(line) => Typed::Line(line),
                        Err(ReadlineError::Interrupted) => Typed::Interrupt,
                        Err(_end_or_gone) => Typed::End,
                    };
                    if let (Typed::Line(line), Remember::Yes) = (&typed, ask.remember)
                        && !line.trim().is_empty()
                    {
                        drop(editor.add_history_entry(line.as_str()));
                        if let Some(path) = &history {
                            save(&mut editor, path);
                        }
                    }
                    // The question may have been settled elsewhere meanwhile.
                    drop(ask.reply.send(typed));
                }
            })
            .map_err(|error| unusable(&error))?;
        Ok(Self { asks, before })
    }

    /// Lines from a list, then the end.
    #[cfg(test)]
    pub(crate) fn scripted(lines: Vec<Typed>) -> Self {
        let (asks, mut inbox) = mpsc::channel::<Ask>(1);
        tokio::spawn(async move {
            let mut lines = lines.into_iter();
            while let Some(ask) = inbox.recv().await {
                drop(ask.reply.send(lines.next().unwrap_or(Typed::End)));
            }
        });
        Self { asks, before: None }
    }

    /// Begins to ask; the answer may come at any time.
    pub(crate) async fn ask(&self, prompt: &str, remember: Remember) -> Typing {
        let (reply, typing) = oneshot::channel();
        // A thread that is gone answers by dropping the question.
        drop(
            self.asks
                .send(Ask {
                    prompt: prompt.to_owned(),
                    remember,
                    reply,
                })
                .await,
        );
        typing
    }

    /// Asks and waits.
    pub(crate) async fn line(&self, prompt: &str, remember: Remember) -> Typed {
        self.ask(prompt, remember).await.await.unwrap_or(Typed::End)
    }
}

/// Writes the history so that only its owner can read it.
fn save(editor: &mut rustyline::Editor<(), FileHistory>, path: &std::path::Path) {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    if for_owner(&mut options).open(path).is_ok() {
        // A history that cannot be written is not worth a word.
        drop(editor.save_history(path));
    }
}
