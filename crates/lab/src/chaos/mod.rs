//! The fault campaign: the real program, its workers and its database are killed, frozen, cut off and starved, and each
//! promise of the reliability contract is counted afterwards.
//!
//! A scenario is a file with one type that implements [`Scenario`], and a line in [`scenarios`].

mod clock_jump;
pub(crate) mod cluster;
mod cut_lines;
mod cx;
mod database;
mod disk;
mod fail_points;
mod failed_flush;
pub(crate) mod fleet;
mod frozen_worker;
mod gateway_killed;
mod load;
mod notes;
mod power_loss;
mod proxy;
mod random;
mod report;
mod settle;
mod storm;
mod time;
mod trace;
mod verdict;
mod workers_killed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use clap::Args;
use serde_json::json;
use tempfile::TempDir;

use crate::subject::mock_with;
use cx::{Cx, NotHere};
use report::{Outcome, Report, Row, Standing};
use time::Time;

/// How the campaign is run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// The binary to torment.
    #[arg(long, required_unless_present = "list")]
    adjutant: Option<PathBuf>,
    /// The same with the feature `failpoints`; without it, that scenario is not tried.
    #[arg(long)]
    failpoints: Option<PathBuf>,
    /// Small numbers, and an end after ten minutes: what had no time until then counts as not tried.
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
    /// Longest torment of one scenario, in seconds: then it counts what it has.
    #[arg(long)]
    seconds: Option<u64>,
    /// Keep what the scenarios wrote, in this folder: a new or an empty one.
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

    /// Longest torment of one scenario.
    fn torment_max(&self) -> Duration {
        let most = if self.short { 100 } else { 6 * 3_600 };
        Duration::from_secs(self.seconds.unwrap_or(most))
    }
}

/// The delay of the mock model: long enough that most kills hit a run in the middle.
const MODEL_MS: u64 = 20;

/// One kind of fault, with what must hold under it.
#[async_trait]
pub(crate) trait Scenario: Send + Sync {
    /// What `--only` calls it.
    fn name(&self) -> &'static str;
    /// What is promised, in one sentence.
    fn promise(&self) -> &'static str;
    /// What it takes in a short campaign, in seconds: its share of the time is measured by that.
    fn seconds(&self) -> u64;
    /// Does it and counts.
    ///
    /// # Errors
    /// [`NotHere`] if this machine lacks what it needs; every other error means that it could not be brought to its end.
    async fn run(&self, cx: &Cx) -> Result<Report>;
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
        Box::new(failed_flush::FailedFlush),
        Box::new(clock_jump::ClockJump),
        Box::new(storm::ReconnectStorm),
    ]
}

/// Where scenarios write. Unless it is to be kept, it goes with this value.
struct Place {
    dir: PathBuf,
    _gone_in_the_end: Option<TempDir>,
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(dir) = keep else {
            let dir = tempfile::tempdir()?;
            return Ok(Self {
                dir: std::fs::canonicalize(dir.path())?,
                _gone_in_the_end: Some(dir),
            });
        };
        std::fs::create_dir_all(dir)?;
        // What an earlier campaign left would be counted as done by this one.
        let is_empty = std::fs::read_dir(dir)?.next().is_none();
        ensure!(is_empty, "{} is not empty", dir.display());
        Ok(Self {
            dir: std::fs::canonicalize(dir)?,
            _gone_in_the_end: None,
        })
    }
}

/// Runs the campaign. The last line is the summary, the exit code the verdict.
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let mut wanted = scenarios();
    if options.list {
        for scenario in &wanted {
            println!("{:<18} {}", scenario.name(), scenario.promise());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let n_all = wanted.len();
    for name in &options.only {
        if !wanted.iter().any(|it| it.name() == name) {
            bail!("there is no scenario `{name}`; `--list` says which there are");
        }
    }
    wanted
        .retain(|it| options.only.is_empty() || options.only.iter().any(|name| name == it.name()));
    let mut time = Time::begin(options.short, wanted.iter().map(|it| it.seconds()));
    let place = Place::new(options.keep.as_deref())?;
    let model = mock_with(MODEL_MS).await?;
    let mut rows = Vec::new();
    for scenario in &wanted {
        let row = run_one(
            &options,
            scenario.as_ref(),
            &place.dir,
            model.port,
            &mut time,
        )
        .await?;
        if options.json {
            println!("{}", row.json());
        } else {
            println!("{}", row.lines());
        }
        rows.push(row);
    }
    Ok(summary(&options, &rows, n_all - wanted.len()))
}

async fn run_one(
    options: &Options,
    scenario: &dyn Scenario,
    place: &Path,
    model: u16,
    time: &mut Time,
) -> Result<Row> {
    let row = |took, outcome| Row {
        name: scenario.name(),
        promise: scenario.promise(),
        took,
        outcome,
    };
    let Some(share) = time.share(scenario.seconds(), options.torment_max()) else {
        let why = "no time was left for it".to_owned();
        return Ok(row(Duration::ZERO, Outcome::NoTime(why)));
    };
    let dir = place.join(scenario.name());
    std::fs::create_dir(&dir)?;
    let cx = Cx {
        options: options.clone(),
        name: scenario.name(),
        dir,
        model,
        share,
    };
    let outcome = match within(share.whole(), scenario.run(&cx)).await {
        Some(Ok(report)) => Outcome::Ran(report),
        Some(Err(error)) => match error.downcast::<NotHere>() {
            Ok(why) => Outcome::NotHere(why.0),
            // A scenario that cannot be brought to its end has not held.
            Err(error) => {
                let mut report = Report::default();
                report.breaks(format!("could not be brought to its end: {error:#}"));
                Outcome::Ran(report)
            }
        },
        None => Outcome::NoTime(format!(
            "cut off after {:.0} s, its share of the time, and not judged",
            share.elapsed().as_secs_f64()
        )),
    };
    Ok(row(share.elapsed(), outcome))
}

/// None: it took too long and was dropped, with everything that it had started.
async fn within<T>(most: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match most {
        Some(most) => tokio::time::timeout(most, work).await.ok(),
        None => Some(work.await),
    }
}

/// Says what came of it. 0: everything that can be tried here was tried and held. 1: something broke. 2: something was not
/// tried, or nothing at all was.
fn summary(options: &Options, rows: &[Row], n_unwanted: usize) -> ExitCode {
    let names = |wanted: Standing| -> Vec<&str> {
        rows.iter()
            .filter(|it| it.outcome.standing() == wanted)
            .map(|it| it.name)
            .collect()
    };
    let (held, broken) = (names(Standing::Held), names(Standing::Broken));
    let (not_tried, not_here) = (names(Standing::NotTried), names(Standing::NotHere));
    if options.json {
        let line = json!({ "summary": {
            "held": held.len(), "broken": broken.len(), "notTried": not_tried.len(), "notTriedHere": not_here.len(),
            "notAskedFor": n_unwanted, "seed": options.seed,
        } });
        println!("{line}");
    } else {
        let told = |names: &[&str], word: &str| match names {
            [] => format!("0 {word}"),
            names => format!("{} {word} ({})", names.len(), names.join(", ")),
        };
        println!(
            "chaos: {} held · {} · {} · {} · {n_unwanted} not asked for · seed {}",
            held.len(),
            told(&broken, "broken"),
            told(&not_tried, "not tried"),
            told(&not_here, "not tried here"),
            options.seed
        );
    }
    verdict_of(held.len(), broken.len(), not_tried.len())
}

fn verdict_of(held: usize, broken: usize, not_tried: usize) -> ExitCode {
    if 0 < broken {
        ExitCode::from(BROKEN)
    } else if 0 < not_tried || held == 0 {
        ExitCode::from(NOT_TRIED)
    } else {
        ExitCode::SUCCESS
    }
}

/// Exit code: a promise was broken.
const BROKEN: u8 = 1;
/// Exit code: nothing broke, and not everything was tried.
const NOT_TRIED: u8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_exit_code_is_green_only_when_something_was_tried_and_all_of_it_held() {
        let code = |held, broken, not_tried| format!("{:?}", verdict_of(held, broken, not_tried));
        let is = |n: u8| format!("{:?}", ExitCode::from(n));
        assert_eq!(code(3, 0, 0), is(0));
        assert_eq!(code(3, 1, 1), is(BROKEN));
        assert_eq!(code(3, 0, 1), is(NOT_TRIED));
        assert_eq!(code(0, 0, 0), is(NOT_TRIED));
    }

    #[test]
    fn what_is_kept_is_kept_in_an_empty_folder() {
        let dir = tempfile::tempdir().unwrap();
        let keep = dir.path().join("kept");
        drop(Place::new(Some(&keep)).unwrap());
        assert!(keep.exists());
        std::fs::write(keep.join("left"), "by another").unwrap();
        assert!(Place::new(Some(&keep)).is_err());
    }

    #[test]
    fn what_is_not_kept_goes() {
        let place = Place::new(None).unwrap();
        let dir = place.dir.clone();
        assert!(dir.exists());
        drop(place);
        assert!(!dir.exists());
    }

    #[tokio::test]
    async fn what_takes_too_long_is_dropped() {
        let most = Some(Duration::ZERO);
        assert_eq!(within(most, std::future::pending::<()>()).await, None);
        assert_eq!(within(None, std::future::ready(7)).await, Some(7));
    }
}
