//! Follows one run: its words, its tools, its end. What the bus lost is read from the feed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{RunId, SessionKey};
use adjutant_ports::{Notice, PulseKind, Topics};
use adjutant_protocol::methods::agent::{AgentWaited, RunPhase};
use adjutant_protocol::{Caller, Fault};

use crate::compat::Ask;
use crate::core::Core;
use crate::wire;

/// Without news the feed is looked at this often, and a stream says that it lives.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Events read at once.
const PAGE: u32 = 500;

/// Something that happened in the run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Moment {
    /// More words of the reply under way.
    Words(String),
    /// The words of the reply under way are void.
    Void,
    /// The reply under way is complete.
    Said,
    /// A tool was started.
    Started {
        call: String,
        name: String,
        args: Value,
    },
    /// A tool ended.
    Ended {
        call: String,
        name: String,
        outcome: String,
        preview: String,
    },
    /// Nothing new.
    Still,
}

/// One call of the method table, as every client makes it.
pub(super) async fn call(
    core: &Core,
    caller: &Caller,
    method: &str,
    params: Value,
) -> Result<Value, Fault> {
    let unwritable = |error: serde_json::Error| Fault::new(Code::Internal, error.to_string());
    let params = serde_json::value::to_raw_value(&params).map_err(unwritable)?;
    let prepared = core.prepare(caller, method, params)?;
    let answer = core.run_call(caller, prepared).await?;
    serde_json::from_str(answer.get()).map_err(unwritable)
}

/// What comes next of a run.
pub(super) enum Step {
    /// These, in order.
    Moments(Vec<Moment>),
    /// It is over, or waits for a person.
    Over(Box<AgentWaited>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has looked where it stands.
    Fresh,
    Running,
    /// It is over or waits for a person; its end was not told.
    Resting,
}

fn is_at_rest(waited: &AgentWaited) -> bool {
    waited.state.is_final() || waited.state == RunPhase::WaitingApproval
}

/// A run under way.
pub(super) struct Followed {
    core: Arc<Core>,
    caller: Caller,
    pub(super) run: RunId,
    pub(super) name: String,
    session: SessionKey,
    notices: BoxStream<'static, Notice>,
    cursor: u64,
    /// The words of the reply under way.
    said: String,
    /// Whether anything was said.
    spoke: bool,
    phase: Phase,
    over: bool,
    cancel_on_leave: bool,
}

impl Drop for Followed {
    fn drop(&mut self) {
        if self.over || !self.cancel_on_leave {
            return;
        }
        let (core, caller) = (Arc::clone(&self.core), self.caller.clone());
        let params = json!({ "sessionKey": self.session, "runId": self.name });
        tokio::spawn(async move {
            if let Err(fault) = call(&core, &caller, "chat.abort", params).await {
                tracing::warn!(message = %fault.message, "a run whose client went away could not be stopped");
            }
        });
    }
}

impl Followed {
    /// Starts the run that is asked for, or finds it when the key was seen before.
    pub(super) async fn start(core: &Arc<Core>, caller: &Caller, ask: &Ask) -> Result<Self, Fault> {
        // Listens first: nothing of the run is missed.
        let notices = core.deps.bus.watch(Topics::Surfaces);
        let cursor = core.deps.store.cursor(core.owner()).await?;
        let params = json!({
            "sessionKey": ask.session, "message": ask.words, "idempotencyKey": ask.key,
        });
        call(core, caller, "chat.send", params).await?;
        let info = core.deps.store.run(core.owner(), ask.key.as_str()).await?;
        let Some(info) = info else {
            // The run that waited for the owner's words has them; it is not ours to follow.
            let message = "the words went to a run of this session that waited for them";
            return Err(Fault::new(Code::Conflict, message));
        };
        Ok(Self {
            core: Arc::clone(core),
            caller: caller.clone(),
            run: info.run.id,
            name: info.run.name(),
            session: info.run.session_key,
            notices,
            cursor,
            said: String::new(),
            spoke: false,
            phase: Phase::Fresh,
            over: false,
            cancel_on_leave: ask.cancel_on_leave,
        })
    }

    /// Where the run stands.
    async fn look(&mut self) -> Result<AgentWaited, Fault> {
        let params = json!({ "runId": self.run, "timeoutMs": 0 });
        let waited = call(&self.core, &self.caller, "agent.wait", params).await?;
        serde_json::from_value(waited)
            .map_err(|error| Fault::new(Code::Internal, error.to_string()))
    }

    /// What comes next. After [`Step::Over`] nothing does.
    pub(super) async fn next(&mut self) -> Result<Step, Fault> {
        if self.phase == Phase::Fresh {
            let waited = self.look().await?;
            self.phase = if is_at_rest(&waited) {
                Phase::Resting
            } else {
                Phase::Running
            };
        }
        if self.phase == Phase::Running {
            let (moments, rests) = self.news().await?;
            if rests {
                self.phase = Phase::Resting;
            }
            return Ok(Step::Moments(moments));
        }
        let waited = self.look().await?;
        // A repeat of a request whose run was over: its words are told now.
        if !self.spoke
            && let Some(text) = waited.text.clone().filter(|it| !it.is_empty())
        {
            self.spoke = true;
            return Ok(Step::Moments(vec![Moment::Words(text), Moment::Said]));
        }
        self.over = true;
        Ok(Step::Over(Box::new(waited)))
    }

    /// What the bus says, and whether the run is at rest then.
    async fn news(&mut self) -> Result<(Vec<Moment>, bool), Fault> {
        let core = Arc::clone(&self.core);
        let news = tokio::select! {
            news = tokio::time::timeout(LOOK_EVERY, self.notices.next()) => news,
            () = core.stop.cancelled() => {
                let message = "the gateway stops; the run goes on";
                return Err(Fault::new(Code::Unavailable, message));
            }
        };
        match news {
            Ok(Some(Notice::Pulse(pulse))) if pulse.run == self.run => {
                Ok((self.pulse(&pulse.kind), false))
            }
            Ok(Some(Notice::Events(events))) => self.events(&events).await,
            Ok(Some(Notice::Lagged) | None) | Err(_) => self.read().await,
            Ok(Some(_)) => Ok((Vec::new(), false)),
        }
    }

    fn pulse(&mut self, kind: &PulseKind) -> Vec<Moment> {
        match kind {
            PulseKind::Text(text) => {
                self.said.push_str(text);
                self.spoke = true;
                vec![Moment::Words(text.to_string())]
            }
            PulseKind::Reset if self.said.is_empty() => Vec::new(),
            PulseKind::Reset => {
                self.said.clear();
                vec![Moment::Void]
            }
            PulseKind::Thinking(_) | PulseKind::Progress { .. } => Vec::new(),
        }
    }

    /// Where the run stands, and then the feed up to there: what was lost on the bus is found here.
    async fn read(&mut self) -> Result<(Vec<Moment>, bool), Fault> {
        let rests = is_at_rest(&self.look().await?);
        let mut all = vec![Moment::Still];
        loop {
            let store = &self.core.deps.store;
            let events = store
                .events_since(self.core.owner(), self.cursor, PAGE)
                .await?;
            let (moments, ended) = self.events(&events).await?;
            all.extend(moments);
            if ended || events.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                return Ok((all, ended || rests));
            }
        }
    }

    async fn events(&mut self, events: &[Event]) -> Result<(Vec<Moment>, bool), Fault> {
        let mut moments = Vec::new();
        for event in events {
            if event.cursor <= self.cursor {
                continue;
            }
            self.cursor = event.cursor;
            if event.run != Some(self.run) {
                continue;
            }
            match &event.kind {
                EventKind::ModelReplied { message, .. } => {
                    let message = self
                        .core
                        .deps
                        .store
                        .message(self.core.owner(), *message)
                        .await?;
                    let text = message
                        .map(|it| wire::message(&it).text())
                        .unwrap_or_default();
                    moments.extend(self.catch_up(&text));
                }
                EventKind::CallStarted { call, name, args } => moments.push(Moment::Started {
                    call: call.to_string(),
                    name: name.clone(),
                    args: args.clone(),
                }),
                EventKind::CallFinished {
                    call,
                    name,
                    outcome,
                    preview,
                } => moments.push(Moment::Ended {
                    call: call.to_string(),
                    name: name.clone(),
                    outcome: outcome.clone(),
                    preview: preview.clone(),
                }),
                EventKind::RunFinished { .. } => return Ok((moments, true)),
                EventKind::RunParked { reason } if reason == "approval" || reason == "owner" => {
                    return Ok((moments, true));
                }
                _ => {}
            }
        }
        Ok((moments, false))
    }

    /// The whole reply is known: whatever its live words left out is told now.
    fn catch_up(&mut self, whole: &str) -> Vec<Moment> {
        let said = std::mem::take(&mut self.said);
        let mut moments = Vec::new();
        match whole.strip_prefix(said.as_str()) {
            Some("") => {}
            Some(rest) => moments.push(Moment::Words(rest.to_owned())),
            None => moments.extend([Moment::Void, Moment::Words(whole.to_owned())]),
        }
        if !whole.is_empty() {
            self.spoke = true;
            moments.push(Moment::Said);
        }
        moments
    }
}
