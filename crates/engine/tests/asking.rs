//! A request is written down before its intent is durable, and sent only afterwards, with the money that was held for it.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::future::FutureExt as _;
use futures::stream::{self, StreamExt as _};

use adjutant_domain::id::{AgentId, OwnerId, RunId, SessionKey, WorkerId};
use adjutant_domain::money::{Micros, Price, Usage};
use adjutant_domain::run::{Entry, FailKind, ModelFault, Outcome, RunStatus, Seq, StopReason};
use adjutant_engine::{Config, Deps, Home, Worker};
use adjutant_ports::provider::{
    Asking, ModelAsk, ModelEnd, ModelEvent, ModelInfo, Models, Provider, ProviderStatus,
    ReplyStream, Route,
};
use adjutant_ports::store::{Offer, RunIndex as _, RunStore as _, SessionStore as _};
use adjutant_sim::{MemoryStore, SimClock, SimEntropy};

#[path = "../examples/embedded/doors.rs"]
mod doors;

/// A micro-dollar for a token of output, and as good as nothing for the prompt.
const PRICE: Price = Price {
    input: 0,
    output: 1_000_000,
    cache_read: 0,
    cache_write: 0,
};

/// Tokens of output that were asked for.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
struct Seen {
    written: Vec<u32>,
    sent: Vec<u32>,
    /// Sent although the log did not end with the intent.
    unannounced: usize,
}

#[derive(Clone)]
struct Watcher {
    store: MemoryStore,
    seen: Arc<Mutex<Seen>>,
    /// Before anything is written down.
    before: Arc<dyn Fn() + Send + Sync>,
}

impl Watcher {
    async fn send(&self, output_tokens: u32) -> Result<ReplyStream, ModelFault> {
        let owner = OwnerId::local();
        let log = self.store.log(&owner, RunId::from_u128(1), Seq(1)).await;
        let is_last = matches!(
            log.unwrap().last().map(|it| &it.entry),
            Some(Entry::ModelAsked { .. })
        );
        let mut seen = self.seen.lock().unwrap();
        seen.sent.push(output_tokens);
        seen.unannounced += usize::from(!is_last);
        let end = ModelEnd {
            text: "done".to_owned(),
            thinking: Vec::new(),
            calls: Vec::new(),
            stop: StopReason::End,
            usage: Usage::default(),
        };
        Ok(stream::iter([Ok(ModelEvent::End(end))]).boxed())
    }
}

impl Provider for Watcher {
    fn stream(&self, ask: &ModelAsk) -> Asking<'_> {
        let output_tokens = ask.max_output_tokens;
        self.seen.lock().unwrap().written.push(output_tokens);
        self.send(output_tokens).boxed()
    }
}

impl Models for Watcher {
    fn route(&self, name: &str) -> Result<Route, String> {
        (self.before)();
        Ok(Route {
            name: name.to_owned(),
            model: name.to_owned(),
            provider: Arc::new(self.clone()),
            price: Some(PRICE),
            context_tokens: None,
            offline: true,
        })
    }

    fn default_route(&self) -> String {
        "watcher/one".to_owned()
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

fn worker(deps: Deps) -> Worker {
    let home = Home {
        host: "here".to_owned(),
        pid: 0,
        process: None,
        version: String::new(),
    };
    Worker::new(WorkerId::from_u128(1), home, deps, Config::default())
}

/// What a worker does with one message under this cap, and how its run stands afterwards. `before`: what happens before
/// anything is written down.
fn one_run(
    cap: Option<Micros>,
    before: impl Fn(&MemoryStore, &SimClock) + Send + Sync + 'static,
) -> (Seen, RunStatus) {
    let clock = SimClock::new();
    let (deps, store) = doors::in_memory(Arc::clone(&clock), Arc::new(SimEntropy::new(1)));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let watcher = Watcher {
        store: store.clone(),
        seen: Arc::clone(&seen),
        before: Arc::new({
            let store = store.clone();
            move || before(&store, &clock)
        }),
    };
    let status = block_on(async {
        doors::main_agent(&store).await.unwrap();
        let (owner, key) = (OwnerId::local(), SessionKey::main_of(&AgentId::main()));
        let session = store.open_session(&owner, &key, None, None).await.unwrap();
        let mut intake = doors::message(&session, "hello");
        intake.limits.budget.run_micros = cap;
        store.accept(intake).await.unwrap();
        let models = Arc::new(watcher);
        worker(Deps { models, ..deps }).run_until_idle().await;
        store.recent_runs(&owner, 1).await.unwrap().remove(0).status
    });
    let seen = seen.lock().unwrap().clone();
    (seen, status)
}

fn seen(written: &[u32], sent: &[u32]) -> Seen {
    Seen {
        written: written.to_vec(),
        sent: sent.to_vec(),
        unannounced: 0,
    }
}

// covers: R1
#[test]
fn what_is_sent_is_what_money_is_held_for() {
    let (asked, status) = one_run(None, |_, _| {});
    assert_eq!(asked, seen(&[4_096], &[4_096]));
    assert!(matches!(status, RunStatus::Finished { .. }));
    let (asked, status) = one_run(Some(Micros(1_000)), |_, _| {});
    assert_eq!(asked, seen(&[4_096, 1_000], &[1_000]));
    let RunStatus::Finished { outcome } = status else {
        panic!("{status:?}")
    };
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

#[test]
fn nothing_is_sent_without_money() {
    let (asked, status) = one_run(Some(Micros(255)), |_, _| {});
    assert_eq!(asked, seen(&[4_096], &[]));
    let RunStatus::Finished {
        outcome: Outcome::Failed { kind, .. },
    } = status
    else {
        panic!("{status:?}")
    };
    assert_eq!(kind, FailKind::Budget);
}

// covers: R3
#[test]
fn nothing_is_sent_when_the_run_is_somebody_elses_by_then() {
    let lease = Config::default().lease.duration();
    let is_taken = std::sync::Once::new();
    let (asked, status) = one_run(None, move |store, clock| {
        is_taken.call_once(|| {
            clock.pass(lease);
            let other = Offer::one(WorkerId::from_u128(2));
            // The store in memory answers at once.
            let taken = store.claim(&other, lease).now_or_never();
            assert_eq!(taken.unwrap().unwrap().len(), 1);
        });
    });
    assert_eq!(asked, seen(&[4_096], &[]));
    assert_eq!(status, RunStatus::Running);
}
