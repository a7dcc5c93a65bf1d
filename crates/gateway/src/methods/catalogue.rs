//! `agent.identity.get`, `tools.catalog`, `skills.status`, `commands.list`, `talk.config`, `voicewake.get`.

use std::collections::BTreeMap;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::id::AgentId;
use adjutant_protocol::methods::catalogue::{
    AgentIdentity, AgentIdentityGet, AgentIdentityParams, CatalogueTool, CommandRow, CommandsList,
    CommandsListParams, CommandsPage, SkillsReport, SkillsStatus, SkillsStatusParams, TalkConfig,
    TalkConfigParams, TalkSettings, ToolGroup, ToolProfile, ToolsCatalog, ToolsCatalogParams,
    ToolsCatalogue, VoicewakeGet, VoicewakeWords,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

/// The trust levels as ready-made selections of tools, from the fewest to the most.
const PROFILES: [(TrustLevel, &str, &str); 5] = [
    (TrustLevel::L1, "l1", "Talk only"),
    (TrustLevel::L2, "l2", "Reads"),
    (TrustLevel::L3, "l3", "Writes"),
    (TrustLevel::L4, "l4", "Runs code"),
    (TrustLevel::L5, "l5", "Reaches out"),
];

impl Handle<AgentIdentityGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: AgentIdentityParams,
    ) -> Result<AgentIdentity, Fault> {
        let method = "agent.identity.get";
        let name = match params.session_key.as_deref().filter(|key| !key.is_empty()) {
            None => self.named_agent(method, params.agent_id.as_deref())?,
            Some(text) => {
                let key = self.key(method, text)?;
                Self::agrees(method, &key, params.agent_id.as_deref())?;
                key.agent()
            }
        };
        let agent = self.agent(&name).await?;
        let shown = if agent.display_name.trim().is_empty() {
            agent.name.as_str().to_owned()
        } else {
            agent.display_name.clone()
        };
        let first = shown.chars().next().unwrap_or('A');
        Ok(AgentIdentity {
            agent_id: agent.name.as_str().to_owned(),
            avatar: first.to_uppercase().to_string(),
            name: shown,
        })
    }
}

impl Handle<ToolsCatalog> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ToolsCatalogParams,
    ) -> Result<ToolsCatalogue, Fault> {
        let name = self.named_agent("tools.catalog", params.agent_id.as_deref())?;
        let agent = self.agent(&name).await?;
        let mut tools = self.deps.store.tools().await?;
        tools.retain(|tool| {
            agent
                .tools
                .as_ref()
                .is_none_or(|names| names.contains(&tool.name))
        });
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        let mut groups: BTreeMap<String, Vec<CatalogueTool>> = BTreeMap::new();
        for tool in tools {
            let group = tool.name.split(['.', '_']).next().unwrap_or(&tool.name);
            let profiles = PROFILES
                .iter()
                .filter(|(level, ..)| tool.level <= *level)
                .map(|(_, id, _)| (*id).to_owned());
            let shown = CatalogueTool {
                id: tool.name.clone(),
                label: tool.name.clone(),
                description: tool.description.clone(),
                source: "core".to_owned(),
                default_profiles: profiles.collect(),
            };
            groups.entry(group.to_owned()).or_default().push(shown);
        }
        Ok(ToolsCatalogue {
            agent_id: name.as_str().to_owned(),
            profiles: PROFILES
                .iter()
                .map(|(_, id, label)| ToolProfile {
                    id: (*id).to_owned(),
                    label: (*label).to_owned(),
                })
                .collect(),
            groups: groups
                .into_iter()
                .map(|(id, tools)| ToolGroup {
                    label: id.clone(),
                    id,
                    source: "core".to_owned(),
                    tools,
                })
                .collect(),
        })
    }
}

impl Handle<SkillsStatus> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SkillsStatusParams,
    ) -> Result<SkillsReport, Fault> {
        let name = self.named_agent("skills.status", params.agent_id.as_deref())?;
        let agent = self.agent(&name).await?;
        Ok(SkillsReport {
            workspace_dir: agent.workspace.clone(),
            managed_skills_dir: String::new(),
            skills: Vec::new(),
        })
    }
}

impl Handle<CommandsList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: CommandsListParams,
    ) -> Result<CommandsPage, Fault> {
        let stop = CommandRow {
            name: "stop".to_owned(),
            text_aliases: vec!["/stop".to_owned()],
            description: "Stop what the agent is doing in this session.".to_owned(),
            category: "session".to_owned(),
            source: "native".to_owned(),
            scope: "text".to_owned(),
            accepts_args: false,
        };
        let commands = match params.scope.as_deref() {
            Some("native") => Vec::new(),
            _ => vec![stop],
        };
        Ok(CommandsPage { commands })
    }
}

impl Handle<TalkConfig> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: TalkConfigParams,
    ) -> Result<TalkSettings, Fault> {
        Ok(TalkSettings {
            config: serde_json::Map::new(),
        })
    }
}

impl Handle<VoicewakeGet> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<VoicewakeWords, Fault> {
        Ok(VoicewakeWords {
            triggers: Vec::new(),
        })
    }
}

impl Core {
    /// The agent that is named, else the default one.
    fn named_agent(&self, method: &str, name: Option<&str>) -> Result<AgentId, Fault> {
        match name.filter(|name| !name.is_empty()) {
            None => Ok(self.deps.default_agent.clone()),
            Some(name) => AgentId::parse(name).map_err(|e| Fault::params(method, e)),
        }
    }
}
