//! A worker and a gateway whose wall clock jumps by a year, to and fro.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, NotHere, Postgres};
use super::fleet::LEASE;
use super::load::{Load, Plan};
use super::report::Report;
use super::settle::{TakeOvers, settle};

const CLIENTS: u32 = 8;
const TOOLS: u32 = 3;
const JUMPS: [&str; 4] = ["+365d", "-365d", "+1h", "+0"];

pub(crate) struct ClockJump;

#[async_trait]
impl Scenario for ClockJump {
    fn name(&self) -> &'static str {
        "clock-jump"
    }

    fn promise(&self) -> &'static str {
        "the wall clock of a worker jumps by a year and back: no lease is lost by it, nothing is lost or doubled"
    }

    fn seconds(&self) -> u64 {
        40
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        let library = library().ok_or_else(|| {
            NotHere("no libfaketime here (sudo apt-get install faketime)".to_owned())
        })?;
        // One worker with the right time, two with another.
        let mut stage = cx.stage(Postgres::Any, 1).await?;
        let fleet = &mut stage.fleet;
        let clock = cx.dir().join("clock");
        std::fs::write(&clock, "+0\n")?;
        fleet.extra.env = faked(&library, &clock);
        fleet.add_worker()?;
        fleet.add_worker()?;
        let load = Load::start(&Plan::new(fleet.port, CLIENTS, TOOLS));
        let mut jumps = 0_u64;
        for _ in 0..cx.count(None, 1, 8) {
            for jump in JUMPS {
                tokio::time::sleep(Duration::from_secs(3)).await;
                std::fs::write(&clock, format!("{jump}\n"))?;
                jumps += 1;
            }
        }
        tokio::time::sleep(LEASE).await;
        let died = fleet.revive_workers()?;
        let heard = load.stop().await;
        let mut report = Report::default();
        report.tried("jumps", jumps);
        report.must(died == 0, format!("{died} workers ended by themselves"));
        let log = std::fs::read_to_string(fleet.home.dir.join("workers.log"))?;
        let year = |line: &&str| line.get(..4).and_then(|it| it.parse::<i32>().ok());
        let mut years: Vec<i32> = log.lines().filter_map(|line| year(&line)).collect();
        years.sort_unstable();
        years.dedup();
        report.figure("years in the log", years.len() as u64);
        report.needs(1 < years.len(), "the clock of no worker jumped");
        settle(cx, fleet, heard, TakeOvers::Forbidden, &mut report).await?;
        Ok(report)
    }
}

/// The library for programs with threads.
fn library() -> Option<PathBuf> {
    let roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    for root in roots {
        let mut folders = vec![PathBuf::from(root).join("faketime")];
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            folders.push(entry.path().join("faketime"));
        }
        let found = folders
            .into_iter()
            .map(|it| it.join("libfaketimeMT.so.1"))
            .find(|it| it.exists());
        if found.is_some() {
            return found;
        }
    }
    None
}

fn faked(library: &Path, clock: &Path) -> Vec<(String, String)> {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // Only the wall clock jumps, as when somebody sets it.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
