//! Power loss over SQLite: what a disk may hold at a random moment, opened by the real program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;

use super::Scenario;
use super::cx::{Cx, NotHere};
use super::fleet::{Fleet, SQLITE_FILE};
use super::load::{Heard, Load, Plan};
use super::report::Report;
use super::trace::{self, Disk, Done, Files, Mood};
use super::verdict::{END_MAX, gather, judge};
use crate::subject::{Home, Signal, signal};

const JOURNAL: &str = "adjutant.db-wal";
const CLIENTS: u32 = 4;
const TOOLS: u32 = 2;
/// Images of a disk that lies about flushes: at least one of them must be found out.
const LIES: u64 = 10;
/// One image in so many is driven on to the end of every run, and the last.
const DRIVEN_ONE_IN: u64 = 50;
/// What one image takes.
const IMAGE: Duration = Duration::from_secs(2);

pub(crate) struct PowerLoss;

#[async_trait]
impl Scenario for PowerLoss {
    fn name(&self) -> &'static str {
        "power-loss"
    }

    fn promise(&self) -> &'static str {
        "power fails at any moment and takes what was not flushed: SQLite opens, verifies, and has all that was acknowledged"
    }

    fn seconds(&self) -> u64 {
        80
    }

    async fn run(&self, cx: &Cx) -> Result<Report> {
        can_trace(cx.dir()).map_err(NotHere)?;
        let mut report = Report::default();
        let scene = record(cx, &mut report).await?;
        report.tried("writes and flushes", scene.trace.len() as u64);
        report.tried("acknowledged", scene.heard.acknowledged.len() as u64);
        report.tried("ends heard", scene.heard.ended.len() as u64);
        if !report.untried.is_empty() {
            return Ok(report);
        }
        let n_images = cx.count(cx.options.images, 150, 1_000);
        let found = images(cx, &scene, n_images, Loses::Unflushed, &mut report).await?;
        report.tried("images", found.images);
        report.tried("images that lack something", found.lacking);
        report.tried("images that opened", found.opened);
        report.tried("acknowledged in them", found.expected);
        report.tried("driven to the end", found.driven);
        // The same with a disk that lies: the campaign must see it.
        let mut lies = Report::default();
        let lied = images(cx, &scene, LIES, Loses::Everything, &mut lies).await?;
        report.tried("images of a disk that lies", lied.images);
        report.figure("found out", lied.broken);
        report.must(
            lied.images == 0 || 0 < lied.broken,
            "a disk that loses flushed writes was not found out: the campaign is blind",
        );
        Ok(report)
    }
}

/// Whether `strace` is there and may trace.
pub(super) fn can_trace(dir: &Path) -> Result<(), String> {
    let tried = std::process::Command::new("strace")
        .args(["-qq", "-o"])
        .arg(dir.join("try"))
        .arg("true")
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "strace may not trace here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!(
            "no strace here (sudo apt-get install strace): {error}"
        )),
    }
}

/// What was recorded.
struct Scene {
    base: Files,
    trace: Vec<Done>,
    heard: Heard,
    home: PathBuf,
    binary: PathBuf,
}

/// Runs the gateway under `strace` with clients at work, and kills it.
async fn record(cx: &Cx, report: &mut Report) -> Result<Scene> {
    let mut fleet = Fleet::new(&cx.dir().join("home"), cx.binary()?, cx.model(), None, "").await?;
    fleet.start(0).await?;
    report.break_all("hung at the stop", fleet.stop().await?.iter());
    let home = fleet.home.dir.clone();
    let mut base = Files::new();
    for name in [SQLITE_FILE, JOURNAL] {
        if let Ok(bytes) = std::fs::read(home.join(name)) {
            base.insert(name.to_owned(), bytes);
        }
    }
    fleet.extra.wrapper = tracer(&home, &cx.dir().join("trace"));
    fleet.start_gateway().await?;
    let plan = Plan {
        only_reads: true,
        ..Plan::new(fleet.port, CLIENTS, TOOLS)
    };
    let load = Load::start(&plan);
    tokio::time::sleep(Duration::from_secs(cx.count(None, 12, 60))).await;
    kill_traced(&fleet)?;
    let heard = load.stop().await;
    // The tracer ends with what it traces.
    if let Some(mut gateway) = fleet.gateway.take() {
        let ended = tokio::time::timeout(Duration::from_secs(20), gateway.process.end()).await;
        ended.context("strace does not end")??;
    }
    Ok(Scene {
        base,
        trace: trace::read(cx.dir(), "trace.", &home)?,
        heard,
        binary: fleet.home.binary.clone(),
        home,
    })
}

fn tracer(home: &Path, to: &Path) -> Vec<String> {
    let calls = "trace=pwrite64,fsync,fdatasync,ftruncate,unlink";
    let mut words: Vec<String> = [
        "strace", "-ff", "-qq", "-ttt", "-T", "-y", "-xx", "-s", "1000000",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    words.extend(["-e".to_owned(), calls.to_owned()]);
    for path in [home.to_owned(), home.join(SQLITE_FILE), home.join(JOURNAL)] {
        words.extend(["-P".to_owned(), path.display().to_string()]);
    }
    words.extend(["-o".to_owned(), to.display().to_string()]);
    words
}

/// `kill -9` of the child of the tracer.
fn kill_traced(fleet: &Fleet) -> Result<()> {
    let tracer = fleet.gateway.as_ref().context("no tracer")?;
    let child = tracer.process.children().first().copied();
    signal(child.context("no child")?, Signal::Kill)
}

/// What a failing power takes.
#[derive(Debug, Clone, Copy)]
enum Loses {
    Unflushed,
    /// Flushed or not.
    Everything,
}

#[derive(Default)]
struct Found {
    images: u64,
    /// Images from which the failing power took something.
    lacking: u64,
    opened: u64,
    /// Images with which something is wrong.
    broken: u64,
    driven: u64,
    /// Acknowledged runs that the images had to hold, in sum.
    expected: u64,
}

async fn images(
    cx: &Cx,
    scene: &Scene,
    n: u64,
    loses: Loses,
    report: &mut Report,
) -> Result<Found> {
    let mut random = cx.random();
    let honours = matches!(loses, Loses::Unflushed);
    let first = scene.trace.first().map_or(0, |it| it.begun_us);
    let last = scene.trace.last().map_or(0, |it| it.ended_us);
    // Half at any time, half at the beginning or the end of an operation, where a moment decides.
    let mut cuts: Vec<u64> = (0..n)
        .map(|number| {
            let any = first + random.below(last.saturating_sub(first) + 1);
            let near = scene.trace.get(random.index(scene.trace.len()));
            match (number % 4, near) {
                (0, Some(it)) => it.begun_us + 1,
                (1, Some(it)) => it.ended_us,
                _ => any,
            }
        })
        .collect();
    cuts.sort_unstable();
    let mut disk = Disk::new(scene.base.clone(), honours);
    let mut by_end: Vec<&Done> = scene.trace.iter().collect();
    by_end.sort_by_key(|it| it.ended_us);
    let mut next = 0;
    let mut found = Found::default();
    for (number, cut) in (0_u64..).zip(cuts) {
        if !cx.has_time_for(IMAGE) {
            cx.say(&format!("out of time after {number} images"));
            break;
        }
        while let Some(it) = by_end.get(next).filter(|it| it.ended_us <= cut) {
            disk.take(it);
            next += 1;
        }
        let running: Vec<Done> = by_end
            .get(next..)
            .unwrap_or_default()
            .iter()
            .filter(|it| it.begun_us <= cut)
            .map(|it| (*it).clone())
            .collect();
        let mood = match loses {
            Loses::Unflushed => Mood::any(&mut random),
            Loses::Everything => Mood::NOTHING,
        };
        let (files, n_lost) = disk.image(&running, mood, &mut random);
        let dir = cx.dir().join("image");
        let image = Image::new(scene, &dir, &files, cut)?;
        let mut own = image.check().await?;
        found.images += 1;
        found.lacking += u64::from(0 < n_lost);
        found.opened += u64::from(own.is_open);
        found.expected += image.acknowledged.len() as u64;
        let is_driven = honours
            && !image.acknowledged.is_empty()
            && (number % DRIVEN_ONE_IN == DRIVEN_ONE_IN / 2 || number + 1 == n);
        if is_driven && own.report.broken.is_empty() {
            found.driven += 1;
            own.report = image.drive(cx).await?;
        }
        found.broken += u64::from(!own.report.broken.is_empty());
        let seed = cx.options.seed;
        report.adds(
            &format!("image {number} (seed {seed}, cut {cut}, {mood:?})"),
            own.report,
        );
        if number % 100 == 99 {
            cx.say(&format!("{} images", number + 1));
        }
    }
    Ok(found)
}

/// A folder with what a disk may hold, and what must be in it.
struct Image {
    home: Home,
    acknowledged: Vec<String>,
    ended: Vec<String>,
}

impl Image {
    fn new(scene: &Scene, dir: &Path, files: &Files, cut: u64) -> Result<Self> {
        drop(std::fs::remove_dir_all(dir));
        std::fs::create_dir_all(dir)?;
        for name in ["config.toml", "token"] {
            let from = scene.home.join(name);
            if from.exists() {
                std::fs::copy(from, dir.join(name))?;
            }
        }
        trace::write(files, dir)?;
        // Only what was surely heard before the cut: a millisecond begins before it is over.
        let before = |times: &std::collections::BTreeMap<String, u64>| {
            times
                .iter()
                .filter(|(_, at)| (**at + 1) * 1_000 <= cut)
                .map(|(key, _)| key.clone())
                .collect()
        };
        Ok(Self {
            home: Home {
                dir: dir.to_owned(),
                binary: scene.binary.clone(),
            },
            acknowledged: before(&scene.heard.acknowledged),
            ended: before(&scene.heard.ended),
        })
    }

    /// Opens it with the real program, which recovers and verifies, then looks for what was acknowledged.
    async fn check(&self) -> Result<Checked> {
        let mut checked = Checked::default();
        let report = &mut checked.report;
        let verify = self
            .home
            .command()
            .args(["verify", "--json"])
            .output()
            .await?;
        if !verify.status.success() {
            let said = String::from_utf8_lossy(&verify.stdout);
            let error = String::from_utf8_lossy(&verify.stderr);
            report.breaks(format!("verify: {} {}", said.trim(), error.trim()));
            return Ok(checked);
        }
        let fleet = Fleet::over(&self.home.dir, &self.home.binary)?;
        let db = match fleet.sqlite() {
            Ok(db) => db,
            Err(error) => {
                report.breaks(format!("does not open: {error:#}"));
                return Ok(checked);
            }
        };
        let mut sql = db.prepare("select status from runs where client_key = ?1")?;
        for key in &self.acknowledged {
            let status: Option<String> = match sql.query_row([key], |row| row.get(0)) {
                Ok(status) => Some(status),
                Err(rusqlite::Error::QueryReturnedNoRows) => None,
                Err(error) => return Err(error.into()),
            };
            match status.as_deref() {
                None => report.breaks(format!("lost: {key}")),
                Some(status) if self.ended.contains(key) && status != "finished" => {
                    report.breaks(format!("its end is lost: {key} is {status}"));
                }
                Some(_) => {}
            }
        }
        checked.is_open = true;
        Ok(checked)
    }

    /// Starts the gateway on it and waits for the end of everything.
    async fn drive(&self, cx: &Cx) -> Result<Report> {
        let mut fleet = Fleet::over(&self.home.dir, &self.home.binary)?;
        fleet.start_gateway().await?;
        let keys = self.acknowledged.clone();
        let evidence = gather(&mut fleet, keys, cx.patience(END_MAX)).await?;
        let mut report = Report::default();
        judge(&evidence).tell(&evidence, &mut report);
        // How many runs one of the images had says nothing about all of them.
        report.figures.clear();
        cx.say(&format!(
            "{} runs of an image ended",
            self.acknowledged.len()
        ));
        Ok(report)
    }
}

/// What the real program made of an image.
#[derive(Default)]
struct Checked {
    is_open: bool,
    report: Report,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::random::Random;

    #[test]
    fn a_mood_is_the_same_for_the_same_seed() {
        let moods = |seed| {
            let mut random = Random::new(seed, "power-loss");
            (0..8)
                .map(|_| format!("{:?}", Mood::any(&mut random)))
                .collect::<Vec<_>>()
        };
        assert_eq!(moods(1), moods(1));
        assert_ne!(moods(1), moods(2));
    }
}
