//! What a person or a program sees of a run while it goes on.

use adjutant_client::{Reply, Update};
use adjutant_domain::event::EventKind;
use adjutant_domain::money::{Cost, Micros};
use adjutant_protocol::methods::agent::{AgentWaited, RunPhase};
use adjutant_protocol::methods::system::{DeltaKind, WireDelta, WireEvent};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::render::{Draft, MarkdownStream, markdown, money, one_line, safe, tokens};
use crate::terminal::{Form, Prose, Terminal};

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Words as they come, tool activity beside them.
    Streamed,
    /// The answer once it is there, tool activity on stderr.
    AtTheEnd,
    /// One JSON line per thing.
    Lines,
}

/// The view of one run.
pub(crate) struct View<'a> {
    terminal: &'a Terminal,
    mode: Mode,
    reply: Reply,
    /// The whole text of the last reply that is on the screen.
    last_whole: Option<String>,
    blocks: MarkdownStream,
    /// The block that is not complete yet, as it stands on the screen.
    draft: Draft,
    /// Whether stdout is at the beginning of a line.
    at_line_start: bool,
    model_calls: u32,
    tool_result: Option<String>,
    tool_outcome: Option<String>,
    /// Calls that began and have not ended.
    calls_open: u32,
    /// Pieces of the next reply that arrived before the end of the calls it builds on was told.
    early: Vec<WireDelta>,
    /// Whether the run was told to stop.
    stopping: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(terminal: &'a Terminal) -> Self {
        let mode = match terminal.form {
            Form::Json => Mode::Lines,
            Form::Human if terminal.shows_progress() => Mode::Streamed,
            Form::Human => Mode::AtTheEnd,
        };
        Self {
            terminal,
            mode,
            reply: Reply::default(),
            last_whole: None,
            blocks: MarkdownStream::default(),
            draft: Draft::default(),
            at_line_start: true,
            model_calls: 0,
            tool_result: None,
            tool_outcome: None,
            calls_open: 0,
            early: Vec::new(),
            stopping: false,
        }
    }

    /// Whether replies are compared with their whole text.
    pub(crate) fn wants_whole_texts(&self) -> bool {
        self.mode == Mode::Streamed
    }

    pub(crate) fn started(&self, run: &str, session: &str) -> Result<(), Failure> {
        match self.mode {
            Mode::Lines => self
                .terminal
                .json_line(&json!({ "type": "started", "runId": run, "sessionKey": session })),
            Mode::Streamed | Mode::AtTheEnd => Ok(()),
        }
    }

    pub(crate) fn delta(&mut self, delta: &WireDelta) -> Result<(), Failure> {
        if self.mode == Mode::Lines {
            return self.terminal.json_line(&json!({
                "type": "delta", "runId": delta.run_id, "seq": delta.seq, "kind": delta.kind, "text": delta.text,
            }));
        }
        if self.stopping {
            return Ok(());
        }
        if self.calls_open != 0 {
            self.early.push(delta.clone());
            return Ok(());
        }
        self.take(delta)
    }

    fn take(&mut self, delta: &WireDelta) -> Result<(), Failure> {
        let update = self.reply.take(delta);
        if self.mode == Mode::Streamed && delta.kind != DeltaKind::Progress {
            self.show(update)
        } else {
            Ok(())
        }
    }

    /// Shows what had to wait for the end of the calls before it.
    fn take_early(&mut self) -> Result<(), Failure> {
        self.calls_open = 0;
        for delta in std::mem::take(&mut self.early) {
            self.take(&delta)?;
        }
        Ok(())
    }

    /// The run was told to stop.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.aside("stopping the run");
    }

    /// Live pieces were lost.
    pub(crate) fn gap(&mut self, text: &str) {
        self.reply.interrupt();
        self.early.clear();
        self.aside(text);
    }

    /// The whole text of the reply that was streamed.
    pub(crate) fn whole(&mut self, text: &str) -> Result<(), Failure> {
        self.take_early()?;
        let update = self.reply.settle(text);
        self.last_whole = Some(text.to_owned());
        self.show(update)?;
        self.end_of_words()
    }

    pub(crate) fn event(&mut self, event: &WireEvent) -> Result<(), Failure> {
        if self.mode == Mode::Lines {
            self.terminal.json_line(event)?;
        }
        match &event.kind {
            EventKind::ModelReplied { .. } => {
                self.model_calls = self.model_calls.saturating_add(1);
            }
            EventKind::ModelFailed {
                route,
                reason,
                retries,
            } if !self.stopping => {
                let then = if *retries {
                    "trying again"
                } else {
                    "giving up on it"
                };
                self.aside(&format!(
                    "{route} did not answer: {}; {then}",
                    one_line(reason, 200)
                ));
            }
            EventKind::CallStarted { name, args, .. } => {
                self.calls_open = self.calls_open.saturating_add(1);
                self.aside(format!("{name} {}", shown_args(args)).trim_end());
            }
            EventKind::CallFinished {
                name,
                outcome,
                preview,
                ..
            } => {
                self.tool_result = Some(preview.clone());
                self.tool_outcome = Some(outcome.clone());
                let paint = self.terminal.paint_err();
                let mark = match outcome.as_str() {
                    "done" => paint.green("✓"),
                    "denied" => paint.yellow("✗ denied"),
                    "unknown" => paint.yellow("? not known whether it happened"),
                    _ => paint.red("✗ failed"),
                };
                self.line_beside(&format!(
                    "{mark} {} {}",
                    safe(name),
                    paint.dim(&one_line(preview, 100))
                ));
                self.calls_open = self.calls_open.saturating_sub(1);
                if self.calls_open == 0 {
                    self.take_early()?;
                }
            }
            EventKind::RunResumed { claims } => {
                self.take_early()?;
                self.aside(&format!(
                    "taken over by another worker (claim {})",
                    claims.saturating_add(1)
                ));
            }
            EventKind::RunParked { reason } if reason == "retry" => {
                self.aside("waiting for a retry")
            }
            EventKind::Compacted { .. } => self.aside("older messages were summed up"),
            _ => {}
        }
        Ok(())
    }

    /// The next reply begins.
    pub(crate) fn begin_reply(&mut self) {
        self.reply = Reply::after(&self.reply);
    }

    /// What the last tool call gave, as far as the events say.
    pub(crate) fn tool_result(&self) -> Option<&str> {
        self.tool_result.as_deref()
    }

    /// How the last tool call ended: `done`, `failed`, `denied`, `unknown`.
    pub(crate) fn tool_outcome(&self) -> Option<&str> {
        self.tool_outcome.as_deref()
    }

    /// The end: the answer if it was not shown yet, and what it cost.
    pub(crate) fn finished(
        &mut self,
        waited: &AgentWaited,
        session: &str,
        exit: u8,
    ) -> Result<(), Failure> {
        let cost = match (waited.unpriced, waited.cost_micros) {
            (false, Some(micros)) => Cost::Priced { micros },
            (false, None) if self.model_calls == 0 => Cost::Priced {
                micros: Micros::ZERO,
            },
            _ => Cost::Unpriced,
        };
        match self.mode {
            Mode::Lines => return self.terminal.json_line(&result_line(waited, session, exit)),
            Mode::Streamed => {
                self.take_early()?;
                if let Some(text) = waited
                    .text
                    .as_ref()
                    .filter(|it| self.last_whole.as_ref() != Some(it))
                {
                    self.whole(text)?;
                }
                self.end_of_words()?;
            }
            Mode::AtTheEnd => {
                if let Some(text) = &waited.text {
                    self.terminal.data(&safe(text))?;
                }
            }
        }
        let paint = self.terminal.paint_err();
        let mut parts = Vec::new();
        if let Some(usage) = &waited.usage
            && usage.total() != 0
        {
            parts.push(tokens(usage));
        }
        parts.push(money(cost));
        if let (Some(from), Some(to)) = (waited.started_at, waited.ended_at) {
            parts.push(crate::render::duration(to.since(from)));
        }
        self.terminal
            .note(&paint.dim(&format!("· {}", parts.join(" · "))));
        Ok(())
    }

    /// A line beside the answer.
    pub(crate) fn aside(&mut self, text: &str) {
        let text = self.terminal.paint_err().dim(&format!("· {}", safe(text)));
        self.line_beside(&text);
    }

    fn line_beside(&mut self, text: &str) {
        if self.mode == Mode::Lines {
            return;
        }
        // A reader that has gone is noticed at the next word of the answer.
        drop(self.end_of_words());
        self.terminal.note(text);
    }

    /// Finishes what is on the screen, so that something else can follow on a line of its own.
    pub(crate) fn end_of_words(&mut self) -> Result<(), Failure> {
        if self.mode != Mode::Streamed {
            return Ok(());
        }
        let rest = self
            .blocks
            .finish(self.terminal.paint(), self.terminal.columns());
        self.put(&rest)?;
        if !self.at_line_start {
            self.put("\n")?;
        }
        Ok(())
    }

    fn show(&mut self, update: Update) -> Result<(), Failure> {
        let words = match update {
            Update::Nothing => return Ok(()),
            Update::Append(words) => words,
            Update::Replace(words) => {
                self.blocks = MarkdownStream::default();
                self.put("")?;
                self.terminal.say(
                    &self
                        .terminal
                        .paint_err()
                        .dim("· the reply was cut off; it begins again"),
                );
                words
            }
        };
        let shown = match self.terminal.prose {
            Prose::Rendered => {
                self.blocks
                    .push(&words, self.terminal.paint(), self.terminal.columns())
            }
            Prose::Source => safe(&words),
        };
        self.put(&shown)
    }

    /// Prints what is finished, in place of the draft, and draws below it what is not.
    fn put(&mut self, finished: &str) -> Result<(), Failure> {
        if !finished.is_empty() {
            self.at_line_start = finished.ends_with('\n');
        }
        let mut text = self.draft.erase();
        text.push_str(finished);
        if let Some(screen) = self.terminal.screen() {
            let terminal = self.terminal;
            let unfinished = self.blocks.unfinished(terminal.paint(), terminal.columns());
            text.push_str(&self.draft.draw(&unfinished, screen));
        }
        if text.is_empty() {
            return Ok(());
        }
        self.terminal.raw(&text)
    }
}

/// Text of an agent as the terminal wants it, without a final line break.
pub(crate) fn prose(terminal: &Terminal, text: &str) -> String {
    match terminal.prose {
        Prose::Rendered => markdown(terminal.paint(), text, terminal.columns()),
        Prose::Source => safe(text).trim_end().to_owned(),
    }
}

/// `key=value` for short arguments, JSON for others, on one line.
fn shown_args(args: &Value) -> String {
    let text = match args.as_object() {
        Some(map)
            if map
                .values()
                .all(|value| !value.is_object() && !value.is_array()) =>
        {
            map.iter()
                .map(|(key, value)| match value.as_str() {
                    Some(text) => format!("{key}={text}"),
                    None => format!("{key}={value}"),
                })
                .collect::<Vec<_>>()
                .join(" ")
        }
        _ => args.to_string(),
    };
    one_line(&text, 120)
}

/// The last line of a JSON Lines stream.
fn result_line(waited: &AgentWaited, session: &str, exit: u8) -> Value {
    let mut line = json!({ "type": "result", "sessionKey": session, "exitCode": exit });
    if let (Some(line), Ok(Value::Object(waited))) =
        (line.as_object_mut(), serde_json::to_value(waited))
    {
        line.extend(waited);
        line.insert("ok".to_owned(), Value::Bool(exit == 0));
    }
    line
}

/// One word for where a run stands.
pub(crate) fn phase_word(phase: RunPhase) -> &'static str {
    match phase {
        RunPhase::Queued => "queued",
        RunPhase::Running => "running",
        RunPhase::WaitingApproval => "waiting for you",
        RunPhase::Unknown => "unknown",
        RunPhase::Done => "done",
        RunPhase::Failed => "failed",
        RunPhase::Cancelled => "cancelled",
    }
}
