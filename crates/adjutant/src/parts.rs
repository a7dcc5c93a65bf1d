//! Builds the parts of a running Adjutant and hands them to each other. Decides nothing about the product.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits};
use adjutant_domain::id::{OwnerId, WorkerId};
use adjutant_domain::money::Micros;
use adjutant_domain::need::Needs;
use adjutant_domain::run::Limits;
use adjutant_domain::time::Timestamp;
use adjutant_engine::{Deps, Home, Places, Toolbox, Worker};
use adjutant_gateway::{CanvasDoor, NodesDoor};
use adjutant_ports::files::{FileError, FileScope, Files, FilesFor};
use adjutant_ports::store::StoreError;
use adjutant_ports::{Bus, Canvas, Clock, Entropy, Models, Nodes, Store};
use adjutant_providers::Registry;
use adjutant_sandbox::EgressBroker;
use adjutant_store::{LocalBus, Lock, OpenError, Postgres, PostgresError, Sqlite};

use crate::config::Config;
use crate::doors::{OsEntropy, SystemClock};

/// Why the parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// The store, once open.
    #[error("the store does not work")]
    Use(#[from] StoreError),
    /// The providers' section.
    #[error(transparent)]
    Providers(#[from] adjutant_providers::BuildError),
    /// The tools.
    #[error(transparent)]
    Tools(#[from] adjutant_engine::ToolboxError),
    /// A folder.
    #[error("cannot use `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The doors that every shape of the program shares.
pub(crate) struct Doors {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) bus: Arc<dyn Bus>,
    /// To the devices of the gateway of this process.
    pub(crate) nodes: Arc<NodesDoor>,
    /// To what agents show at the gateway of this process.
    pub(crate) canvas: Arc<CanvasDoor>,
}

impl Doors {
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
            bus: Arc::new(LocalBus::new()),
            nodes: Arc::default(),
            canvas: Arc::default(),
        }
    }
}

/// An installation with its store open.
pub(crate) struct Parts {
    pub(crate) home: PathBuf,
    pub(crate) config: Arc<Config>,
    pub(crate) doors: Doors,
    pub(crate) store: Arc<dyn Store>,
    /// Host and name of the database, when the store is not the SQLite file.
    pub(crate) database: Option<String>,
    /// Of the state directory, where the store is not what holds it.
    lock: Option<Lock>,
    pub(crate) models: Arc<Registry>,
    pub(crate) owner: OwnerId,
}

impl Parts {
    /// Opens the store (taking the lock of the state directory if it is in there) and builds what does not depend on a port.
    pub(crate) async fn open(home: &Path, config: Arc<Config>) -> Result<Self, PartsError> {
        let mut doors = Doors::new();
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let database = adjutant_store::database(&config.store, &env)?;
        let shown = database.as_ref().map(|it| it.shown()).transpose()?;
        let (clock, entropy) = (Arc::clone(&doors.clock), Arc::clone(&doors.entropy));
        let settings = config.store.clone();
        let store: Arc<dyn Store> = match database {
            Some(options) => {
                let store = Postgres::open(options, clock, entropy, settings).await?;
                doors.bus = store.bus();
                store
            }
            None => Sqlite::open(home, clock, Arc::clone(&doors.bus), entropy, settings)?,
        };
        let models = Registry::build(&config.providers, &env, Arc::clone(&doors.clock))?;
        let parts = Self {
            home: home.to_owned(),
            config,
            doors,
            store,
            database: shown,
            lock: None,
            models,
            owner: OwnerId::local(),
        };
        parts.ensure_main_agent().await?;
        Ok(parts)
    }

    /// Whether other processes may use the store too: then nothing here knows who lives and who is dead.
    pub(crate) fn is_shared(&self) -> bool {
        self.database.is_some()
    }

    /// Makes this process the one of the state directory, if opening the store has not (R14).
    pub(crate) fn hold_directory(&mut self) -> Result<(), PartsError> {
        if self.is_shared() && self.lock.is_none() {
            let lock = Lock::acquire(&self.home).map_err(OpenError::from)?;
            self.lock = Some(lock);
        }
        Ok(())
    }

    /// The engine's doors. `port` is the gateway's own, which no tool may reach.
    pub(crate) fn engine(&self, port: Option<u16>) -> Result<Deps, PartsError> {
        let sandbox = adjutant_sandbox::best(&self.config.sandbox);
        let egress = Arc::new(EgressBroker::new(port.into_iter().collect()));
        let parts = adjutant_tools::Parts {
            sandbox,
            egress,
            memories: Arc::clone(&self.store) as Arc<dyn adjutant_ports::store::MemoryStore>,
            state_dir: self.home.clone(),
            limits: self.config.sandbox.limits(),
        };
        let mut tools = adjutant_tools::builtin(&parts, &self.config.tools);
        if port.is_some() {
            let door = Arc::clone(&self.doors.nodes) as Arc<dyn Nodes>;
            tools.extend(adjutant_tools::nodes(&door, &self.config.tools));
            if self.config.gateway.canvas.enabled {
                let door = Arc::clone(&self.doors.canvas) as Arc<dyn Canvas>;
                tools.extend(adjutant_tools::canvas(&door, &self.config.tools));
            }
        }
        let tools = Toolbox::new(tools)?;
        let files: Arc<FilesFor> =
            Arc::new(|scope: &FileScope| -> Result<Arc<dyn Files>, FileError> {
                adjutant_sandbox::paths::open(scope)
            });
        Ok(Deps {
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.doors.bus),
            clock: Arc::clone(&self.doors.clock),
            entropy: Arc::clone(&self.doors.entropy),
            models: Arc::clone(&self.models) as Arc<dyn Models>,
            tools: Arc::new(tools),
            files,
            places: Places {
                state_dir: self.home.clone(),
                home: crate::home::user_home().unwrap_or_default(),
            },
        })
    }

    /// Takes over what a predecessor held. Whoever holds the lock of the directory knows that it is dead (R36); who shares a
    /// database looks at the processes of this machine instead ([`crate::takeover`]), and waits for leases of others.
    pub(crate) async fn release_dead_claims(&self) -> Result<u64, StoreError> {
        if self.is_shared() {
            return Ok(0);
        }
        self.store.release_dead_claims().await
    }

    /// A worker with a fresh name.
    pub(crate) fn worker(&self, deps: Deps) -> Worker {
        let id = WorkerId::mint(self.doors.clock.now(), self.doors.entropy.next_u128());
        Worker::new(
            id,
            Home {
                host: crate::home::host_name(),
                pid: std::process::id(),
                process: crate::platform::process_mark(None),
                version: crate::VERSION.to_owned(),
            },
            deps,
            self.config.worker.clone(),
        )
    }

    /// Says which tools there are, so that a gateway without workers can list them.
    pub(crate) async fn announce(&self, deps: &Deps) -> Result<(), PartsError> {
        Ok(self.store.announce_tools(&deps.tools.specs()).await?)
    }

    /// The agent of a fresh installation: it may do what its level allows, and asks for all that is not reading.
    async fn ensure_main_agent(&self) -> Result<(), PartsError> {
        let defaults = &self.config.agents;
        let name = defaults.default.clone();
        let workspace = defaults
            .workspace
            .as_ref()
            .map_or_else(|| self.home.join("workspace"), PathBuf::from);
        if self.store.agent(&self.owner, &name).await?.is_none() {
            make_private_dir(&workspace)?;
            let agent = Agent {
                owner: self.owner.clone(),
                display_name: "Adjutant".to_owned(),
                description: "The agent of this installation.".to_owned(),
                provider: None,
                model: None,
                fallbacks: Vec::new(),
                trust_level: defaults.trust_level,
                system_prompt: String::new(),
                tools: None,
                allowed_dirs: Vec::new(),
                workspace: workspace.to_string_lossy().into_owned(),
                approval_policy: defaults.approval_policy,
                vault_grants: Vec::new(),
                needs: Needs::default(),
                budget: AgentBudget::default(),
                limits: AgentLimits::default(),
                reflect: true,
                revision: 0,
                updated_at: Timestamp::default(),
                name,
            };
            match self.store.put_agent(agent, None).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The limits of a run of `agent`: its own, and the tighter of its budget and the installation's.
pub(crate) fn limits_for(caps: &AgentBudget, agent: &Agent) -> Limits {
    let tighter = |own: Option<Micros>, all: Option<Micros>| match (own, all) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Limits {
        agent: agent.limits.clone(),
        budget: AgentBudget {
            run_micros: tighter(agent.budget.run_micros, caps.run_micros),
            session_micros: tighter(agent.budget.session_micros, caps.session_micros),
            day_micros: tighter(agent.budget.day_micros, caps.day_micros),
        },
    }
}

/// Makes a folder that only the owner can enter, whatever the umask says (S48).
pub(crate) fn make_private_dir(path: &Path) -> Result<(), PartsError> {
    crate::platform::folders(0o700)
        .recursive(true)
        .create(path)
        .map_err(|source| PartsError::Io {
            path: path.to_owned(),
            source,
        })
}
