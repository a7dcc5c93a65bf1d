//! From a source to a target: batches through a channel that holds a few.

use std::io::BufRead;

use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use adjutant_domain::time::Timestamp;

use crate::copy::lines::{self, Header, Writer};
use crate::copy::plan::{Kind, Table};
use crate::copy::{CopyError, Counts, Database, Moved, Selection, postgres, sqlite};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 256;
/// Bytes of a batch, about.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;
/// Batches on the way.
const BATCHES: usize = 4;

/// A row by column.
pub(crate) type Row = Map<String, Value>;

/// What a source hands on. Without an end, there is no copy.
pub(crate) enum Batch {
    Begin(Header),
    Rows {
        table: &'static Table,
        rows: Vec<Row>,
    },
    End(Counts),
}

/// Where a source puts its batches.
#[derive(Clone)]
pub(crate) struct Outlet(Sender<Batch>);

impl Outlet {
    /// From a thread that may wait.
    pub(crate) fn send(&self, batch: Batch) -> Result<(), CopyError> {
        self.0
            .blocking_send(batch)
            .map_err(|_gone| CopyError::Stopped)
    }

    /// From a task.
    pub(crate) async fn pass(&self, batch: Batch) -> Result<(), CopyError> {
        self.0.send(batch).await.map_err(|_gone| CopyError::Stopped)
    }
}

impl Selection {
    pub(crate) fn takes(&self, table: &Table) -> bool {
        match self {
            Self::Data => table.kind == Kind::Owned,
            Self::Tables(names) => names.iter().any(|name| name == table.name),
            Self::Everything => true,
        }
    }
}

/// Somebody who reads.
pub(crate) struct Source {
    batches: Receiver<Batch>,
    work: JoinHandle<Result<(), CopyError>>,
}

impl Source {
    pub(crate) fn start(from: Database, selection: Selection, at: Timestamp) -> Self {
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

    pub(crate) fn lines(from: impl BufRead + Send + 'static) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES);
        let outlet = Outlet(sender);
        let work = tokio::task::spawn_blocking(move || lines::read(from, &outlet));
        Self { batches, work }
    }
}

/// Somebody who takes.
pub(crate) enum Target<'w> {
    Lines(Writer<'w>),
    Sqlite(Box<sqlite::Sink>),
    Postgres(Box<postgres::Sink>),
}

impl Target<'_> {
    /// Prepares an empty database; refuses any other.
    pub(crate) async fn open(to: &Database) -> Result<Self, CopyError> {
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
            Self::Sqlite(it) => it.begin(header),
            Self::Postgres(it) => it.begin(header),
        }
    }

    async fn rows(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), CopyError> {
        match self {
            Self::Lines(it) => it.rows(table, &rows),
            Self::Sqlite(it) => it.rows(table, &rows),
            Self::Postgres(it) => it.rows(table, rows).await,
        }
    }

    async fn end(self, counts: &Counts) -> Result<(), CopyError> {
        match self {
            Self::Lines(mut it) => it.end(counts.clone()),
            Self::Sqlite(it) => it.end(counts),
            Self::Postgres(it) => it.end(counts).await,
        }
    }
}

/// Moves everything. The target is finished only when the source came to its end.
pub(crate) async fn run(
    mut source: Source,
    mut target: Target<'_>,
    seen: &(dyn Fn(Moved<'_>) + Send + Sync),
) -> Result<Counts, CopyError> {
    let mut rows_seen = 0_u64;
    let mut all = None;
    while let Some(batch) = source.batches.recv().await {
        match batch {
            Batch::Begin(header) => target.begin(&header).await?,
            Batch::Rows { table, rows } => {
                rows_seen = rows_seen.saturating_add(rows.len() as u64);
                target.rows(table, rows).await?;
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
    target.end(&counts).await?;
    Ok(counts)
}
