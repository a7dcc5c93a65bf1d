//! A workspace on the disk, scripted doors, and permits from the real pipeline.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::{AgentId, CallId, MemoryId, OwnerId, RunId, SessionId, ThreadId};
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryScope};
use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::{ToolCall, ToolOutcome};
use adjutant_policy::{Card, Facts, Permit, Verdict, admit_call};
use adjutant_ports::egress::{EgressError, EgressGrant, Incoming, Outgoing};
use adjutant_ports::files::FileScope;
use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Profile, SandboxError, SandboxReport,
};
use adjutant_ports::store::{MemoryStore, StoreError};
use adjutant_ports::{Egress, Sandbox, Tool, ToolCx, ToolError};
use adjutant_tools::{Config, Parts, builtin};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) agent: Agent,
    pub(crate) sandbox: Arc<ScriptedSandbox>,
    pub(crate) egress: Arc<ScriptedEgress>,
    pub(crate) memories: Arc<Memories>,
    pub(crate) deadline: Duration,
    tools: Vec<Arc<dyn Tool>>,
    n_calls: u128,
}

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&Config::default())
    }

    pub(crate) fn with(config: &Config) -> Self {
        let sandbox = Arc::new(ScriptedSandbox::default());
        let mut world = Self::behind(Arc::<ScriptedSandbox>::clone(&sandbox), config);
        world.sandbox = sandbox;
        world
    }

    pub(crate) fn behind(sandbox: Arc<dyn Sandbox>, config: &Config) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let egress = Arc::new(ScriptedEgress::default());
        let memories = Arc::new(Memories::default());
        let parts = Parts {
            sandbox,
            egress: Arc::<ScriptedEgress>::clone(&egress),
            memories: Arc::<Memories>::clone(&memories),
            state_dir: dir.path().join("state"),
            limits: ProcessLimits::default(),
        };
        let agent = agent(&dir.path().join("w"));
        Self {
            tools: builtin(&parts, config),
            dir,
            agent,
            sandbox: Arc::new(ScriptedSandbox::default()),
            egress,
            memories,
            deadline: Duration::from_secs(60),
            n_calls: 0,
        }
    }

    /// With more tools than the built-in ones.
    pub(crate) fn add(&mut self, tools: Vec<Arc<dyn Tool>>) {
        self.tools.extend(tools);
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.workspace().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> String {
        std::fs::read_to_string(self.workspace().join(name)).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.workspace().join(name).exists()
    }

    pub(crate) fn tool(&self, name: &str) -> Arc<dyn Tool> {
        Arc::clone(self.tools.iter().find(|it| it.spec().name == name).unwrap())
    }

    pub(crate) fn call(&mut self, name: &str, args: Value) -> ToolCall {
        self.n_calls += 1;
        let id = CallId::mint(NOW, self.n_calls);
        ToolCall {
            id,
            wire_id: "w".to_owned(),
            name: name.to_owned(),
            args,
        }
    }

    pub(crate) fn permit(&self, call: ToolCall) -> Result<Permit, String> {
        let tool = self.tool(&call.name);
        let card = Card::new(tool.spec().clone()).unwrap();
        let workspace = self.workspace();
        let state_dir = self.dir.path().join("state");
        let facts = Facts {
            agent: &self.agent,
            session: self.cx().session,
            card: Some(&card),
            now: NOW,
            workspace: &workspace,
            allowed_dirs: &[],
            state_dir: &state_dir,
            home: Path::new("/nonexistent"),
            grants: &[],
            approved_digest: None,
            lowest_trust: Trust::Owner,
            by_owner: true,
        };
        match admit_call(call, &facts).verdict {
            Verdict::Admit(permit) => Ok(permit),
            Verdict::Ask(question) => {
                panic!("asked although the owner called: {}", question.reason)
            }
            Verdict::Deny(reason) => Err(reason),
        }
    }

    pub(crate) fn cx(&self) -> ToolCx {
        let scope = FileScope {
            workspace: self.workspace(),
            allowed_dirs: Vec::new(),
            denied: vec![self.dir.path().join("state")],
        };
        ToolCx {
            owner: OwnerId::local(),
            agent: Arc::new(self.agent.clone()),
            run: RunId::mint(NOW, 1),
            session: SessionId::mint(NOW, 1),
            thread: ThreadId::mint(NOW, 1),
            now: NOW,
            workspace: self.workspace(),
            files: adjutant_sandbox::paths::open(&scope).unwrap(),
            deadline: self.deadline,
        }
    }

    pub(crate) async fn try_run(
        &mut self,
        name: &str,
        args: Value,
    ) -> Result<ToolOutcome, ToolError> {
        let call = self.call(name, args);
        self.repeat(call).await
    }

    pub(crate) async fn repeat(&self, call: ToolCall) -> Result<ToolOutcome, ToolError> {
        let tool = self.tool(&call.name);
        let permit = self.permit(call).unwrap();
        tool.run(permit, &self.cx()).await
    }

    pub(crate) async fn run(&mut self, name: &str, args: Value) -> ToolOutcome {
        self.try_run(name, args).await.unwrap()
    }

    /// The text of a call that did its work.
    pub(crate) async fn done(&mut self, name: &str, args: Value) -> String {
        let outcome = self.run(name, args).await;
        assert!(!outcome.is_error(), "{outcome:?}");
        outcome.text().to_owned()
    }

    /// The sentence of a call that failed.
    pub(crate) async fn failed(&mut self, name: &str, args: Value) -> String {
        let outcome = self.run(name, args).await;
        assert!(matches!(outcome, ToolOutcome::Failed { .. }), "{outcome:?}");
        outcome.text().to_owned()
    }
}

fn agent(workspace: &Path) -> Agent {
    Agent {
        owner: OwnerId::local(),
        name: AgentId::main(),
        display_name: String::new(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: Vec::new(),
        trust_level: TrustLevel::L5,
        system_prompt: String::new(),
        tools: None,
        allowed_dirs: Vec::new(),
        workspace: workspace.display().to_string(),
        approval_policy: ApprovalPolicy::AskNewTools,
        vault_grants: Vec::new(),
        needs: Needs::default(),
        budget: AgentBudget::default(),
        limits: AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: NOW,
    }
}

/// Remembers what it was asked to start; answers from its script, then with success.
#[derive(Default)]
pub(crate) struct ScriptedSandbox {
    pub(crate) seen: Mutex<Vec<(Command, Profile)>>,
    pub(crate) script: Mutex<VecDeque<Result<ProcessOutcome, SandboxError>>>,
}

pub(crate) fn ended(ending: Ending, stdout: &str, stderr: &str) -> ProcessOutcome {
    ProcessOutcome {
        ending,
        stdout: Bytes::copy_from_slice(stdout.as_bytes()),
        stderr: Bytes::copy_from_slice(stderr.as_bytes()),
        stdout_total: stdout.len() as u64,
        stderr_total: stderr.len() as u64,
        elapsed: Duration::from_millis(1500),
    }
}

#[async_trait::async_trait]
impl Sandbox for ScriptedSandbox {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        self.seen.lock().unwrap().push((command, profile.clone()));
        let next = self.script.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Ok(ended(Ending::Exited { code: 0 }, "", "")))
    }

    async fn report(&self) -> SandboxReport {
        SandboxReport {
            driver: "scripted".to_owned(),
            available: true,
            floor: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// Remembers what it was asked to fetch; answers from its script.
#[derive(Default)]
pub(crate) struct ScriptedEgress {
    pub(crate) seen: Mutex<Vec<(Outgoing, EgressGrant)>>,
    pub(crate) script: Mutex<VecDeque<Result<Incoming, EgressError>>>,
}

#[async_trait::async_trait]
impl Egress for ScriptedEgress {
    async fn get(&self, request: Outgoing, grant: &EgressGrant) -> Result<Incoming, EgressError> {
        self.seen.lock().unwrap().push((request, grant.clone()));
        self.script.lock().unwrap().pop_front().unwrap()
    }
}

/// Facts in memory, found by plain words.
#[derive(Default)]
pub(crate) struct Memories {
    pub(crate) rows: Mutex<Vec<Memory>>,
}

#[async_trait::async_trait]
impl MemoryStore for Memories {
    async fn put_memory(&self, memory: Memory) -> Result<Memory, StoreError> {
        let mut rows = self.rows.lock().unwrap();
        let same_key =
            |it: &Memory| it.key.is_some() && it.key == memory.key && it.scope == memory.scope;
        rows.retain(|it| it.id != memory.id && !same_key(it));
        rows.push(memory.clone());
        Ok(memory)
    }

    async fn recall(
        &self,
        owner: &OwnerId,
        agent: Option<&AgentId>,
        session: Option<SessionId>,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Memory>, StoreError> {
        let rows = self.rows.lock().unwrap();
        let visible = |it: &&Memory| match &it.scope {
            MemoryScope::Owner => true,
            MemoryScope::Agent { agent: own } => Some(own) == agent,
            MemoryScope::Session { session: own } => Some(*own) == session,
        };
        let fits = |it: &&Memory| it.owner == *owner && it.text.contains(query);
        Ok(rows
            .iter()
            .rev()
            .filter(visible)
            .filter(fits)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn memory(&self, owner: &OwnerId, id: MemoryId) -> Result<Option<Memory>, StoreError> {
        Ok(self
            .rows
            .lock()
            .unwrap()
            .iter()
            .find(|it| it.id == id && it.owner == *owner)
            .cloned())
    }

    async fn forget(&self, owner: &OwnerId, ids: &[MemoryId]) -> Result<u64, StoreError> {
        let mut rows = self.rows.lock().unwrap();
        let before = rows.len();
        rows.retain(|it| it.owner != *owner || !ids.contains(&it.id));
        Ok((before - rows.len()) as u64)
    }
}
