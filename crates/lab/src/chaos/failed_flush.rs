//! SQLite on a disk whose flushes fail for a while: `strace` answers them with an I/O error in the kernel's place.
//!
//! The kernel goes on having what was written, and writes it with the next flush that succeeds. A real disk may lose it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use tokio::process::Command;

use super::Scenario;
use super::cx::{Cx, NotHere};
use super::disk::{Trouble, at_work, first_yes};
use super::load::now_ms;
use super::power_loss::can_trace;
use super::report::Report;
use super::settle::{TakeOvers, settle};
use crate::subject::{Process, Signal, signal};

/// How long no flush succeeds.
const FAILING: Duration = Duration::from_secs(6);
/// How long a yes may travel.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How long it may take until the first one fails.
const CAUGHT_MAX: Duration = Duration::from_secs(10);

pub(crate) struct FailedFlush;

#[async_trait]
impl Scenario for FailedFlush {
    fn name(&self) -> &'static str {
        "failed-flush"
    }

    fn promise(&self) -> &'static str {
        "flushes fail under SQLite: no crash, nothing is accepted, reads work, service 10 s after they succeed, nothing lost"
    }

    fn seconds(&self) -> u64 {
        45
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        can_trace(cx.dir()).map_err(NotHere)?;
        let mut fleet = cx.fleet(None, "").await?;
        fleet.start(0).await?;
        let load = at_work(cx, &fleet).await?;
        let mut report = Report::default();
        let (mut times, mut failed) = (0, 0);
        let mut trouble = Trouble::new(fleet.port);
        while times < cx.count(None, 2, 10) && !cx.is_late() {
            times += 1;
            let pid = fleet.gateway.as_ref().context("no gateway")?.pid();
            let mut tracer = Tracer::on(pid, &cx.dir().join(format!("flushes-{times}")))?;
            if !tracer.has_caught_one().await? {
                report.needs(false, "no flush failed within ten seconds");
                break;
            }
            // What was flushed before may still be on its way to a client.
            tokio::time::sleep(ON_ITS_WAY).await;
            let since = now_ms();
            trouble.look(&format!("flush-{times}"), &mut report).await;
            tokio::time::sleep(FAILING).await;
            report.must(fleet.is_gateway_up(), "the gateway ended");
            let until = now_ms();
            let accepted = load
                .heard()
                .acknowledged
                .values()
                .filter(|at| (since..until).contains(*at))
                .count();
            report.must(
                accepted == 0,
                format!("{accepted} messages were accepted while no flush succeeded"),
            );
            failed += tracer.end().await?;
            trouble
                .over(first_yes(&load, now_ms()).await?, &mut report)
                .await;
        }
        report.tried("times", times);
        report.tried("flushes that failed", failed);
        trouble.tell(&mut report);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let heard = load.stop().await;
        settle(cx, &mut fleet, heard, TakeOvers::Any, &mut report).await?;
        Ok(report)
    }
}

/// While this lives, every flush of a process fails.
struct Tracer {
    process: Process,
    log: PathBuf,
    said: PathBuf,
}

impl Tracer {
    fn on(pid: u32, log: &Path) -> Result<Self> {
        let said = log.with_extension("said");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-p", &pid.to_string(), "-o"])
            .arg(log)
            .args(["-e", "trace=fsync,fdatasync"])
            .args(["-e", "inject=fsync,fdatasync:error=EIO"])
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&said)?);
        Ok(Self {
            process: Process::start(&mut command)?,
            log: log.to_owned(),
            said,
        })
    }

    fn failed(&self) -> u64 {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.matches("(INJECTED)").count() as u64
    }

    /// Whether the thread that writes has met it: from then on nothing is flushed.
    async fn has_caught_one(&mut self) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < CAUGHT_MAX {
            if self.process.has_ended()? {
                // A tracer may be kept from a process that it has not started itself.
                let said = std::fs::read_to_string(&self.said)?;
                bail!(NotHere(format!("strace may not attach: {}", said.trim())));
            }
            if 0 < self.failed() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(false)
    }

    /// Lets go of the process, which goes on. Returns how many flushes failed.
    async fn end(mut self) -> Result<u64> {
        signal(self.process.pid(), Signal::Terminate)?;
        self.process.end().await?;
        Ok(self.failed())
    }
}
