//! `agents.*`: named definitions of agents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::{AgentId, ClientKey};
use adjutant_domain::money::Micros;
use adjutant_domain::need::Needs;
use adjutant_domain::time::{Span, Timestamp};

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List the agents, in short.
    AgentsList = "agents.list" (NoParams) -> AgentsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return one agent in full.
    AgentsGet = "agents.get" (AgentIdParams) -> AgentShown
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Make an agent. Without a trust level it is L1.
    AgentsCreate = "agents.create" (AgentsCreateParams) -> AgentShown
        { access: Admin, kind: Write, order: Order::Global("agents"), reply: Once }

    /// Replace an agent's definition. The trust level changes only through `agents.trust`.
    AgentsUpdate = "agents.update" (AgentsUpdateParams) -> AgentShown
        { access: Admin, kind: Write, order: Order::Global("agents"), reply: Once }

    /// Remove an agent; its threads stay.
    AgentsDelete = "agents.delete" (AgentsDeleteParams) -> AgentDeleted
        { access: Admin, kind: Write, order: Order::Global("agents"), reply: Once }

    /// Set how much an agent may do, 1 to 5.
    AgentsTrust = "agents.trust" (AgentsTrustParams) -> AgentShown
        { access: Admin, kind: Write, order: Order::Global("agents"), reply: Once }
}

/// How sessions of an agent are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionScope {
    /// Each sender has its own.
    PerSender,
}

/// Result of `agents.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentsPage {
    /// The agent that short session keys mean.
    pub default_id: String,
    /// The rest of an agent's main session key.
    pub main_key: String,
    /// How sessions are told apart.
    pub scope: SessionScope,
    /// The agents.
    pub agents: Vec<AgentRow>,
}

/// An agent in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRow {
    /// Name in keys.
    pub id: AgentId,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    pub description: String,
    /// Its model.
    pub model: AgentModel,
    /// How much it may do.
    pub trust_level: TrustLevel,
}

/// The model of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentModel {
    /// `provider/model`.
    pub primary: String,
}

/// Which agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentIdParams {
    /// Name.
    pub agent_id: AgentId,
}

/// Money caps; absent means no cap of its own. Amounts are millionths of a dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BudgetSpec {
    /// Per run.
    #[serde(alias = "run_micros", skip_serializing_if = "Option::is_none")]
    pub run_micros: Option<Micros>,
    /// Per session.
    #[serde(alias = "session_micros", skip_serializing_if = "Option::is_none")]
    pub session_micros: Option<Micros>,
    /// Per local day.
    #[serde(alias = "day_micros", skip_serializing_if = "Option::is_none")]
    pub day_micros: Option<Micros>,
}

/// Bounds of a run; absent means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsSpec {
    /// Model replies per run.
    #[serde(alias = "max_steps", skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// Wall time per run; parked time is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Tokens per run.
    #[serde(alias = "max_tokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Identical calls in a row.
    #[serde(alias = "max_repeats", skip_serializing_if = "Option::is_none")]
    pub max_repeats: Option<u32>,
    /// Attempts per model call beyond the first, per route.
    #[serde(alias = "model_retries", skip_serializing_if = "Option::is_none")]
    pub model_retries: Option<u32>,
    /// Tokens the model may generate per reply.
    #[serde(alias = "max_output_tokens", skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Tokens of context per model call.
    #[serde(alias = "context_tokens", skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// How long a question stays open.
    #[serde(alias = "approval_timeout", skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<Span>,
    /// How much longer the run may stay parked after that instead of being denied.
    #[serde(alias = "approval_grace", skip_serializing_if = "Option::is_none")]
    pub approval_grace: Option<Span>,
}

impl LimitsSpec {
    /// `base` with everything that is set here.
    #[must_use]
    pub fn over(&self, base: &AgentLimits) -> AgentLimits {
        AgentLimits {
            max_steps: self.max_steps.unwrap_or(base.max_steps),
            timeout: self.timeout.unwrap_or(base.timeout),
            max_tokens: self.max_tokens.unwrap_or(base.max_tokens),
            max_repeats: self.max_repeats.unwrap_or(base.max_repeats),
            model_retries: self.model_retries.unwrap_or(base.model_retries),
            max_output_tokens: self.max_output_tokens.unwrap_or(base.max_output_tokens),
            context_tokens: self.context_tokens.unwrap_or(base.context_tokens),
            approval_timeout: self.approval_timeout.unwrap_or(base.approval_timeout),
            approval_grace: self.approval_grace.unwrap_or(base.approval_grace),
        }
    }
}

impl From<&AgentLimits> for LimitsSpec {
    fn from(limits: &AgentLimits) -> Self {
        Self {
            max_steps: Some(limits.max_steps),
            timeout: Some(limits.timeout),
            max_tokens: Some(limits.max_tokens),
            max_repeats: Some(limits.max_repeats),
            model_retries: Some(limits.model_retries),
            max_output_tokens: Some(limits.max_output_tokens),
            context_tokens: Some(limits.context_tokens),
            approval_timeout: Some(limits.approval_timeout),
            approval_grace: Some(limits.approval_grace),
        }
    }
}

impl From<BudgetSpec> for AgentBudget {
    fn from(spec: BudgetSpec) -> Self {
        Self {
            run_micros: spec.run_micros,
            session_micros: spec.session_micros,
            day_micros: spec.day_micros,
        }
    }
}

impl From<AgentBudget> for BudgetSpec {
    fn from(budget: AgentBudget) -> Self {
        Self {
            run_micros: budget.run_micros,
            session_micros: budget.session_micros,
            day_micros: budget.day_micros,
        }
    }
}

/// An agent as people write it. Files may use `snake_case` for the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentSpec {
    /// Name in keys.
    pub name: AgentId,
    /// Name for people.
    #[serde(
        default,
        alias = "display_name",
        skip_serializing_if = "Option::is_none"
    )]
    pub display_name: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Provider name; the configured one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Model name; the configured one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Further routes, `provider/model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// How much it may do, 1 to 5; 1 by default.
    #[serde(
        default,
        alias = "trust_level",
        skip_serializing_if = "Option::is_none"
    )]
    pub trust_level: Option<TrustLevel>,
    /// Instructions.
    #[serde(default, alias = "system_prompt")]
    pub system_prompt: String,
    /// Names of its tools; all its level allows by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Folders it may see besides the workspace.
    #[serde(default, alias = "allowed_dirs", skip_serializing_if = "Vec::is_empty")]
    pub allowed_dirs: Vec<String>,
    /// Its folder; one of its own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// When to ask.
    #[serde(default, alias = "approval_policy")]
    pub approval_policy: ApprovalPolicy,
    /// Names of vault entries it may use.
    #[serde(default, alias = "vault_grants", skip_serializing_if = "Vec::is_empty")]
    pub vault_grants: Vec<String>,
    /// What a worker must offer to take its runs, such as `machine:studio`.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Money caps.
    #[serde(default)]
    pub budget: BudgetSpec,
    /// Bounds of a run.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Whether a reflection run may follow an answer.
    #[serde(default)]
    pub reflect: bool,
}

/// Parameters of `agents.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentsCreateParams {
    /// The definition.
    pub agent: AgentSpec,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `agents.update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentsUpdateParams {
    /// The whole new definition.
    pub agent: AgentSpec,
    /// The revision the caller saw; `CONFLICT` when it is not the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Parameters of `agents.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentsDeleteParams {
    /// Name.
    pub agent_id: AgentId,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `agents.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentDeleted {
    /// Whether there was one.
    pub deleted: bool,
}

/// Parameters of `agents.trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentsTrustParams {
    /// Name.
    pub agent_id: AgentId,
    /// 1 to 5.
    pub level: TrustLevel,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// One agent in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentShown {
    /// The definition.
    pub agent: AgentSpec,
    /// Counts edits.
    pub revision: u64,
    /// Last edit.
    pub updated_at: Timestamp,
}

impl From<&Agent> for AgentShown {
    fn from(agent: &Agent) -> Self {
        Self {
            agent: AgentSpec {
                name: agent.name.clone(),
                display_name: Some(agent.display_name.clone()),
                description: agent.description.clone(),
                provider: agent.provider.clone(),
                model: agent.model.clone(),
                fallbacks: agent.fallbacks.clone(),
                trust_level: Some(agent.trust_level),
                system_prompt: agent.system_prompt.clone(),
                tools: agent.tools.clone(),
                allowed_dirs: agent.allowed_dirs.clone(),
                workspace: Some(agent.workspace.clone()),
                approval_policy: agent.approval_policy,
                vault_grants: agent.vault_grants.clone(),
                needs: agent.needs.clone(),
                budget: agent.budget.into(),
                limits: (&agent.limits).into(),
                reflect: agent.reflect,
            },
            revision: agent.revision,
            updated_at: agent.updated_at,
        }
    }
}
