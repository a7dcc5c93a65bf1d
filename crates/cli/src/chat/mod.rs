//! The line chat: words in, a streamed answer out, questions in place.

use std::time::Duration;

use adjutant_client::Notices;
use adjutant_protocol::methods::budget::{BudgetStatus, BudgetStatusParams};
use adjutant_protocol::methods::chat::{
    ChatAbort, ChatAbortParams, ChatHistory, ChatHistoryParams, ChatSend,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::models::ModelsStatus;
use adjutant_protocol::methods::runs::{
    RunsList, RunsListParams, TraceExplained, TraceStep, TraceWhy, TraceWhyParams,
};
use adjutant_protocol::methods::sessions::{
    SessionKeyParams, SessionsCreate, SessionsCreateParams, SessionsDescribe, SessionsList,
    SessionsPatch, SessionsPatchParams, SessionsReset, SessionsResetParams,
};

use crate::args::ChatArgs;
use crate::commands;
use crate::connect::{Connection, fresh_key, session_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::{Answering, Cause, Following, parse_answer, say_wait, words_for};
use crate::lines::{Remember, Typed};
use crate::render::{Paint, money, one_line, safe, tokens, words};
use crate::view::{View, phase_word};

mod slash;

use slash::{COMMANDS, Line, Slash};

/// Messages shown by `/history`.
const HISTORY: u32 = 20;

/// A second Ctrl-C or Ctrl-D at the prompt within this many empty prompts leaves.
const INTERRUPTS_TO_LEAVE: u8 = 2;

struct Chat<'a> {
    cx: &'a Cx<'a>,
    gateway: Connection,
    notices: Notices,
    session: String,
    /// `provider/model` for the next message, until it was sent once.
    model: Option<String>,
    last_run: Option<String>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum After {
    Next,
    Leave,
}

/// Talks to an agent until the person leaves.
pub(crate) async fn chat(cx: &Cx<'_>, args: &ChatArgs) -> Result<Exit, Failure> {
    if !cx.terminal.is_interactive() {
        return Err(Failure::usage("a chat needs a terminal").with_hint(
            "use `adjutant run \"…\"`, with `--session <KEY>` to go on in a conversation",
        ));
    }
    let gateway = Connection::for_runs(cx, &args.route).await?;
    let model = gateway.session_model(cx, &args.route).await?;
    let notices = gateway.events().await?;
    let session = session_key(args.session.as_deref(), args.agent.as_deref(), "main")?;
    let mut chat = Chat {
        cx,
        gateway,
        notices,
        session,
        model,
        last_run: None,
    };
    chat.greet().await?;
    chat.talk().await
}

/// `agent:main:main` is just `main`, and `agent:main:trip` is `main:trip`.
fn seat_name(key: &str) -> &str {
    let key = key.strip_prefix("agent:").unwrap_or(key);
    key.strip_suffix(":main").unwrap_or(key)
}

impl Chat<'_> {
    fn paint(&self) -> Paint {
        self.cx.terminal.paint()
    }

    async fn greet(&self) -> Result<(), Failure> {
        let params = SessionKeyParams {
            key: self.session.clone(),
            agent_id: None,
        };
        let seat = self.gateway.call::<SessionsDescribe>(params).await?.session;
        let chosen = self
            .model
            .clone()
            .or_else(|| seat.as_ref().and_then(|it| it.model.clone()));
        let model = match chosen {
            Some(model) => model,
            None => {
                self.gateway
                    .call::<ModelsStatus>(NoParams {})
                    .await?
                    .default
            }
        };
        let key = seat
            .as_ref()
            .map_or(self.session.as_str(), |it| it.key.as_str());
        self.cx
            .terminal
            .note(&self.cx.terminal.paint_err().dim(&format!(
                "{} · {model} · /help for commands",
                seat_name(key)
            )));
        if seat.is_some_and(|it| it.last_message_preview.is_some()) {
            self.cx.terminal.note(
                &self
                    .cx
                    .terminal
                    .paint_err()
                    .dim("going on where you stopped; /history shows it"),
            );
        }
        Ok(())
    }

    async fn talk(&mut self) -> Result<Exit, Failure> {
        let mut interrupts = 0;
        loop {
            match self.cx.lines().await?.line("you> ", Remember::Yes).await {
                Typed::Line(line) => {
                    interrupts = 0;
                    match self.take(&line).await {
                        Ok(After::Next) => {}
                        Ok(After::Leave) => return Ok(Exit::Done),
                        // A refused request is no reason to leave; a gateway that is gone is.
                        Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                        Err(failure) => self.cx.terminal.fail(&failure),
                    }
                }
                Typed::Interrupt => {
                    interrupts += 1;
                    if INTERRUPTS_TO_LEAVE <= interrupts {
                        return Ok(Exit::Interrupted);
                    }
                    self.cx.terminal.note("Ctrl-C again to leave");
                }
                Typed::End => return Ok(Exit::Done),
            }
        }
    }

    async fn take(&mut self, line: &str) -> Result<After, Failure> {
        match slash::parse(line) {
            Line::Empty => {}
            Line::Words(words) => self.send(&words).await?,
            Line::Command(Slash::Quit) => return Ok(After::Leave),
            Line::Command(command) => self.obey(command).await?,
            Line::Unknown { typed, nearest } => {
                let hint = match nearest {
                    Some(near) => format!("did you mean `/{near}`?"),
                    None => "/help lists the commands; begin with `//` to say words that start with a slash".to_owned(),
                };
                return Err(
                    Failure::usage(format!("there is no command `{typed}`")).with_hint(hint)
                );
            }
            Line::Misused { usage } => {
                return Err(Failure::usage(format!("it is used like `{usage}`")));
            }
        }
        Ok(After::Next)
    }

    async fn send(&mut self, words: &str) -> Result<(), Failure> {
        let mut params = words_for(&self.session, words)?;
        params.model.clone_from(&self.model);
        let sent = self.gateway.call::<ChatSend>(params).await?;
        self.model = None;
        say_wait(self.cx, sent.waits_for.as_ref());
        self.last_run = Some(sent.run_id.clone());
        let mut view = View::new(&self.cx.terminal);
        let following = Following {
            cx: self.cx,
            client: &self.gateway,
            notices: &mut self.notices,
            session: self.session.clone(),
            run: sent.run_id,
            answering: Answering::Person,
            deadline: None,
        };
        let ended = following.until_over(&mut view).await?;
        let exit = ended.exit();
        view.finished(&ended.waited, &self.session, exit.number())?;
        if ended.cause == Cause::Itself && exit != Exit::Done {
            let said = ended
                .waited
                .error
                .clone()
                .or_else(|| ended.waited.reason.clone());
            let said =
                said.unwrap_or_else(|| format!("the run ended {}", phase_word(ended.waited.state)));
            return Err(Failure::new(exit, "RUN_FAILED", said).with_hint("/why explains it"));
        }
        Ok(())
    }

    async fn obey(&mut self, command: Slash) -> Result<(), Failure> {
        let cx = self.cx;
        match command {
            Slash::Help => {
                let rows: Vec<(&str, String)> = COMMANDS
                    .iter()
                    .map(|(_, usage, meaning)| (*usage, (*meaning).to_owned()))
                    .collect();
                cx.terminal.data(&crate::render::facts(self.paint(), &rows))
            }
            Slash::New => {
                let params = SessionsResetParams {
                    key: self.session.clone(),
                    idempotency_key: Some(fresh_key()?),
                    ..SessionsResetParams::default()
                };
                match self.gateway.call::<SessionsReset>(params).await {
                    Ok(entry) => {
                        self.last_run = None;
                        cx.terminal
                            .data(&format!("new thread {}", entry.entry.thread_id))
                    }
                    Err(error) if error.code() == Some("NOT_FOUND") => {
                        cx.terminal.data("this thread is new already")
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Slash::Stop => self.stop().await,
            Slash::Model(None) => self.greet().await,
            Slash::Model(Some(model)) => self.choose_model(model).await,
            Slash::Approve { id, answer } => {
                let Some((decision, for_ms)) = parse_answer(&answer, true) else {
                    return Err(Failure::usage(format!("`{answer}` is not an answer"))
                        .with_hint("answer once, session, for 2h, always or deny"));
                };
                let it = commands::resolve(&self.gateway, &id, decision, for_ms).await?;
                cx.terminal.data(&format!("answered {}", it.approval.id))
            }
            Slash::Usage => {
                let params = BudgetStatusParams {
                    session_key: Some(self.session.clone()),
                    run_id: None,
                    agent_id: None,
                };
                let report = self.gateway.call::<BudgetStatus>(params).await?;
                cx.terminal.data(&commands::windows(cx, &report))
            }
            Slash::Why(run) => self.why(run).await,
            Slash::History => {
                let params = ChatHistoryParams {
                    session_key: self.session.clone(),
                    limit: Some(HISTORY),
                    ..ChatHistoryParams::default()
                };
                let page = self.gateway.call::<ChatHistory>(params).await?;
                if page.messages.is_empty() {
                    return cx.terminal.data("nothing was said yet");
                }
                cx.terminal.data(&commands::thread::conversation(
                    &cx.terminal,
                    &page.messages,
                ))
            }
            Slash::Sessions => {
                let page = self
                    .gateway
                    .call::<SessionsList>(commands::sessions::recent(20))
                    .await?;
                cx.terminal
                    .data(&commands::sessions::table(cx, &page.sessions))
            }
            Slash::Quit => Ok(()),
        }
    }

    async fn stop(&self) -> Result<(), Failure> {
        let params = ChatAbortParams {
            session_key: self.session.clone(),
            run_id: None,
            preserve_side_runs: None,
            idempotency_key: Some(fresh_key()?),
        };
        let stopped = self.gateway.call::<ChatAbort>(params).await?;
        let n = u64::try_from(stopped.run_ids.len()).unwrap_or(u64::MAX);
        self.cx.terminal.data(&match n {
            0 => "nothing is running in this session".to_owned(),
            n => format!("stopped {}", words(n, "run", "runs")),
        })
    }

    async fn choose_model(&mut self, model: String) -> Result<(), Failure> {
        if !model.contains('/') {
            return Err(Failure::usage(format!("`{model}` does not name a provider"))
                .with_hint("write it like `/model openai/gpt-5-mini`; `adjutant models list` has the names"));
        }
        let params = SessionsPatchParams {
            key: self.session.clone(),
            model: Some(Some(model.clone())),
            idempotency_key: Some(fresh_key()?),
            ..SessionsPatchParams::default()
        };
        let patched = self.gateway.call::<SessionsPatch>(params).await;
        match patched {
            Ok(_) => {}
            Err(error) if error.code() == Some("NOT_FOUND") => {
                let params = SessionsCreateParams {
                    key: Some(self.session.clone()),
                    model: Some(model.clone()),
                    idempotency_key: Some(fresh_key()?),
                    ..SessionsCreateParams::default()
                };
                self.gateway.call::<SessionsCreate>(params).await?;
            }
            Err(error) => return Err(error.into()),
        }
        self.model = None;
        self.cx
            .terminal
            .data(&format!("this session now talks to {model}"))
    }

    async fn why(&self, run: Option<String>) -> Result<(), Failure> {
        let run = match run.or_else(|| self.last_run.clone()) {
            Some(run) => Some(run),
            None => {
                let page = self.gateway.call::<RunsList>(RunsListParams {
                    limit: Some(50),
                    ..RunsListParams::default()
                });
                let mine =
                    |key: &str| key == self.session || key.ends_with(&format!(":{}", self.session));
                page.await?
                    .runs
                    .into_iter()
                    .find(|it| mine(&it.session_key))
                    .map(|it| it.run_id)
            }
        };
        let Some(run_id) = run else {
            return self.cx.terminal.data("nothing has run in this session yet");
        };
        let trace = self
            .gateway
            .call::<TraceWhy>(TraceWhyParams { run_id })
            .await?;
        self.cx.terminal.data(&explained(self.paint(), &trace))
    }
}

/// A run's steps, decisions and cost.
fn explained(paint: Paint, trace: &TraceExplained) -> String {
    let began = trace.run.accepted_at;
    let mut lines = vec![format!(
        "run {} is {}",
        paint.bold(&safe(&trace.run.run_id)),
        phase_word(trace.run.state)
    )];
    for step in &trace.steps {
        let (at, text) = match step {
            TraceStep::Model {
                at,
                route,
                usage,
                cost_micros,
                calls,
            } => {
                let cost = cost_micros.map_or_else(|| "unpriced".to_owned(), |it| it.to_string());
                let asked = match calls {
                    0 => String::new(),
                    n => format!(", asked for {}", words(u64::from(*n), "call", "calls")),
                };
                (
                    at,
                    format!("{} answered: {}, {cost}{asked}", safe(route), tokens(usage)),
                )
            }
            TraceStep::ModelFailed {
                at,
                route,
                reason,
                retries,
            } => {
                let then = if *retries { "tried again" } else { "given up" };
                (
                    at,
                    format!("{} failed: {}; {then}", safe(route), one_line(reason, 200)),
                )
            }
            TraceStep::Judged {
                at,
                tool,
                verdict,
                trail,
                ..
            } => {
                let mut text = format!(
                    "policy {verdict} {}",
                    safe(tool.as_deref().unwrap_or("a call"))
                );
                for stage in trail {
                    text.push_str(&format!(
                        "\n             {}: {}",
                        safe(&stage.stage),
                        one_line(&stage.said, 200)
                    ));
                }
                (at, text)
            }
            TraceStep::Answered { at, answer, by, .. } => {
                (at, format!("answered {answer} by {}", safe(by)))
            }
            TraceStep::Call {
                at,
                tool,
                outcome,
                preview,
                ..
            } => (
                at,
                format!("{} {outcome}: {}", safe(tool), one_line(preview, 160)),
            ),
            TraceStep::Note { at, text } => (at, one_line(text, 200)),
        };
        let after: Duration = at.since(began);
        lines.push(format!(
            "{} {text}",
            paint.dim(&format!("{:>10}", crate::render::duration(after)))
        ));
    }
    let cost = if trace.unpriced {
        format!("{} and unpriced calls", trace.cost_micros)
    } else {
        money(adjutant_domain::money::Cost::Priced {
            micros: trace.cost_micros,
        })
    };
    lines.push(format!(
        "{}, {cost}, {}",
        tokens(&trace.usage),
        words(trace.claims, "claim", "claims")
    ));
    lines.join("\n")
}
