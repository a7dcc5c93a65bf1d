//! A long time of coming and going: do memory, descriptors, threads and tasks stay where they are?
//!
//! Clients connect, make sessions, talk, run commands, break off in the middle and leave; meanwhile the processes are looked
//! at every few seconds. What is flat is judged by the slope from the middle of the second quarter to the middle of the last:
//! the first quarter is for caches to fill. What was looked at too seldom is not flat.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use crate::chaos::cluster::Cluster;
use crate::chaos::fleet::Fleet;
use crate::client::{Client, turn};
use crate::percentile::median;
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
/// Looks at a process, four for each quarter: from fewer nothing can be told.
const LOOKS_MIN: usize = 16;

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
            // The gateway is the first, and the only one that tells.
            let look = look(subject.pid, (n == 0).then_some(tasks))?;
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
        "{} minutes, {} clients at once: {turns} turns done, {broken} left in the middle; {}\n",
        options.minutes,
        options.clients,
        if findings.is_empty() {
            "all stopped when told to, verify clean".to_owned()
        } else {
            findings.join("\n")
        }
    );
    let slopes = slopes(&subjects)?;
    print(&slopes);
    ensure!(0 < turns, "nothing was done");
    ensure!(
        findings.is_empty(),
        "somebody hung, or the store is not clean"
    );
    ensure!(slopes.iter().all(Slope::is_flat), "something grew");
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

async fn tasks(port: u16) -> Result<f64> {
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
    Ok(line.context("how many tasks live")?.trim().parse()?)
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

/// How much something may grow.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// By this part of what it was.
    Part(f64),
    /// By so many.
    Number(f64),
}

/// What is looked at.
struct Figure {
    name: &'static str,
    of: fn(&Look) -> Option<f64>,
    limit: Limit,
}

const FIGURES: [Figure; 4] = [
    Figure {
        name: "RSS, MB",
        of: |it| Some(it.rss_mb),
        limit: Limit::Part(GROWTH_MAX),
    },
    Figure {
        name: "descriptors",
        of: |it| Some(it.descriptors),
        limit: Limit::Number(CHANCE),
    },
    Figure {
        name: "threads",
        of: |it| Some(it.threads),
        limit: Limit::Number(CHANCE),
    },
    Figure {
        name: "tasks",
        of: |it| it.tasks,
        limit: Limit::Number(CHANCE),
    },
];

/// How one figure of one process went.
#[derive(Debug)]
struct Slope {
    process: String,
    figure: &'static str,
    /// The middle of the second quarter, and of the last.
    early: f64,
    late: f64,
    late_max: f64,
    most: f64,
    per_hour: f64,
}

impl Slope {
    fn is_flat(&self) -> bool {
        self.late <= self.late_max
    }
}

/// All that was looked at. Fails when there were too few looks to tell.
fn slopes(subjects: &[Subject]) -> Result<Vec<Slope>> {
    let mut slopes = Vec::new();
    for subject in subjects {
        let n = subject.looks.len();
        ensure!(
            LOOKS_MIN <= n,
            "{}: {n} looks are too few to tell whether something grows ({LOOKS_MIN})",
            subject.name
        );
        for figure in &FIGURES {
            let values: Vec<f64> = subject.looks.iter().filter_map(figure.of).collect();
            if !values.is_empty() {
                slopes.push(slope(&subject.name, figure, &values));
            }
        }
    }
    ensure!(!slopes.is_empty(), "nothing was looked at");
    Ok(slopes)
}

fn slope(process: &str, figure: &Figure, values: &[f64]) -> Slope {
    let n = values.len();
    let quarter = |from: usize, to: usize| median(values.get(from..to).unwrap_or_default());
    let (early, late) = (quarter(n / 4, n / 2), quarter(n * 3 / 4, n));
    // Between the middles of the two quarters lies half of the time.
    let hours = LOOK.as_secs_f64() * n as f64 / 2.0 / 3_600.0;
    Slope {
        process: process.to_owned(),
        figure: figure.name,
        early,
        late,
        late_max: match figure.limit {
            Limit::Part(part) => early * (1.0 + part),
            Limit::Number(number) => early + number,
        },
        most: values.iter().copied().fold(0.0, f64::max),
        per_hour: (late - early) / hours,
    }
}

fn print(slopes: &[Slope]) {
    println!(
        "| process | figure | second quarter | last quarter | at most | an hour | most | |\n\
         |---|---|--:|--:|--:|--:|--:|---|"
    );
    for it in slopes {
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:+.1} | {:.1} | {} |",
            it.process,
            it.figure,
            it.early,
            it.late,
            it.late_max,
            it.per_hour,
            it.most,
            if it.is_flat() { "flat" } else { "GROWS" }
        );
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn subject(n: usize, look: impl Fn(usize) -> Look) -> Subject {
        Subject {
            name: "gateway".to_owned(),
            pid: 1,
            looks: (0..n).map(look).collect(),
        }
    }

    fn growing(subject: Subject) -> Vec<&'static str> {
        let slopes = slopes(&[subject]).unwrap();
        let growing = slopes.iter().filter(|it| !it.is_flat());
        growing.map(|it| it.figure).collect()
    }

    fn flat(_: usize) -> Look {
        Look {
            rss_mb: 20.0,
            descriptors: 30.0,
            threads: 4.0,
            tasks: Some(25.0),
        }
    }

    #[test]
    fn what_stays_is_flat_and_what_fills_in_the_first_quarter_is_too() {
        assert_eq!(growing(subject(40, flat)), Vec::<&str>::new());
        let filling = |n| Look {
            rss_mb: if n < 10 { 5.0 } else { 20.0 },
            ..flat(n)
        };
        assert_eq!(growing(subject(40, filling)), Vec::<&str>::new());
    }

    #[test]
    fn what_grows_is_named() {
        let leaking = |n| Look {
            rss_mb: 20.0 + n as f64 / 10.0,
            ..flat(n)
        };
        assert_eq!(growing(subject(40, leaking)), ["RSS, MB"]);
        let leaving_open = |n| Look {
            descriptors: 30.0 + n as f64,
            ..flat(n)
        };
        assert_eq!(growing(subject(40, leaving_open)), ["descriptors"]);
        let spawning = |n| Look {
            tasks: Some(25.0 + n as f64),
            ..flat(n)
        };
        assert_eq!(growing(subject(40, spawning)), ["tasks"]);
    }

    #[test]
    fn what_was_looked_at_too_seldom_is_not_flat() {
        assert!(slopes(&[subject(LOOKS_MIN - 1, flat)]).is_err());
        assert!(slopes(&[]).is_err());
    }
}
