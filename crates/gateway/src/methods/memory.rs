//! `memory.*`.

use std::time::Duration;

use adjutant_domain::code::Code;
use adjutant_domain::id::{AgentId, MemoryId, SessionId};
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_protocol::methods::memory::{
    MemoriesPage, MemoryAdd, MemoryAddParams, MemoryForget, MemoryForgetParams, MemoryForgotten,
    MemoryList, MemoryListParams, MemorySearch, MemorySearchParams, MemoryStored, ScopeWord,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::{PAGE_MAX, page};

/// Bytes of one fact.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 1_024;
/// Facts forgotten in one call.
const FORGET_MAX: usize = 1_000;

impl Handle<MemorySearch> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: MemorySearchParams,
    ) -> Result<MemoriesPage, Fault> {
        let query = params.query.trim();
        if query.is_empty() || query.len() > QUERY_BYTES_MAX {
            let reason = format!("query must have 1 to {QUERY_BYTES_MAX} bytes");
            return Err(Fault::params("memory.search", reason));
        }
        let session = self
            .session_of("memory.search", params.session_key.as_deref())
            .await?;
        let limit = page(params.limit, 20, 200);
        self.recalled(params.agent_id.as_ref(), session, query, limit)
            .await
    }
}

impl Handle<MemoryList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: MemoryListParams,
    ) -> Result<MemoriesPage, Fault> {
        let session = self
            .session_of("memory.list", params.session_key.as_deref())
            .await?;
        let limit = page(params.limit, 100, PAGE_MAX);
        self.recalled(params.agent_id.as_ref(), session, "", limit)
            .await
    }
}

impl Handle<MemoryAdd> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: MemoryAddParams,
    ) -> Result<MemoryStored, Fault> {
        let refuse = |reason: &str| Err(Fault::params("memory.add", reason));
        let text = params.text.trim();
        if text.is_empty() {
            return refuse("text is empty");
        }
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("a fact has at most {TEXT_BYTES_MAX} bytes");
            return Err(Fault::new(Code::TooLarge, message));
        }
        if params
            .key
            .as_deref()
            .is_some_and(|key| key.is_empty() || key.len() > 128)
        {
            return refuse("key must have 1 to 128 bytes");
        }
        let scope = match (params.scope, params.agent_id) {
            (ScopeWord::Owner, _) => MemoryScope::Owner,
            (ScopeWord::Agent, Some(agent)) => MemoryScope::Agent {
                agent: self.agent(&agent).await?.name.clone(),
            },
            (ScopeWord::Agent, None) => return refuse("the scope `agent` needs `agentId`"),
            (ScopeWord::Session, _) => match self
                .session_of("memory.add", params.session_key.as_deref())
                .await?
            {
                Some(session) => MemoryScope::Session { session },
                None => return refuse("the scope `session` needs `sessionKey`"),
            },
        };
        let now = self.now();
        let memory = Memory {
            id: MemoryId::mint(now, self.deps.entropy.next_u128()),
            owner: self.owner().clone(),
            scope,
            kind: params.kind.unwrap_or(MemoryKind::Fact),
            key: params.key,
            text: text.to_owned(),
            trust: Trust::Owner,
            source: None,
            created_at: now,
            expires_at: params
                .expires_in_ms
                .map(|ms| now.plus(Duration::from_millis(ms))),
        };
        let id = memory.id.to_string();
        self.audit(
            caller,
            "memory.add",
            &id,
            serde_json::json!({ "key": memory.key }),
        )
        .await?;
        let memory = self.deps.store.put_memory(memory).await?;
        self.changed("memory", &memory.id.to_string()).await?;
        Ok(MemoryStored { memory })
    }
}

impl Handle<MemoryForget> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: MemoryForgetParams,
    ) -> Result<MemoryForgotten, Fault> {
        if params.ids.len() > FORGET_MAX {
            return Err(Fault::params(
                "memory.forget",
                format!("at most {FORGET_MAX} ids"),
            ));
        }
        let ids = serde_json::json!({ "ids": params.ids });
        self.audit(caller, "memory.forget", "memories", ids).await?;
        let forgotten = self.deps.store.forget(self.owner(), &params.ids).await?;
        if forgotten > 0 {
            for id in &params.ids {
                self.changed("memory", &id.to_string()).await?;
            }
        }
        Ok(MemoryForgotten { forgotten })
    }
}

impl Core {
    async fn session_of(
        &self,
        method: &str,
        key: Option<&str>,
    ) -> Result<Option<SessionId>, Fault> {
        match key {
            None => Ok(None),
            Some(text) => Ok(Some(self.session(&self.key(method, text)?).await?.id)),
        }
    }

    async fn recalled(
        &self,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Result<MemoriesPage, Fault> {
        let memories = self
            .deps
            .store
            .recall(self.owner(), agent, session, query, limit)
            .await?;
        Ok(MemoriesPage { memories })
    }
}
