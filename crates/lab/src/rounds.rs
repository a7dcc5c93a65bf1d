//! What is measured in rounds: everything that is compared has its turn in each of them, so that a busy minute of the
//! machine falls on all of it alike, and the median of the rounds counts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::client::{Client, turn};
use crate::percentile::median;
use crate::subject::Subject;

/// Calls of one subject before the other has its turn.
const CALLS_PER_ROUND: u32 = 50;

/// Microseconds from sending `status` to having its answer, of each subject.
pub(crate) async fn status(subjects: [&Subject; 2], calls: u32) -> Result<[f64; 2]> {
    let mut clients = Vec::new();
    for subject in subjects {
        clients.push((Client::connect(subject.port).await?, Vec::new()));
    }
    for _ in 0..calls.div_ceil(CALLS_PER_ROUND) {
        for (client, took) in &mut clients {
            for _ in 0..CALLS_PER_ROUND {
                took.push(client.round_trip("status", json!({})).await?.as_secs_f64() * 1e6);
            }
        }
    }
    let mut medians = clients.iter().map(|(_, took)| median(took));
    let mut next = || medians.next().context("a subject is missing");
    Ok([next()?, next()?])
}

/// A conversation that grows by what is measured: a short one is begun anew in every round.
const SHORT_MAX: u32 = 100;

/// Milliseconds of a turn at each of these messages of a conversation.
pub(crate) async fn history(subject: &Subject, marks: &[u32], rounds: u32) -> Result<Vec<f64>> {
    let mut client = Client::connect(subject.port).await?;
    let mut took = vec![Vec::new(); marks.len()];
    for round in 0..rounds {
        for (mark, took) in marks.iter().zip(&mut took) {
            let is_short = *mark < SHORT_MAX;
            let name = format!("long{mark}-{}", if is_short { round } else { 0 });
            let session = format!("agent:main:{name}");
            if is_short || round == 0 {
                fill(&mut client, &session, &name, *mark).await?;
            }
            client.listen_to(&session).await?;
            let key = format!("{name}-round{round}");
            let turn = turn(&mut client, &session, &key, "Say ok.").await?;
            took.push(
                Duration::from_nanos(turn.ended.saturating_sub(turn.sent)).as_secs_f64() * 1e3,
            );
        }
    }
    Ok(took.iter().map(|took| median(took)).collect())
}

/// Turns until the next one ends with message `mark`.
async fn fill(client: &mut Client, session: &str, name: &str, mark: u32) -> Result<()> {
    client.listen_to(session).await?;
    for n in 1..mark / 2 {
        turn(client, session, &format!("{name}-{n}"), "Say ok.").await?;
    }
    Ok(())
}
