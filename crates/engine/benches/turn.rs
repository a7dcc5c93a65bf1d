//! What the engine itself costs: a turn against a model that answers at once, over a store in memory, at 1, 8 and 64 runs.

use std::sync::Arc;

use adjutant_domain::id::{ClientKey, MessageId, OwnerId, RunId, SessionKey, WorkerId};
use adjutant_engine::{Config, Home, Worker};
use adjutant_ports::store::{RunStore as _, SessionStore as _};
use adjutant_sim::{SimClock, SimEntropy};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../examples/embedded/doors.rs"]
mod doors;

/// A store with `runs` queued runs, each in a session of its own, and a worker for them.
fn queued(runs: u32) -> Worker {
    let (deps, store) = doors::in_memory(SimClock::new(), Arc::new(SimEntropy::new(7)));
    futures::executor::block_on(async {
        doors::main_agent(&store).await.expect("the store is empty");
        for n in 0..runs {
            let key = SessionKey::parse(format!("agent:main:s{n}")).expect("a valid key");
            let owner = OwnerId::local();
            let session = store
                .open_session(&owner, &key, None, None)
                .await
                .expect("memory does not fail");
            let mut intake = doors::message(&session, "Say something.");
            intake.run.id = RunId::from_u128(u128::from(n) + 1);
            intake.run.client_key = Some(ClientKey::parse(format!("k{n}")).expect("a valid key"));
            if let Some(message) = &mut intake.message {
                message.id = MessageId::from_u128(u128::from(n) + 1);
                message.run = Some(intake.run.id);
            }
            store
                .accept(intake)
                .await
                .expect("the queue is long enough");
        }
    });
    let config = Config {
        runs_at_once: 64,
        ..Config::default()
    };
    Worker::new(
        WorkerId::from_u128(1),
        Home {
            host: "bench".to_owned(),
            pid: 1,
            process: None,
            version: String::new(),
        },
        deps,
        config,
    )
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine turn");
    for runs in [1_u32, 8, 64] {
        group.throughput(Throughput::Elements(u64::from(runs)));
        group.bench_function(format!("{runs} parallel"), |bench| {
            bench.iter_batched(
                || queued(runs),
                |worker| futures::executor::block_on(worker.run_until_idle()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
