//! The engine in your own program, without a gateway: a store, a model, a message, an answer.
//!
//! `cargo run -p adjutant-engine --example embedded`

use std::sync::Arc;

use adjutant_domain::id::{AgentId, OwnerId, SessionKey, WorkerId};
use adjutant_engine::{Config, Home, Worker};
use adjutant_ports::store::{Hidden, RunStore as _, SessionStore as _, ThreadStore as _};
use adjutant_sim::{SimClock, SimEntropy};

#[path = "embedded/doors.rs"]
mod doors;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (deps, store) = doors::in_memory(SimClock::new(), Arc::new(SimEntropy::new(7)));
    futures::executor::block_on(async {
        let owner = OwnerId::local();
        doors::main_agent(&store).await?;
        let session = store
            .open_session(&owner, &SessionKey::main_of(&AgentId::main()), None, None)
            .await?;
        store
            .accept(doors::message(&session, "Say something."))
            .await?;
        let worker = Worker::new(
            WorkerId::from_u128(1),
            Home {
                host: "here".to_owned(),
                pid: 0,
                process: None,
                version: String::new(),
            },
            deps,
            Config::default(),
        );
        worker.run_until_idle().await;
        for message in store
            .messages(&owner, session.thread, 10, None, Hidden::Skip)
            .await?
        {
            println!("{:?}: {}", message.role, message.text());
        }
        Ok(())
    })
}
