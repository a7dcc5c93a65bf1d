//! A run as frames clients see it: `agent` and `chat` events, numbered per run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::MessageId;
use adjutant_domain::time::Timestamp;
use adjutant_ports::PulseKind;
use adjutant_protocol::EventType as _;
use adjutant_protocol::events::runs::{Agent, AgentEvent, Chat, ChatEvent, ChatState};
use adjutant_protocol::methods::common::{ContentPart, WireMessage, WireRole};

use super::Said;
use crate::methods::chat::BY_STOP;

/// At most one chat delta per run in this time.
const CHAT_DELTA_EVERY: Duration = Duration::from_millis(150);
/// Bytes of a reply kept while it grows.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// The live state of one run.
pub(crate) struct RunView {
    name: String,
    session: String,
    agent: String,
    seq: u64,
    started: bool,
    /// Live signals so far.
    pub(crate) delta_seq: u64,
    text: String,
    thinking: String,
    chat: ChatProgress,
}

/// How far chat deltas are.
#[derive(Default)]
struct ChatProgress {
    said_bytes: usize,
    said_at: Option<Duration>,
    replace: bool,
}

impl RunView {
    pub(crate) fn new(name: String, session: String) -> Self {
        // `agent:<agent>:<rest>`.
        let agent = session.split(':').nth(1).unwrap_or_default().to_owned();
        Self {
            name,
            session,
            agent,
            seq: 0,
            started: false,
            delta_seq: 0,
            text: String::new(),
            thinking: String::new(),
            chat: ChatProgress::default(),
        }
    }

    /// What a durable event means to frames clients.
    pub(crate) fn event(
        &mut self,
        event: &Event,
        texts: &BTreeMap<MessageId, String>,
        now: Duration,
    ) -> Vec<Said> {
        let at = event.at;
        match &event.kind {
            EventKind::RunStarted => self.start(at).into_iter().collect(),
            EventKind::ModelReplied { message, .. } => {
                let said = texts
                    .get(message)
                    .map(|text| self.catch_up(text, at, now))
                    .unwrap_or_default();
                self.next_reply();
                said
            }
            EventKind::ModelFailed { retries: true, .. } => {
                self.void();
                vec![]
            }
            EventKind::CallStarted { call, name, args } => {
                let data =
                    json!({ "phase": "start", "name": name, "toolCallId": call, "args": args });
                vec![self.tool(data, at)]
            }
            EventKind::CallFinished {
                call,
                name,
                outcome,
                preview,
            } => {
                let data = json!({
                    "phase": "result", "name": name, "toolCallId": call, "isError": outcome != "done",
                    "meta": outcome, "result": { "content": [{ "type": "text", "text": preview }] },
                });
                vec![self.tool(data, at)]
            }
            EventKind::Compacted { through } => {
                vec![self.agent(
                    "compaction",
                    json!({ "phase": "end", "through": through }),
                    at,
                )]
            }
            EventKind::RunFinished {
                outcome,
                reason,
                message,
                ..
            } => {
                let text = message
                    .as_ref()
                    .and_then(|id| texts.get(id))
                    .map(String::as_str);
                self.finish(outcome, reason.as_deref(), text, at)
            }
            EventKind::SessionCreated { .. }
            | EventKind::SessionChanged { .. }
            | EventKind::SessionDeleted
            | EventKind::RunQueued { .. }
            | EventKind::RunWoken
            | EventKind::RunResumed { .. }
            | EventKind::RunParked { .. }
            | EventKind::ModelFailed { retries: false, .. }
            | EventKind::ApprovalRequested { .. }
            | EventKind::ApprovalResolved { .. }
            | EventKind::MessageAdded { .. }
            | EventKind::Changed { .. } => vec![],
        }
    }

    /// What a live signal means. `framed`: somebody listens; otherwise only the state is kept.
    pub(crate) fn pulse(
        &mut self,
        kind: &PulseKind,
        framed: bool,
        at: Timestamp,
        now: Duration,
    ) -> Vec<Said> {
        match kind {
            PulseKind::Text(delta) => {
                self.grow(delta);
                if framed {
                    self.spoken(delta, at, now)
                } else {
                    vec![]
                }
            }
            PulseKind::Thinking(delta) => {
                if self.thinking.len() + delta.len() <= TEXT_BYTES_MAX {
                    self.thinking.push_str(delta);
                }
                if !framed {
                    return vec![];
                }
                let data = json!({ "text": self.thinking, "delta": delta.as_ref() });
                vec![self.agent("thinking", data, at)]
            }
            PulseKind::Reset => {
                self.void();
                vec![]
            }
            PulseKind::Progress { call, text } => {
                let data = json!({
                    "phase": "update", "name": "", "toolCallId": call, "partialResult": text.as_ref(),
                });
                if framed {
                    vec![self.tool(data, at)]
                } else {
                    vec![]
                }
            }
        }
    }

    /// The first thing that clients hear of a run, even when its words overtook the event.
    fn start(&mut self, at: Timestamp) -> Option<Said> {
        if std::mem::replace(&mut self.started, true) {
            return None;
        }
        let data = json!({ "phase": "start", "startedAt": at });
        Some(self.agent("lifecycle", data, at))
    }

    fn grow(&mut self, delta: &str) {
        if self.text.len() + delta.len() <= TEXT_BYTES_MAX {
            self.text.push_str(delta);
        }
    }

    /// More words: always an agent event, and a chat delta when the last one is long enough ago.
    fn spoken(&mut self, delta: &str, at: Timestamp, now: Duration) -> Vec<Said> {
        let mut said: Vec<Said> = self.start(at).into_iter().collect();
        let data = json!({ "text": self.text, "delta": delta });
        said.push(self.agent("assistant", data, at));
        let due = self
            .chat
            .said_at
            .is_none_or(|last| now.saturating_sub(last) >= CHAT_DELTA_EVERY);
        if due {
            said.push(self.chat_delta(at, now));
        }
        said
    }

    /// A question at the end of what was said so far. The next words, or the end of the run, take its place.
    pub(crate) fn question(&mut self, text: &str, at: Timestamp) -> Said {
        let whole = if self.text.is_empty() {
            text.to_owned()
        } else {
            format!("{}\n\n{text}", self.text)
        };
        self.chat.replace = true;
        chat(&ChatEvent {
            message: Some(assistant(&whole, at)),
            ..self.chat_event(ChatState::Delta)
        })
    }

    /// The whole of a conversation that had no run.
    pub(crate) fn reply(&self, text: &str, at: Timestamp) -> Said {
        chat(&ChatEvent {
            message: Some(assistant(text, at)),
            ..self.chat_event(ChatState::Final)
        })
    }

    fn chat_delta(&mut self, at: Timestamp, now: Duration) -> Said {
        let replace = std::mem::take(&mut self.chat.replace);
        let from = if replace { 0 } else { self.chat.said_bytes };
        let delta = self.text.get(from..).unwrap_or_default().to_owned();
        self.chat.said_bytes = self.text.len();
        self.chat.said_at = Some(now);
        chat(&ChatEvent {
            message: Some(assistant(&self.text, at)),
            delta_text: Some(delta),
            replace: replace.then_some(true),
            ..self.chat_event(ChatState::Delta)
        })
    }

    /// The reply is complete: whatever its live signals left out is said now.
    fn catch_up(&mut self, whole: &str, at: Timestamp, now: Duration) -> Vec<Said> {
        if whole.is_empty() || self.text == whole {
            return vec![];
        }
        match whole.strip_prefix(self.text.as_str()).map(str::to_owned) {
            Some(rest) => {
                self.grow(&rest);
                self.spoken(&rest, at, now)
            }
            None => {
                self.text = whole.to_owned();
                self.chat.replace = true;
                self.chat.said_at = None;
                self.spoken(whole, at, now)
            }
        }
    }

    fn next_reply(&mut self) {
        self.thinking.clear();
        self.chat.replace = true;
        self.chat.said_bytes = 0;
        self.text.clear();
    }

    fn void(&mut self) {
        self.text.clear();
        self.thinking.clear();
        self.chat = ChatProgress {
            replace: true,
            ..ChatProgress::default()
        };
    }

    fn finish(
        &mut self,
        outcome: &str,
        reason: Option<&str>,
        text: Option<&str>,
        at: Timestamp,
    ) -> Vec<Said> {
        let partial = std::mem::take(&mut self.text);
        match outcome {
            "done" => {
                let end = self.agent("lifecycle", json!({ "phase": "end", "endedAt": at }), at);
                let whole = text.unwrap_or(&partial);
                let message = (!whole.is_empty()).then(|| assistant(whole, at));
                let said = ChatEvent {
                    message,
                    ..self.chat_event(ChatState::Final)
                };
                vec![end, chat(&said)]
            }
            "cancelled" => {
                let end = self.agent(
                    "lifecycle",
                    json!({ "phase": "end", "endedAt": at, "aborted": true }),
                    at,
                );
                let by_message = reason.is_some_and(|reason| reason.ends_with(BY_STOP));
                let why = if by_message { "stop" } else { "rpc" };
                let said = ChatEvent {
                    message: (!partial.is_empty()).then(|| assistant(&partial, at)),
                    stop_reason: Some(why.to_owned()),
                    ..self.chat_event(ChatState::Aborted)
                };
                vec![end, chat(&said)]
            }
            _ => {
                let error = reason.unwrap_or("the run failed");
                let end = self.agent(
                    "lifecycle",
                    json!({ "phase": "error", "error": error, "endedAt": at }),
                    at,
                );
                let said = ChatEvent {
                    error_message: Some(error.to_owned()),
                    ..self.chat_event(ChatState::Error)
                };
                vec![end, chat(&said)]
            }
        }
    }

    fn agent(&mut self, stream: &str, data: Value, at: Timestamp) -> Said {
        self.seq += 1;
        let payload = AgentEvent {
            run_id: self.name.clone(),
            session_key: Some(self.session.clone()),
            agent_id: Some(self.agent.clone()),
            stream: stream.to_owned(),
            data: match data {
                Value::Object(members) => members,
                _ => serde_json::Map::new(),
            },
            seq: self.seq,
            ts: at,
        };
        Said {
            name: Agent::SPEC.name,
            payload: raw(&payload),
            tool: stream == "tool",
            droppable: false,
        }
    }

    fn tool(&mut self, data: Value, at: Timestamp) -> Said {
        self.agent("tool", data, at)
    }

    /// A chat event carries the number of the agent event before it.
    fn chat_event(&self, state: ChatState) -> ChatEvent {
        ChatEvent {
            run_id: self.name.clone(),
            session_key: self.session.clone(),
            agent_id: Some(self.agent.clone()),
            seq: self.seq,
            state,
            message: None,
            delta_text: None,
            replace: None,
            stop_reason: None,
            error_message: None,
        }
    }
}

fn chat(said: &ChatEvent) -> Said {
    Said {
        name: Chat::SPEC.name,
        payload: raw(said),
        tool: false,
        droppable: said.state == ChatState::Delta,
    }
}

fn assistant(text: &str, at: Timestamp) -> WireMessage {
    WireMessage {
        role: WireRole::Assistant,
        content: vec![ContentPart::Text {
            text: text.to_owned(),
        }],
        timestamp: at,
        id: None,
        seq: None,
        run_id: None,
        idempotency_key: None,
        summary: false,
        tool_call_id: None,
        tool_name: None,
        is_error: None,
    }
}

fn raw<T: serde::Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_e| RawValue::NULL.to_owned())
}
