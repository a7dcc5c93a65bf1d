//! `sessions.*`.

use std::time::Duration;

use adjutant_domain::code::Code;
use adjutant_domain::id::{AgentId, SessionId, SessionKey};
use adjutant_domain::session::Session;
use adjutant_domain::time::Span;
use adjutant_ports::store::{CapScope, Hidden, Page, SessionPatch};
use adjutant_protocol::methods::sessions::{
    SessionDefaults, SessionDeleted, SessionDescription, SessionEntry, SessionKeyFound,
    SessionKeyParams, SessionResumed, SessionRow, SessionsCreate, SessionsCreateParams,
    SessionsDelete, SessionsDeleteParams, SessionsDescribe, SessionsList, SessionsListParams,
    SessionsPage, SessionsPatch, SessionsPatchParams, SessionsReset, SessionsResetParams,
    SessionsResolve, SessionsResolveParams, SessionsResume, SessionsResumeParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::chat::VERBOSE;
use crate::methods::{PAGE_MAX, expired, page};
use crate::snapshot::PLACE;
use crate::wire;

/// Sessions looked through for a filter or a label.
const SCAN_MAX: u32 = 10_000;
/// Characters of a label.
const LABEL_CHARS_MAX: usize = 200;
/// Characters of the last message in a list.
const PREVIEW_CHARS: usize = 120;
/// Bytes of messages in a resume.
const RESUME_BYTES_MAX: usize = 512 * 1024;

impl Handle<SessionsList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionsListParams,
    ) -> Result<SessionsPage, Fault> {
        let now = self.now();
        let limit = page(params.limit, 100, PAGE_MAX);
        let offset = params.offset.unwrap_or(0);
        let (sessions, total) = if is_filtered(&params) {
            let fits = |session: &Session| {
                let key = session.key.as_str();
                params
                    .agent_id
                    .as_deref()
                    .is_none_or(|agent| session.agent.as_str() == agent)
                    && params
                        .label
                        .as_ref()
                        .is_none_or(|label| session.label.as_ref() == Some(label))
                    && params.search.as_deref().is_none_or(|text| {
                        key.contains(text)
                            || session
                                .label
                                .as_deref()
                                .is_some_and(|label| label.contains(text))
                    })
                    && params.active_minutes.is_none_or(|minutes| {
                        now.since(session.updated_at)
                            <= Duration::from_secs(minutes.saturating_mul(60))
                    })
                    && params.spawned_by.is_none()
                    && params.archived != Some(true)
            };
            let all = self
                .deps
                .store
                .sessions(
                    self.owner(),
                    Page {
                        limit: SCAN_MAX,
                        offset: 0,
                    },
                )
                .await?;
            let all: Vec<Session> = all.into_iter().filter(fits).collect();
            let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let take = usize::try_from(limit).unwrap_or(usize::MAX);
            (all.into_iter().skip(skip).take(take).collect(), total)
        } else {
            let sessions = self
                .deps
                .store
                .sessions(self.owner(), Page { limit, offset })
                .await?;
            (
                sessions,
                self.deps.store.count_sessions(self.owner()).await?,
            )
        };
        let mut rows = Vec::with_capacity(sessions.len());
        for session in &sessions {
            rows.push(self.row(session, &params).await?);
        }
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let next = offset.saturating_add(count);
        let has_more = u64::from(next) < total && count > 0;
        Ok(SessionsPage {
            ts: now,
            path: PLACE.to_owned(),
            count,
            limit_applied: limit,
            total_count: total,
            has_more,
            next_offset: has_more.then_some(next),
            defaults: self.session_defaults(),
            sessions: rows,
        })
    }
}

impl Handle<SessionsCreate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SessionsCreateParams,
    ) -> Result<SessionEntry, Fault> {
        let key = match &params.key {
            Some(text) => self.key("sessions.create", text)?,
            None => {
                let named = params.agent_id.as_deref().map(AgentId::parse).transpose();
                let agent = named.map_err(|e| Fault::params("sessions.create", e))?;
                let agent = agent.unwrap_or_else(|| self.deps.default_agent.clone());
                let id = SessionId::mint(self.now(), self.deps.entropy.next_u128()).to_string();
                let rest = id.trim_start_matches("ses_").to_ascii_lowercase();
                SessionKey::resolve(&rest, &agent)
                    .map_err(|e| Fault::params("sessions.create", e))?
            }
        };
        Self::agrees("sessions.create", &key, params.agent_id.as_deref())?;
        check_label("sessions.create", params.label.as_deref())?;
        self.check_model("sessions.create", params.model.as_deref())?;
        self.agent(&key.agent()).await?;
        let (store, owner) = (&self.deps.store, self.owner());
        if store.session(owner, &key).await?.is_some() {
            return Err(Fault::new(
                Code::Conflict,
                format!("there is already a session {key}"),
            ));
        }
        let expiry = params.expires_in_ms.map(Duration::from_millis);
        let expiry = expiry.or_else(|| self.config.session_expiry.map(Span::duration));
        self.audit(
            caller,
            "session.create",
            key.as_str(),
            serde_json::json!({ "thread": params.thread_id }),
        )
        .await?;
        let mut session = store
            .open_session(owner, &key, params.thread_id, expiry)
            .await?;
        if params.label.is_some() || params.model.is_some() {
            let patch = SessionPatch {
                label: params.label.map(Some),
                model: params.model.map(Some),
                ..SessionPatch::default()
            };
            session = store.patch_session(owner, &key, patch).await?;
        }
        Ok(self.entry(&session))
    }
}

impl Handle<SessionsResolve> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionsResolveParams,
    ) -> Result<SessionKeyFound, Fault> {
        let agent = params.agent_id.as_deref();
        let found = match (&params.key, &params.session_id, &params.label) {
            (Some(text), None, None) => {
                let key = self.key("sessions.resolve", text)?;
                self.deps.store.session(self.owner(), &key).await?
            }
            (None, Some(id), None) => match id.parse::<SessionId>() {
                Ok(id) => self.deps.store.session_by_id(self.owner(), id).await?,
                Err(_other_kind) => None,
            },
            (None, None, Some(label)) => {
                let all = self
                    .deps
                    .store
                    .sessions(
                        self.owner(),
                        Page {
                            limit: SCAN_MAX,
                            offset: 0,
                        },
                    )
                    .await?;
                all.into_iter()
                    .find(|session| session.label.as_ref() == Some(label))
            }
            _ => {
                return Err(Fault::params(
                    "sessions.resolve",
                    "name one of key, sessionId and label",
                ));
            }
        };
        let found =
            found.filter(|session| agent.is_none_or(|agent| session.agent.as_str() == agent));
        let session = found.ok_or_else(|| Fault::new(Code::NotFound, "no such session"))?;
        Ok(SessionKeyFound {
            ok: true,
            key: session.key.as_str().to_owned(),
        })
    }
}

impl Handle<SessionsDescribe> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionKeyParams,
    ) -> Result<SessionDescription, Fault> {
        let key = self.key("sessions.describe", &params.key)?;
        Self::agrees("sessions.describe", &key, params.agent_id.as_deref())?;
        let session = match self.deps.store.session(self.owner(), &key).await? {
            None => None,
            Some(session) => {
                let all = SessionsListParams {
                    include_derived_titles: Some(true),
                    include_last_message: Some(true),
                    ..SessionsListParams::default()
                };
                let mut row = self.full_row(&session).await?;
                let titled = self.row(&session, &all).await?;
                row.derived_title = titled.derived_title;
                row.last_message_preview = titled.last_message_preview;
                Some(row)
            }
        };
        Ok(SessionDescription { session })
    }
}

impl Handle<SessionsPatch> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SessionsPatchParams,
    ) -> Result<SessionEntry, Fault> {
        let key = self.key("sessions.patch", &params.key)?;
        Self::agrees("sessions.patch", &key, params.agent_id.as_deref())?;
        refuse_settings(&params)?;
        check_label(
            "sessions.patch",
            params.label.as_ref().and_then(Option::as_deref),
        )?;
        self.check_model(
            "sessions.patch",
            params.model.as_ref().and_then(Option::as_deref),
        )?;
        self.session(&key).await?;
        let now = self.now();
        let detail = serde_json::to_value(&params).unwrap_or_default();
        self.audit(caller, "session.patch", key.as_str(), detail)
            .await?;
        let patch = SessionPatch {
            label: params.label,
            model: params.model,
            expires_at: params
                .expires_in_ms
                .map(|ms| ms.map(|ms| now.plus(Duration::from_millis(ms)))),
        };
        let session = self
            .deps
            .store
            .patch_session(self.owner(), &key, patch)
            .await?;
        Ok(self.entry(&session))
    }
}

impl Handle<SessionsReset> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SessionsResetParams,
    ) -> Result<SessionEntry, Fault> {
        let key = self.key("sessions.reset", &params.key)?;
        Self::agrees("sessions.reset", &key, params.agent_id.as_deref())?;
        let Some(old) = self.deps.store.session(self.owner(), &key).await? else {
            return self.begin_session(caller, &key).await;
        };
        self.audit(
            caller,
            "session.reset",
            key.as_str(),
            serde_json::json!({ "thread": old.thread }),
        )
        .await?;
        let mut session = self.deps.store.reset_session(self.owner(), &key).await?;
        if wire::is_expired(&session, self.now()) {
            // Anew means: with a new life.
            let expiry = self
                .config
                .session_expiry
                .map(|span| self.now().plus(span.duration()));
            let patch = SessionPatch {
                expires_at: Some(expiry),
                ..SessionPatch::default()
            };
            session = self
                .deps
                .store
                .patch_session(self.owner(), &key, patch)
                .await?;
        }
        Ok(self.entry(&session))
    }
}

impl Handle<SessionsDelete> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SessionsDeleteParams,
    ) -> Result<SessionDeleted, Fault> {
        let key = self.key("sessions.delete", &params.key)?;
        Self::agrees("sessions.delete", &key, params.agent_id.as_deref())?;
        let transcript = params.delete_transcript == Some(true);
        let gone = SessionDeleted {
            ok: true,
            key: key.as_str().to_owned(),
            deleted: false,
            archived: Vec::new(),
        };
        let Some(session) = self.deps.store.session(self.owner(), &key).await? else {
            return Ok(gone);
        };
        let detail =
            serde_json::json!({ "thread": session.thread, "deleteTranscript": transcript });
        self.audit(caller, "session.delete", key.as_str(), detail)
            .await?;
        let deleted = self.deps.store.delete_session(self.owner(), &key).await?;
        self.end_canvas(session.id).await;
        let mut archived = vec![session.thread.to_string()];
        if transcript
            && self
                .deps
                .store
                .forget_thread(self.owner(), session.thread)
                .await?
        {
            archived.clear();
        }
        Ok(SessionDeleted {
            deleted,
            archived,
            ..gone
        })
    }
}

impl Handle<SessionsResume> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionsResumeParams,
    ) -> Result<SessionResumed, Fault> {
        let key = self.key("sessions.resume", &params.key)?;
        // First the cursor, then the rest: what happens in between is heard twice, not missed.
        let cursor = self.deps.store.cursor(self.owner()).await?;
        let session = self.session(&key).await?;
        if wire::is_expired(&session, self.now()) {
            return Err(expired(&key));
        }
        let messages = match params.limit.unwrap_or(50).min(PAGE_MAX) {
            0 => Vec::new(),
            limit => {
                self.page_of(session.thread, limit, None, Hidden::Skip, RESUME_BYTES_MAX)
                    .await?
                    .0
            }
        };
        let active = self
            .deps
            .store
            .active_runs(self.owner(), Some(session.id))
            .await?;
        Ok(SessionResumed {
            session: wire::session_row(&session, self.now()),
            messages,
            active_runs: active.iter().map(|info| info.run.name()).collect(),
            cursor,
        })
    }
}

impl Core {
    /// A session that is new is as good as one that was reset: clients of other programs begin sessions so.
    async fn begin_session(
        &self,
        caller: &Caller,
        key: &SessionKey,
    ) -> Result<SessionEntry, Fault> {
        self.agent(&key.agent()).await?;
        self.audit(
            caller,
            "session.create",
            key.as_str(),
            serde_json::json!({}),
        )
        .await?;
        let expiry = self.config.session_expiry.map(Span::duration);
        let store = &self.deps.store;
        let session = store.open_session(self.owner(), key, None, expiry).await?;
        Ok(self.entry(&session))
    }

    /// A row with what is under way and what was spent.
    pub(crate) async fn full_row(&self, session: &Session) -> Result<SessionRow, Fault> {
        let (store, owner) = (&self.deps.store, self.owner());
        let mut row = wire::session_row(session, self.now());
        let active = store.active_runs(owner, Some(session.id)).await?;
        row.has_active_run = Some(!active.is_empty());
        row.active_run_ids = Some(active.iter().map(|info| info.run.name()).collect());
        let scope = CapScope::Session {
            session: session.id,
        };
        let usage = store.spend(owner, &scope).await?.usage;
        row.input_tokens = Some(usage.input);
        row.output_tokens = Some(usage.output);
        row.total_tokens = Some(usage.input.saturating_add(usage.output));
        Ok(row)
    }

    async fn row(
        &self,
        session: &Session,
        wanted: &SessionsListParams,
    ) -> Result<SessionRow, Fault> {
        let mut row = wire::session_row(session, self.now());
        if wanted.include_derived_titles == Some(true) {
            let thread = self.deps.store.thread(self.owner(), session.thread).await?;
            row.derived_title = thread.and_then(|thread| thread.title);
        }
        if wanted.include_last_message == Some(true) {
            let newest = self
                .deps
                .store
                .messages(self.owner(), session.thread, 1, None, Hidden::Skip)
                .await?;
            row.last_message_preview = newest
                .last()
                .map(|m| wire::beginning(&m.text(), PREVIEW_CHARS));
        }
        Ok(row)
    }

    fn entry(&self, session: &Session) -> SessionEntry {
        SessionEntry {
            ok: true,
            key: session.key.as_str().to_owned(),
            session_id: session.id,
            path: PLACE.to_owned(),
            entry: wire::session_row(session, self.now()),
        }
    }

    fn session_defaults(&self) -> SessionDefaults {
        let name = self.deps.models.default_route();
        let (provider, model) = name.split_once('/').unwrap_or((&name, ""));
        let route = self.deps.models.route(&name).ok();
        SessionDefaults {
            model_provider: provider.to_owned(),
            model: route
                .as_ref()
                .map_or_else(|| model.to_owned(), |route| route.model.clone()),
            context_tokens: route.and_then(|route| route.context_tokens),
        }
    }
}

/// Settings that sessions of other gateways have: what they are anyway is accepted, everything else would be a lie.
fn refuse_settings(params: &SessionsPatchParams) -> Result<(), Fault> {
    let off = Some("off");
    let settings = [
        ("verboseLevel", &params.verbose_level, Some(VERBOSE)),
        ("thinkingLevel", &params.thinking_level, off),
        ("reasoningLevel", &params.reasoning_level, off),
        ("responseUsage", &params.response_usage, off),
        ("elevatedLevel", &params.elevated_level, off),
        ("execHost", &params.exec_host, None),
        ("execSecurity", &params.exec_security, None),
        ("execAsk", &params.exec_ask, None),
        ("execNode", &params.exec_node, None),
        ("sendPolicy", &params.send_policy, None),
        ("groupActivation", &params.group_activation, None),
    ];
    for (name, value, same) in settings {
        if value.is_some() && value.as_deref() != same {
            let what = same.map_or_else(String::new, |same| format!(" other than `{same}`"));
            let reason = format!("at /{name}: sessions of this gateway have no such setting{what}");
            return Err(Fault::params("sessions.patch", reason));
        }
    }
    if params.unread == Some(true) {
        let reason = "at /unread: sessions of this gateway are not marked";
        return Err(Fault::params("sessions.patch", reason));
    }
    Ok(())
}

fn is_filtered(params: &SessionsListParams) -> bool {
    params.agent_id.is_some()
        || params.label.is_some()
        || params.search.is_some()
        || params.active_minutes.is_some()
        || params.spawned_by.is_some()
        || params.archived == Some(true)
}

fn check_label(method: &str, label: Option<&str>) -> Result<(), Fault> {
    match label {
        Some(label) if label.trim().is_empty() || label.chars().count() > LABEL_CHARS_MAX => {
            Err(Fault::params(
                method,
                format!("label must have 1 to {LABEL_CHARS_MAX} characters"),
            ))
        }
        _ => Ok(()),
    }
}
