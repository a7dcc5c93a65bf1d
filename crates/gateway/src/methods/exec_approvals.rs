//! `exec.approval.*`, `exec.approvals.*`, `approval.*`.

use std::time::Duration;

use serde_json::{Value, json};

use adjutant_domain::approval::{Approval, ApprovalState, Choice};
use adjutant_domain::code::Code;
use adjutant_domain::id::ApprovalId;
use adjutant_protocol::events::questions::{
    ExecApprovalRequested, ExecApprovalResolved, ExecApprovalResolvedEvent,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::exec_approvals::{
    Accepted, ApprovalApplied, ApprovalFound, ApprovalGet, ApprovalGetParams, ApprovalPresentation,
    ApprovalResolve, ApprovalResolveParams, ApprovalView, ExecApprovalGet, ExecApprovalIdParams,
    ExecApprovalList, ExecApprovalReply, ExecApprovalRequest, ExecApprovalRequestParams,
    ExecApprovalResolve, ExecApprovalResolveParams, ExecApprovalRow, ExecApprovalSettled,
    ExecApprovalWait, ExecApprovalsFile, ExecApprovalsGet, ExecApprovalsNodeGet,
    ExecApprovalsRules, ExecDecision, PluginApprovalList, PluginApprovalResolve,
};
use adjutant_protocol::methods::nodes::NodeParams;
use adjutant_protocol::{Caller, Fault, Handle, Scope};

use crate::core::Core;
use crate::methods::PAGE_MAX;
use crate::news;
use crate::nodes::Ask;
use crate::questions::{Asked, Draft, Refusal};

/// How long a question waits unless it says otherwise.
const WAIT: Duration = Duration::from_secs(120);
/// How long one may wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Bytes of a question.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a question's name.
const ID_BYTES_MAX: usize = 128;
/// What can be answered to a question of a client.
const DECISIONS: [&str; 3] = ["allow-once", "allow-always", "deny"];

/// A question, of an agent or of a client.
enum Question {
    Agents(Box<Approval>),
    Clients(Asked),
}

impl Handle<ExecApprovalRequest> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ExecApprovalRequestParams,
    ) -> Result<ExecApprovalReply, Fault> {
        let method = "exec.approval.request";
        if params.command.trim().is_empty() {
            return Err(Fault::params(method, "at /command: must not be empty"));
        }
        let id = params.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| self.uuid());
        if id.len() > ID_BYTES_MAX {
            let reason = format!("at /id: at most {ID_BYTES_MAX} bytes");
            return Err(Fault::params(method, reason));
        }
        let request = request_of(&params);
        if request.to_string().len() > REQUEST_BYTES_MAX {
            let message = format!("a question may have {REQUEST_BYTES_MAX} bytes");
            return Err(Fault::new(Code::TooLarge, message));
        }
        let waits = params.timeout_ms.map_or(WAIT, Duration::from_millis);
        let draft = Draft {
            id: id.clone(),
            request,
            created_at: self.now(),
            waits: waits.clamp(Duration::from_millis(1), WAIT_MAX),
        };
        let detail = json!({ "command": params.command, "nodeId": params.node_id });
        self.audit(caller, "approval.ask", &id, detail).await?;
        let asked = self
            .questions
            .ask(draft, self.deps.clock.monotonic())
            .map_err(|refusal| refused(refusal, &id))?;
        self.hub
            .broadcast::<ExecApprovalRequested>(&row_of(&asked), None);
        if params.two_phase == Some(true) {
            return Ok(reply(&asked, Some(Accepted::Accepted), None));
        }
        Ok(self.decided(&asked).await)
    }
}

impl Handle<ExecApprovalWait> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ExecApprovalIdParams,
    ) -> Result<ExecApprovalReply, Fault> {
        let asked = self.questions.get(&params.id).ok_or_else(unknown)?;
        let decided = self.decided(&asked);
        match params.timeout_ms.map(Duration::from_millis) {
            None => Ok(decided.await),
            Some(span) => Ok(tokio::time::timeout(span.min(WAIT_MAX), decided)
                .await
                .unwrap_or_else(|_late| reply(&asked, None, None))),
        }
    }
}

impl Handle<ExecApprovalResolve> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ExecApprovalResolveParams,
    ) -> Result<ExecApprovalSettled, Fault> {
        self.settle(caller, &params.id, &params.decision).await?;
        Ok(ExecApprovalSettled { ok: true })
    }
}

impl Handle<ExecApprovalGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ExecApprovalIdParams,
    ) -> Result<ExecApprovalRow, Fault> {
        match self.find_question(&params.id).await? {
            Question::Agents(question) if is_open(&question, self) => Ok(news::row(&question)),
            Question::Clients(asked) if asked.is_open(self.deps.clock.monotonic()) => {
                Ok(row_of(&asked))
            }
            Question::Agents(_) | Question::Clients(_) => Err(unknown()),
        }
    }
}

impl Handle<ExecApprovalList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: NoParams,
    ) -> Result<Vec<ExecApprovalRow>, Fault> {
        let open = self.questions.open(self.deps.clock.monotonic());
        let mut rows: Vec<ExecApprovalRow> = open.iter().map(row_of).collect();
        let mut durable = self
            .deps
            .store
            .approvals(self.owner(), true, PAGE_MAX)
            .await?;
        durable.retain(|question| is_open(question, self));
        rows.extend(durable.iter().map(news::row));
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at_ms));
        Ok(rows)
    }
}

impl Handle<PluginApprovalList> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        _params: NoParams,
    ) -> Result<Vec<ExecApprovalRow>, Fault> {
        if !self.hub.shows_plugin_questions(caller.connection) {
            return Ok(Vec::new());
        }
        let (store, owner) = (&self.deps.store, self.owner());
        let mut open = store.approvals(owner, true, PAGE_MAX).await?;
        open.retain(|question| is_open(question, self));
        Ok(open.iter().map(news::plugin_row).collect())
    }
}

impl Handle<PluginApprovalResolve> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ExecApprovalResolveParams,
    ) -> Result<ExecApprovalSettled, Fault> {
        self.settle(caller, &params.id, &params.decision).await?;
        Ok(ExecApprovalSettled { ok: true })
    }
}

impl Handle<ApprovalGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ApprovalGetParams,
    ) -> Result<ApprovalFound, Fault> {
        let question = self.find_question(&params.id).await?;
        Ok(ApprovalFound {
            approval: self.view(&question),
        })
    }
}

impl Handle<ApprovalResolve> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ApprovalResolveParams,
    ) -> Result<ApprovalApplied, Fault> {
        let question = self.settle(caller, &params.id, &params.decision).await?;
        Ok(ApprovalApplied {
            applied: true,
            approval: self.view(&question),
        })
    }
}

impl Handle<ExecApprovalsGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: NoParams,
    ) -> Result<ExecApprovalsFile, Fault> {
        Ok(ExecApprovalsFile {
            path: String::new(),
            exists: false,
            hash: String::new(),
            file: ExecApprovalsRules {
                version: 1,
                defaults: serde_json::Map::new(),
                agents: serde_json::Map::new(),
            },
        })
    }
}

impl Handle<ExecApprovalsNodeGet> for Core {
    async fn handle(&self, caller: &Caller, params: NodeParams) -> Result<Value, Fault> {
        let told = self
            .ask_node(Ask {
                node: params.node_id,
                command: "system.execApprovals.get".to_owned(),
                params: None,
                timeout: None,
                queue: false,
                key: self.uuid(),
                by: caller.name(),
                approves: false,
                admin: true,
            })
            .await?;
        let file = told.payload.as_deref().map(serde_json::from_str);
        match file {
            Some(Ok(file)) => Ok(file),
            Some(Err(_)) | None => Err(Fault::new(
                Code::Unavailable,
                "the node's file cannot be read",
            )),
        }
    }
}

impl Core {
    /// An answer that was typed as a message: `/approve <id> <decision>`. None: the message is no such thing. Else what
    /// to say to whoever typed it.
    pub(crate) async fn answer_typed(
        &self,
        caller: &Caller,
        message: &str,
    ) -> Result<Option<String>, Fault> {
        let mut words = message.split_whitespace();
        if words.next() != Some("/approve") {
            return Ok(None);
        }
        let (Some(id), Some(decision), None) = (words.next(), words.next(), words.next()) else {
            let usage = "Usage: /approve <id> allow-once|allow-always|deny";
            return Ok(Some(usage.to_owned()));
        };
        if !caller.scopes.allow(Scope::Approvals) {
            let message = format!("missing scope: {}", Scope::Approvals.word());
            return Err(Fault::new(Code::Forbidden, message));
        }
        Ok(Some(match self.settle(caller, id, decision).await {
            Ok(_) => format!("Answered: {decision}."),
            Err(fault) if fault.code == Code::InvalidRequest => {
                format!("Not answered: {}.", fault.message)
            }
            Err(fault) => return Err(fault),
        }))
    }

    /// The second answer of `exec.approval.request`, for frames.
    pub(crate) async fn exec_approval_end(&self, id: &str) -> Result<ExecApprovalReply, Fault> {
        let asked = self.questions.get(id).ok_or_else(unknown)?;
        Ok(self.decided(&asked).await)
    }

    async fn decided(&self, asked: &Asked) -> ExecApprovalReply {
        let now = self.deps.clock.monotonic();
        let decision = self.questions.decision(asked, now);
        let decision = self.stop.run_until_cancelled(decision).await.flatten();
        reply(asked, None, decision)
    }

    async fn find_question(&self, id: &str) -> Result<Question, Fault> {
        if let Some(asked) = self.questions.get(id) {
            return Ok(Question::Clients(asked));
        }
        let Ok(id) = id.parse::<ApprovalId>() else {
            return Err(unknown());
        };
        let found = self.deps.store.approval(self.owner(), id).await?;
        found
            .map(|question| Question::Agents(Box::new(question)))
            .ok_or_else(unknown)
    }

    /// Writes an answer down and tells whoever waits for it.
    async fn settle(&self, caller: &Caller, id: &str, word: &str) -> Result<Question, Fault> {
        let decision = ExecDecision::of_word(word)
            .ok_or_else(|| Fault::new(Code::InvalidRequest, "invalid decision"))?;
        match self.find_question(id).await? {
            Question::Clients(asked) => {
                if !asked.is_open(self.deps.clock.monotonic()) {
                    return Err(unknown());
                }
                let detail = json!({ "decision": word });
                self.audit(caller, "approval.resolve", id, detail).await?;
                let now = self.deps.clock.monotonic();
                let asked = self
                    .questions
                    .answer(id, decision, &caller.name(), now)
                    .map_err(|refusal| refused(refusal, id))?;
                let event = ExecApprovalResolvedEvent {
                    id: asked.id.clone(),
                    decision: word.to_owned(),
                    resolved_by: caller.name(),
                    ts: self.now(),
                    request: Some(asked.request.clone()),
                };
                self.hub.broadcast::<ExecApprovalResolved>(&event, None);
                Ok(Question::Clients(asked))
            }
            Question::Agents(question) => {
                if !is_open(&question, self) {
                    return Err(unknown());
                }
                if decision == ExecDecision::AllowAlways && question.grant_key.is_none() {
                    let message = "invalid decision: this must be asked each time, so allow-always is not offered";
                    return Err(Fault::new(Code::InvalidRequest, message));
                }
                let choice = match decision {
                    ExecDecision::AllowOnce => Choice::Once,
                    ExecDecision::AllowAlways => Choice::Always,
                    ExecDecision::Deny => Choice::Deny,
                };
                let store = &self.deps.store;
                let answered = store
                    .resolve_approval(self.owner(), question.id, choice, &caller.name())
                    .await?;
                Ok(Question::Agents(Box::new(answered)))
            }
        }
    }

    fn view(&self, question: &Question) -> ApprovalView {
        match question {
            Question::Agents(question) => view_of(question, is_open(question, self)),
            Question::Clients(asked) => view_of_client(asked, self.deps.clock.monotonic()),
        }
    }
}

fn is_open(question: &Approval, core: &Core) -> bool {
    question.state == ApprovalState::Open && core.now() < question.expires_at
}

fn unknown() -> Fault {
    Fault::new(Code::InvalidRequest, "unknown or expired approval id")
        .with_details(json!({ "reason": "APPROVAL_NOT_FOUND" }))
}

fn refused(refusal: Refusal, id: &str) -> Fault {
    match refusal {
        Refusal::Unknown => unknown(),
        Refusal::Known => Fault::new(
            Code::InvalidRequest,
            format!("there is already a question {id}"),
        ),
        Refusal::Full => Fault::new(Code::Unavailable, "too many open questions")
            .with_retry_after(Duration::from_secs(5)),
    }
}

fn reply(
    asked: &Asked,
    status: Option<Accepted>,
    decision: Option<ExecDecision>,
) -> ExecApprovalReply {
    ExecApprovalReply {
        id: asked.id.clone(),
        status,
        decision,
        created_at_ms: asked.created_at,
        expires_at_ms: asked.expires_at,
    }
}

/// What others are told of a question: what it says of the command, and nothing else that a client may have sent.
fn request_of(params: &ExecApprovalRequestParams) -> Value {
    let plan = params
        .system_run_plan_v2
        .as_ref()
        .or(params.system_run_plan.as_ref());
    json!({
        "command": params.command,
        "commandArgv": params.command_argv,
        "systemRunPlanV2": plan,
        "cwd": params.cwd,
        "nodeId": params.node_id,
        "host": params.host,
        "security": params.security,
        "ask": params.ask,
        "warningText": params.warning_text,
        "allowedDecisions": DECISIONS,
        "agentId": params.agent_id,
        "resolvedPath": params.resolved_path,
        "sessionKey": params.session_key,
    })
}

fn row_of(asked: &Asked) -> ExecApprovalRow {
    ExecApprovalRow {
        id: asked.id.clone(),
        request: asked.request.clone(),
        created_at_ms: asked.created_at,
        expires_at_ms: asked.expires_at,
    }
}

fn view_of(question: &Approval, open: bool) -> ApprovalView {
    let status = match question.state {
        ApprovalState::Open if open => "pending",
        ApprovalState::Open | ApprovalState::Expired => "expired",
        ApprovalState::Allowed => "allowed",
        ApprovalState::Denied => "denied",
        ApprovalState::Cancelled => "cancelled",
    };
    let decision = question.choice.as_ref().map(news::decision);
    ApprovalView {
        id: question.id.to_string(),
        status: status.to_owned(),
        presentation: ApprovalPresentation {
            kind: "exec".to_owned(),
            command_text: question.shown.clone(),
            command_preview: None,
            warning_text: Some(question.reason.clone()),
            host: Some("gateway".to_owned()),
            node_id: None,
            agent_id: Some(question.agent.as_str().to_owned()),
            allowed_decisions: words(news::allowed(question)),
        },
        created_at_ms: question.created_at,
        expires_at_ms: question.expires_at,
        decision: decision.and_then(ExecDecision::of_word),
        resolved_by: question.answered_by.clone(),
    }
}

fn view_of_client(asked: &Asked, now: Duration) -> ApprovalView {
    let text = |name: &str| {
        asked
            .request
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let status = match &asked.answer {
        None if asked.is_open(now) => "pending",
        None => "expired",
        Some((ExecDecision::Deny, _)) => "denied",
        Some(_) => "allowed",
    };
    ApprovalView {
        id: asked.id.clone(),
        status: status.to_owned(),
        presentation: ApprovalPresentation {
            kind: "exec".to_owned(),
            command_text: text("command").unwrap_or_default(),
            command_preview: None,
            warning_text: text("warningText"),
            host: text("host"),
            node_id: text("nodeId"),
            agent_id: text("agentId"),
            allowed_decisions: words(&DECISIONS),
        },
        created_at_ms: asked.created_at,
        expires_at_ms: asked.expires_at,
        decision: asked.answer.as_ref().map(|(decision, _)| *decision),
        resolved_by: asked.answer.as_ref().map(|(_, by)| by.clone()),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}
