//! Where output goes and input comes from, and how much the other end can show.

use std::io::{IsTerminal as _, Write};
use std::sync::Mutex;

use serde::Serialize;

use crate::args::Global;
use crate::failure::{Exit, Failure};
use crate::render::{Paint, Screen};

/// The streams of a process, or of a test.
pub(crate) struct Streams {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
    /// Which of them are terminals.
    pub(crate) kinds: Kinds,
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Rows of the terminal; none when its cursor cannot be moved.
    pub(crate) height: Option<usize>,
    /// Whether the environment asks for no colour.
    pub(crate) no_color: bool,
}

/// Which streams are terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) input: Kind,
    pub(crate) out: Kind,
    pub(crate) err: Kind,
}

/// What is at the other end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Terminal,
    Pipe,
}

impl Kind {
    fn of(is_terminal: bool) -> Self {
        if is_terminal {
            Self::Terminal
        } else {
            Self::Pipe
        }
    }
}

impl Streams {
    /// The streams of this process.
    pub(crate) fn of_process() -> Self {
        let size = crate::platform::terminal_size();
        let width = size
            .as_ref()
            .map(|size| usize::from(size.columns))
            .filter(|columns| *columns != 0)
            .unwrap_or(80);
        let dumb = std::env::var_os("TERM").is_none_or(|value| value.is_empty() || value == "dumb");
        let height = size
            .map(|size| usize::from(size.rows))
            .filter(|rows| *rows != 0 && !dumb);
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            kinds: Kinds {
                input: Kind::of(std::io::stdin().is_terminal()),
                out: Kind::of(std::io::stdout().is_terminal()),
                err: Kind::of(std::io::stderr().is_terminal()),
            },
            width,
            height,
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || std::env::var_os("TERM").is_some_and(|value| value == "dumb"),
        }
    }
}

/// Whether results are for people or programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Human,
    Json,
}

/// How text of agents is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prose {
    Rendered,
    Source,
}

/// The terminal as the flags want it.
pub(crate) struct Terminal {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    pub(crate) form: Form,
    pub(crate) prose: Prose,
    kinds: Kinds,
    paint_out: Paint,
    paint_err: Paint,
    width: usize,
    height: Option<usize>,
    quiet: bool,
    no_input: bool,
}

impl Terminal {
    pub(crate) fn new(streams: Streams, global: &Global) -> Self {
        let colour = !(streams.no_color || global.no_color || global.plain);
        let paint = |kind| {
            if colour && kind == Kind::Terminal {
                Paint::Ansi
            } else {
                Paint::None
            }
        };
        let form = if global.json { Form::Json } else { Form::Human };
        let rendered = streams.kinds.out == Kind::Terminal && !global.plain && form == Form::Human;
        Self {
            paint_out: paint(streams.kinds.out),
            paint_err: paint(streams.kinds.err),
            out: Mutex::new(streams.out),
            err: Mutex::new(streams.err),
            form,
            prose: if rendered {
                Prose::Rendered
            } else {
                Prose::Source
            },
            kinds: streams.kinds,
            width: streams.width,
            height: streams.height,
            quiet: global.quiet,
            no_input: global.no_input,
        }
    }

    /// Colour on stdout.
    pub(crate) fn paint(&self) -> Paint {
        self.paint_out
    }

    /// Colour on stderr.
    pub(crate) fn paint_err(&self) -> Paint {
        self.paint_err
    }

    /// Columns for running text.
    pub(crate) fn columns(&self) -> usize {
        self.width.min(100)
    }

    /// The screen, where what stands on it may be drawn again: a terminal that shows rendered text.
    pub(crate) fn screen(&self) -> Option<Screen> {
        let rows = self.height.filter(|_| self.prose == Prose::Rendered)?;
        Some(Screen {
            columns: self.width,
            rows,
        })
    }

    /// Columns for tables, none when nobody looks.
    pub(crate) fn table_width(&self) -> Option<usize> {
        (self.kinds.out == Kind::Terminal).then_some(self.width)
    }

    /// Whether stdout is a terminal.
    pub(crate) fn shows_progress(&self) -> bool {
        self.kinds.out == Kind::Terminal && self.form == Form::Human
    }

    /// Whether a person can be asked: stdin and stderr are terminals and nobody forbade it.
    pub(crate) fn can_ask(&self) -> bool {
        self.kinds.input == Kind::Terminal && self.kinds.err == Kind::Terminal && !self.no_input
    }

    /// Whether somebody sits here for a conversation.
    pub(crate) fn is_interactive(&self) -> bool {
        self.can_ask() && self.kinds.out == Kind::Terminal && self.form == Form::Human
    }

    /// A result, on stdout, with a final line break.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            Ok(())
        } else {
            self.raw(&format!("{text}\n"))
        }
    }

    /// A piece of a result, on stdout, as it is.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut out = self
            .out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
                _ => Failure::io("cannot write to stdout", &error),
            })
    }

    /// The one JSON document of a command.
    pub(crate) fn document(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| unwritable(&error))?;
        self.data(&text)
    }

    /// One line of a JSON Lines stream.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| unwritable(&error))?;
        self.data(&text)
    }

    /// The document with `--json`, else the text.
    pub(crate) fn show(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Json => self.document(value),
            Form::Human => self.data(&text()),
        }
    }

    /// Something worth knowing beside the result, on stderr; not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Something that must be seen, on stderr.
    pub(crate) fn say(&self, text: &str) {
        let mut err = self
            .err
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nothing can be said about a stderr that does not take it.
        drop(writeln!(err, "{text}").and_then(|()| err.flush()));
    }

    /// Whether a line that is drawn again can be shown: stderr is a terminal, and people look at it.
    pub(crate) fn shows_status(&self) -> bool {
        self.kinds.err == Kind::Terminal && self.form == Form::Human && !self.quiet
    }

    /// A line on stderr in the place of the one before; empty: none.
    pub(crate) fn status(&self, text: &str) {
        let mut err = self
            .err
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nothing can be said about a stderr that does not take it.
        drop(write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()));
    }

    /// A failure: one document on stdout with `--json`, else words on stderr.
    pub(crate) fn fail(&self, failure: &Failure) {
        if failure.is_reader_gone() {
            return;
        }
        match self.form {
            Form::Json => drop(self.json_line(&failure.document())),
            Form::Human => {
                let text = failure.text();
                let text = text.strip_prefix("error:").unwrap_or(&text).to_owned();
                let text = match text.split_once("\nhint:") {
                    Some((message, hint)) => {
                        format!("{message}\n{}{hint}", self.paint_err.cyan("hint:"))
                    }
                    None => text,
                };
                self.say(&format!("{}{text}", self.paint_err.red("error:")));
            }
        }
    }
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        "INTERNAL",
        format!("the result cannot be written as JSON: {error}"),
    )
}
