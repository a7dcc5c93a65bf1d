//! What more workers bring: turns a second with one, two, four of them over PostgreSQL, against a model that thinks for a
//! fixed time.
//!
//! Every worker has so many slots, and the model takes so long, so there is a most that a worker can do; how close it comes
//! to that shows what the database, the gateway and the machine cost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use crate::chaos::cluster::Cluster;
use crate::chaos::fleet::{Fleet, SLOTS};
use crate::client::{Client, turn};
use crate::subject::{cpu, mock_with};

/// How it is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The binary to measure.
    #[arg(long)]
    adjutant: PathBuf,
    /// Numbers of workers.
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 2, 4])]
    workers: Vec<u32>,
    /// How long the model thinks, in milliseconds.
    #[arg(long, default_value_t = 500)]
    delay_ms: u64,
    /// How long each number of workers is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Clients for each slot: enough that no slot waits for one.
const CLIENTS_PER_SLOT: u32 = 2;
/// Before the count begins.
const WARM_UP: Duration = Duration::from_secs(3);

struct Measured {
    workers: u32,
    turns: u64,
    seconds: f64,
    cpu: Duration,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.turns as f64 / self.seconds
    }
}

/// Measures and prints the table.
pub(crate) async fn run(options: Options) -> Result<()> {
    let cluster = Cluster::any().await?.context(
        "no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL)",
    )?;
    let dir = tempfile::tempdir()?;
    let mut all = Vec::new();
    for workers in &options.workers {
        let dir = dir.path().join(format!("w{workers}"));
        all.push(measure(&options, &cluster, &dir, *workers).await?);
    }
    print(&options, &all)
}

async fn measure(
    options: &Options,
    cluster: &Cluster,
    dir: &Path,
    workers: u32,
) -> Result<Measured> {
    let model = mock_with(options.delay_ms).await?;
    let database = cluster.database().await?;
    let url = Some(database.url.as_str());
    let mut fleet = Fleet::new(dir, &options.adjutant, model.port, url, "").await?;
    fleet.start(usize::try_from(workers)?).await?;
    let (done, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut clients = JoinSet::new();
    for n in 0..workers * SLOTS * CLIENTS_PER_SLOT {
        let (done, over, port) = (Arc::clone(&done), Arc::clone(&over), fleet.port);
        clients.spawn(async move {
            let session = format!("agent:main:s{n}");
            let mut client = Client::connect(port).await?;
            client.listen_to(&session).await?;
            for turns in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                turn(&mut client, &session, &format!("s{n}-{turns}"), "Say ok.").await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, used, begun) = (done.load(Ordering::Relaxed), spent(&fleet)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let turns = done.load(Ordering::Relaxed) - before;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = spent(&fleet)?.saturating_sub(used);
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let hung = fleet.stop().await?;
    ensure!(hung.is_empty(), "hung at the stop: {}", hung.join(", "));
    if turns == 0 {
        bail!("{workers} workers did nothing");
    }
    Ok(Measured {
        workers,
        turns,
        seconds,
        cpu,
    })
}

/// CPU time of gateway and workers, without the database and the model.
fn spent(fleet: &Fleet) -> Result<Duration> {
    fleet.pids().into_iter().map(|(_, pid)| cpu(pid)).sum()
}

fn print(options: &Options, all: &[Measured]) -> Result<()> {
    let most = f64::from(SLOTS) / (options.delay_ms as f64 / 1e3);
    let first = all
        .first()
        .map_or(1.0, |it| it.rate() / f64::from(it.workers));
    if !options.json {
        println!(
            "a model that thinks {} ms, {SLOTS} slots a worker, {} s each\n\n\
             | workers | turns/s | most it could be | of that | against one | CPU of ours per turn |\n\
             |--:|--:|--:|--:|--:|--:|",
            options.delay_ms, options.seconds
        );
    }
    for it in all {
        let could = most * f64::from(it.workers);
        let cpu_ms = it.cpu.as_secs_f64() * 1e3 / it.turns as f64;
        if options.json {
            let line = json!({
                "workers": it.workers, "perSecond": it.rate(), "couldBe": could, "cpuMsPerTurn": cpu_ms,
            });
            println!("{line}");
        } else {
            println!(
                "| {} | {:.1} | {could:.1} | {:.0} % | {:.2}× | {cpu_ms:.2} ms |",
                it.workers,
                it.rate(),
                100.0 * it.rate() / could,
                it.rate() / first,
            );
        }
    }
    Ok(())
}
