//! Every door the engine uses, given once at the start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use adjutant_domain::agent::Agent;
use adjutant_domain::tool::ToolSpec;
use adjutant_policy::Card;
use adjutant_ports::files::FilesFor;
use adjutant_ports::provider::ModelTool;
use adjutant_ports::{Bus, Clock, Entropy, Models, Store, Tool};

/// Places on this machine that policy must know.
#[derive(Debug, Clone)]
pub struct Places {
    /// Our own state: never visible to an agent.
    pub state_dir: PathBuf,
    /// The owner's home.
    pub home: PathBuf,
}

/// A tool with its compiled card.
pub struct ToolEntry {
    /// The tool.
    pub tool: Arc<dyn Tool>,
    /// Its card.
    pub card: Card,
}

/// Why a set of tools cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// Two tools of one name.
    #[error("two tools are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// A schema that is none.
    #[error(transparent)]
    Card(#[from] adjutant_policy::CardError),
}

/// The tools of this installation, by name.
#[derive(Default)]
pub struct Toolbox {
    entries: BTreeMap<String, ToolEntry>,
}

impl Toolbox {
    /// Compiles every schema.
    ///
    /// # Errors
    /// [`ToolboxError`].
    pub fn new(tools: Vec<Arc<dyn Tool>>) -> Result<Self, ToolboxError> {
        let mut entries = BTreeMap::new();
        for tool in tools {
            let spec = tool.spec().clone();
            let name = spec.name.clone();
            let card = Card::new(spec)?;
            if entries
                .insert(name.clone(), ToolEntry { tool, card })
                .is_some()
            {
                return Err(ToolboxError::Twice { name });
            }
        }
        Ok(Self { entries })
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ToolEntry> {
        self.entries.get(name)
    }

    /// All specs, by name.
    #[must_use]
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.entries
            .values()
            .map(|e| e.card.spec().clone())
            .collect()
    }

    /// What this agent's model is offered: the tools its level and list allow, in a stable order.
    #[must_use]
    pub fn offered_to(&self, agent: &Agent) -> Vec<ModelTool> {
        self.entries
            .values()
            .map(|e| e.card.spec())
            .filter(|spec| spec.level <= agent.trust_level)
            .filter(|spec| {
                agent
                    .tools
                    .as_ref()
                    .is_none_or(|names| names.contains(&spec.name))
            })
            .map(|spec| ModelTool {
                name: spec.name.clone(),
                description: spec.description.clone(),
                schema: spec.schema.clone(),
            })
            .collect()
    }
}

/// The doors.
#[derive(Clone)]
pub struct Deps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub entropy: Arc<dyn Entropy>,
    /// Models.
    pub models: Arc<dyn Models>,
    /// Tools.
    pub tools: Arc<Toolbox>,
    /// Files of a scope.
    pub files: Arc<FilesFor>,
    /// Places.
    pub places: Places,
}
