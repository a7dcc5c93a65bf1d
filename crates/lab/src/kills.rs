//! `kill -9` at random moments during five-tool runs: is anything lost, doubled or left in doubt without a word?
//!
//! Each run makes five `shell_run` calls (effect class *once*), each of which appends one line to a file of its own run. The
//! files are the witness: a line that is there twice is an effect that happened twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::client::Client;
use crate::percentile::percentile;
use crate::subject::{Home, Subject, free_port, mock};

/// Runs started between two kills.
const RUNS_PER_KILL: u32 = 2;
const TOOLS: u32 = 5;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Default)]
struct Tally {
    acknowledged: Vec<String>,
    unanswered: u32,
    kills: u32,
    recovery: Vec<Duration>,
}

/// Runs the campaign; the exit code is the verdict.
pub(crate) async fn run(binary: &Path, kills: u32, seed: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let model = mock().await?;
    // Many runs at once and no limit on requests: the campaign is about durability.
    let extra = "[worker]\nruns_at_once = 8\n[gateway.rate]\nrequests_per_minute = 1000000\nburst = 1000000\n";
    let home = Home::new(dir.path(), binary, model.port, extra).await?;
    let port = free_port()?;
    let (mut gateway, _) = home.gateway(port).await?;
    let mut client = Client::connect(port).await?;
    client
        .call("agents.trust", json!({ "agentId": "main", "level": 5 }))
        .await?;
    let agent = json!({
        "name": "main", "approvalPolicy": "auto",
        "workspace": home.dir.join("workspace"),
    });
    client
        .call("agents.update", json!({ "agent": agent }))
        .await?;
    let mut random = Random(seed);
    let mut tally = Tally::default();
    let begun = Instant::now();
    while tally.kills < kills {
        for n in 0..RUNS_PER_KILL {
            let key = format!("k{}-{n}", tally.kills);
            match tokio::time::timeout(Duration::from_secs(5), start(&mut client, &key)).await {
                Ok(Ok(())) => tally.acknowledged.push(key),
                _ => tally.unanswered += 1,
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        gateway.kill().await?;
        tally.kills += 1;
        let restarted = Instant::now();
        (gateway, _) = home.gateway(port).await?;
        tally.recovery.push(restarted.elapsed());
        client = Client::connect(port).await?;
        if tally.kills % 20 == 0 {
            println!(
                "{} kills, {} runs acknowledged, {:?}",
                tally.kills,
                tally.acknowledged.len(),
                begun.elapsed()
            );
        }
    }
    let verdict = judge(&home, &mut client, &tally).await?;
    stop(&mut gateway).await?;
    let verify = home.command().args(["verify", "--json"]).output().await?;
    let clean = verify.status.success();
    if !clean {
        println!("verify: {}", String::from_utf8_lossy(&verify.stdout));
    }
    println!(
        "kills {} · acknowledged {} · unanswered {} · ready again p50 {:?} p99 {:?} · {:?} in all",
        tally.kills,
        tally.acknowledged.len(),
        tally.unanswered,
        percentile(&tally.recovery, 50).unwrap_or_default(),
        percentile(&tally.recovery, 99).unwrap_or_default(),
        begun.elapsed()
    );
    println!(
        "{verdict} · verify {}",
        if clean { "clean" } else { "NOT CLEAN" }
    );
    if verdict.lost + verdict.doubled + verdict.unsettled + verdict.finals != 0 || !clean {
        bail!("something was lost, doubled or left without an end");
    }
    Ok(())
}

async fn start(client: &mut Client, key: &str) -> Result<()> {
    let message = format!("tools={TOOLS} command=echo {key}-{{n}} >> {key}.txt");
    let params = json!({ "sessionKey": format!("agent:main:{key}"), "message": message, "idempotencyKey": key });
    client.call("chat.send", params).await.map(|_| ())
}

#[derive(Default)]
struct Verdict {
    done: u32,
    failed: u32,
    lost: u32,
    unsettled: u32,
    doubled: u32,
    finals: u32,
    unknown: u32,
    effects: u32,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "done {} · failed {} · lost {} · without an end {} · effects {} · doubled {} · more than one final {} · unknown {}",
            self.done,
            self.failed,
            self.lost,
            self.unsettled,
            self.effects,
            self.doubled,
            self.finals,
            self.unknown
        )
    }
}

async fn judge(home: &Home, client: &mut Client, tally: &Tally) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for key in &tally.acknowledged {
        let waited = client
            .call("agent.wait", json!({ "runId": key, "timeoutMs": 120_000 }))
            .await;
        match waited {
            Err(error) => {
                println!("{key}: {error:#}");
                verdict.lost += 1;
            }
            Ok(end) => match end["state"].as_str() {
                Some("done") => verdict.done += 1,
                Some("failed" | "cancelled") => {
                    println!("{key}: {end}");
                    verdict.failed += 1;
                }
                _ => {
                    println!("{key}: {end}");
                    verdict.unsettled += 1;
                }
            },
        }
        let log = client.call("runs.log", json!({ "runId": key })).await?;
        let text = log.to_string();
        let finals = text.matches("\"type\":\"finished\"").count();
        if finals != 1 {
            println!("{key}: {finals} finals");
            verdict.finals += 1;
        }
        verdict.unknown += u32::try_from(text.matches("\"type\":\"unknown\"").count())?;
    }
    count_effects(&home.dir.join("workspace"), &mut verdict)?;
    Ok(verdict)
}

fn count_effects(workspace: &Path, verdict: &mut Verdict) -> Result<()> {
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    for entry in std::fs::read_dir(workspace).context("the workspace")? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            for line in std::fs::read_to_string(&path)?.lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    for (line, n) in lines {
        verdict.effects += 1;
        // An unknown call may be asked for again by the model, under the number of the next call: the mock never does.
        if 1 < n {
            println!("{line} happened {n} times");
            verdict.doubled += 1;
        }
    }
    Ok(())
}

async fn stop(gateway: &mut Subject) -> Result<()> {
    let pid = i32::try_from(gateway.pid())?;
    terminate(pid);
    tokio::time::timeout(Duration::from_secs(20), gateway.child.wait())
        .await
        .context("the gateway did not stop")??;
    Ok(())
}

/// Asks a process to end.
fn terminate(pid: i32) {
    drop(
        std::process::Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status(),
    );
}
