//! From a run's start to its end: words as they come, questions in place, Ctrl-C, the clock.

use std::collections::VecDeque;
use std::time::Duration;

use adjutant_client::{Client, ClientError, Gap, Notice, Notices};
use adjutant_domain::approval::Approval;
use adjutant_domain::event::EventKind;
use adjutant_domain::need::Needs;
use adjutant_protocol::methods::agent::{AgentWait, AgentWaitParams, AgentWaited, RunPhase};
use adjutant_protocol::methods::approvals::{
    ApprovalIdParams, ApprovalsGet, ApprovalsResolve, ApprovalsResolveParams, Decision,
};
use adjutant_protocol::methods::chat::{
    ChatAbort, ChatAbortParams, ChatHistory, ChatHistoryParams, ChatSend, ChatSendParams,
};
use adjutant_protocol::methods::system::WireEvent;
use serde_json::Value;
use tokio::time::Instant;

use crate::args::OnApproval;
use crate::connect::fresh_key;
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::lines::{Remember, Typed, Typing};
use crate::platform::Interrupts;
use crate::render::{Question, one_line, question};
use crate::view::View;

/// The tool whose question is answered with words.
const ASK_USER: &str = "ask_user";

/// If nothing is heard for this long the run is asked after.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a run that was told to stop may take to do so.
const STOPPING: Duration = Duration::from_secs(10);

/// Who answers an agent's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// The person at the terminal.
    Person,
    /// Yes, each time.
    Once,
    /// No, because that was asked for.
    Deny,
    /// No, because nobody is there to ask.
    Nobody,
}

impl Answering {
    pub(crate) fn of(cx: &Cx<'_>, flag: OnApproval) -> Self {
        match flag {
            OnApproval::Once => Self::Once,
            OnApproval::Deny => Self::Deny,
            OnApproval::Ask if cx.terminal.can_ask() && !cx.global.json => Self::Person,
            OnApproval::Ask => Self::Nobody,
        }
    }
}

/// Why following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The run is over.
    Itself,
    /// Ctrl-C, or a flag's time limit; the run was told to stop.
    Interrupted,
    TimedOut,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) waited: AgentWaited,
    pub(crate) cause: Cause,
    /// Questions that were denied because nobody was there.
    pub(crate) unasked: u32,
    /// What the run came to by its answer, where a good end of the run is not enough.
    pub(crate) told: Exit,
}

impl Ended {
    /// The exit code of a command that was about this run.
    pub(crate) fn exit(&self) -> Exit {
        match (self.cause, self.waited.state) {
            (Cause::Interrupted, _) => Exit::Interrupted,
            (Cause::TimedOut, _) => Exit::Timeout,
            (Cause::Itself, RunPhase::Done) if self.unasked == 0 => self.told,
            (Cause::Itself, RunPhase::Done) => Exit::Denied,
            (Cause::Itself, _) => match self.waited.reason.as_deref() {
                Some("budget") => Exit::Denied,
                Some("timeout") => Exit::Timeout,
                _ => Exit::Failed,
            },
        }
    }
}

/// One run that is followed.
pub(crate) struct Following<'a> {
    pub(crate) cx: &'a Cx<'a>,
    pub(crate) client: &'a Client,
    pub(crate) notices: &'a mut Notices,
    pub(crate) session: String,
    pub(crate) run: String,
    pub(crate) answering: Answering,
    pub(crate) deadline: Option<Instant>,
}

/// A question that is on the screen.
struct Open {
    approval: Approval,
    typing: Typing,
    /// Somebody else was faster.
    stale: bool,
}

/// What the loop remembers.
struct State {
    waiting: VecDeque<Approval>,
    open: Option<Open>,
    cause: Cause,
    unasked: u32,
    give_up_at: Option<Instant>,
    heard_at: Instant,
}

impl Following<'_> {
    /// Follows the run to its end.
    pub(crate) async fn until_over(mut self, view: &mut View<'_>) -> Result<Ended, Failure> {
        let mut interrupts = Interrupts::listen()
            .map_err(|error| Failure::io("cannot listen for Ctrl-C", &error))?;
        let mut state = State {
            waiting: VecDeque::new(),
            open: None,
            cause: Cause::Itself,
            unasked: 0,
            give_up_at: None,
            heard_at: Instant::now(),
        };
        loop {
            if state.open.is_none()
                && let Some(approval) = state.waiting.pop_front()
            {
                state.open = self.put_question(approval, view).await?;
            }
            match self.next_step(&mut state, &mut interrupts).await? {
                Step::Stop(cause) if state.cause == Cause::Itself => {
                    state.cause = cause;
                    state.give_up_at = Some(Instant::now() + STOPPING);
                    view.stop();
                    self.abort().await?;
                }
                Step::Stop(_again) => break,
                Step::Look if self.is_over(Duration::ZERO).await?.is_some() => break,
                Step::Look => state.heard_at = Instant::now(),
                Step::Typed(typed) => {
                    if let Some(open) = state.open.take() {
                        self.take_answer(open, typed, &mut state, view).await?;
                    }
                }
                Step::Notice(notice) => {
                    state.heard_at = Instant::now();
                    if self.take_notice(notice, &mut state, view).await? == Run::Over {
                        break;
                    }
                }
            }
        }
        view.end_of_words()?;
        let waited = match self.is_over(Duration::from_secs(5)).await? {
            Some(waited) => waited,
            None => self.wait(Duration::ZERO).await?,
        };
        Ok(Ended {
            waited,
            cause: state.cause,
            unasked: state.unasked,
            told: Exit::Done,
        })
    }

    async fn next_step(
        &mut self,
        state: &mut State,
        interrupts: &mut Interrupts,
    ) -> Result<Step, Failure> {
        let deadline = match state.cause {
            Cause::Itself => self.deadline,
            Cause::Interrupted | Cause::TimedOut => state.give_up_at,
        };
        let far = Instant::now() + Duration::from_secs(86_400);
        let look_at = state.heard_at + SILENCE;
        tokio::select! {
            biased;
            () = interrupts.recv() => Ok(Step::Stop(Cause::Interrupted)),
            () = tokio::time::sleep_until(deadline.unwrap_or(far)) => Ok(Step::Stop(Cause::TimedOut)),
            typed = async {
                match &mut state.open {
                    Some(open) => (&mut open.typing).await.unwrap_or(Typed::End),
                    None => std::future::pending().await,
                }
            } => Ok(Step::Typed(typed)),
            notice = self.notices.next() => match notice {
                Some(Ok(notice)) => Ok(Step::Notice(notice)),
                Some(Err(error)) => Err(error.into()),
                None => Err(ClientError::Closed { reason: "the gateway is gone".to_owned() }.into()),
            },
            () = tokio::time::sleep_until(look_at) => Ok(Step::Look),
        }
    }

    async fn take_notice(
        &self,
        notice: Notice,
        state: &mut State,
        view: &mut View<'_>,
    ) -> Result<Run, Failure> {
        match notice {
            Notice::Delta(delta) if delta.run_id == self.run => view.delta(&delta)?,
            Notice::Event(event) if event.run_id.as_deref() == Some(self.run.as_str()) => {
                view.event(&event)?;
                return self.take_event(&event, state, view).await;
            }
            Notice::Gap(Gap::Interrupted { reason }) => {
                view.gap(&format!(
                    "connection lost ({}), trying again",
                    one_line(&reason, 80)
                ));
            }
            Notice::Gap(Gap::Resumed) => view.gap("connected again"),
            Notice::Gap(Gap::Lagged { .. }) => view.gap("catching up"),
            Notice::Delta(_) | Notice::Event(_) | Notice::Other(_) => {}
        }
        Ok(Run::GoesOn)
    }

    async fn take_event(
        &self,
        event: &WireEvent,
        state: &mut State,
        view: &mut View<'_>,
    ) -> Result<Run, Failure> {
        match &event.kind {
            EventKind::ModelReplied { message, .. } if view.wants_whole_texts() => {
                if let Some(text) = self.text_of(&message.to_string()).await? {
                    view.whole(&text)?;
                    view.begin_reply();
                }
            }
            EventKind::ApprovalRequested { approval, .. } => {
                let id = approval.to_string();
                let params = ApprovalIdParams { id: id.clone() };
                match self.client.call::<ApprovalsGet>(params).await {
                    Ok(it) => state.waiting.push_back(it.approval),
                    // Answered and gone before we could look.
                    Err(error) if error.code() == Some("NOT_FOUND") => {}
                    Err(error) => return Err(error.into()),
                }
                if self.answering != Answering::Person
                    && let Some(approval) = state.waiting.pop_back()
                {
                    self.answer_unseen(&approval, state, view).await?;
                }
            }
            EventKind::ApprovalResolved {
                approval,
                by,
                choice,
            } => {
                state.waiting.retain(|it| it.id != *approval);
                if let Some(open) = state.open.as_mut().filter(|it| it.approval.id == *approval) {
                    open.stale = true;
                    let answer = if choice.allows() { "allowed" } else { "denied" };
                    view.aside(&format!("{answer} by {by}; press Enter"));
                }
            }
            EventKind::RunFinished { .. } => return Ok(Run::Over),
            _ => {}
        }
        Ok(Run::GoesOn)
    }

    /// Shows a question and begins to wait for the answer.
    async fn put_question(
        &self,
        approval: Approval,
        view: &mut View<'_>,
    ) -> Result<Option<Open>, Failure> {
        view.end_of_words()?;
        let terminal = &self.cx.terminal;
        let prompt = if approval.tool == ASK_USER {
            terminal.say(&question_of(terminal.paint_err(), &approval));
            "answer> ".to_owned()
        } else {
            terminal.say(&question(
                terminal.paint_err(),
                &shown(&approval),
                self.cx.now(),
            ));
            prompt_for(approval.grant_key.is_some())
        };
        let typing = self.cx.lines().await?.ask(&prompt, Remember::No).await;
        Ok(Some(Open {
            approval,
            typing,
            stale: false,
        }))
    }

    async fn take_answer(
        &self,
        open: Open,
        typed: Typed,
        state: &mut State,
        view: &mut View<'_>,
    ) -> Result<(), Failure> {
        if open.stale {
            return Ok(());
        }
        let line = match typed {
            Typed::Line(line) => line,
            Typed::Interrupt => {
                state.cause = Cause::Interrupted;
                state.give_up_at = Some(Instant::now() + STOPPING);
                view.stop();
                return self.abort().await;
            }
            Typed::End => {
                return self
                    .resolve(&open.approval, Decision::Deny, None, view)
                    .await;
            }
        };
        if open.approval.tool == ASK_USER {
            if line.trim().is_empty() {
                state.waiting.push_front(open.approval);
                return Ok(());
            }
            let params = words_for(&self.session, &line)?;
            self.client.call::<ChatSend>(params).await?;
            return Ok(());
        }
        match parse_answer(&line, open.approval.grant_key.is_some()) {
            Some((decision, for_ms)) => self.resolve(&open.approval, decision, for_ms, view).await,
            None => {
                self.cx
                    .terminal
                    .say("Please answer with one of the letters.");
                state.waiting.push_front(open.approval);
                Ok(())
            }
        }
    }

    /// Answers without a person, as the flags say.
    async fn answer_unseen(
        &self,
        approval: &Approval,
        state: &mut State,
        view: &mut View<'_>,
    ) -> Result<(), Failure> {
        let what = one_line(&approval.shown, 160);
        let decision = match self.answering {
            Answering::Once if approval.tool != ASK_USER => {
                view.aside(&format!("allowed by `--approve once`: {what}"));
                Decision::Once
            }
            Answering::Deny => {
                view.aside(&format!("denied by `--approve deny`: {what}"));
                Decision::Deny
            }
            Answering::Once | Answering::Nobody | Answering::Person => {
                state.unasked = state.unasked.saturating_add(1);
                view.aside(&format!("denied because nobody can be asked here: {what}"));
                Decision::Deny
            }
        };
        self.resolve(approval, decision, None, view).await
    }

    async fn resolve(
        &self,
        approval: &Approval,
        decision: Decision,
        for_ms: Option<u64>,
        view: &mut View<'_>,
    ) -> Result<(), Failure> {
        let params = ApprovalsResolveParams {
            id: approval.id.to_string(),
            decision,
            for_ms,
            idempotency_key: Some(fresh_key()?),
        };
        match self.client.call::<ApprovalsResolve>(params).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some("CONFLICT" | "NOT_FOUND")) => {
                view.aside("this question was settled already");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn abort(&self) -> Result<(), Failure> {
        let params = ChatAbortParams {
            session_key: self.session.clone(),
            run_id: Some(self.run.clone()),
            preserve_side_runs: None,
            idempotency_key: Some(fresh_key()?),
        };
        self.client.call::<ChatAbort>(params).await?;
        Ok(())
    }

    async fn wait(&self, time: Duration) -> Result<AgentWaited, Failure> {
        let timeout_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let params = AgentWaitParams {
            run_id: self.run.clone(),
            timeout_ms: Some(timeout_ms),
        };
        Ok(self
            .client
            .call_within::<AgentWait>(time + adjutant_client::CALL_TIMEOUT, params)
            .await?)
    }

    async fn is_over(&self, time: Duration) -> Result<Option<AgentWaited>, Failure> {
        let waited = self.wait(time).await?;
        Ok(waited.state.is_final().then_some(waited))
    }

    /// The words of a message of this session.
    async fn text_of(&self, message: &str) -> Result<Option<String>, Failure> {
        let params = ChatHistoryParams {
            session_key: self.session.clone(),
            limit: Some(50),
            ..ChatHistoryParams::default()
        };
        let page = self.client.call::<ChatHistory>(params).await?;
        let found = page
            .messages
            .iter()
            .rev()
            .find(|it| it.id.is_some_and(|id| id.to_string() == message));
        Ok(found.map(adjutant_protocol::methods::common::WireMessage::text))
    }
}

enum Step {
    Stop(Cause),
    Typed(Typed),
    Notice(Notice),
    /// Nothing was heard for a while.
    Look,
}

#[derive(PartialEq, Eq)]
enum Run {
    GoesOn,
    Over,
}

/// `chat.send` of plain words.
pub(crate) fn words_for(session: &str, words: &str) -> Result<ChatSendParams, Failure> {
    Ok(ChatSendParams {
        session_key: session.to_owned(),
        message: words.to_owned(),
        idempotency_key: fresh_key()?,
        model: None,
        thinking: None,
        deliver: None,
        attachments: None,
        timeout_ms: None,
        needs: Needs::default(),
        thread_id: None,
        session_id: None,
        agent_id: None,
        queue_mode: None,
        expected_leaf_entry_id: None,
    })
}

/// Says that a run waits for a worker that is not there.
pub(crate) fn say_wait(cx: &Cx<'_>, needs: Option<&Needs>) {
    if let Some(needs) = needs {
        cx.terminal.note(&format!(
            "no worker is heard of that offers {needs}; the run waits for one (`adjutant worker list`)"
        ));
    }
}

/// A question with the fields people see.
pub(crate) fn shown(approval: &Approval) -> Question {
    Question {
        id: approval.id.to_string(),
        agent: approval.agent.to_string(),
        session: approval.session_key.to_string(),
        tool: approval.tool.clone(),
        class: word_of(&approval.class),
        reason: approval.reason.clone(),
        shown: approval.shown.clone(),
        covers: approval.grant_key.clone(),
        expires_at: approval.expires_at,
    }
}

/// A closed word of the wire, as text.
pub(crate) fn word_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_unwritable) => String::new(),
    }
}

fn question_of(paint: crate::render::Paint, approval: &Approval) -> String {
    let asked = approval
        .canonical
        .pointer("/args/question")
        .or_else(|| approval.canonical.get("question"));
    let text = asked.and_then(Value::as_str).unwrap_or(&approval.shown);
    format!(
        "{} {}",
        paint.cyan(&format!("{} asks:", approval.agent)),
        crate::render::safe(text)
    )
}

fn prompt_for(lasting: bool) -> String {
    if lasting {
        "[o]nce, this [s]ession, [f]or 2h, [a]lways, [d]eny> ".to_owned()
    } else {
        "[o]nce, [d]eny> ".to_owned()
    }
}

/// `o`, `s`, `f 2h`, `a`, `d`, or the words; lasting ones only where a lasting answer is possible.
pub(crate) fn parse_answer(line: &str, lasting: bool) -> Option<(Decision, Option<u64>)> {
    let line = line.trim().to_ascii_lowercase();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
    let decision = match word {
        "o" | "once" | "y" | "yes" => Decision::Once,
        "d" | "deny" | "n" | "no" => Decision::Deny,
        "s" | "session" if lasting => Decision::Session,
        "a" | "always" if lasting => Decision::Always,
        "f" | "for" if lasting => {
            let span: adjutant_domain::time::Span = rest.trim().parse().ok()?;
            return Some((
                Decision::For,
                u64::try_from(span.duration().as_millis()).ok(),
            ));
        }
        _ => return None,
    };
    rest.is_empty().then_some((decision, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_letters_or_words() {
        assert_eq!(parse_answer("o", true), Some((Decision::Once, None)));
        assert_eq!(parse_answer(" Deny ", false), Some((Decision::Deny, None)));
        assert_eq!(
            parse_answer("f 2h", true),
            Some((Decision::For, Some(7_200_000)))
        );
        assert_eq!(parse_answer("always", true), Some((Decision::Always, None)));
    }

    #[test]
    fn unclear_answers_and_lasting_ones_that_cannot_last_are_asked_again() {
        for (line, lasting) in [
            ("", true),
            ("ok", true),
            ("f", true),
            ("f 2", true),
            ("a", false),
            ("o please", true),
        ] {
            assert_eq!(parse_answer(line, lasting), None, "{line}");
        }
    }
}
