//! What the model is shown of a long conversation that two workers take turns at: neither misses what the other did.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::FutureExt as _;
use futures::stream::{self, StreamExt as _};

use adjutant_domain::id::{AgentId, MessageId, Need, OwnerId, RunId, SessionKey, WorkerId};
use adjutant_domain::message::{Message, Role, text_of};
use adjutant_domain::money::Usage;
use adjutant_domain::need::Needs;
use adjutant_domain::run::{ModelFault, RunStatus, StopReason};
use adjutant_domain::session::Session;
use adjutant_engine::{Config, Deps, Home, Worker};
use adjutant_ports::Clock as _;
use adjutant_ports::provider::{
    Asking, ModelAsk, ModelEnd, ModelEvent, ModelInfo, Models, Provider, ProviderStatus,
    ReplyStream, Route,
};
use adjutant_ports::store::{
    Hidden, RunIndex as _, RunStore as _, SessionStore as _, ThreadStore as _,
};
use adjutant_sim::{Crash, MemoryStore, Scheduler, SimClock, SimEntropy};

#[path = "../examples/embedded/doors.rs"]
mod doors;

/// Messages with a position that a prompt has at most.
const HISTORY: u32 = 40;
/// Messages sent.
const TURNS: u64 = 90;
/// Room for short messages; when they are long, summaries are made on the way.
const CONTEXT_TOKENS: u32 = 2_600;

/// A model that compares what it is shown with what the store has.
#[derive(Clone)]
struct Reader {
    store: MemoryStore,
    session: Session,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    prompts: usize,
    full: usize,
    summaries: usize,
    differences: Vec<String>,
}

impl Reader {
    /// The newest messages that have a position, from words of the owner or a summary on.
    async fn expected(&self) -> Vec<String> {
        let (owner, thread) = (&self.session.owner, self.session.thread);
        let all = self
            .store
            .messages(owner, thread, 1_000, None, Hidden::Skip);
        let mut all = all.await.unwrap();
        all.retain(|message| message.seq.is_some());
        all.drain(..all.len().saturating_sub(HISTORY as usize));
        all.iter()
            .skip_while(|message| !matches!(message.role, Role::User | Role::Summary))
            .map(Message::text)
            .collect()
    }

    async fn compare(&self, ask: &ModelAsk) {
        let expected = self.expected().await;
        let shown: Vec<_> = ask.messages.iter().map(|m| text_of(&m.parts)).collect();
        let mut seen = self.seen.lock().unwrap();
        seen.prompts += 1;
        seen.full += usize::from(HISTORY as usize - 2 <= shown.len());
        // A summary stands between fence marks.
        let same = shown.len() == expected.len()
            && shown.iter().zip(&expected).all(|(a, b)| a.contains(b));
        if !same {
            seen.differences
                .push(format!("{shown:?} is not {expected:?}"));
        }
    }
}

impl Provider for Reader {
    fn stream(&self, ask: &ModelAsk) -> Asking<'_> {
        self.answer(ask.clone()).boxed()
    }
}

impl Reader {
    async fn answer(&self, ask: ModelAsk) -> Result<ReplyStream, ModelFault> {
        let last = ask.messages.last().map(|m| text_of(&m.parts)).unwrap();
        let text = if last.contains("conversation to summarise") {
            let mut seen = self.seen.lock().unwrap();
            seen.summaries += 1;
            format!("summary {}", seen.summaries)
        } else {
            self.compare(&ask).await;
            format!("answer to {last}")
        };
        let end = ModelEnd {
            text,
            thinking: Vec::new(),
            calls: Vec::new(),
            stop: StopReason::End,
            usage: Usage::default(),
        };
        Ok(stream::iter([Ok(ModelEvent::End(end))]).boxed())
    }
}

impl Models for Reader {
    fn route(&self, name: &str) -> Result<Route, String> {
        Ok(Route {
            name: name.to_owned(),
            model: name.to_owned(),
            provider: Arc::new(self.clone()),
            price: None,
            context_tokens: None,
            offline: true,
        })
    }

    fn default_route(&self) -> String {
        "reader/one".to_owned()
    }

    fn fallbacks(&self) -> Vec<String> {
        Vec::new()
    }

    fn list(&self) -> Vec<ModelInfo> {
        Vec::new()
    }

    fn status(&self) -> Vec<ProviderStatus> {
        Vec::new()
    }
}

/// Two workers, which the needs of a message tell apart.
const NAMES: [&str; 2] = ["left", "right"];

fn needs(name: &str) -> Needs {
    [Need::parse(name).unwrap()].into_iter().collect()
}

fn worker(n: usize, deps: Deps) -> Worker {
    let config = Config {
        history_messages: HISTORY,
        offers: needs(NAMES[n]),
        ..Config::default()
    };
    let home = Home {
        host: "here".to_owned(),
        pid: 0,
        process: None,
        version: String::new(),
    };
    Worker::new(WorkerId::from_u128(n as u128 + 1), home, deps, config)
}

/// Sends messages, in bursts that wait for each other, each for one of the workers.
async fn talk(store: MemoryStore, session: Session, clock: Arc<SimClock>, dice: Arc<SimEntropy>) {
    for n in 1..=TURNS {
        // First the count of messages bounds what is shown, then their length.
        let padding = if n <= TURNS / 2 { 60 } else { 300 };
        let text = format!("message {n} {}", "x".repeat(padding));
        let mut intake = doors::message(&session, &text);
        intake.run.id = RunId::from_u128(u128::from(n));
        intake.run.needs = needs(NAMES[usize::from(dice.chance(50))]);
        intake.limits.agent.context_tokens = CONTEXT_TOKENS;
        let message = intake.message.as_mut().unwrap();
        message.id = MessageId::from_u128(u128::from(n));
        message.run = Some(intake.run.id);
        store.accept(intake).await.unwrap();
        if dice.chance(60) {
            clock.sleep(Duration::from_secs(60)).await;
        }
    }
}

fn conversation(seed: u64) -> Seen {
    let clock = SimClock::new();
    let dice = Arc::new(SimEntropy::new(seed));
    let (deps, store) = doors::in_memory(Arc::clone(&clock), Arc::clone(&dice));
    let session = futures::executor::block_on(async {
        doors::main_agent(&store).await.unwrap();
        let key = SessionKey::main_of(&AgentId::main());
        let owner = OwnerId::local();
        store.open_session(&owner, &key, None, None).await.unwrap()
    });
    let seen = Arc::new(Mutex::new(Seen::default()));
    let reader = Reader {
        store: store.clone(),
        session: session.clone(),
        seen: Arc::clone(&seen),
    };
    let mut world = Scheduler::new(Arc::clone(&clock), Arc::clone(&dice));
    for n in 0..NAMES.len() {
        let deps = Deps {
            models: Arc::new(reader.clone()),
            ..deps.clone()
        };
        let never = futures::future::pending().boxed().shared();
        world.spawn_service(worker(n, deps).run(never), Crash::default());
    }
    world.spawn(talk(store.clone(), session, clock, dice).boxed());
    let is_done = || {
        let owner = OwnerId::local();
        let runs = futures::executor::block_on(store.recent_runs(&owner, 1_000)).unwrap();
        runs.len() as u64 == TURNS
            && runs
                .iter()
                .all(|run| matches!(run.status, RunStatus::Finished { .. }))
    };
    world.run(is_done, || None).unwrap();
    drop(world);
    std::mem::take(&mut *seen.lock().unwrap())
}

#[test]
fn two_workers_show_the_model_the_same_conversation() {
    for seed in 0..6 {
        let seen = conversation(seed);
        assert_eq!(seen.differences, Vec::<String>::new(), "seed {seed}");
        assert_eq!(seen.prompts as u64, TURNS, "seed {seed}");
        assert!(0 < seen.summaries, "seed {seed}: no summary was made");
        assert!(0 < seen.full, "seed {seed}: no window was full");
    }
}
