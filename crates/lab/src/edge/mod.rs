//! The hostile edge: what strangers, careless programs and crowds do to the port. Each must come to what is promised,
//! within bounds, and the gateway must be well afterwards.

mod alone;
mod crowd;
mod watch;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::limits;
use crate::subject::{Home, Subject, free_port, mock, wait_http};
pub(crate) use crowd::Storm;
use watch::Watch;

/// How many there are in a crowd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Sockets that say nothing, or half a request.
    pub(crate) silent: usize,
    /// Clients that come back at once.
    pub(crate) returning: usize,
    /// Clients that are there and do nothing.
    pub(crate) idle: usize,
}

/// Clients that come back at once.
pub(crate) const RETURNING: usize = 1_000;

const FULL: Crowd = Crowd {
    silent: 10_000,
    returning: RETURNING,
    idle: 10_000,
};
const QUICK: Crowd = Crowd {
    silent: 500,
    returning: 200,
    idle: 500,
};
/// How long the gateway may take to be well again after a trial.
const RECOVERY: Duration = Duration::from_secs(10);

/// What came of a trial.
struct Row {
    what: &'static str,
    must: &'static str,
    /// What happened, or why it could not be tried.
    came: Result<Came>,
    grown_bytes: u64,
    grown_bytes_max: u64,
}

/// What happened, and whether that is what must.
pub(crate) struct Came {
    pub(crate) said: String,
    pub(crate) right: bool,
}

impl Came {
    fn new(right: bool, said: impl Into<String>) -> Self {
        Self {
            said: said.into(),
            right,
        }
    }
}

impl Row {
    fn is_met(&self) -> bool {
        self.came.as_ref().is_ok_and(|it| it.right) && self.grown_bytes <= self.grown_bytes_max
    }
}

/// Tries everything and prints a table; fails when something did not come to what it must.
pub(crate) async fn run(binary: &Path, quick: bool) -> Result<()> {
    let crowd = if quick { QUICK } else { FULL };
    let n_files = crowd.silent.max(crowd.idle).max(crowd.returning * 2) + crowd::SPARE_FILES;
    if let Err(why) = limits::open_files(n_files as u64)? {
        bail!("{why}; `--quick` needs fewer");
    }
    let dir = tempfile::tempdir()?;
    let model = mock().await?;
    let extra = format!(
        "[worker]\nreflect = false\n[gateway]\nconnections_max = {}\n",
        crowd.idle.saturating_add(100).min(10_000)
    );
    let home = Home::new(dir.path(), binary, model.port, &extra).await?;
    let mut edge = Edge {
        rows: Vec::new(),
        subject: home.gateway(free_port()?).await?.0,
        home,
    };
    // Once round, so that what is made at first use does not count as growth.
    alone::call(edge.port()).await?;
    edge.alone().await;
    edge.crowds(crowd).await?;
    print(&edge.rows);
    let n_missed = edge.rows.iter().filter(|it| !it.is_met()).count();
    if 0 < n_missed {
        bail!("{n_missed} of {} trials missed", edge.rows.len());
    }
    Ok(())
}

/// The gateway that is tried.
struct Edge {
    home: Home,
    subject: Subject,
    rows: Vec<Row>,
}

const MIB: u64 = 1 << 20;

impl Edge {
    fn port(&self) -> u16 {
        self.subject.port
    }

    async fn alone(&mut self) {
        let port = self.port();
        let trial = self.trial(
            "26 MB in one frame, with the token",
            "cut with 1009",
            8 * MIB,
        );
        trial
            .of(alone::huge_frame(port, alone::Mount::JsonRpc))
            .await;
        let trial = self.trial(
            "26 MB in one frame, before connect",
            "cut with 1009",
            4 * MIB,
        );
        trial
            .of(alone::huge_frame(port, alone::Mount::Frames))
            .await;
        let trial = self.trial(
            "JSON 100 deep",
            "refused, and the connection lives",
            4 * MIB,
        );
        trial.of(alone::deep_json(port)).await;
        let trial = self.trial("bad UTF-8", "closed with 1007", 4 * MIB);
        trial.of(alone::bad_text(port)).await;
        let trial = self.trial(
            "first frame is not connect",
            "closed, nothing answered",
            4 * MIB,
        );
        trial.of(alone::no_connect(port)).await;
        let trial = self.trial(
            "headers of 20 KB and 200 header lines",
            "431 for both",
            4 * MIB,
        );
        trial.of(alone::large_headers(port)).await;
        let trial = self.trial(
            "50,000 calls at once over one connection",
            "all answered or refused; others ≤ 250 ms",
            16 * MIB,
        );
        trial.of(alone::flood(port)).await;
        let trial = self.trial(
            "a client that asks and never reads",
            "held back or cut; others ≤ 250 ms",
            16 * MIB,
        );
        trial.of(alone::slow_reader(port)).await;
    }

    async fn crowds(&mut self, crowd: Crowd) -> Result<()> {
        let (port, pid) = (self.port(), self.subject.pid());
        let trial = self.trial("half-open sockets", "a client gets in ≤ 30 s", 32 * MIB);
        trial.of(crowd::silent(port, crowd.silent)).await;
        let trial = self.trial(
            "idle clients with the token",
            "≤ 9 KB each, ≤ 2 % of a core",
            256 * MIB,
        );
        trial.of(crowd::idle(port, pid, crowd.idle)).await;
        self.returning(crowd.returning).await
    }

    /// The gateway is killed under a crowd that comes back at once.
    async fn returning(&mut self, n: usize) -> Result<()> {
        let port = self.port();
        let storm = Storm::gather(port, n).await?;
        self.subject.kill().await?;
        self.subject = self.home.gateway(port).await?.0;
        let trial = self.trial(
            "clients that come back at once",
            "all back ≤ 30 s",
            128 * MIB,
        );
        trial.of(storm.passes()).await;
        Ok(())
    }

    fn trial(&mut self, what: &'static str, must: &'static str, grown_bytes_max: u64) -> Trial<'_> {
        Trial {
            edge: self,
            what,
            must,
            grown_bytes_max,
        }
    }
}

struct Trial<'a> {
    edge: &'a mut Edge,
    what: &'static str,
    must: &'static str,
    grown_bytes_max: u64,
}

impl Trial<'_> {
    /// Runs it under watch, and sees that the gateway is well afterwards.
    async fn of(self, trial: impl Future<Output = Result<Came>>) {
        eprintln!("trying: {}", self.what);
        let watch = Watch::begin(self.edge.subject.pid());
        let mut came = trial.await;
        let grown_bytes = watch.end();
        if let Err(sick) = wait_http(self.edge.port(), "/healthz", RECOVERY).await {
            came = came.and(Err(sick));
        }
        self.edge.rows.push(Row {
            what: self.what,
            must: self.must,
            came,
            grown_bytes,
            grown_bytes_max: self.grown_bytes_max,
        });
    }
}

fn print(rows: &[Row]) {
    println!("| trial | must | came | memory grew by | at most | |\n|---|---|---|--:|--:|---|");
    for row in rows {
        let came = match &row.came {
            Ok(came) => came.said.clone(),
            Err(error) => format!("{error:#}"),
        };
        let verdict = if row.is_met() { "met" } else { "MISSED" };
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        println!(
            "| {} | {} | {came} | {:.1} MB | {:.0} MB | {verdict} |",
            row.what,
            row.must,
            mib(row.grown_bytes),
            mib(row.grown_bytes_max)
        );
    }
}
