//! Handlers, one file per namespace. A method of the table without a handler here does not compile.

mod agent;
mod agents;
mod approvals;
mod budget;
mod canvas;
mod catalogue;
mod channels;
pub(crate) mod chat;
mod config;
mod cron;
mod devices;
mod exec_approvals;
mod heartbeat;
mod intake;
mod logs;
mod memory;
mod models;
mod nodes;
mod panels;
mod runs;
mod session_views;
mod sessions;
mod system;
mod threads;
mod tools;
mod usage;
mod workers;

pub(crate) use intake::Wish;

use adjutant_domain::code::Code;
use adjutant_domain::event::EventKind;
use adjutant_domain::id::{AgentId, SessionKey};
use adjutant_domain::session::Session;
use adjutant_ports::store::RunInfo;
use adjutant_protocol::{Caller, Fault};

use crate::core::Core;

/// Items per page.
const PAGE_MAX: u32 = 1_000;

/// A page size within its bounds.
fn page(limit: Option<u32>, default: u32, max: u32) -> u32 {
    limit.unwrap_or(default).clamp(1, max)
}

impl Core {
    /// What a client wrote, as a full key.
    fn key(&self, method: &str, text: &str) -> Result<SessionKey, Fault> {
        SessionKey::resolve(text, &self.deps.default_agent).map_err(|e| Fault::params(method, e))
    }

    /// The agent in a key must be the one that is named beside it.
    fn agrees(method: &str, key: &SessionKey, agent: Option<&str>) -> Result<(), Fault> {
        match agent {
            Some(agent) if key.agent().as_str() != agent => {
                let reason = format!("agent `{agent}` does not match session key `{key}`");
                Err(Fault::params(method, reason))
            }
            _ => Ok(()),
        }
    }

    async fn session(&self, key: &SessionKey) -> Result<Session, Fault> {
        let found = self.deps.store.session(self.owner(), key).await?;
        found.ok_or_else(|| Fault::not_found("session", key))
    }

    async fn run_info(&self, name: &str) -> Result<RunInfo, Fault> {
        let found = self.deps.store.run(self.owner(), name).await?;
        found.ok_or_else(|| Fault::not_found("run", name.chars().take(128).collect::<String>()))
    }

    async fn agent(
        &self,
        name: &AgentId,
    ) -> Result<std::sync::Arc<adjutant_domain::agent::Agent>, Fault> {
        let found = self.deps.store.agent(self.owner(), name).await?;
        found.ok_or_else(|| Fault::not_found("agent", name))
    }

    /// Writes down who did what; before the effect (S49).
    async fn audit(
        &self,
        caller: &Caller,
        action: &str,
        subject: &str,
        detail: serde_json::Value,
    ) -> Result<(), Fault> {
        self.deps
            .store
            .audit(&caller.owner, &caller.name(), action, subject, detail)
            .await?;
        Ok(())
    }

    /// Says that something changed which no run caused.
    async fn changed(&self, what: &str, name: &str) -> Result<(), Fault> {
        let kind = EventKind::Changed {
            what: what.to_owned(),
            name: name.to_owned(),
        };
        self.deps.store.announce(self.owner(), None, kind).await?;
        Ok(())
    }
}

fn expired(key: &SessionKey) -> Fault {
    Fault::new(Code::Expired, format!("the session {key} has expired"))
        .with_hint("its history stays readable; `sessions.reset` starts it anew")
}
