//! `chat.*`.

use std::time::Duration;

use adjutant_domain::code::Code;
use adjutant_domain::id::SessionKey;
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::run::{Signal, Work};
use adjutant_ports::store::{Accepted, Hidden, RunInfo};
use adjutant_protocol::methods::agent::RunPhase;
use adjutant_protocol::methods::agents::AgentsList;
use adjutant_protocol::methods::chat::{
    ChatAbort, ChatAbortParams, ChatAborted, ChatHistory, ChatHistoryPage, ChatHistoryParams,
    ChatSend, ChatSendParams, ChatSendStatus, ChatSent, ChatStartup, ChatStartupPage, InputReceipt,
    InputState,
};
use adjutant_protocol::methods::common::{NoParams, WireMessage, WireRole};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::intake::{Admitted, Wish};
use crate::methods::{PAGE_MAX, page};
use crate::wire;

/// Bytes of messages in one answer, unless the caller wants fewer.
const HISTORY_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Runs whose beginnings are looked up for one answer.
const BEGINNINGS_MAX: usize = 64;
/// Words that stop a run when they are all that is said.
const STOP_WORDS: [&str; 6] = ["stop", "abort", "esc", "exit", "wait", "interrupt"];
/// Follows the name of whoever stopped a run by a message.
pub(crate) const BY_STOP: &str = " with /stop";
/// How long an abort waits for the end of what it stopped.
const ABORT_PATIENCE: Duration = Duration::from_millis(1_500);
/// Steps with tools are always told to clients that can show them.
pub(crate) const VERBOSE: &str = "on";

impl Handle<ChatSend> for Core {
    async fn handle(&self, caller: &Caller, params: ChatSendParams) -> Result<ChatSent, Fault> {
        let key = self.key("chat.send", &params.session_key)?;
        Self::agrees("chat.send", &key, params.agent_id.as_deref())?;
        refuse_attachments("chat.send", params.attachments.as_deref())?;
        refuse_delivery(params.deliver)?;
        let name = params.idempotency_key.as_str().to_owned();
        if self.is_stop(&key, params.message.trim()).await? {
            let by = format!("{}{BY_STOP}", caller.name());
            let stopped = self.abort(caller, &key, None, by).await?;
            return Ok(ChatSent {
                run_id: name,
                status: ChatSendStatus::Aborted,
                error: None,
                waits_for: None,
                ok: Some(true),
                aborted: Some(stopped.aborted),
                run_ids: Some(stopped.run_ids),
            });
        }
        if let Some(text) = self.answer_typed(caller, params.message.trim()).await? {
            self.hub.reply_in_chat(&name, &key, &text, self.now());
            return Ok(ChatSent {
                run_id: name,
                status: ChatSendStatus::Started,
                error: None,
                waits_for: None,
                ok: None,
                aborted: None,
                run_ids: None,
            });
        }
        self.take_rate().await?;
        let Admitted {
            accepted,
            waits_for,
        } = self
            .accept(Wish {
                method: "chat.send",
                key: &key,
                client_key: &params.idempotency_key,
                message: Some(&params.message),
                work: Work::Chat,
                model: params.model.as_deref(),
                timeout: params.timeout_ms.map(Duration::from_millis),
                thread: params.thread_id,
                label: None,
                needs: Some(&params.needs),
                said_by: Label::of(Origin::Owner),
            })
            .await?;
        let (status, error) = match accepted {
            Accepted::New { .. } | Accepted::Steered { .. } => (ChatSendStatus::Started, None),
            Accepted::Repeat { run } => {
                let info = self.run_info(&run.to_string()).await?;
                match wire::phase(&info.status) {
                    RunPhase::Done => (ChatSendStatus::Ok, None),
                    RunPhase::Failed | RunPhase::Cancelled => {
                        (ChatSendStatus::Error, wire::error(&info.status))
                    }
                    RunPhase::Queued
                    | RunPhase::Running
                    | RunPhase::WaitingApproval
                    | RunPhase::Unknown => (ChatSendStatus::InFlight, None),
                }
            }
        };
        Ok(ChatSent {
            run_id: name,
            status,
            error,
            waits_for,
            ok: None,
            aborted: None,
            run_ids: None,
        })
    }
}

impl Handle<ChatHistory> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ChatHistoryParams,
    ) -> Result<ChatHistoryPage, Fault> {
        let key = self.key("chat.history", &params.session_key)?;
        Self::agrees("chat.history", &key, params.agent_id.as_deref())?;
        let Some(session) = self.deps.store.session(self.owner(), &key).await? else {
            return Ok(ChatHistoryPage {
                session_key: params.session_key,
                session_id: None,
                thread_id: None,
                messages: Vec::new(),
                has_more: false,
                input_receipts: Vec::new(),
                verbose_level: VERBOSE.to_owned(),
                session_info: None,
            });
        };
        let hidden = hidden(params.include_hidden);
        let limit = page(params.limit, 200, PAGE_MAX);
        let asked = params.max_bytes.and_then(|n| usize::try_from(n).ok());
        let bytes_max = asked.map_or(HISTORY_BYTES_MAX, |n| n.clamp(1_024, HISTORY_BYTES_MAX));
        // The newest ones that are skipped are read, too, as far as a page goes.
        let skip = params.offset.unwrap_or(0).min(PAGE_MAX);
        let (mut messages, has_more) = self
            .page_of(
                session.thread,
                limit.saturating_add(skip),
                params.before,
                hidden,
                bytes_max,
            )
            .await?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        messages.truncate(messages.len().saturating_sub(skip));
        let asked_for = params.input_run_ids.as_deref().unwrap_or_default();
        let input_receipts = self.mark_beginnings(&key, &mut messages, asked_for).await?;
        let info = self.full_row(&session).await?;
        Ok(ChatHistoryPage {
            session_key: params.session_key,
            session_id: Some(session.id),
            thread_id: Some(session.thread),
            messages,
            has_more,
            input_receipts,
            verbose_level: VERBOSE.to_owned(),
            session_info: Some(info),
        })
    }
}

impl Handle<ChatStartup> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ChatHistoryParams,
    ) -> Result<ChatStartupPage, Fault> {
        let agents_list = Handle::<AgentsList>::handle(self, caller, NoParams {}).await?;
        let history = Handle::<ChatHistory>::handle(self, caller, params).await?;
        Ok(ChatStartupPage {
            history,
            agents_list,
        })
    }
}

impl Handle<ChatAbort> for Core {
    async fn handle(&self, caller: &Caller, params: ChatAbortParams) -> Result<ChatAborted, Fault> {
        let key = self.key("chat.abort", &params.session_key)?;
        self.abort(caller, &key, params.run_id.as_deref(), caller.name())
            .await
    }
}

impl Core {
    /// Whether a message is a wish to stop: `/stop`, or a stop word alone while something is under way.
    async fn is_stop(&self, key: &SessionKey, message: &str) -> Result<bool, Fault> {
        if message.eq_ignore_ascii_case("/stop") {
            return Ok(true);
        }
        if !STOP_WORDS
            .iter()
            .any(|word| message.eq_ignore_ascii_case(word))
        {
            return Ok(false);
        }
        let (store, owner) = (&self.deps.store, self.owner());
        match store.session(owner, key).await? {
            None => Ok(false),
            Some(session) => Ok(!store.active_runs(owner, Some(session.id)).await?.is_empty()),
        }
    }

    /// Marks the messages that began these runs of the session, and lists them.
    async fn mark_beginnings(
        &self,
        key: &SessionKey,
        messages: &mut [WireMessage],
        runs: &[String],
    ) -> Result<Vec<InputReceipt>, Fault> {
        let mut receipts = Vec::new();
        for name in runs.iter().take(BEGINNINGS_MAX) {
            let found = self.deps.store.run(self.owner(), name).await?;
            let Some(info) = found.filter(|info| info.run.session_key == *key) else {
                continue;
            };
            let run = info.run.id.to_string();
            let beginning = messages.iter_mut().find(|message| {
                message.role == WireRole::User && message.run_id.as_ref() == Some(&run)
            });
            if let Some((message, id)) = beginning.and_then(|m| m.id.map(|id| (m, id))) {
                *message = message.clone().began(name);
                receipts.push(InputReceipt {
                    run_id: name.clone(),
                    state: InputState::Consumed,
                    consumed_by_event_id: id,
                });
            }
        }
        Ok(receipts)
    }

    /// The newest messages of a thread within bounds, oldest first, and whether there are older ones.
    pub(super) async fn page_of(
        &self,
        thread: adjutant_domain::id::ThreadId,
        limit: u32,
        before: Option<u64>,
        hidden: Hidden,
        bytes_max: usize,
    ) -> Result<(Vec<WireMessage>, bool), Fault> {
        let stored = self
            .deps
            .store
            .messages(self.owner(), thread, limit, before, hidden)
            .await?;
        let full = stored.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut messages: Vec<WireMessage> = Vec::with_capacity(stored.len());
        let mut cut = false;
        for message in stored.iter().rev() {
            let wired = wire::message(message);
            bytes += serde_json::to_vec(&wired).map_or(0, |text| text.len());
            if bytes > bytes_max && !messages.is_empty() {
                cut = true;
                break;
            }
            messages.push(wired);
        }
        messages.reverse();
        let first = messages.iter().find_map(|message| message.seq);
        Ok((messages, cut || full && first.is_none_or(|seq| seq > 1)))
    }

    /// Cancels runs of a session: durable signals that the workers write into the logs.
    async fn abort(
        &self,
        caller: &Caller,
        key: &SessionKey,
        run: Option<&str>,
        by: String,
    ) -> Result<ChatAborted, Fault> {
        let (store, owner) = (&self.deps.store, self.owner());
        let none = ChatAborted {
            ok: true,
            aborted: false,
            run_ids: Vec::new(),
        };
        let targets: Vec<RunInfo> = match run {
            Some(name) => match store.run(owner, name).await? {
                None => return Ok(none),
                Some(info) if info.run.session_key != *key => {
                    let message = "the run belongs to another session";
                    return Err(Fault::new(Code::InvalidRequest, message));
                }
                Some(info) => vec![info],
            },
            None => match store.session(owner, key).await? {
                None => return Ok(none),
                Some(session) => store.active_runs(owner, Some(session.id)).await?,
            },
        };
        let (mut run_ids, mut stopped) = (Vec::new(), Vec::new());
        for info in targets {
            if wire::phase(&info.status).is_final() {
                continue;
            }
            let detail = serde_json::json!({ "sessionKey": key });
            self.audit(caller, "run.cancel", &info.run.id.to_string(), detail)
                .await?;
            if store
                .signal(owner, info.run.id, Signal::Cancel { by: by.clone() })
                .await?
            {
                run_ids.push(info.run.name());
                stopped.push(info);
            }
        }
        // Clients expect to hear of the end before the answer; a worker that takes longer does not hold it up.
        let ended = async {
            for info in &stopped {
                self.await_end(info).await?;
            }
            self.hub.told(store.cursor(owner).await?).await;
            Ok::<(), Fault>(())
        };
        let _late = tokio::time::timeout(ABORT_PATIENCE, ended).await;
        Ok(ChatAborted {
            ok: true,
            aborted: !run_ids.is_empty(),
            run_ids,
        })
    }
}

pub(super) fn hidden(include: Option<bool>) -> Hidden {
    if include == Some(true) {
        Hidden::Show
    } else {
        Hidden::Skip
    }
}

pub(super) fn refuse_attachments(
    method: &str,
    attachments: Option<&[serde_json::Value]>,
) -> Result<(), Fault> {
    if attachments.is_some_and(|list| !list.is_empty()) {
        let reason =
            "attachments are not supported yet; put the file into the workspace and name it";
        return Err(Fault::params(method, reason));
    }
    Ok(())
}

pub(super) fn refuse_delivery(deliver: Option<bool>) -> Result<(), Fault> {
    if deliver == Some(true) {
        return Err(Fault::new(
            Code::Unavailable,
            "there is no chat network to deliver to",
        ));
    }
    Ok(())
}
