//! The store: a writer, some readers, and one file of statements per aggregate.

mod accept;
mod agent;
mod append;
mod approval;
pub(crate) mod audit;
mod claim;
mod device;
mod event;
mod index;
pub(crate) mod memory;
mod message;
pub(crate) mod money;
mod node;
mod pairing;
mod project;
pub(crate) mod run;
mod session;
mod signal;
mod thread;
mod tidy;
pub(crate) mod verify;
mod worker;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use adjutant_ports::bus::Bus;
use adjutant_ports::clock::{Clock, Entropy};
use adjutant_ports::store::Stored;

use crate::buckets::Buckets;
use crate::config::Config;
use crate::error::{Done, Fault, OpenError, open_error};
use crate::file::{self, FILE_NAME};
use crate::leases::Leases;
use crate::lock::Lock;
use crate::migrate::migrate;
use crate::reader::Readers;
use crate::steady::Steady;
use crate::tx::{Durability, Tx};
use crate::writer::{Parts, Writer, first_cursor};

/// Name of the thread that checks everything.
pub(crate) const VERIFY_THREAD: &str = "store-verify";

/// The store in one SQLite file. Implements [`adjutant_ports::Store`].
///
/// Dropping it waits for the writes that were handed in, moves the WAL into the database and gives up the directory.
pub struct Sqlite {
    // In the order in which they must end.
    writer: Writer,
    readers: Readers,
    steady: Arc<Steady>,
    agents: agent::Cache,
    buckets: Arc<Buckets>,
    leases: Arc<Leases>,
    path: PathBuf,
    lock: Lock,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Takes the lock of `dir` and opens the store in it; makes both when there is nothing yet.
    ///
    /// # Errors
    /// [`OpenError`]: somebody else owns the directory, the file is damaged or newer, the disk says no.
    pub fn open(
        dir: &Path,
        clock: Arc<dyn Clock>,
        bus: Arc<dyn Bus>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Result<Arc<Self>, OpenError> {
        config.check()?;
        Self::open_locked(Lock::acquire(dir)?, clock, bus, entropy, config)
    }

    /// Opens the store in the directory of a lock that was taken before.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_locked(
        lock: Lock,
        clock: Arc<dyn Clock>,
        bus: Arc<dyn Bus>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Result<Arc<Self>, OpenError> {
        config.check()?;
        let path = lock.dir().join(FILE_NAME);
        let mut db = file::open(&path)?;
        migrate(&mut db, &path)?;
        let wrong = |fault: Fault| match fault {
            Fault::Sql(error) => open_error(&path, &error),
            Fault::Store(error) => OpenError::Sqlite {
                path: path.clone(),
                reason: error.to_string(),
            },
        };
        let cursor = first_cursor(&db).map_err(wrong)?;
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let steady = Arc::new(Steady::new(clock));
        let buckets = Arc::new(Buckets::load(&db).map_err(wrong)?);
        let leases = Arc::new(Leases::load(&db, steady.now()).map_err(wrong)?);
        let chores = Box::new(tidy::Tidy::new(&config, Arc::clone(&buckets)));
        let parts = Parts {
            path: path.clone(),
            db,
            steady: Arc::clone(&steady),
            entropy,
            bus,
            leases: Arc::clone(&leases),
            cursor,
            chores,
        };
        let writer = Writer::start(parts).map_err(io)?;
        let readers = Readers::start(&path, config.readers).map_err(io)?;
        Ok(Arc::new(Self {
            writer,
            readers,
            steady,
            agents: agent::Cache::default(),
            buckets,
            leases,
            path,
            lock,
        }))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock that keeps others out.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// A write whose answer follows the flush (R1).
    async fn flushed<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Done<T> + Send + 'static,
    ) -> Stored<T> {
        self.writer.write(Durability::Flushed, work).await
    }

    /// A write that power loss may take back.
    async fn relaxed<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Done<T> + Send + 'static,
    ) -> Stored<T> {
        self.writer.write(Durability::Relaxed, work).await
    }

    /// A read of a few rows by key.
    async fn glance<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Stored<T> {
        self.readers.glance(work).await
    }

    /// A read that may take its time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Stored<T> {
        self.readers.read(work).await
    }
}
