//! What a scenario gets: the binary, a folder, a model, choices, its share of the time, and a stage to torment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Options;
use super::cluster::{Cluster, Database};
use super::fleet::Fleet;
use super::random::Random;
use super::time::Share;

/// This machine lacks what a scenario needs. As an error, it ends the scenario and breaks nothing.
#[derive(Debug)]
pub(crate) struct NotHere(pub(crate) String);

impl std::fmt::Display for NotHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

/// Which PostgreSQL a scenario needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Postgres {
    /// Any: it is left alone.
    Any,
    /// One that may be stopped.
    Own,
}

/// A gateway and its workers over a database of their own. What is declared first goes first.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    _database: Database,
    _cluster: Cluster,
}

/// What a scenario gets.
pub(crate) struct Cx {
    pub(super) options: Options,
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    /// The port of the mock model.
    pub(super) model: u16,
    pub(super) share: Share,
}

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

    /// Whether there was torment enough: what is left of the time is for looking at what came of it.
    pub(crate) fn is_late(&self) -> bool {
        self.share.is_late()
    }

    /// Whether there is time for a part of the scenario that is begun, judged and ended within `span`.
    pub(crate) fn has_time_for(&self, span: Duration) -> bool {
        self.share.has(span)
    }

    /// How long to wait for what may take `longest`, so that there is time left to say so.
    pub(crate) fn patience(&self, longest: Duration) -> Duration {
        self.share.patience(longest)
    }

    /// A line for whoever watches.
    pub(crate) fn say(&self, text: &str) {
        if !self.options.json {
            let seconds = self.share.elapsed().as_secs();
            eprintln!("[{} {seconds:>4} s] {text}", self.name);
        }
    }

    /// A PostgreSQL and a new database on it.
    pub(crate) async fn postgres(&self, which: Postgres) -> Result<(Cluster, Database)> {
        let cluster = match which {
            Postgres::Any => Cluster::any().await?,
            Postgres::Own => Cluster::own().await?,
        };
        let cluster = cluster.ok_or_else(|| {
            NotHere("no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL)".to_owned())
        })?;
        let database = cluster.database().await?;
        Ok((cluster, database))
    }

    /// A fleet in the folder of this scenario, without a process yet. No URL: over SQLite.
    pub(crate) async fn fleet(&self, url: Option<&str>, more: &str) -> Result<Fleet> {
        Fleet::new(&self.dir, self.binary()?, self.model, url, more).await
    }

    /// A gateway and so many workers over PostgreSQL, started.
    pub(crate) async fn stage(&self, which: Postgres, workers: usize) -> Result<Stage> {
        let (cluster, database) = self.postgres(which).await?;
        let mut fleet = self.fleet(Some(&database.url), "").await?;
        fleet.start(workers).await?;
        Ok(Stage {
            fleet,
            _database: database,
            _cluster: cluster,
        })
    }
}
