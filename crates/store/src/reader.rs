//! Connections that read, and threads for reads that may take their time.
//!
//! A *glance* is a read of a few rows. It runs where it is asked for when a connection is free: some ten microseconds,
//! less than the two thread switches of handing it over. Everything else goes to a thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use futures::channel::oneshot;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use adjutant_ports::store::{StoreError, Stored};

use crate::error::{Done, Outage};
use crate::file;
use crate::sql::Sql;

/// Reads that may wait.
const QUEUE_MAX: usize = 1_024;

type Job = Box<dyn FnOnce(&mut Option<Connection>, &Path) + Send>;

/// The connections, one per thread. A connection that failed is not there until the next read opens it.
type Pool = Vec<Mutex<Option<Connection>>>;

/// The readers. They end when this is dropped.
pub(crate) struct Readers {
    queue: Sender<Job>,
    room: Arc<Semaphore>,
    threads: Vec<std::thread::JoinHandle<()>>,
    pool: Arc<Pool>,
    path: PathBuf,
}

impl Readers {
    pub(crate) fn start(path: &Path, n: u32) -> std::io::Result<Self> {
        let (queue, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let pool: Arc<Pool> = Arc::new((0..n).map(|_| Mutex::new(None)).collect());
        let mut threads = Vec::new();
        for i in 0..n {
            let (jobs, path, pool) = (Arc::clone(&jobs), path.to_owned(), Arc::clone(&pool));
            let thread = std::thread::Builder::new()
                .name(format!("store-read-{i}"))
                .spawn(move || serve(&jobs, &path, &pool))?;
            threads.push(thread);
        }
        Ok(Self {
            queue,
            room: Arc::new(Semaphore::new(QUEUE_MAX)),
            threads,
            pool,
            path: path.to_owned(),
        })
    }

    /// Runs `work`, which reads a few rows by key, on one snapshot of the data: here, if a connection is free.
    pub(crate) async fn glance<T, F>(&self, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Done<T> + Send + 'static,
    {
        if let Some(mut slot) = free(&self.pool) {
            return snapshot(&mut slot, &self.path, work);
        }
        self.read(work).await
    }

    /// Runs `work` on one snapshot of the data.
    pub(crate) async fn read<T, F>(&self, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Done<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_closed| gone())?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |slot, path| {
            let _permit: OwnedSemaphorePermit = permit;
            // An error only says that nobody waits any more.
            drop(reply.send(snapshot(slot, path, work)));
        });
        self.queue.send(job).map_err(|_closed| gone())?;
        answer.await.map_err(|_canceled| gone())?
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let (closed, _) = channel();
        self.queue = closed;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader panicked");
            }
        }
    }
}

fn gone() -> StoreError {
    StoreError::Failed {
        reason: "the store is closed".to_owned(),
        source: None,
    }
}

/// A connection that nobody uses. The last ones are taken first: long reads use the first.
fn free(pool: &Pool) -> Option<MutexGuard<'_, Option<Connection>>> {
    pool.iter().rev().find_map(|slot| match slot.try_lock() {
        Ok(slot) => Some(slot),
        Err(TryLockError::Poisoned(slot)) => Some(slot.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    })
}

fn serve(jobs: &Mutex<Receiver<Job>>, path: &Path, pool: &Pool) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // As many threads as connections, and glances are short: one is free now or in a moment.
        let slot = pool
            .iter()
            .find_map(|slot| slot.try_lock().ok())
            .or_else(|| Some(pool.first()?.lock().unwrap_or_else(PoisonError::into_inner)));
        if let Some(mut slot) = slot {
            job(&mut slot, path);
        }
    }
}

/// A connection that failed is opened anew before it serves again (R18).
fn snapshot<T>(
    slot: &mut Option<Connection>,
    path: &Path,
    work: impl FnOnce(&Connection) -> Done<T>,
) -> Stored<T> {
    let db = match slot.take() {
        Some(db) => db,
        None => file::open_reader(path).map_err(|error| Outage::of(&error).into_store())?,
    };
    let result = db.exec("begin", []).and_then(|_| work(&db));
    let ended = if db.is_autocommit() {
        Ok(0)
    } else {
        db.exec("rollback", [])
    };
    let sound = ended.is_ok() && !result.as_ref().is_err_and(crate::error::Fault::is_outage);
    if sound {
        *slot = Some(db);
    }
    result.map_err(crate::error::Fault::into_store)
}
