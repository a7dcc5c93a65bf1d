//! The fault campaign: the real program, its workers and its database are killed, frozen, cut off and starved, and each
//! promise of the reliability contract is counted afterwards.
//!
//! A scenario is a file with one type that implements [`Scenario`], and a line in [`scenarios`].

mod clock_jump;
pub(crate) mod cluster;
mod cut_lines;
mod database;
mod disk;
mod fail_points;
pub(crate) mod fleet;
mod frozen_worker;
mod gateway_killed;
mod load;
mod power_loss;
mod proxy;
mod random;
mod report;
mod storm;
mod trace;
mod verdict;
mod workers_killed;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use clap::Args;
use serde_json::json;

use crate::subject::{Subject, mock_with};
use cluster::Cluster;
use random::Random;
use report::{Outcome, Row, word};

/// How the campaign is run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// The binary to torment.
    #[arg(long, required_unless_present = "list")]
    adjutant: Option<PathBuf>,
    /// The same with the feature `failpoints`; without it, that scenario is skipped.
    #[arg(long)]
    failpoints: Option<PathBuf>,
    /// Small numbers: everything within ten minutes.
    #[arg(long)]
    short: bool,
    /// Seed of all choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Say which scenarios there are.
    #[arg(long)]
    list: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Kills of workers.
    #[arg(long)]
    kills: Option<u64>,
    /// Kills of the gateway.
    #[arg(long)]
    gateway_kills: Option<u64>,
    /// Images of a power loss.
    #[arg(long)]
    images: Option<u64>,
    /// Longest time of one scenario, in seconds: then it counts what it has.
    #[arg(long)]
    seconds: Option<u64>,
    /// Keep what the scenarios wrote, in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

impl Options {
    /// The gateway over SQLite is killed so many times, and nothing else.
    pub(crate) fn kills(adjutant: PathBuf, kills: u64, seed: u64) -> Self {
        Self {
            adjutant: Some(adjutant),
            gateway_kills: Some(kills),
            seed,
            only: vec![gateway_killed::SqliteKilled.name().to_owned()],
            ..Self::default()
        }
    }
}

/// What a scenario gets.
pub(crate) struct Cx {
    options: Options,
    name: &'static str,
    dir: PathBuf,
    model: u16,
    begun: Instant,
}

/// The delay of the mock model: long enough that most kills hit a run in the middle.
const MODEL_MS: u64 = 20;

impl Cx {
    /// The binary to torment.
    pub(crate) fn binary(&self) -> Result<&Path> {
        self.options.adjutant.as_deref().context("no binary")
    }

    /// A folder of its own for this scenario.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The port of the mock model.
    pub(crate) fn model(&self) -> u16 {
        self.model
    }

    /// Choices of this scenario.
    pub(crate) fn random(&self) -> Random {
        Random::new(self.options.seed, self.name)
    }

    /// One number for a short campaign, another for a whole one, unless one was asked for.
    pub(crate) fn count(&self, asked: Option<u64>, short: u64, whole: u64) -> u64 {
        asked.unwrap_or(if self.options.short { short } else { whole })
    }

    /// Whether the time of this scenario is over.
    pub(crate) fn is_late(&self) -> bool {
        let most = self.count(self.options.seconds, 100, 6 * 3_600);
        Duration::from_secs(most) < self.begun.elapsed()
    }

    /// A line for whoever watches.
    pub(crate) fn say(&self, text: &str) {
        if !self.options.json {
            eprintln!(
                "[{} {:>5.0?} s] {text}",
                self.name,
                self.begun.elapsed().as_secs()
            );
        }
    }

    /// A PostgreSQL of our own or the given one, and why there is none.
    pub(crate) async fn cluster(&self) -> Result<Result<Cluster, Outcome>> {
        Ok(Cluster::any().await?.ok_or_else(no_postgres))
    }

    /// A PostgreSQL that may be stopped.
    pub(crate) async fn own_cluster(&self) -> Result<Result<Cluster, Outcome>> {
        Ok(Cluster::own().await?.ok_or_else(no_postgres))
    }
}

fn no_postgres() -> Outcome {
    Outcome::Skipped(
        "no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL)"
            .to_owned(),
    )
}

/// One kind of fault, with what must hold under it.
#[async_trait]
pub(crate) trait Scenario: Send + Sync {
    /// What `--only` calls it.
    fn name(&self) -> &'static str;
    /// What is promised, in one sentence.
    fn promise(&self) -> &'static str;
    /// Does it and counts.
    async fn run(&self, cx: &Cx) -> Result<Outcome>;
}

/// All of them, in the order in which they run.
fn scenarios() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(workers_killed::WorkersKilled),
        Box::new(gateway_killed::GatewayKilled),
        Box::new(gateway_killed::SqliteKilled),
        Box::new(frozen_worker::FrozenWorker),
        Box::new(database::DatabaseStopped),
        Box::new(database::DatabaseRestarted),
        Box::new(database::DatabaseMoved),
        Box::new(cut_lines::CutLines),
        Box::new(power_loss::PowerLoss),
        Box::new(fail_points::FailPoints),
        Box::new(disk::DiskFull),
        Box::new(disk::ReadOnly),
        Box::new(clock_jump::ClockJump),
        Box::new(storm::ReconnectStorm),
    ]
}

/// Runs the campaign. The last line is the summary, the exit code the verdict.
pub(crate) async fn run(options: Options) -> Result<()> {
    let all = scenarios();
    if options.list {
        for scenario in &all {
            println!("{:<18} {}", scenario.name(), scenario.promise());
        }
        return Ok(());
    }
    for name in &options.only {
        if !all.iter().any(|it| it.name() == name) {
            bail!("there is no scenario `{name}`; `--list` says which there are");
        }
    }
    let model = mock_with(MODEL_MS).await?;
    let place = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for scenario in &all {
        let is_wanted =
            options.only.is_empty() || options.only.iter().any(|it| it == scenario.name());
        if is_wanted {
            let row = run_one(&options, scenario.as_ref(), place.path(), &model).await?;
            if options.json {
                println!("{}", row.json());
            } else {
                println!("{}", row.lines());
            }
            rows.push(row);
        }
    }
    summary(&options, &rows)
}

async fn run_one(
    options: &Options,
    scenario: &dyn Scenario,
    place: &Path,
    model: &Subject,
) -> Result<Row> {
    let dir = options
        .keep
        .as_deref()
        .unwrap_or(place)
        .join(scenario.name());
    std::fs::create_dir_all(&dir)?;
    let begun = Instant::now();
    let cx = Cx {
        options: options.clone(),
        name: scenario.name(),
        dir: std::fs::canonicalize(dir)?,
        model: model.port,
        begun,
    };
    // A scenario that cannot be brought to its end has not held.
    let outcome = scenario.run(&cx).await.unwrap_or_else(|error| {
        let mut report = report::Report::default();
        report.breaks(format!("could not be brought to its end: {error:#}"));
        Outcome::Ran(report)
    });
    Ok(Row {
        name: scenario.name(),
        promise: scenario.promise(),
        took: begun.elapsed(),
        outcome,
    })
}

fn summary(options: &Options, rows: &[Row]) -> Result<()> {
    let count = |name: &str| rows.iter().filter(|it| word(&it.outcome) == name).count();
    let (held, broken, skipped) = (count("held"), count("BROKEN"), count("skipped"));
    if options.json {
        let line = json!({ "summary": { "held": held, "broken": broken, "skipped": skipped, "seed": options.seed } });
        println!("{line}");
    } else {
        let names = |wanted: &str| {
            let names: Vec<&str> = rows
                .iter()
                .filter(|it| word(&it.outcome) == wanted)
                .map(|it| it.name)
                .collect();
            if names.is_empty() {
                String::new()
            } else {
                format!(" ({})", names.join(", "))
            }
        };
        println!(
            "chaos: {held} held · {broken} broken{} · {skipped} skipped{} · seed {}",
            names("BROKEN"),
            names("skipped"),
            options.seed
        );
    }
    if 0 < broken {
        // The summary stays the last line: the exit code says the rest.
        std::process::exit(1);
    }
    Ok(())
}
