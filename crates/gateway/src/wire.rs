//! Our words as the words of the protocol.

use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::run::{Outcome, RunStatus, Wake};
use adjutant_domain::session::Session;
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{RunInfo, Spend};
use adjutant_protocol::methods::agent::RunPhase;
use adjutant_protocol::methods::common::{ContentPart, Spent, WireMessage, WireRole};
use adjutant_protocol::methods::runs::RunRow;
use adjutant_protocol::methods::sessions::{SessionKind, SessionRow};

use crate::methods::chat::VERBOSE;

pub(crate) fn message(message: &Message) -> WireMessage {
    let role = match message.role {
        Role::User => WireRole::User,
        Role::Assistant | Role::Summary => WireRole::Assistant,
        Role::Tool => WireRole::ToolResult,
    };
    let mut wire = WireMessage {
        role,
        content: Vec::with_capacity(message.parts.len()),
        timestamp: message.at,
        id: Some(message.id),
        seq: message.seq,
        run_id: message.run.map(|run| run.to_string()),
        idempotency_key: None,
        summary: message.role == Role::Summary,
        tool_call_id: None,
        tool_name: None,
        is_error: None,
    };
    for part in &message.parts {
        match part {
            Part::Text { text } => wire.content.push(ContentPart::Text { text: text.clone() }),
            Part::Thinking { text, .. } => {
                wire.content.push(ContentPart::Thinking {
                    thinking: text.clone(),
                });
            }
            Part::ToolCall {
                call, name, args, ..
            } => wire.content.push(ContentPart::ToolCall {
                id: call.to_string(),
                name: name.clone(),
                arguments: args.clone(),
            }),
            Part::ToolResult {
                call,
                name,
                text,
                is_error,
                ..
            } => {
                wire.tool_call_id = Some(call.to_string());
                wire.tool_name = Some(name.clone());
                wire.is_error = Some(*is_error);
                wire.content.push(ContentPart::Text { text: text.clone() });
            }
        }
    }
    wire
}

pub(crate) fn is_expired(session: &Session, now: Timestamp) -> bool {
    session.expires_at.is_some_and(|end| end <= now)
}

pub(crate) fn session_row(session: &Session, now: Timestamp) -> SessionRow {
    let (provider, model) = match session.model.as_deref().map(|route| route.split_once('/')) {
        None => (None, None),
        Some(None) => (session.model.clone(), None),
        Some(Some((provider, model))) => (Some(provider.to_owned()), Some(model.to_owned())),
    };
    let rest = session
        .key
        .as_str()
        .splitn(3, ':')
        .nth(2)
        .unwrap_or_default();
    SessionRow {
        key: session.key.as_str().to_owned(),
        kind: SessionKind::Direct,
        chat_type: SessionKind::Direct,
        verbose_level: VERBOSE.to_owned(),
        session_id: session.id,
        thread_id: session.thread,
        updated_at: session.updated_at,
        created_at: session.created_at,
        agent_id: session.agent.as_str().to_owned(),
        label: session.label.clone(),
        display_name: session.label.clone().unwrap_or_else(|| rest.to_owned()),
        derived_title: None,
        last_message_preview: None,
        model_provider: provider,
        model,
        has_active_run: None,
        active_run_ids: None,
        input_tokens: None,
        output_tokens: None,
        total_tokens: None,
        expires_at: session.expires_at,
        expired: is_expired(session, now),
    }
}

pub(crate) fn phase(status: &RunStatus) -> RunPhase {
    match status {
        RunStatus::Queued
        | RunStatus::Parked {
            until: Wake::Retry { .. } | Wake::Handover { .. },
        } => RunPhase::Queued,
        RunStatus::Running => RunPhase::Running,
        RunStatus::Parked {
            until: Wake::Approval { .. } | Wake::Owner { .. },
        } => RunPhase::WaitingApproval,
        RunStatus::Finished { outcome } => match outcome {
            Outcome::Done { .. } => RunPhase::Done,
            Outcome::Failed { .. } => RunPhase::Failed,
            Outcome::Cancelled { .. } => RunPhase::Cancelled,
        },
    }
}

/// Why it waits, or how it ended, in one word.
pub(crate) fn reason(status: &RunStatus) -> Option<String> {
    match status {
        RunStatus::Queued | RunStatus::Running => None,
        RunStatus::Parked { until } => Some(until.word().to_owned()),
        RunStatus::Finished { outcome } => match outcome {
            Outcome::Done { .. } => None,
            Outcome::Failed { kind, .. } => Some(kind.word().to_owned()),
            Outcome::Cancelled { .. } => Some("cancelled".to_owned()),
        },
    }
}

/// A sentence about a run that did not end well.
pub(crate) fn error(status: &RunStatus) -> Option<String> {
    match status {
        RunStatus::Finished {
            outcome: Outcome::Failed { reason, .. },
        } => Some(reason.clone()),
        RunStatus::Finished {
            outcome: Outcome::Cancelled { by },
        } => Some(format!("cancelled by {by}")),
        RunStatus::Finished {
            outcome: Outcome::Done { .. },
        }
        | RunStatus::Queued
        | RunStatus::Running
        | RunStatus::Parked { .. } => None,
    }
}

pub(crate) fn run_row(info: &RunInfo) -> RunRow {
    RunRow {
        run_id: info.run.name(),
        id: info.run.id,
        agent_id: info.run.agent.as_str().to_owned(),
        session_key: info.run.session_key.as_str().to_owned(),
        thread_id: info.run.thread,
        state: phase(&info.status),
        reason: reason(&info.status),
        needs: info.run.needs.clone(),
        worker: info.worker,
        accepted_at: info.accepted_at,
        started_at: info.started_at,
        ended_at: info.finished_at,
    }
}

pub(crate) fn spent(spend: &Spend) -> Spent {
    Spent {
        used_micros: spend.used_micros,
        reserved_micros: spend.reserved_micros,
        calls: spend.calls,
        unpriced: spend.unpriced,
        usage: spend.usage,
    }
}

/// The beginning of a text, at most `chars_max` characters.
pub(crate) fn beginning(text: &str, chars_max: usize) -> String {
    let mut out: String = text.chars().take(chars_max).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
