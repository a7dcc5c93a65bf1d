//! From a source to a target: batches through a channel that holds a few.

use std::io::BufRead;

use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use adjutant_domain::time::Timestamp;

use crate::copy::lines::{self, Header, Writer};
use crate::copy::plan::{self, Kind, Table};
use crate::copy::{CopyError, Counts, Database, Moved, Selection, postgres, sqlite};

/// Rows of a batch.
pub(super) const BATCH_ROWS: usize = 256;
/// Bytes of a batch, about.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;
/// Batches on the way.
const BATCHES: usize = 4;

/// A row by column.
pub(super) type Row = Map<String, Value>;

/// What a source hands on. Without an end, there is no copy.
pub(super) enum Batch {
    Begin(Header),
    Rows {
        table: &'static Table,
        rows: Vec<Row>,
    },
    End(Counts),
}

/// Where a source puts its batches.
#[derive(Clone)]
pub(super) struct Outlet(Sender<Batch>);

impl Outlet {
    /// From a thread that may wait.
    pub(super) fn send(&self, batch: Batch) -> Result<(), CopyError> {
        self.0
            .blocking_send(batch)
            .map_err(|_gone| CopyError::Stopped)
    }

    /// From a task.
    pub(super) async fn pass(&self, batch: Batch) -> Result<(), CopyError> {
        self.0.send(batch).await.map_err(|_gone| CopyError::Stopped)
    }
}

impl Selection {
    pub(super) fn takes(&self, table: &Table) -> bool {
        match self {
            Self::Data => table.kind == Kind::Owned,
            Self::Tables(names) => names.iter().any(|name| name == table.name),
            Self::Everything => true,
        }
    }
}

/// Somebody who reads.
pub(super) struct Source {
    batches: Receiver<Batch>,
    work: JoinHandle<Result<(), CopyError>>,
}

impl Source {
    pub(super) fn start(from: Database, selection: Selection, at: Timestamp) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES);
        let outlet = Outlet(sender);
        let work = match from {
            Database::Sqlite(dir) => {
                tokio::task::spawn_blocking(move || sqlite::read(&dir, &selection, at, &outlet))
            }
            Database::Postgres(options) => {
                tokio::spawn(async move { postgres::read(&options, &selection, at, &outlet).await })
            }
        };
        Self { batches, work }
    }

    pub(super) fn lines(from: impl BufRead + Send + 'static) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES);
        let outlet = Outlet(sender);
        let work = tokio::task::spawn_blocking(move || lines::read(from, &outlet));
        Self { batches, work }
    }
}

/// Somebody who takes.
pub(super) enum Target<'w> {
    Lines(Writer<'w>),
    /// A database whose schema is not there yet, so that nothing can be tried in it.
    Nowhere,
    Sqlite(Box<sqlite::Sink>),
    Postgres(Box<postgres::Sink>),
}

impl Target<'_> {
    /// Prepares an empty database; refuses any other.
    pub(super) async fn open(to: &Database) -> Result<Self, CopyError> {
        Ok(match to {
            Database::Sqlite(dir) => Self::Sqlite(Box::new(sqlite::Sink::open(dir)?)),
            Database::Postgres(options) => {
                Self::Postgres(Box::new(postgres::Sink::open(options).await?))
            }
        })
    }

    async fn begin(&mut self, header: &Header) -> Result<(), CopyError> {
        match self {
            Self::Lines(it) => it.begin(header),
            Self::Nowhere => Ok(()),
            Self::Sqlite(it) => it.begin(header),
            Self::Postgres(it) => it.begin(header),
        }
    }

    async fn rows(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), CopyError> {
        match self {
            Self::Lines(it) => it.rows(table, &rows),
            Self::Nowhere => Ok(()),
            Self::Sqlite(it) => it.rows(table, &rows),
            Self::Postgres(it) => it.rows(table, rows).await,
        }
    }

    /// Refuses other numbers of rows than were sent.
    async fn compare(&mut self, counts: &Counts) -> Result<(), CopyError> {
        match self {
            Self::Lines(_) | Self::Nowhere => Ok(()),
            Self::Sqlite(it) => it.compare(counts),
            Self::Postgres(it) => it.compare(counts).await,
        }
    }

    /// Makes what was moved count.
    pub(super) async fn end(self, counts: &Counts) -> Result<(), CopyError> {
        match self {
            Self::Lines(mut it) => it.end(counts.clone()),
            Self::Nowhere => Ok(()),
            Self::Sqlite(it) => it.end(),
            Self::Postgres(it) => it.end().await,
        }
    }
}

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What is moved counts in the end.
    Keep,
    /// Everything is done but that, so that whatever a copy would refuse is refused. Where there is no schema of this program
    /// yet, none is made, and the rows are only read. A sequence knows no way back, so the feed is left alone.
    Rehearse,
}

/// Moves everything, and compares the number of rows. Nothing of it counts yet.
pub(super) async fn fill(
    mut source: Source,
    target: &mut Target<'_>,
    purpose: Purpose,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
) -> Result<Counts, CopyError> {
    let mut rows_seen = 0_u64;
    let mut all = None;
    while let Some(batch) = source.batches.recv().await {
        match batch {
            Batch::Begin(header) => target.begin(&header).await?,
            Batch::Rows { table, rows } => {
                rows_seen = rows_seen.saturating_add(rows.len() as u64);
                if purpose == Purpose::Keep || table.name != plan::FEED.name {
                    target.rows(table, rows).await?;
                }
                seen(Moved {
                    table: table.name,
                    rows: rows_seen,
                });
            }
            Batch::End(counts) => all = Some(counts),
        }
    }
    source
        .work
        .await
        .map_err(|_panicked| CopyError::Stopped)??;
    let counts = all.ok_or(CopyError::Stopped)?;
    target.compare(&counts).await?;
    Ok(counts)
}

/// Waits for `work`, or for `stop`: then nothing has come of it.
pub(super) async fn unless<T>(
    stop: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, CopyError>>,
) -> Result<T, CopyError> {
    tokio::select! {
        biased;
        () = stop => Err(CopyError::Interrupted),
        done = work => done,
    }
}
