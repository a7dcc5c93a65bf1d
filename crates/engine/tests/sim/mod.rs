//! A world: some sessions, some runs, some workers, a person who answers, and a fault plan.

mod check;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::FutureExt as _;
use serde_json::json;

use adjutant_domain::agent::{Agent, AgentBudget, AgentLimits, ApprovalPolicy, TrustLevel};
use adjutant_domain::approval::Choice;
use adjutant_domain::id::{AgentId, ClientKey, MessageId, OwnerId, RunId, SessionKey, WorkerId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::money::Micros;
use adjutant_domain::need::Needs;
use adjutant_domain::run::{Limits, Run, Signal, Work};
use adjutant_domain::time::{Span, Timestamp};
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolSpec};
use adjutant_engine::{Config, Deps, Home, Places, Toolbox, Worker};
use adjutant_ports::files::FilesFor;
use adjutant_ports::store::WorkerStore as _;
use adjutant_ports::store::{
    Accepted, AgentStore as _, Intake, PolicyStore as _, RunStore as _, SessionStore as _,
    StoreError,
};
use adjutant_ports::{Bus, Clock, Entropy, Tool};
use adjutant_sim::{
    Crash, Effects, Faults, MemoryStore, NoFiles, Scheduler, ScriptModels, ScriptTool, SimBus,
    SimClock, SimEntropy, Weakness,
};

/// What may go wrong, and how much happens.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Runs started.
    pub(crate) runs: u64,
    /// Workers.
    pub(crate) workers: u64,
    /// Chance of each write fault, in percent.
    pub(crate) write_faults: u64,
    /// Chance of a model fault, in percent.
    pub(crate) model_faults: u64,
    /// Chance that a hint is lost, in percent.
    pub(crate) lost_hints: u64,
    /// Whether the wall clock jumps.
    pub(crate) clock_jumps: bool,
    /// Whether somebody moves runs and drains workers.
    pub(crate) orders: bool,
    /// Whether the store is away for a while, now and then, for everybody.
    pub(crate) outages: bool,
    /// Whether a small day cap applies.
    pub(crate) cap: bool,
    /// Which guard of the store is missing.
    pub(crate) weakness: Weakness,
    /// Whether the engine is lied to about the tool that must run once.
    pub(crate) once_is_declared_a_read: bool,
}

impl Plan {
    /// Every fault at once.
    pub(crate) fn everything() -> Self {
        Self {
            runs: 3,
            workers: 2,
            write_faults: 4,
            model_faults: 8,
            lost_hints: 20,
            clock_jumps: true,
            orders: true,
            outages: true,
            cap: false,
            weakness: Weakness::None,
            once_is_declared_a_read: false,
        }
    }
}

/// The cap of a capped world: enough for a few calls, not for all.
pub(crate) const CAP: Micros = Micros(60_000);

/// What a seed came to.
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) findings: Vec<String>,
    pub(crate) history: String,
}

/// Runs seeds on every core; returns the lowest that fails.
pub(crate) fn seeds(n: u64, plan: &Plan) -> Option<Report> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn(move || {
                    (0..n).filter(|seed| seed % threads == t).find_map(|seed| {
                        let report = World::new(seed, plan).run();
                        (!report.findings.is_empty()).then_some(report)
                    })
                })
            })
            .collect();
        handles
            .into_iter()
            .filter_map(|h| h.join().expect("a simulation panicked"))
            .min_by_key(|r| r.seed)
    })
}

/// One world.
pub(crate) struct World {
    seed: u64,
    plan: Plan,
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    bus: Arc<SimBus>,
    store: MemoryStore,
    effects: Arc<Effects>,
    accepted: Arc<Mutex<Vec<RunId>>>,
    problems: Arc<Mutex<Vec<String>>>,
}

fn spec(name: &str, effect: Effect, class: ActionClass, operands: Vec<Operand>) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: "scripted".to_owned(),
        schema: json!({ "type": "object" }),
        effect,
        level: TrustLevel::L2,
        class,
        operands,
        asks_owner: false,
    }
}

fn agent() -> Agent {
    Agent {
        owner: OwnerId::local(),
        name: AgentId::main(),
        display_name: "Main".to_owned(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: Vec::new(),
        trust_level: TrustLevel::L4,
        system_prompt: String::new(),
        tools: None,
        allowed_dirs: Vec::new(),
        workspace: "/w".to_owned(),
        approval_policy: ApprovalPolicy::AskNewTools,
        vault_grants: Vec::new(),
        needs: Needs::default(),
        budget: AgentBudget::default(),
        limits: AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: Timestamp::default(),
    }
}

impl World {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        let clock = SimClock::new();
        let entropy = Arc::new(SimEntropy::new(
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0xad1,
        ));
        let bus = SimBus::lossy(Arc::clone(&entropy), plan.lost_hints);
        let store = MemoryStore::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&entropy) as Arc<dyn Entropy>,
            Arc::clone(&bus) as Arc<dyn Bus>,
        )
        .weakened(plan.weakness);
        Self {
            seed,
            plan: plan.clone(),
            clock,
            entropy,
            bus,
            store,
            effects: Arc::default(),
            accepted: Arc::default(),
            problems: Arc::default(),
        }
    }

    fn deps(&self, store: MemoryStore) -> Deps {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let once = if self.plan.once_is_declared_a_read {
            Effect::Reads
        } else {
            Effect::Once
        };
        let kinds = [
            (
                spec("look", Effect::Reads, ActionClass::Read, vec![]),
                Origin::Command,
            ),
            (
                spec("page", Effect::Reads, ActionClass::Read, vec![]),
                Origin::Web {
                    url: "https://e.com".to_owned(),
                },
            ),
            (
                spec("put", Effect::Idempotent, ActionClass::Remember, vec![]),
                Origin::Command,
            ),
            (
                spec("send", once, ActionClass::Read, vec![]),
                Origin::Command,
            ),
            (
                spec("write", Effect::Once, ActionClass::Write, vec![]),
                Origin::Command,
            ),
        ];
        let tools: Vec<Arc<dyn Tool>> = kinds
            .into_iter()
            .map(|(spec, origin)| {
                Arc::new(ScriptTool::new(
                    spec,
                    origin,
                    Arc::clone(&self.effects),
                    self.store.clone(),
                    Arc::clone(&clock),
                    Arc::clone(&self.entropy),
                )) as Arc<dyn Tool>
            })
            .collect();
        let names = ["look", "page", "put", "send", "write", "missing"]
            .map(str::to_owned)
            .to_vec();
        let models = ScriptModels::new(
            Arc::clone(&self.entropy),
            Arc::clone(&self.effects),
            Arc::clone(&clock),
            names,
            self.plan.model_faults,
        );
        let files: Arc<FilesFor> =
            Arc::new(|_scope: &adjutant_ports::files::FileScope| Ok(Arc::new(NoFiles) as _));
        Deps {
            store: Arc::new(store),
            bus: Arc::clone(&self.bus) as Arc<dyn Bus>,
            clock,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            models,
            tools: Arc::new(Toolbox::new(tools).expect("scripted tools have names and schemas")),
            files,
            places: Places {
                state_dir: PathBuf::from("/state"),
                home: PathBuf::from("/home/o"),
            },
        }
    }

    fn worker(&self) -> (futures::future::BoxFuture<'static, ()>, Crash) {
        let crash = Crash::default();
        let faults = Faults {
            entropy: Arc::clone(&self.entropy),
            crash: crash.clone(),
            crash_before: self.plan.write_faults,
            crash_after: self.plan.write_faults,
            stall: self.plan.write_faults / 2,
            fail_before: self.plan.write_faults / 2,
            fail_after: self.plan.write_faults / 2,
            stall_for: Duration::from_secs(40),
        };
        let store = self.store.with_faults(Arc::new(faults));
        let id = WorkerId::mint(self.clock.now(), self.entropy.next_u128());
        let worker = Worker::new(
            id,
            Home {
                host: "sim".to_owned(),
                pid: 1,
                process: None,
                version: String::new(),
            },
            self.deps(store),
            Config::default(),
        );
        let never = futures::future::pending().boxed().shared();
        let over = crash.clone();
        let life = async move {
            worker.run(never).await;
            // Whoever runs workers starts another when one has drained.
            over.now();
        };
        (life.boxed(), crash)
    }

    fn limits(&self) -> Limits {
        let agent = AgentLimits {
            max_steps: 8,
            approval_timeout: Span::from_secs(60),
            max_output_tokens: 512,
            ..AgentLimits::default()
        };
        let day_micros = self.plan.cap.then_some(CAP);
        Limits {
            agent,
            budget: AgentBudget {
                day_micros,
                ..AgentBudget::default()
            },
        }
    }

    /// A person sends messages, some of them twice; sometimes stops one.
    async fn client(self: Arc<Self>, n: u64) {
        let owner = OwnerId::local();
        self.clock
            .sleep(Duration::from_millis(self.entropy.below(3_000)))
            .await;
        let key = SessionKey::parse(format!("agent:main:s{}", n % 3)).expect("a valid key");
        let session = self
            .store
            .open_session(&owner, &key, None, None)
            .await
            .expect("memory does not fail");
        let now = self.clock.now();
        let id = RunId::mint(now, self.entropy.next_u128());
        let intake = Intake {
            run: Run {
                id,
                owner: owner.clone(),
                agent: AgentId::main(),
                session: session.id,
                session_key: key,
                thread: session.thread,
                client_key: Some(ClientKey::parse(format!("k{n}")).expect("a valid key")),
                priority: 0,
                needs: Needs::default(),
            },
            message: Some(Message {
                id: MessageId::mint(now, self.entropy.next_u128()),
                thread: session.thread,
                seq: None,
                role: Role::User,
                parts: vec![Part::Text {
                    text: format!("do thing {n}"),
                }],
                run: Some(id),
                label: Label::of(Origin::Owner),
                at: now,
            }),
            limits: self.limits(),
            work: Work::Chat,
            method: "chat.send",
            digest: format!("d{n}"),
        };
        let mut first = None;
        for _ in 0..=self.entropy.below(2) {
            let accepted = self
                .store
                .accept(intake.clone())
                .await
                .expect("the queue is long enough");
            let run = accepted.run();
            if first.is_some_and(|f| f != run)
                || (first.is_some() && matches!(accepted, Accepted::New { .. }))
            {
                self.problems
                    .lock()
                    .unwrap()
                    .push(format!("the same key started {run} as well"));
            }
            first.get_or_insert(run);
        }
        self.accepted.lock().unwrap().extend(first);
        let other = Intake {
            digest: "other".to_owned(),
            ..intake
        };
        if !matches!(self.store.accept(other).await, Err(StoreError::KeyReused)) {
            self.problems
                .lock()
                .unwrap()
                .push("a key was accepted for another body".to_owned());
        }
        if self.entropy.chance(30) {
            self.clock
                .sleep(Duration::from_millis(self.entropy.below(2_000)))
                .await;
            let message = MessageId::mint(self.clock.now(), self.entropy.next_u128());
            let text = "one thing more".to_owned();
            if let Some(run) = first {
                self.store
                    .signal(&owner, run, Signal::Steer { message, text })
                    .await
                    .expect("memory does not fail");
            }
        }
        if self.entropy.chance(15) {
            self.clock
                .sleep(Duration::from_millis(self.entropy.below(2_000)))
                .await;
            let by = "the owner".to_owned();
            if let Some(run) = first {
                self.store
                    .signal(&owner, run, Signal::Cancel { by })
                    .await
                    .expect("memory does not fail");
            }
        }
    }

    /// A person answers questions: yes, no, for good, or not at all.
    async fn approver(self: Arc<Self>) {
        let owner = OwnerId::local();
        loop {
            self.clock.sleep(Duration::from_secs(3)).await;
            let open = self
                .store
                .approvals(&owner, true, 100)
                .await
                .expect("memory does not fail");
            for approval in open {
                let choice = match self.entropy.below(6) {
                    0 => Choice::Once,
                    1 => Choice::Session,
                    2 => Choice::For {
                        span: Span::from_secs(60),
                    },
                    3 => Choice::Deny,
                    _ => continue,
                };
                // Somebody may have been first, or it has just expired: both are fine.
                drop(
                    self.store
                        .resolve_approval(&owner, approval.id, choice, "the owner")
                        .await,
                );
            }
        }
    }

    /// Somebody who moves runs, to dead workers too, and drains workers.
    async fn foreman(self: Arc<Self>) {
        let owner = OwnerId::local();
        loop {
            self.clock
                .sleep(Duration::from_millis(500 + self.entropy.below(8_000)))
                .await;
            let workers = self.store.workers().await.expect("memory does not fail");
            let Some(last) = (workers.len() as u64).checked_sub(1) else {
                continue;
            };
            let n = usize::try_from(self.entropy.below(last + 1)).unwrap_or(0);
            let to = workers[n].info.id;
            if self.entropy.chance(25) {
                self.store
                    .drain_worker(to)
                    .await
                    .expect("memory does not fail");
                continue;
            }
            let runs = self.accepted.lock().unwrap().clone();
            let n = self.entropy.below(runs.len().max(1) as u64);
            let run = runs.into_iter().nth(usize::try_from(n).unwrap_or(0));
            if let Some(run) = run {
                let by = "the foreman".to_owned();
                self.store
                    .signal(&owner, run, Signal::Move { to, by })
                    .await
                    .expect("memory does not fail");
            }
        }
    }

    async fn jumper(self: Arc<Self>) {
        loop {
            self.clock
                .sleep(Duration::from_secs(1 + self.entropy.below(30)))
                .await;
            if self.entropy.chance(20) {
                let hour = 3_600_000;
                self.clock
                    .jump(if self.entropy.chance(50) { hour } else { -hour });
            }
        }
    }

    /// Takes the store away from every worker, longer than any of them is willing to wait, and shorter than a lease or longer.
    async fn outages(self: Arc<Self>) {
        loop {
            let rest = 5 + self.entropy.below(60);
            self.clock.sleep(Duration::from_secs(rest)).await;
            if self.entropy.chance(30) {
                self.store.set_away(true);
                let away = 1 + self.entropy.below(45);
                self.clock.sleep(Duration::from_secs(away)).await;
                self.store.set_away(false);
            }
        }
    }

    pub(crate) fn run(self) -> Report {
        let world = Arc::new(self);
        let mut scheduler = Scheduler::new(Arc::clone(&world.clock), Arc::clone(&world.entropy));
        futures::executor::block_on(world.store.put_agent(agent(), None))
            .expect("the store is empty");
        for n in 0..world.plan.runs {
            scheduler.spawn(Arc::clone(&world).client(n).boxed());
        }
        scheduler.spawn_service(Arc::clone(&world).approver().boxed(), Crash::default());
        if world.plan.clock_jumps {
            scheduler.spawn_service(Arc::clone(&world).jumper().boxed(), Crash::default());
        }
        // In every third world, because it costs as much as the rest.
        if world.plan.orders && world.seed.is_multiple_of(3) {
            scheduler.spawn_service(Arc::clone(&world).foreman().boxed(), Crash::default());
        }
        if world.plan.outages {
            scheduler.spawn_service(Arc::clone(&world).outages().boxed(), Crash::default());
        }
        for _ in 0..world.plan.workers {
            let (worker, crash) = world.worker();
            scheduler.spawn_service(worker, crash);
        }
        let ended = scheduler.run(|| world.store.all_over(), || Some(world.worker()));
        let snapshot = world.store.snapshot();
        let mut findings = check::all(
            &world.plan,
            &snapshot,
            &world.effects,
            &world.accepted.lock().unwrap(),
        );
        findings.extend(world.problems.lock().unwrap().iter().cloned());
        if let Err(stuck) = ended {
            findings.push(stuck);
        }
        Report {
            seed: world.seed,
            findings,
            history: check::history(&snapshot),
        }
    }
}
