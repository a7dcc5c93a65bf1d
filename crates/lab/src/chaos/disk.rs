//! SQLite on a disk that is full, and on one that can only be read.
//!
//! Both need a small file system of their own, which only root can mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use serde_json::json;

use super::Scenario;
use super::cluster::is_root;
use super::cx::{Cx, NotHere};
use super::fleet::Fleet;
use super::load::{Load, Plan, is_retryable, now_ms};
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::client::Client;
use crate::subject::wait_http;

const CLIENTS: u32 = 6;
const TOOLS: u32 = 2;
/// R19: service resumes so soon after space returns.
const RESUME_MS_MAX: u64 = 10_000;
const SIZE: &str = "size=64m";

/// A small file system that goes with the value.
struct Mount(PathBuf);

impl Mount {
    /// One of a few megabytes, where this machine lets us have it.
    fn new(at: &Path) -> Result<Self> {
        if !is_root() {
            bail!(NotHere(
                "a small file system can be mounted by root only".to_owned()
            ));
        }
        std::fs::create_dir_all(at)?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "adjutant-chaos"])
            .arg(at)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(NotHere(format!(
                "no file system can be mounted here: {}",
                said.trim()
            )));
        }
        Ok(Self(at.to_owned()))
    }

    fn remount(&self, how: &str) -> Result<()> {
        let output = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.0)
            .output()?;
        if !output.status.success() {
            bail!("remount {how}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whatever still uses it is about to end.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// A home on the small file system, whose agent works elsewhere.
async fn home_on(cx: &Cx, mount: &Mount) -> Result<Fleet> {
    let mut fleet = Fleet::new(&mount.0.join("home"), cx.binary()?, cx.model(), None, "").await?;
    fleet.work_in(&cx.dir().join("work"))?;
    fleet.start(0).await?;
    Ok(fleet)
}

/// No space for a while, under load.
pub(crate) struct DiskFull;

#[async_trait]
impl Scenario for DiskFull {
    fn name(&self) -> &'static str {
        "disk-full"
    }

    fn promise(&self) -> &'static str {
        "no space under SQLite: no crash, reads work, new work may be repeated, service 10 s after space returns, nothing lost"
    }

    fn seconds(&self) -> u64 {
        45
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let mount = Mount::new(&cx.dir().join("disk"))?;
        let mut fleet = home_on(cx, &mount).await?;
        let load = at_work(cx, &fleet).await?;
        let mut report = Report::default();
        let mut trouble = Trouble::new(fleet.port);
        let mut filled = 0;
        while filled < cx.count(None, 2, 10) && !cx.is_late() {
            filled += 1;
            let ballast = mount.0.join("ballast");
            fill(&ballast)?;
            tokio::time::sleep(Duration::from_secs(4)).await;
            // The log of the process is on the same disk, so the last bytes are taken again and again.
            fill(&ballast)?;
            trouble.look(&format!("full-{filled}"), &mut report).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            report.must(fleet.is_gateway_up(), "the gateway ended");
            std::fs::remove_file(&ballast)?;
            trouble
                .over(first_yes(&load, now_ms()).await?, &mut report)
                .await;
        }
        report.tried("times without space", filled);
        trouble.tell(&mut report);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let heard = load.stop().await;
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}

/// Clients of which some have ended a run.
pub(super) async fn at_work(cx: &Cx, fleet: &Fleet) -> Result<Load> {
    let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
    while load.ended() < 4 {
        if cx.is_late() {
            bail!("nothing ends: {}", fleet.tail("gateway.log"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(load)
}

/// What a gateway says and does while its disk takes no writes, and how soon it is well again.
pub(super) struct Trouble {
    port: u16,
    refused: u64,
    /// From the end of the trouble to the first yes, in milliseconds.
    resumed: Vec<u64>,
}

impl Trouble {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            refused: 0,
            resumed: Vec::new(),
        }
    }

    /// In the middle of it. The key is for new work.
    pub(super) async fn look(&mut self, key: &str, report: &mut Report) {
        match new_work(self.port, key).await {
            Some(said) if is_retryable(&said) => self.refused += 1,
            Some(said) => report.breaks(format!("new work while nothing can be written: {said}")),
            None => report.breaks("new work was not answered while nothing can be written"),
        }
        let lives = wait_http(self.port, "/healthz", Duration::from_secs(2)).await;
        report.must(lives.is_ok(), "/healthz does not answer");
        let ready = wait_http(self.port, "/readyz", Duration::ZERO).await;
        report.must(
            ready.is_err(),
            "/readyz says ready while nothing can be written",
        );
        report.must(reads(self.port).await, "reads do not work");
    }

    /// After it; `resumed`: milliseconds to the first yes.
    pub(super) async fn over(&mut self, resumed: u64, report: &mut Report) {
        self.resumed.push(resumed);
        let ready = wait_http(self.port, "/readyz", Duration::from_secs(10)).await;
        report.must(
            ready.is_ok(),
            "/readyz does not say ready again within 10 s",
        );
    }

    pub(super) fn tell(&self, report: &mut Report) {
        report.tried("new work refused", self.refused);
        report.spans("accepts again", &self.resumed);
        if let Some(worst) = self.resumed.iter().max().filter(|it| RESUME_MS_MAX < **it) {
            report.breaks(format!(
                "accepts only {worst} ms after the disk was well again"
            ));
        }
    }
}

/// Takes all space there is.
fn fill(ballast: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(ballast)?;
    for size in [1 << 20, 1 << 12, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    Ok(())
}

async fn reads(port: u16) -> bool {
    let asked = async {
        let mut client = Client::connect(port).await?;
        client.call("runs.list", json!({})).await
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(5), asked).await,
        Ok(Ok(_))
    )
}

/// What is said to new work. None: nothing within ten seconds.
async fn new_work(port: u16, key: &str) -> Option<String> {
    let asked = async {
        let mut client = Client::connect(port).await?;
        let params = json!({
            "sessionKey": format!("agent:main:{key}"), "message": "hello", "idempotencyKey": key,
        });
        client.call("chat.send", params).await
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(yes)) => Some(format!("accepted: {yes}")),
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => None,
    }
}

pub(super) async fn first_yes(load: &Load, since: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let first = load
            .heard()
            .acknowledged
            .values()
            .filter(|at| since <= **at)
            .min()
            .copied();
        match first {
            Some(at) => return Ok(at - since),
            None if Duration::from_secs(60) < begun.elapsed() => {
                bail!("nothing is accepted a minute after the disk was well again")
            }
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A state directory that can only be read, at a start.
pub(crate) struct ReadOnly;

#[async_trait]
impl Scenario for ReadOnly {
    fn name(&self) -> &'static str {
        "read-only"
    }

    fn promise(&self) -> &'static str {
        "a state directory that can only be read: the start says so within 10 s and harms nothing; writable again, all is there"
    }

    fn seconds(&self) -> u64 {
        25
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let mount = Mount::new(&cx.dir().join("disk"))?;
        let mut fleet = home_on(cx, &mount).await?;
        let plan = Plan {
            runs_each: Some(2),
            ..Plan::new(fleet.port, CLIENTS, TOOLS)
        };
        let mut load = Load::start(&plan);
        load.finished(Duration::from_secs(60)).await?;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.break_all("hung at the stop", fleet.stop().await?.iter());
        mount.remount("ro")?;
        report.tried("starts", 1);
        let begun = Instant::now();
        let started = fleet
            .home
            .command()
            .args(["gateway", "run", "--port", &fleet.port.to_string()])
            .output();
        match tokio::time::timeout(Duration::from_secs(10), started).await {
            Err(_) => {
                // It runs: then it must read.
                report.breaks("the start neither ended nor refused within 10 s");
            }
            Ok(output) => {
                let output = output.context("the start")?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                report.figure(
                    "refused after ms",
                    u64::try_from(begun.elapsed().as_millis())?,
                );
                report.figure("said", said.trim());
                report.must(
                    output.status.code().is_some(),
                    "the start was killed by a signal",
                );
                report.must(!output.status.success(), "the start says that all is well");
                report.must(!said.contains("panicked"), format!("a panic: {said}"));
                let names_it = ["read-only", "readonly", "cannot write", "Read-only"];
                report.must(
                    names_it.iter().any(|it| said.contains(it)),
                    format!("the start does not say that nothing can be written: {said}"),
                );
            }
        }
        mount.remount("rw")?;
        fleet.start_gateway().await?;
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}
