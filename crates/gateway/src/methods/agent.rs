//! `agent`, `agent.wait`.

use std::time::Duration;

use adjutant_domain::code::Code;
use adjutant_domain::id::{AgentId, OwnerId, SessionKey};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::money::Micros;
use adjutant_domain::run::{Outcome, RunStatus, Work};
use adjutant_ports::store::{Accepted, CapScope, RunInfo, Spend};
use adjutant_protocol::methods::agent::{
    AgentMeta, AgentMetaInner, AgentParams, AgentPayload, AgentReply, AgentResult, AgentRun,
    AgentStatus, AgentWait, AgentWaitParams, AgentWaited, RunPhase, WaitStatus,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::chat::{refuse_attachments, refuse_delivery};
use crate::methods::intake::{Admitted, Wish};
use crate::wire;

/// Longest wait of one call.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// A wait also looks by itself this often, in case a wake-up was lost (R16).
const SLOW_POLL: Duration = Duration::from_secs(5);
/// Open questions looked through for a run.
const APPROVALS_MAX: u32 = 1_000;

impl Handle<AgentRun> for Core {
    async fn handle(&self, _caller: &Caller, params: AgentParams) -> Result<AgentReply, Fault> {
        let key = self.agent_key(&params).await?;
        Self::agrees("agent", &key, params.agent_id.as_deref())?;
        refuse_attachments("agent", params.attachments.as_deref())?;
        refuse_delivery(params.deliver)?;
        let filled =
            |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        if filled(&params.extra_system_prompt) {
            return Err(Fault::params(
                "agent",
                "instructions belong to the agent; edit it instead",
            ));
        }
        if filled(&params.spawned_by) {
            return Err(Fault::params("agent", "runs cannot start each other"));
        }
        self.take_rate().await?;
        let Admitted {
            accepted,
            waits_for,
        } = self
            .accept(Wish {
                method: "agent",
                key: &key,
                client_key: &params.idempotency_key,
                message: Some(&params.message),
                work: Work::Chat,
                model: params.model.as_deref(),
                timeout: params.timeout.map(Duration::from_secs),
                thread: None,
                label: params.label.as_deref(),
                needs: Some(&params.needs),
                said_by: Label::of(Origin::Owner),
            })
            .await?;
        let info = self.run_info(&accepted.run().to_string()).await?;
        if let Accepted::Repeat { .. } = accepted
            && wire::phase(&info.status).is_final()
        {
            return self.ended(&info).await;
        }
        Ok(AgentReply {
            run_id: info.run.name(),
            status: AgentStatus::Accepted,
            accepted_at: Some(info.accepted_at),
            session_key: Some(info.run.session_key.as_str().to_owned()),
            agent_id: Some(info.run.agent.as_str().to_owned()),
            waits_for,
            summary: None,
            result: None,
        })
    }
}

impl Handle<AgentWait> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: AgentWaitParams,
    ) -> Result<AgentWaited, Fault> {
        let timeout = params
            .timeout_ms
            .map_or(Duration::from_secs(30), Duration::from_millis)
            .min(WAIT_MAX);
        let Some(info) = self.deps.store.run(self.owner(), &params.run_id).await? else {
            return Ok(unknown(params.run_id));
        };
        let waited = tokio::time::timeout(timeout, self.await_end(&info)).await;
        let info = match waited {
            Ok(ended) => ended?,
            Err(_late) => self.run_info(&info.run.id.to_string()).await?,
        };
        self.waited(params.run_id, &info).await
    }
}

fn unknown(run_id: String) -> AgentWaited {
    AgentWaited {
        run_id,
        status: WaitStatus::Timeout,
        state: RunPhase::Unknown,
        started_at: None,
        ended_at: None,
        error: None,
        reason: None,
        text: None,
        usage: None,
        cost_micros: None,
        unpriced: false,
        approvals: Vec::new(),
    }
}

impl Core {
    /// Resolves when the run is over, or when the gateway stops.
    pub(super) async fn await_end(&self, info: &RunInfo) -> Result<RunInfo, Fault> {
        let name = info.run.id.to_string();
        let notify = self.waits.listen(info.run.id);
        loop {
            let woken = notify.notified();
            tokio::pin!(woken);
            // Listens from here on: what ends between the look and the wait is not missed.
            woken.as_mut().enable();
            let info = self.run_info(&name).await?;
            if wire::phase(&info.status).is_final() || self.stop.is_cancelled() {
                return Ok(info);
            }
            drop(tokio::time::timeout(SLOW_POLL, woken).await);
        }
    }

    /// The second answer of `agent`, for frames.
    pub(crate) async fn agent_end(
        &self,
        _owner: &OwnerId,
        name: &str,
    ) -> Result<AgentReply, Fault> {
        let info = self.await_end(&self.run_info(name).await?).await?;
        if !wire::phase(&info.status).is_final() {
            return Err(Fault::new(
                Code::Unavailable,
                "the gateway stops; the run goes on",
            ));
        }
        // Its events go out before the answer that ends it.
        self.hub
            .told(self.deps.store.cursor(self.owner()).await?)
            .await;
        self.ended(&info).await
    }

    async fn ended(&self, info: &RunInfo) -> Result<AgentReply, Fault> {
        let spend = self.run_spend(info).await?;
        let text = self.final_text(info).await?;
        let failed = wire::error(&info.status);
        let status = if failed.is_some() {
            AgentStatus::Error
        } else {
            AgentStatus::Ok
        };
        let agent = self.deps.store.agent(self.owner(), &info.run.agent).await?;
        let session = self
            .deps
            .store
            .session(self.owner(), &info.run.session_key)
            .await?;
        let route = session
            .and_then(|session| session.model)
            .unwrap_or_else(|| {
                agent.map_or_else(
                    || self.deps.models.default_route(),
                    |agent| self.route_of(&agent),
                )
            });
        let (provider, model) = route.split_once('/').unwrap_or((&route, ""));
        let began = info.started_at.unwrap_or(info.accepted_at);
        let took = info.finished_at.unwrap_or(began).since(began);
        let meta = AgentMeta {
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            agent_meta: AgentMetaInner {
                session_id: info.run.session.to_string(),
                provider: provider.to_owned(),
                model: model.to_owned(),
                usage: spend.usage,
                cost_micros: known_cost(&spend),
            },
        };
        let payloads = text
            .map(|text| AgentPayload {
                text,
                media_url: None,
            })
            .into_iter()
            .collect();
        Ok(AgentReply {
            run_id: info.run.name(),
            status,
            accepted_at: None,
            session_key: Some(info.run.session_key.as_str().to_owned()),
            agent_id: Some(info.run.agent.as_str().to_owned()),
            waits_for: None,
            summary: Some(failed.unwrap_or_else(|| "completed".to_owned())),
            result: Some(AgentResult { payloads, meta }),
        })
    }

    async fn waited(&self, run_id: String, info: &RunInfo) -> Result<AgentWaited, Fault> {
        let state = wire::phase(&info.status);
        let status = match state {
            RunPhase::Done => WaitStatus::Ok,
            RunPhase::Failed | RunPhase::Cancelled => WaitStatus::Error,
            RunPhase::Queued
            | RunPhase::Running
            | RunPhase::WaitingApproval
            | RunPhase::Unknown => WaitStatus::Timeout,
        };
        let spend = self.run_spend(info).await?;
        let approvals = if state == RunPhase::WaitingApproval {
            let open = self
                .deps
                .store
                .approvals(self.owner(), true, APPROVALS_MAX)
                .await?;
            open.into_iter()
                .filter(|approval| approval.run == info.run.id)
                .map(|approval| approval.id)
                .collect()
        } else {
            Vec::new()
        };
        Ok(AgentWaited {
            run_id,
            status,
            state,
            started_at: info.started_at,
            ended_at: info.finished_at,
            error: wire::error(&info.status),
            reason: wire::reason(&info.status),
            text: self.final_text(info).await?,
            usage: Some(spend.usage),
            cost_micros: known_cost(&spend),
            unpriced: spend.unpriced > 0,
            approvals,
        })
    }

    async fn run_spend(&self, info: &RunInfo) -> Result<Spend, Fault> {
        let scope = CapScope::Run { run: info.run.id };
        Ok(self.deps.store.spend(self.owner(), &scope).await?)
    }

    async fn final_text(&self, info: &RunInfo) -> Result<Option<String>, Fault> {
        let RunStatus::Finished {
            outcome: Outcome::Done { message: Some(id) },
        } = &info.status
        else {
            return Ok(None);
        };
        let message = self.deps.store.message(self.owner(), *id).await?;
        // A plain tool call ends with the tool's result.
        Ok(message.map(|message| {
            let wired = wire::message(&message);
            wired.text()
        }))
    }

    /// Which session `agent` means: its key, else a session with this identifier, else the agent's main one.
    async fn agent_key(&self, params: &AgentParams) -> Result<SessionKey, Fault> {
        let named = params.agent_id.as_deref().map(AgentId::parse).transpose();
        let agent = named
            .map_err(|e| Fault::params("agent", e))?
            .unwrap_or_else(|| self.deps.default_agent.clone());
        if let Some(text) = &params.session_key {
            return SessionKey::resolve(text, &agent).map_err(|e| Fault::params("agent", e));
        }
        let Some(id) = params.session_id.as_deref().filter(|id| !id.is_empty()) else {
            return Ok(SessionKey::main_of(&agent));
        };
        if let Ok(known) = id.parse()
            && let Some(session) = self.deps.store.session_by_id(self.owner(), known).await?
        {
            return Ok(session.key);
        }
        SessionKey::resolve(&format!("explicit:{id}"), &agent)
            .map_err(|e| Fault::params("agent", e))
    }
}

/// What is known of the cost; none when no call had a price.
fn known_cost(spend: &Spend) -> Option<Micros> {
    let nothing_known = spend.unpriced > 0 && spend.used_micros == Micros::ZERO;
    if nothing_known {
        None
    } else {
        Some(spend.used_micros)
    }
}
