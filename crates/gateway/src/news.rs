//! Durable events that are not steps of a run, as frames clients know them: sessions that change, questions, settings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use adjutant_domain::approval::{Approval, Choice};
use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{MessageId, SessionKey};
use adjutant_protocol::events::questions::{
    ConfigChanged, ConfigChangedEvent, ExecApprovalRequested, ExecApprovalResolved,
    ExecApprovalResolvedEvent, PluginApprovalRequested, PluginApprovalResolved,
};
use adjutant_protocol::events::sessions::{
    SessionMessage, SessionMessageEvent, SessionsChanged, SessionsChangedEvent,
};
use adjutant_protocol::methods::exec_approvals::ExecApprovalRow;
use adjutant_protocol::methods::sessions::SessionRow;

use crate::core::Core;
use crate::wire;

/// What an event says about its session.
struct Change<'a> {
    session: &'a SessionKey,
    what: What,
    /// A message that was added.
    message: Option<MessageId>,
}

/// What happened to a session.
enum What {
    /// It changed, for this reason.
    Reason(&'static str),
    /// Its run did this.
    Phase(&'static str),
}

impl Core {
    /// Tells frames clients what is new besides the steps of runs.
    pub(crate) async fn tell_news(&self, events: &[Event]) {
        if !self.hub.has_frames() {
            return;
        }
        for event in events {
            match &event.kind {
                EventKind::ApprovalRequested { approval, .. } => {
                    let found = self.deps.store.approval(self.owner(), *approval).await;
                    if let Ok(Some(question)) = found {
                        self.tell_question(event, &question);
                    }
                }
                EventKind::ApprovalResolved {
                    approval,
                    choice,
                    by,
                } => {
                    let answered = ExecApprovalResolvedEvent {
                        id: approval.to_string(),
                        decision: decision(choice).to_owned(),
                        resolved_by: by.clone(),
                        ts: event.at,
                        request: None,
                    };
                    self.hub.broadcast::<ExecApprovalResolved>(&answered, None);
                    self.hub
                        .broadcast_as_plugin::<PluginApprovalResolved>(&answered);
                }
                EventKind::Changed { what, name } if what == "config" => {
                    let changed = ConfigChangedEvent {
                        ts: event.at,
                        keys: vec![name.clone()],
                        hash: self.deps.config.hash(),
                    };
                    self.hub.broadcast::<ConfigChanged>(&changed, None);
                }
                _ => {}
            }
        }
        if self.hub.has_feeds() {
            self.tell_sessions(events).await;
        }
    }

    /// Every surface hears of a question in the way it can show one.
    fn tell_question(&self, event: &Event, question: &Approval) {
        self.hub
            .broadcast::<ExecApprovalRequested>(&row(question), None);
        self.hub
            .broadcast_as_plugin::<PluginApprovalRequested>(&plugin_row(question));
        if let Some(run) = event.run {
            let decisions = allowed(question).join("|");
            let text = format!(
                "{}\n{}\n\nReply with: /approve {} {decisions}",
                question.shown, question.reason, question.id
            );
            self.hub.ask_in_chat(run, &text, event.at);
        }
    }

    async fn tell_sessions(&self, events: &[Event]) {
        // Rows are read once per session and batch: what they say is newer than the event or as new.
        let mut rows: BTreeMap<SessionKey, Option<SessionRow>> = BTreeMap::new();
        for event in events {
            let Some(change) = change_of(event) else {
                continue;
            };
            let key = change.session;
            if !rows.contains_key(key) {
                rows.insert(key.clone(), self.fresh_row(key).await);
            }
            let row = rows.get(key).cloned().flatten();
            if let Some(id) = change.message {
                self.tell_message(event, key, id, row.clone()).await;
            }
            let (reason, phase) = match change.what {
                What::Reason(word) => (Some(word.to_owned()), None),
                What::Phase(word) => (None, Some(word.to_owned())),
            };
            let changed = SessionsChangedEvent {
                session_key: key.as_str().to_owned(),
                agent_id: key.agent().as_str().to_owned(),
                ts: event.at,
                reason,
                phase,
                run_id: event.run_name.clone(),
                session_id: row.as_ref().map(|row| row.session_id),
                updated_at: row.as_ref().map(|row| row.updated_at),
                session: row,
            };
            self.hub
                .broadcast_session::<SessionsChanged>(&changed, key.as_str());
        }
    }

    async fn tell_message(
        &self,
        event: &Event,
        key: &SessionKey,
        id: MessageId,
        session: Option<SessionRow>,
    ) {
        let Ok(Some(message)) = self.deps.store.message(self.owner(), id).await else {
            return;
        };
        let mut message = wire::message(&message);
        if let (EventKind::RunQueued { .. }, Some(run)) = (&event.kind, &event.run_name) {
            message = message.began(run);
        }
        let added = SessionMessageEvent {
            session_key: key.as_str().to_owned(),
            agent_id: key.agent().as_str().to_owned(),
            ts: event.at,
            run_id: event.run_name.clone(),
            message_id: id,
            message_seq: message.seq,
            message,
            session,
        };
        self.hub
            .broadcast_session::<SessionMessage>(&added, key.as_str());
    }

    async fn fresh_row(&self, key: &SessionKey) -> Option<SessionRow> {
        let session = self.deps.store.session(self.owner(), key).await.ok()??;
        self.full_row(&session).await.ok()
    }
}

fn change_of(event: &Event) -> Option<Change<'_>> {
    let session = event.session.as_ref()?;
    let (what, message) = match &event.kind {
        EventKind::SessionCreated { .. } => (What::Reason("create"), None),
        EventKind::SessionChanged { .. } => (What::Reason("patch"), None),
        EventKind::SessionDeleted => (What::Reason("delete"), None),
        EventKind::RunQueued { message, .. } => (What::Reason("send"), Some(*message)),
        EventKind::MessageAdded { message, .. } | EventKind::ModelReplied { message, .. } => {
            (What::Reason("message"), Some(*message))
        }
        EventKind::RunStarted => (What::Phase("start"), None),
        EventKind::RunFinished { outcome, .. } if outcome == "done" => (What::Phase("end"), None),
        EventKind::RunFinished { .. } => (What::Phase("error"), None),
        EventKind::RunWoken
        | EventKind::RunResumed { .. }
        | EventKind::RunParked { .. }
        | EventKind::ModelFailed { .. }
        | EventKind::CallStarted { .. }
        | EventKind::CallFinished { .. }
        | EventKind::ApprovalRequested { .. }
        | EventKind::ApprovalResolved { .. }
        | EventKind::Compacted { .. }
        | EventKind::Changed { .. } => return None,
    };
    Some(Change {
        session,
        what,
        message,
    })
}

/// A question of an agent in the words of the protocol.
pub(crate) fn row(question: &Approval) -> ExecApprovalRow {
    ExecApprovalRow {
        id: question.id.to_string(),
        request: request_of(question),
        created_at_ms: question.created_at,
        expires_at_ms: question.expires_at,
    }
}

/// The same for a terminal that shows only questions of plugins: it puts everything on one line, so nothing is left out.
pub(crate) fn plugin_row(question: &Approval) -> ExecApprovalRow {
    ExecApprovalRow {
        request: json!({
            "title": format!("may {} use {}?", question.agent, question.tool),
            "description": format!("{} ({})", question.shown, question.reason),
            "severity": "warning",
            "toolName": question.tool,
            "pluginId": Value::Null,
            "allowedDecisions": allowed(question),
            "agentId": question.agent,
            "sessionKey": question.session_key,
        }),
        ..row(question)
    }
}

/// What is asked. `command` is the whole text that a person must read.
fn request_of(question: &Approval) -> Value {
    json!({
        "command": question.shown,
        "cwd": question.canonical.get("cwd").and_then(Value::as_str),
        "host": "gateway",
        "security": "policy",
        "ask": "always",
        "warningText": question.reason,
        "allowedDecisions": allowed(question),
        "agentId": question.agent,
        "resolvedPath": Value::Null,
        "sessionKey": question.session_key,
        "toolName": question.tool,
    })
}

/// The answers that can be given.
pub(crate) fn allowed(question: &Approval) -> &'static [&'static str] {
    if question.grant_key.is_some() {
        &["allow-once", "allow-always", "deny"]
    } else {
        &["allow-once", "deny"]
    }
}

/// An answer in the words of the protocol.
pub(crate) fn decision(choice: &Choice) -> &'static str {
    match choice {
        Choice::Once | Choice::Session | Choice::For { .. } => "allow-once",
        Choice::Always => "allow-always",
        Choice::Deny => "deny",
    }
}
