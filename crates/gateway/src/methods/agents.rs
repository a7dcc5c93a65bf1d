//! `agents.*`.

use adjutant_domain::agent::{Agent, AgentLimits, TrustLevel};
use adjutant_domain::code::Code;
use adjutant_protocol::methods::agents::{
    AgentDeleted, AgentIdParams, AgentModel, AgentRow, AgentShown, AgentSpec, AgentsCreate,
    AgentsCreateParams, AgentsDelete, AgentsDeleteParams, AgentsGet, AgentsList, AgentsPage,
    AgentsTrust, AgentsTrustParams, AgentsUpdate, AgentsUpdateParams, SessionScope,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::intake::check_needs;

/// Bytes of instructions.
const PROMPT_BYTES_MAX: usize = 64 * 1024;
/// Names in a list of an agent's definition.
const LIST_MAX: usize = 256;

impl Handle<AgentsList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<AgentsPage, Fault> {
        let agents = self.deps.store.agents(self.owner()).await?;
        let rows = agents.iter().map(|agent| AgentRow {
            id: agent.name.clone(),
            name: Some(agent.display_name.clone()),
            description: agent.description.clone(),
            model: AgentModel {
                primary: self.route_of(agent),
            },
            trust_level: agent.trust_level,
        });
        Ok(AgentsPage {
            default_id: self.deps.default_agent.as_str().to_owned(),
            main_key: "main".to_owned(),
            scope: SessionScope::PerSender,
            agents: rows.collect(),
        })
    }
}

impl Handle<AgentsGet> for Core {
    async fn handle(&self, _caller: &Caller, params: AgentIdParams) -> Result<AgentShown, Fault> {
        Ok(AgentShown::from(&*self.agent(&params.agent_id).await?))
    }
}

impl Handle<AgentsCreate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: AgentsCreateParams,
    ) -> Result<AgentShown, Fault> {
        let spec = params.agent;
        let level = spec.trust_level.unwrap_or(TrustLevel::L1);
        let agent = self
            .defined("agents.create", spec, level, &AgentLimits::default())
            .await?;
        if self
            .deps
            .store
            .agent(self.owner(), &agent.name)
            .await?
            .is_some()
        {
            return Err(Fault::new(
                Code::Conflict,
                format!("there is already an agent `{}`", agent.name),
            ));
        }
        self.put(caller, "agent.create", agent, None).await
    }
}

impl Handle<AgentsUpdate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: AgentsUpdateParams,
    ) -> Result<AgentShown, Fault> {
        let old = self.agent(&params.agent.name).await?;
        if params
            .agent
            .trust_level
            .is_some_and(|level| level != old.trust_level)
        {
            let reason = "the trust level changes only through agents.trust";
            return Err(Fault::params("agents.update", reason));
        }
        let mut agent = self
            .defined(
                "agents.update",
                params.agent,
                old.trust_level,
                &AgentLimits::default(),
            )
            .await?;
        agent.revision = old.revision;
        self.put(
            caller,
            "agent.update",
            agent,
            Some(params.revision.unwrap_or(old.revision)),
        )
        .await
    }
}

impl Handle<AgentsDelete> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: AgentsDeleteParams,
    ) -> Result<AgentDeleted, Fault> {
        let name = &params.agent_id;
        if *name == self.deps.default_agent {
            return Err(Fault::new(
                Code::Conflict,
                format!("`{name}` is the default agent and cannot be removed"),
            ));
        }
        self.audit(caller, "agent.delete", name.as_str(), serde_json::json!({}))
            .await?;
        let deleted = self.deps.store.delete_agent(self.owner(), name).await?;
        if deleted {
            self.changed("agent", name.as_str()).await?;
        }
        Ok(AgentDeleted { deleted })
    }
}

impl Handle<AgentsTrust> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: AgentsTrustParams,
    ) -> Result<AgentShown, Fault> {
        let old = self.agent(&params.agent_id).await?;
        let agent = Agent {
            trust_level: params.level,
            ..(*old).clone()
        };
        check("agents.trust", &agent)?;
        let detail = serde_json::json!({ "from": old.trust_level, "to": params.level });
        self.audit(caller, "agent.trust", params.agent_id.as_str(), detail)
            .await?;
        let stored = self.deps.store.put_agent(agent, Some(old.revision)).await?;
        self.changed("agent", params.agent_id.as_str()).await?;
        Ok(AgentShown::from(&stored))
    }
}

impl Core {
    /// `provider/model` that an agent asks first.
    pub(crate) fn route_of(&self, agent: &Agent) -> String {
        match (&agent.provider, &agent.model) {
            (Some(provider), Some(model)) => format!("{provider}/{model}"),
            (Some(provider), None) => self
                .deps
                .models
                .route(provider)
                .map_or_else(|_unknown| provider.clone(), |route| route.name),
            (None, Some(model)) if model.contains('/') => model.clone(),
            (None, Some(model)) => {
                let default = self.deps.models.default_route();
                let provider = default.split('/').next().unwrap_or_default();
                format!("{provider}/{model}")
            }
            (None, None) => self.deps.models.default_route(),
        }
    }

    /// A definition as people write it, with everything that is left out filled in.
    async fn defined(
        &self,
        method: &str,
        spec: AgentSpec,
        level: TrustLevel,
        base: &AgentLimits,
    ) -> Result<Agent, Fault> {
        let workspace = match spec.workspace {
            // A relative path is refused below; an absolute one that is not there yet is made.
            Some(path) if !std::path::Path::new(&path).is_absolute() => path,
            Some(path) => Self::make_folder(path.into()).await?,
            None => Self::make_folder(self.deps.workspaces.join(spec.name.as_str())).await?,
        };
        let agent = Agent {
            owner: self.owner().clone(),
            display_name: spec
                .display_name
                .unwrap_or_else(|| spec.name.as_str().to_owned()),
            name: spec.name,
            description: spec.description,
            provider: spec.provider,
            model: spec.model,
            fallbacks: spec.fallbacks,
            trust_level: level,
            system_prompt: spec.system_prompt,
            tools: spec.tools,
            allowed_dirs: spec.allowed_dirs,
            workspace,
            approval_policy: spec.approval_policy,
            vault_grants: spec.vault_grants,
            needs: spec.needs,
            budget: spec.budget.into(),
            limits: spec.limits.over(base),
            reflect: spec.reflect,
            revision: 0,
            updated_at: self.now(),
        };
        check(method, &agent)?;
        if agent.provider.is_some() || agent.model.is_some() {
            self.check_model(method, Some(&self.route_of(&agent)))?;
        }
        for route in &agent.fallbacks {
            self.check_model(method, Some(route))?;
        }
        self.check_tools(method, &agent).await?;
        Ok(agent)
    }

    async fn check_tools(&self, method: &str, agent: &Agent) -> Result<(), Fault> {
        let Some(names) = &agent.tools else {
            return Ok(());
        };
        let known = self.deps.store.tools().await?;
        // Before the first worker has announced its tools, nothing is known and nothing can be checked.
        if known.is_empty() {
            return Ok(());
        }
        match names
            .iter()
            .find(|name| known.iter().all(|tool| tool.name != **name))
        {
            None => Ok(()),
            Some(name) => Err(Fault::params(method, format!("there is no tool `{name}`"))),
        }
    }

    /// A folder of the agent's own; one that is made now is for the owner only.
    async fn make_folder(path: std::path::PathBuf) -> Result<String, Fault> {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&path).await.map_err(|e| {
            Fault::new(
                Code::Unavailable,
                format!("the workspace {} cannot be made: {e}", path.display()),
            )
        })?;
        Ok(path.display().to_string())
    }

    async fn put(
        &self,
        caller: &Caller,
        action: &str,
        agent: Agent,
        expected: Option<u64>,
    ) -> Result<AgentShown, Fault> {
        let name = agent.name.clone();
        let detail = serde_json::to_value(&agent).unwrap_or_default();
        self.audit(caller, action, name.as_str(), detail).await?;
        let stored = self.deps.store.put_agent(agent, expected).await?;
        self.changed("agent", name.as_str()).await?;
        Ok(AgentShown::from(&stored))
    }
}

fn check(method: &str, agent: &Agent) -> Result<(), Fault> {
    use adjutant_domain::agent::ApprovalPolicy;

    let refuse = |reason: String| Err(Fault::params(method, reason));
    if agent.approval_policy == ApprovalPolicy::Auto && agent.trust_level != TrustLevel::L5 {
        return refuse("the approval policy `auto` needs trust level 5".to_owned());
    }
    if agent.system_prompt.len() > PROMPT_BYTES_MAX {
        return refuse(format!(
            "the system prompt is larger than {PROMPT_BYTES_MAX} bytes"
        ));
    }
    let lists = [
        Some(&agent.fallbacks),
        agent.tools.as_ref(),
        Some(&agent.allowed_dirs),
        Some(&agent.vault_grants),
    ];
    if lists
        .into_iter()
        .flatten()
        .any(|list| list.len() > LIST_MAX)
    {
        return refuse(format!("a list has more than {LIST_MAX} items"));
    }
    check_needs(method, &agent.needs)?;
    if !std::path::Path::new(&agent.workspace).is_absolute() {
        return refuse("the workspace must be an absolute path".to_owned());
    }
    if let Some(dir) = agent
        .allowed_dirs
        .iter()
        .find(|dir| !std::path::Path::new(dir).is_absolute())
    {
        return refuse(format!(
            "the allowed folder `{dir}` must be an absolute path"
        ));
    }
    if agent.limits.max_steps == 0 || agent.limits.max_output_tokens == 0 {
        return refuse("limits must be greater than zero".to_owned());
    }
    Ok(())
}
