//! A long time of coming and going: do memory, descriptors, threads and tasks stay where they are?
//!
//! Clients connect, make sessions, talk, run commands, break off in the middle and leave; meanwhile the processes are looked
//! at every few seconds. What is flat is judged by the middle of the second quarter against the middle of the last: the first
//! quarter is for caches to fill.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use crate::chaos::cluster::Cluster;
use crate::chaos::fleet::Fleet;
use crate::client::{Client, turn};
use crate::percentile::percentile;
use crate::subject::{TOKEN, http_client, mock_with, rss};

/// How it is done.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The binary to soak.
    #[arg(long)]
    adjutant: PathBuf,
    /// How long.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// One gateway with its workers over SQLite, instead of a gateway and two workers over PostgreSQL.
    #[arg(long)]
    sqlite: bool,
    /// Clients at once.
    #[arg(long, default_value_t = 24)]
    clients: u32,
    /// Also write every look here, as JSON lines.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Memory may grow by this part: what is stored grows, and with it what is cached.
const GROWTH_MAX: f64 = 0.05;
/// Descriptors, threads and tasks that may be more by chance.
const CHANCE: f64 = 8.0;

/// One look at one process.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    rss_mb: f64,
    descriptors: f64,
    threads: f64,
    /// Only a gateway tells.
    tasks: Option<f64>,
}

struct Subject {
    name: String,
    pid: u32,
    looks: Vec<Look>,
}

/// Runs and judges; the exit code is the verdict.
pub(crate) async fn run(options: Options) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let model = mock_with(20).await?;
    let cluster = if options.sqlite {
        None
    } else {
        Some(Cluster::any().await?.context(
            "no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL), and no `--sqlite`",
        )?)
    };
    let database = match &cluster {
        Some(cluster) => Some(cluster.database().await?),
        None => None,
    };
    let url = database.as_ref().map(|it| it.url.as_str());
    let home = dir.path().join("home");
    let mut fleet = Fleet::new(&home, &options.adjutant, model.port, url, "").await?;
    fleet.start(if options.sqlite { 0 } else { 2 }).await?;
    let churn = Churn::start(fleet.port, options.clients);
    let mut subjects = subjects(&fleet);
    let begun = Instant::now();
    let end = Duration::from_secs(options.minutes * 60);
    while begun.elapsed() < end {
        tokio::time::sleep(LOOK).await;
        let tasks = tasks(fleet.port).await?;
        for (n, subject) in subjects.iter_mut().enumerate() {
            let look = look(subject.pid, tasks.filter(|_| n == 0))?;
            subject.looks.push(look);
            note(
                options.out.as_deref(),
                &subject.name,
                begun.elapsed(),
                &look,
            )?;
        }
    }
    let (turns, broken) = churn.stop().await?;
    let mut findings = fleet.stop().await?;
    findings.extend(fleet.verify().await?);
    println!(
        "{} minutes, {} clients at once: {turns} turns done, {broken} left in the middle; verify {}\n",
        options.minutes,
        options.clients,
        if findings.is_empty() {
            "clean"
        } else {
            "NOT CLEAN"
        }
    );
    let is_flat = print(&subjects);
    if turns == 0 || !findings.is_empty() || !is_flat {
        bail!("something grew, nothing was done, or the store is not clean");
    }
    Ok(())
}

fn subjects(fleet: &Fleet) -> Vec<Subject> {
    let subject = |(name, pid)| Subject {
        name,
        pid,
        looks: Vec::new(),
    };
    fleet.pids().into_iter().map(subject).collect()
}

fn look(pid: u32, tasks: Option<f64>) -> Result<Look> {
    let count = |what: &str| -> Result<f64> {
        Ok(std::fs::read_dir(format!("/proc/{pid}/{what}"))?.count() as f64)
    };
    Ok(Look {
        rss_mb: rss(pid)? as f64 / 1_048_576.0,
        descriptors: count("fd")?,
        threads: count("task")?,
        tasks,
    })
}

async fn tasks(port: u16) -> Result<Option<f64>> {
    let text = http_client()?
        .get(format!("http://127.0.0.1:{port}/metrics"))
        .bearer_auth(TOKEN)
        .send()
        .await?
        .text()
        .await?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("adjutant_tasks_alive "));
    Ok(line.and_then(|n| n.trim().parse().ok()))
}

fn note(out: Option<&Path>, name: &str, at: Duration, look: &Look) -> Result<()> {
    use std::io::Write as _;
    let Some(path) = out else { return Ok(()) };
    let line = json!({
        "seconds": at.as_secs(), "process": name, "rssMb": look.rss_mb, "descriptors": look.descriptors,
        "threads": look.threads, "tasks": look.tasks,
    });
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    writeln!(file, "{line}")?;
    Ok(())
}

/// The middle value of a part of the looks.
fn middle(
    looks: &[Look],
    from: usize,
    to: usize,
    of: impl Fn(&Look) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> = looks.get(from..to)?.iter().filter_map(of).collect();
    percentile(&values, 50)
}

fn print(subjects: &[Subject]) -> bool {
    println!(
        "| process | figure | second quarter | last quarter | most | |\n|---|---|--:|--:|--:|---|"
    );
    let mut is_flat = true;
    for it in subjects {
        let n = it.looks.len();
        type Figure = (&'static str, fn(&Look) -> Option<f64>, bool);
        let figures: [Figure; 4] = [
            ("RSS, MB", |l| Some(l.rss_mb), true),
            ("descriptors", |l| Some(l.descriptors), false),
            ("threads", |l| Some(l.threads), false),
            ("tasks", |l| l.tasks, false),
        ];
        for (what, of, is_memory) in figures {
            let (Some(early), Some(late)) = (
                middle(&it.looks, n / 4, n / 2, of),
                middle(&it.looks, n * 3 / 4, n, of),
            ) else {
                continue;
            };
            let most = it.looks.iter().filter_map(of).fold(0.0, f64::max);
            let flat = if is_memory {
                late <= early * (1.0 + GROWTH_MAX)
            } else {
                late <= early + CHANCE
            };
            is_flat &= flat;
            println!(
                "| {} | {what} | {early:.1} | {late:.1} | {most:.1} | {} |",
                it.name,
                if flat { "flat" } else { "GROWS" }
            );
        }
    }
    is_flat
}

/// Clients that come and go.
struct Churn {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    broken: Arc<AtomicU64>,
    clients: JoinSet<Result<()>>,
}

impl Churn {
    fn start(port: u16, clients: u32) -> Self {
        let churn = Self {
            over: Arc::default(),
            done: Arc::default(),
            broken: Arc::default(),
            clients: JoinSet::new(),
        };
        let mut it = churn;
        for n in 0..clients {
            let (over, done, broken) = (
                Arc::clone(&it.over),
                Arc::clone(&it.done),
                Arc::clone(&it.broken),
            );
            it.clients.spawn(async move {
                for visit in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    call(port, n, visit, &done, &broken).await?;
                }
                Ok(())
            });
        }
        it
    }

    async fn stop(mut self) -> Result<(u64, u64)> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok((
            self.done.load(Ordering::Relaxed),
            self.broken.load(Ordering::Relaxed),
        ))
    }
}

/// One visit: connect, talk a little, perhaps run a command, perhaps leave without a word, always disconnect.
async fn call(port: u16, n: u32, visit: u64, done: &AtomicU64, broken: &AtomicU64) -> Result<()> {
    // Each client has a few sessions and comes back to them: what a session costs is not what is looked for here.
    let session = format!("agent:main:soak-{n}-{}", visit % 4);
    let mut client = Client::connect(port).await?;
    client.listen_to(&session).await?;
    for k in 0..3 {
        let key = format!("soak-{n}-{visit}-{k}");
        let text = match (visit + k) % 5 {
            0 => format!("tools=1 command=echo {key}"),
            1 => "reads=1".to_owned(),
            _ => "Say ok.".to_owned(),
        };
        turn(&mut client, &session, &key, &text).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    if visit.is_multiple_of(7) {
        let key = format!("soak-{n}-{visit}-left");
        let params = json!({ "sessionKey": session, "message": "word=w words=40 pace=20", "idempotencyKey": key });
        client.send("chat.send", params).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        broken.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
