//! The doors that the example opens: everything in memory, a scripted model, no tools.

use std::path::PathBuf;
use std::sync::Arc;

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::{AgentId, MessageId, OwnerId, RunId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Role};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Limits, Run, Work};
use adjutant_domain::session::Session;
use adjutant_domain::time::Timestamp;
use adjutant_engine::{Deps, Places, Toolbox};
use adjutant_ports::files::{FileScope, FilesFor};
use adjutant_ports::store::{AgentStore as _, Intake, Stored, text_parts};
use adjutant_ports::{Bus, Clock, Entropy};
use adjutant_sim::{Effects, MemoryStore, NoFiles, ScriptModels, SimBus, SimClock, SimEntropy};

/// Doors and the store behind them, with this time and these dice.
pub(crate) fn in_memory(clock: Arc<SimClock>, dice: Arc<SimEntropy>) -> (Deps, MemoryStore) {
    let clock: Arc<dyn Clock> = clock;
    let entropy: Arc<dyn Entropy> = Arc::clone(&dice) as Arc<dyn Entropy>;
    let bus: Arc<dyn Bus> = SimBus::reliable();
    let store = MemoryStore::new(Arc::clone(&clock), Arc::clone(&entropy), Arc::clone(&bus));
    let models = ScriptModels::instant(dice, Arc::new(Effects::default()), Arc::clone(&clock));
    let files: Arc<FilesFor> = Arc::new(|_scope: &FileScope| Ok(Arc::new(NoFiles) as _));
    let deps = Deps {
        store: Arc::new(store.clone()),
        bus,
        clock,
        entropy,
        models,
        tools: Arc::new(Toolbox::default()),
        files,
        places: Places {
            state_dir: PathBuf::from("/nowhere"),
            home: PathBuf::from("/nowhere"),
        },
    };
    (deps, store)
}

/// An agent that only talks.
pub(crate) async fn main_agent(store: &MemoryStore) -> Stored<()> {
    let agent = Agent {
        owner: OwnerId::local(),
        name: AgentId::main(),
        display_name: "Embedded".to_owned(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: Vec::new(),
        trust_level: TrustLevel::L1,
        system_prompt: "Be brief.".to_owned(),
        tools: None,
        allowed_dirs: Vec::new(),
        workspace: "/nowhere".to_owned(),
        approval_policy: ApprovalPolicy::AskNewTools,
        vault_grants: Vec::new(),
        needs: Needs::default(),
        budget: AgentBudget::default(),
        limits: AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: Timestamp::default(),
    };
    store.put_agent(agent, None).await.map(|_stored| ())
}

/// A message that starts a run.
pub(crate) fn message(session: &Session, text: &str) -> Intake {
    let id = RunId::from_u128(1);
    Intake {
        run: Run {
            id,
            owner: session.owner.clone(),
            agent: session.agent.clone(),
            session: session.id,
            session_key: session.key.clone(),
            thread: session.thread,
            client_key: None,
            priority: 0,
            needs: Needs::default(),
        },
        message: Some(Message {
            id: MessageId::from_u128(1),
            thread: session.thread,
            seq: None,
            role: Role::User,
            parts: text_parts(text),
            run: Some(id),
            label: Label::of(Origin::Owner),
            at: session.created_at,
        }),
        limits: Limits::default(),
        work: Work::Chat,
        method: "embedded",
        digest: text.to_owned(),
    }
}
