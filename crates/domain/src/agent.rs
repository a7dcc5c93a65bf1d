//! A named definition: instructions, model route, tools, policy, limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, OwnerId};
use crate::money::Micros;
use crate::need::Needs;
use crate::time::{Span, Timestamp};

/// How much an agent may do, L1 to L5 (`subsystems/approvals.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustLevel {
    /// Talk only.
    L1,
    /// Read allowed places.
    L2,
    /// Write allowed places.
    L3,
    /// Run code in the sandbox.
    L4,
    /// Reach out and delegate.
    L5,
}

impl TrustLevel {
    /// 1 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
            Self::L4 => 4,
            Self::L5 => 5,
        }
    }

    /// From 1 to 5.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::L1),
            2 => Some(Self::L2),
            3 => Some(Self::L3),
            4 => Some(Self::L4),
            5 => Some(Self::L5),
            _ => None,
        }
    }
}

impl Serialize for TrustLevel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for TrustLevel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u8::deserialize(deserializer)?;
        Self::from_number(n).ok_or_else(|| {
            serde::de::Error::custom(format!("trust level {n} is not between 1 and 5"))
        })
    }
}

impl JsonSchema for TrustLevel {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TrustLevel".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": 5 })
    }
}

/// When to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalPolicy {
    /// Nothing beyond talk runs.
    Block,
    /// Every tool asks.
    AskAlways,
    /// Reads run; the rest asks unless an exact grant exists.
    #[default]
    AskNewTools,
    /// Only destructive classes ask.
    AskDestructive,
    /// Nothing asks but the floor. L5 only.
    Auto,
}

/// Bounds of one run, frozen when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", default, deny_unknown_fields)]
pub struct AgentLimits {
    /// Model replies per run.
    pub max_steps: u32,
    /// Wall time per run; parked time is not counted.
    pub timeout: Span,
    /// Tokens per run, all kinds together.
    pub max_tokens: u64,
    /// Identical calls in a row.
    pub max_repeats: u32,
    /// Attempts per model call beyond the first, per route.
    pub model_retries: u32,
    /// Tokens the model may generate per reply.
    pub max_output_tokens: u32,
    /// Tokens of context sent per model call.
    pub context_tokens: u32,
    /// How long an approval stays open while nobody answers.
    pub approval_timeout: Span,
    /// After that, how much longer the run may stay parked instead of being denied; zero denies.
    pub approval_grace: Span,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            max_steps: 40,
            timeout: Span::from_secs(30 * 60),
            max_tokens: 2_000_000,
            max_repeats: 3,
            model_retries: 3,
            max_output_tokens: 4_096,
            context_tokens: 64_000,
            approval_timeout: Span::from_secs(10 * 60),
            approval_grace: Span::from_secs(0),
        }
    }
}

/// Money caps of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", default, deny_unknown_fields)]
pub struct AgentBudget {
    /// Per run, in micro-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_micros: Option<Micros>,
    /// Per session, in micro-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_micros: Option<Micros>,
    /// Per local day, in micro-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_micros: Option<Micros>,
}

/// A named agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Agent {
    /// Whose it is.
    pub owner: OwnerId,
    /// Name.
    pub name: AgentId,
    /// Name for people.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Provider name; none means the configured default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Model name; none means the configured default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Further routes, `provider/model`, tried in order when the first fails.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// How much it may do.
    pub trust_level: TrustLevel,
    /// Instructions, placed before everything else.
    pub system_prompt: String,
    /// Names of its tools; none means all its level allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Folders it may see besides the workspace.
    #[serde(default)]
    pub allowed_dirs: Vec<String>,
    /// Its folder; relative paths in tool arguments start here.
    pub workspace: String,
    /// When to ask.
    #[serde(default)]
    pub approval_policy: ApprovalPolicy,
    /// Names of vault entries it may use.
    #[serde(default)]
    pub vault_grants: Vec<String>,
    /// What a worker must offer to take its runs.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Money caps.
    #[serde(default)]
    pub budget: AgentBudget,
    /// Bounds of a run.
    #[serde(default)]
    pub limits: AgentLimits,
    /// Whether a reflection run may follow an answer.
    #[serde(default)]
    pub reflect: bool,
    /// Counts edits; a client that edits names the revision it saw.
    #[serde(default)]
    pub revision: u64,
    /// Last edit.
    #[serde(default)]
    pub updated_at: Timestamp,
}
