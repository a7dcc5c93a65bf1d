//! A thousand runs at once against one dollar: is it ever passed?

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use crate::client::Client;
use crate::subject::{Home, free_port, mock};

/// One dollar.
const CAP: u64 = 1_000_000;

/// Connections that send.
const LANES: u32 = 16;

async fn send(port: u16, lane: u32, runs: u32) -> Result<()> {
    let mut client = Client::connect(port).await?;
    for n in (lane..runs).step_by(LANES as usize) {
        let params = json!({
            "sessionKey": format!("agent:main:b{n}"),
            "message": format!("reads={} hello", n % 3),
            "idempotencyKey": format!("b{n}"),
        });
        client.call("chat.send", params).await?;
    }
    Ok(())
}

/// Runs the test; the exit code is the verdict.
pub(crate) async fn run(binary: &Path, runs: u32) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let model = mock().await?;
    // A dear model, so that a dollar is gone long before the runs are: $20 and $80 per million tokens.
    let extra = "[budget]\nday = \"1.00\"\n[worker]\nruns_at_once = 64\n\
                 [gateway.rate]\nrequests_per_minute = 1000000\nburst = 1000000\n\
                 [providers.prices.\"openai/mock\"]\ninput = 20000000\noutput = 80000000\n";
    let home = Home::new(dir.path(), binary, model.port, extra).await?;
    let port = free_port()?;
    let (_gateway, _) = home.gateway(port).await?;
    let begun = Instant::now();
    // From several connections that read their answers: a client that only sends is cut, and rightly so.
    let mut senders = Vec::new();
    for lane in 0..LANES {
        senders.push(tokio::spawn(send(port, lane, runs)));
    }
    for sender in senders {
        sender.await??;
    }
    let mut most = 0;
    let (mut done, mut refused) = (0, 0);
    let mut watcher = Client::connect(port).await?;
    for n in 0..runs {
        loop {
            let end = watcher
                .call(
                    "agent.wait",
                    json!({ "runId": format!("b{n}"), "timeoutMs": 1_000 }),
                )
                .await;
            let status = watcher.call("budget.status", json!({})).await?;
            let used = used_today(&status);
            most = most.max(used);
            match end {
                Ok(end) if end["state"] == "done" => done += 1,
                Ok(end) if end["status"] == "timeout" && end["state"] != "unknown" => continue,
                Ok(_) | Err(_) => refused += 1,
            }
            break;
        }
        if Duration::from_secs(300) < begun.elapsed() {
            bail!("not all runs ended within five minutes");
        }
    }
    let status = watcher.call("budget.status", json!({})).await?;
    println!(
        "runs {runs} · done {done} · refused by the budget {refused} · {:?}",
        begun.elapsed()
    );
    println!(
        "spent {} µ$ of {CAP} µ$ · most ever seen {most} µ$ · {status}",
        used_today(&status)
    );
    if CAP < most || CAP < used_today(&status) {
        bail!("the cap was passed");
    }
    if done == 0 || refused == 0 {
        bail!("the test shows nothing: all runs ended the same way");
    }
    Ok(())
}

fn used_today(status: &serde_json::Value) -> u64 {
    status["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|s| s["scope"] == "day")
        .and_then(|s| s["usedMicro"].as_u64().or_else(|| s["usedMicros"].as_u64()))
        .unwrap_or(0)
}
