//! What newer control surfaces ask for when they start and this gateway has nothing for. Each answers with the empty
//! shape they know, so that they do not ask again and again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List questions of agents that wait for words: none, an agent asks in the conversation.
    QuestionList = "question.list" (NoParams) -> QuestionsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List suggested tasks: none.
    TaskSuggestionsList = "taskSuggestions.list" (OfAgentParams) -> SuggestionsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List background tasks: none. Runs are listed by `runs.list`.
    TasksList = "tasks.list" (TasksListParams) -> TasksPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List groups of sessions: none.
    SessionsGroupsList = "sessions.groups.list" (NoParams) -> SessionGroups
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// List branches of a session: none, threads do not branch.
    SessionsBranchesList = "sessions.branches.list" (OfSessionParams) -> SessionBranches
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return what the companion of a session said: nothing, there is none.
    SessionsCompanionState = "sessions.companion.state" (OfSessionParams) -> CompanionState
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the progress card of a session: none.
    ProgressCardGet = "progressCard.get" (OfSessionParams) -> ProgressCard
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return what a person prefers: nothing is kept, surfaces keep it themselves.
    UsersPrefsGet = "users.prefs.get" (UsersPrefsParams) -> UsersPrefs
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// An agent, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfAgentParams {
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Of which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfSessionParams {
    /// Which session.
    pub session_key: String,
    /// Must be the agent named in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Parameters of `tasks.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TasksListParams {
    /// Of which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Only those that stand so: a word or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
    /// At most this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Parameters of `users.prefs.get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsersPrefsParams {
    /// Which ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

/// Result of `question.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionsPage {
    /// Always empty.
    pub questions: Vec<Value>,
}

/// Result of `taskSuggestions.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestionsPage {
    /// Always empty.
    pub suggestions: Vec<Value>,
}

/// Result of `tasks.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TasksPage {
    /// Always empty.
    pub tasks: Vec<Value>,
}

/// Result of `sessions.groups.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionGroups {
    /// Always empty.
    pub groups: Vec<Value>,
    /// Always empty.
    pub section_order: Vec<String>,
}

/// Result of `sessions.branches.list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionBranches {
    /// Always empty.
    pub branches: Vec<Value>,
}

/// Result of `sessions.companion.state`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompanionState {
    /// Always empty.
    pub exchanges: Vec<Value>,
}

/// Result of `progressCard.get`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressCard {
    /// Always null.
    pub card: Option<Value>,
}

/// Result of `users.prefs.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsersPrefs {
    /// `no_durable_identity`.
    pub status: String,
}
