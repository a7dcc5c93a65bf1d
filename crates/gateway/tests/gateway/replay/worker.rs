//! A worker that answers as the recorded model did.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use adjutant_domain::id::{CallId, OwnerId};
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{Entry, Outcome, Signal, StopReason};
use adjutant_domain::tool::ToolOutcome;
use adjutant_ports::store::Claim;

use crate::world::World;

/// Between two pieces of a long answer.
const PACE: Duration = Duration::from_millis(60);

/// Works until the world is gone.
pub(crate) fn employ(world: &Arc<World>) -> JoinHandle<()> {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        loop {
            let claim = world.claim().await;
            work(&world, &claim).await;
        }
    })
}

async fn work(world: &World, claim: &Claim) {
    let asked = words(world, claim).await;
    match asked.rsplit_once(' ') {
        Some(("conform ping", which)) => say(world, claim, &format!("CONFORM-PONG {which}")).await,
        Some(("conform slow", which)) => talk_on(world, claim, which).await,
        _ if asked == "use the tool" => use_tool(world, claim).await,
        _ => say(world, claim, "PONG-7431 from the mock model.").await,
    }
}

async fn words(world: &World, claim: &Claim) -> String {
    for logged in &claim.log {
        if let Entry::Accepted { input, .. } = &logged.entry
            && let Some(id) = input.first()
        {
            let message = world.store.message(&OwnerId::local(), *id).await.unwrap();
            return message.map(|message| message.text()).unwrap_or_default();
        }
    }
    String::new()
}

async fn say(world: &World, claim: &Claim, text: &str) {
    world.pulse(claim, &text[..6]);
    world.pulse(claim, &text[6..]);
    let (message, mut entries) = world.reply(text);
    entries.push(World::done(message));
    world.append(claim, entries).await;
}

/// Says a piece, looks whether it should stop, says the next.
async fn talk_on(world: &World, claim: &Claim, which: &str) {
    let mut pieces = format!("CONFORM-SLOW {which} and on it goes").into_bytes();
    for _ in 0..400 {
        pieces.extend_from_slice(b" and on");
    }
    for piece in pieces.chunks(6) {
        world.pulse(claim, std::str::from_utf8(piece).unwrap());
        let signals = world
            .store
            .extend(claim.run.id, claim.fence, Duration::from_secs(30))
            .await
            .unwrap();
        for signal in signals {
            if let Signal::Cancel { by } = signal {
                let end = Entry::Finished {
                    outcome: Outcome::Cancelled { by: by.clone() },
                    usage: Usage::default(),
                    cost: Cost::Priced {
                        micros: Micros::ZERO,
                    },
                };
                world
                    .append(claim, vec![Entry::CancelAsked { by }, end])
                    .await;
                return;
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn use_tool(world: &World, claim: &Claim) {
    let call = CallId::mint(world.now(), world.roll());
    let (name, args) = ("exec".to_owned(), json!({ "command": "echo tool-ran" }));
    let wire_id = "call_1".to_owned();
    let (_, mut entries) = world.reply("");
    if let Some(Entry::ModelReplied { parts, stop, .. }) = entries.last_mut() {
        *stop = StopReason::ToolUse;
        *parts = vec![Part::ToolCall {
            call,
            wire_id: wire_id.clone(),
            name: name.clone(),
            args: args.clone(),
        }];
    }
    entries.push(Entry::CallAdmitted {
        call,
        trail: vec![],
    });
    entries.push(Entry::CallStarted {
        call,
        attempt: 1,
        name: name.clone(),
        args,
    });
    world.append(claim, entries).await;
    let (message, _) = world.reply("");
    let outcome = ToolOutcome::Failed {
        text: "tool-ran".to_owned(),
    };
    let done = Entry::CallFinished {
        call,
        wire_id,
        name,
        message,
        outcome,
        trail: vec![],
    };
    world.append(claim, vec![done]).await;
    say(world, claim, "The tool finished. CONFORM-TOOL-7431.").await;
}
