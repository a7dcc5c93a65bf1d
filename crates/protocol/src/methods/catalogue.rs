//! What surfaces show of an agent: its name, its tools by group, skills, commands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// Return an agent's name and picture, by its id or by a session.
    AgentIdentityGet = "agent.identity.get" (AgentIdentityParams) -> AgentIdentity
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the tools that an agent may have, by group.
    ToolsCatalog = "tools.catalog" (ToolsCatalogParams) -> ToolsCatalogue
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return an agent's skills: none, there are no skills yet.
    SkillsStatus = "skills.status" (SkillsStatusParams) -> SkillsReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the slash commands of the gateway.
    CommandsList = "commands.list" (CommandsListParams) -> CommandsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the settings for talking aloud: none, there is no voice yet.
    TalkConfig = "talk.config" (TalkConfigParams) -> TalkSettings
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return the words that wake nodes: none, there is no voice yet.
    VoicewakeGet = "voicewake.get" (NoParams) -> VoicewakeWords
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `agent.identity.get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentIdentityParams {
    /// Which agent; must agree with the key when both are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The agent of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// Result of `agent.identity.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentIdentity {
    /// Name in keys.
    pub agent_id: String,
    /// Name for people.
    pub name: String,
    /// A letter or sign that stands for a picture.
    pub avatar: String,
}

/// Parameters of `tools.catalog`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsCatalogParams {
    /// Whose; the default agent's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for clients that send it; there are no plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_plugins: Option<bool>,
}

/// Result of `tools.catalog`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolsCatalogue {
    /// Whose tools these are.
    pub agent_id: String,
    /// Ready-made selections: the trust levels.
    pub profiles: Vec<ToolProfile>,
    /// The tools, by the beginning of their names.
    pub groups: Vec<ToolGroup>,
}

/// A ready-made selection of tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolProfile {
    /// Identifier.
    pub id: String,
    /// Name for people.
    pub label: String,
}

/// Tools that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolGroup {
    /// Identifier.
    pub id: String,
    /// Name for people.
    pub label: String,
    /// `core`.
    pub source: String,
    /// The tools, by name.
    pub tools: Vec<CatalogueTool>,
}

/// A tool in a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogueTool {
    /// Its name.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What it does.
    pub description: String,
    /// `core`.
    pub source: String,
    /// Profiles that have it.
    pub default_profiles: Vec<String>,
}

/// Parameters of `skills.status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SkillsStatusParams {
    /// Whose; the default agent's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Result of `skills.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillsReport {
    /// The agent's folder.
    pub workspace_dir: String,
    /// Where skills are kept: nowhere, so empty.
    pub managed_skills_dir: String,
    /// Always empty.
    pub skills: Vec<Value>,
}

/// Parameters of `commands.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandsListParams {
    /// For which agent; all have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `text`, `native` or `both`; commands of the gateway are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Accepted for newer clients; no command takes arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_args: Option<bool>,
    /// Accepted for newer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// Result of `commands.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandsPage {
    /// The commands.
    pub commands: Vec<CommandRow>,
}

/// A slash command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandRow {
    /// Its name, without the slash.
    pub name: String,
    /// How it is written.
    pub text_aliases: Vec<String>,
    /// What it does.
    pub description: String,
    /// `session`.
    pub category: String,
    /// `native`.
    pub source: String,
    /// `text`.
    pub scope: String,
    /// Whether it takes arguments.
    pub accepts_args: bool,
}

/// Parameters of `talk.config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TalkConfigParams {
    /// Accepted for clients that send it; there are no secrets here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_secrets: Option<bool>,
}

/// Result of `talk.config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TalkSettings {
    /// Always empty.
    pub config: serde_json::Map<String, Value>,
}

/// Result of `voicewake.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VoicewakeWords {
    /// Always empty.
    pub triggers: Vec<String>,
}
