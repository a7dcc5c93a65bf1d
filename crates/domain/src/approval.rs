//! Questions to a person, and lasting answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AgentId, ApprovalId, CallId, GrantId, OwnerId, RunId, SessionId, SessionKey};
use crate::time::{Span, Timestamp};
use crate::tool::ActionClass;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Choice {
    /// This call only.
    Once,
    /// The same thing again in this session without asking.
    Session,
    /// The same thing for a while.
    For {
        /// How long.
        span: Span,
    },
    /// The same thing until revoked.
    Always,
    /// No.
    Deny,
}

impl Choice {
    /// Whether the call may run.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self, Self::Deny)
    }
}

/// Where a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has answered.
    Open,
    /// Answered yes.
    Allowed,
    /// Answered no.
    Denied,
    /// Nobody answered in time, which is no.
    Expired,
    /// The run ended first.
    Cancelled,
}

/// One question about one exact call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Identifier.
    pub id: ApprovalId,
    /// Who is asked.
    pub owner: OwnerId,
    /// The run that waits.
    pub run: RunId,
    /// The call that waits.
    pub call: CallId,
    /// The session it came from.
    pub session: SessionId,
    /// That session's key, for people.
    pub session_key: SessionKey,
    /// The agent that asks.
    pub agent: AgentId,
    /// Tool name.
    pub tool: String,
    /// Kind of effect.
    pub class: ActionClass,
    /// Digest of the exact call: what is approved is what runs (S29).
    pub digest: String,
    /// The exact call: arguments, resolved paths, folder, profile.
    pub canonical: Value,
    /// The complete, escaped text a person reads.
    pub shown: String,
    /// Why it asks.
    pub reason: String,
    /// What a lasting answer would cover, or none when it must be asked each time.
    pub grant_key: Option<String>,
    /// Where it stands.
    pub state: ApprovalState,
    /// When it was asked.
    pub created_at: Timestamp,
    /// When silence becomes no.
    pub expires_at: Timestamp,
    /// Who answered, and through which surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
}

/// What a lasting answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantEffect {
    /// Run without asking.
    Allow,
    /// Refuse without asking.
    Deny,
}

/// A lasting answer: exact, visible, revocable, expiring (S32).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Identifier.
    pub id: GrantId,
    /// Whose answer.
    pub owner: OwnerId,
    /// For which agent.
    pub agent: AgentId,
    /// For one session only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Tool name.
    pub tool: String,
    /// Exactly what it covers, as computed by policy from the call that was shown.
    pub key: String,
    /// Allow or deny.
    pub effect: GrantEffect,
    /// End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was given.
    pub created_at: Timestamp,
    /// Who gave it.
    pub created_by: String,
}

impl Grant {
    /// Whether it is in force at `now` for `agent` in `session`.
    #[must_use]
    pub fn in_force(&self, now: Timestamp, agent: &AgentId, session: SessionId) -> bool {
        self.agent == *agent
            && self.session.is_none_or(|s| s == session)
            && self.expires_at.is_none_or(|end| now < end)
    }
}
