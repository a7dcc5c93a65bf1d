//! `tools.*`.

use serde_json::Value;

use adjutant_domain::id::{AgentId, CallId, SessionKey};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::run::Work;
use adjutant_protocol::methods::tools::{
    ToolCalled, ToolShown, ToolsCall, ToolsCallParams, ToolsList, ToolsListParams, ToolsPage,
    ToolsShow, ToolsShowParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::intake::Wish;

impl Handle<ToolsList> for Core {
    async fn handle(&self, _caller: &Caller, params: ToolsListParams) -> Result<ToolsPage, Fault> {
        let mut tools = self.deps.store.tools().await?;
        if let Some(name) = &params.agent_id {
            let agent = self.agent(name).await?;
            tools.retain(|tool| {
                tool.level <= agent.trust_level
                    && agent
                        .tools
                        .as_ref()
                        .is_none_or(|names| names.contains(&tool.name))
            });
        }
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(ToolsPage { tools })
    }
}

impl Handle<ToolsShow> for Core {
    async fn handle(&self, _caller: &Caller, params: ToolsShowParams) -> Result<ToolShown, Fault> {
        let tools = self.deps.store.tools().await?;
        let tool = tools.into_iter().find(|tool| tool.name == params.name);
        tool.map(|tool| ToolShown { tool })
            .ok_or_else(|| Fault::not_found("tool", &params.name))
    }
}

impl Handle<ToolsCall> for Core {
    async fn handle(&self, _caller: &Caller, params: ToolsCallParams) -> Result<ToolCalled, Fault> {
        let named = params.agent_id.as_deref().map(AgentId::parse).transpose();
        let agent = named
            .map_err(|e| Fault::params("tools.call", e))?
            .unwrap_or_else(|| self.deps.default_agent.clone());
        let text = params.session_key.as_deref().unwrap_or("tools");
        let key = SessionKey::resolve(text, &agent).map_err(|e| Fault::params("tools.call", e))?;
        Self::agrees("tools.call", &key, params.agent_id.as_deref())?;
        let known = self.deps.store.tools().await?;
        if known.iter().all(|tool| tool.name != params.name) {
            return Err(Fault::not_found("tool", &params.name));
        }
        let args = match params.args {
            Value::Null => Value::Object(serde_json::Map::new()),
            args @ Value::Object(_) => args,
            _ => return Err(Fault::params("tools.call", "args must be an object")),
        };
        self.take_rate().await?;
        let call = CallId::mint(self.now(), self.deps.entropy.next_u128());
        let admitted = self
            .accept(Wish {
                method: "tools.call",
                key: &key,
                client_key: &params.idempotency_key,
                message: None,
                work: Work::Call {
                    call,
                    name: params.name,
                    args,
                },
                model: None,
                timeout: None,
                thread: None,
                label: None,
                needs: None,
                said_by: Label::of(Origin::Owner),
            })
            .await?;
        let info = self.run_info(&admitted.accepted.run().to_string()).await?;
        Ok(ToolCalled {
            run_id: info.run.name(),
            session_key: key.as_str().to_owned(),
        })
    }
}
