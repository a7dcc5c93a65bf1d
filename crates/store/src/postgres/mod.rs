//! The store in PostgreSQL: many processes, one database.
//!
//! Begin reading at [`Postgres`]; what a transaction is and costs is in `tx.rs`, who may see what in the migration.
//!
//! Nothing here needs a session: identity, role and settings are set for one transaction, no statement is prepared, every
//! lock ends with its transaction. So a pooler in transaction mode may stand in between. Only the listener (`listen.rs`)
//! needs a connection of its own, and nothing correct needs the listener (R16).
//!
//! Locks are taken in one order, so that nobody waits in a circle: session, run, thread, question, money, the end of the
//! audit chain, the feed.

mod accept;
mod address;
mod agent;
mod append;
mod approval;
mod audit;
mod bus;
mod claim;
mod device;
mod error;
mod event;
mod feed;
mod index;
mod job;
mod listen;
mod memory;
mod message;
pub(crate) mod migrate;
mod money;
mod node;
mod pairing;
mod project;
pub(crate) mod row;
mod run;
mod session;
mod setup;
mod signal;
mod thread;
mod tidy;
mod tx;
mod verify;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_postgres::Row;

use adjutant_ports::clock::{Clock, Entropy};
use adjutant_ports::store::{StoreError, Stored};

pub use bus::PostgresBus;
pub use error::PostgresError;

use crate::config::Config;
pub(crate) use address::{APPLICATION, Address};
use error::Done;
pub(crate) use error::{Fault, chain};
use job::{Job, Op};
use row::Value;
pub(crate) use tx::Who;
use tx::{Durability, Said, Times, Tx};

/// Longest wait for a free connection.
const CONNECTION_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long work is tried again while the database restarts.
const RETRY_MAX: Duration = Duration::from_secs(4);
/// Times that work is done again because somebody else was first.
const TRIES_MAX: u32 = 12;

/// Whether a URL holds a password.
pub(crate) fn holds_password(url: &str) -> Result<bool, PostgresError> {
    Ok(Address::parse(url)?.config.get_password().is_some())
}

/// Where the database is, and how it is used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgresql://user:password@host:port/database?sslmode=…`; may go through a pooler in transaction mode.
    pub url: String,
    /// The same database without such a pooler, for the connection that listens. None: `url`.
    pub listen_url: Option<String>,
    /// Connections at once, 1 to 100, without the one that listens.
    pub connections: u32,
    /// Takes time from the store's clock instead of the database's: for simulations.
    pub is_simulated: bool,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses hold passwords (S45).
        f.debug_struct("PostgresOptions")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// A database with the usual number of connections.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            listen_url: None,
            connections: 8,
            is_simulated: false,
        }
    }

    /// Host and database, without user and password.
    ///
    /// # Errors
    /// [`PostgresError::Url`]: it is none.
    pub fn shown(&self) -> Result<String, PostgresError> {
        Address::parse(&self.url).map(|address| address.shown())
    }
}

/// What every operation uses.
pub(crate) struct Inner {
    pool: Pool,
    times: Times,
    entropy: Arc<dyn Entropy>,
    bus: Arc<PostgresBus>,
}

/// The store in one PostgreSQL database. Implements [`adjutant_ports::Store`].
///
/// Operations run as tasks of the runtime it was opened in, so they may be awaited from any executor, and what was begun is
/// ended whoever stops waiting.
pub struct Postgres {
    inner: Arc<Inner>,
    runtime: Handle,
    shown: String,
    chores: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("at", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.chores.abort();
        self.inner.bus.stop();
        self.inner.pool.close();
    }
}

impl Postgres {
    /// Connects, brings the schema to the newest version, and begins to listen. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`PostgresError`]: the database cannot be reached, its schema is newer, the role of the URL may not do what it has to.
    pub async fn open(
        options: PostgresOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Result<Arc<Self>, PostgresError> {
        config.check()?;
        let address = Address::parse(&options.url)?;
        let listens = match &options.listen_url {
            Some(url) => Address::parse(url)?,
            None => address.clone(),
        };
        let shown = address.shown();
        let pool = pool(&address, options.connections);
        migrate::migrate(&pool, &shown).await?;
        let runtime = Handle::current();
        let inner = Arc::new(Inner {
            pool: pool.clone(),
            times: Times::new(clock, options.is_simulated),
            bus: PostgresBus::new(&*entropy),
            entropy,
        });
        inner.can_take_every_role(&shown).await?;
        let bus = &inner.bus;
        let from = inner
            .newest()
            .await
            .map_err(|fault| PostgresError::Connect {
                at: shown.clone(),
                reason: fault.into_store().to_string(),
            })?;
        bus.keep(runtime.spawn(feed::run(Arc::downgrade(&inner), from)));
        bus.keep(runtime.spawn(listen::run(listens, pool.clone(), Arc::clone(bus))));
        bus.keep(runtime.spawn(Arc::clone(bus).send_all(pool)));
        let chores = runtime.spawn(tidy::run(Arc::downgrade(&inner), config));
        Ok(Arc::new(Self {
            inner,
            runtime,
            shown,
            chores,
        }))
    }

    /// The bus over this database: what other processes on it say is heard here, and the other way round.
    #[must_use]
    pub fn bus(&self) -> Arc<PostgresBus> {
        Arc::clone(&self.inner.bus)
    }

    /// Host and database, without user and password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs `work` as a task, so that it ends whoever waits for it.
    async fn spawned<T: Send + 'static>(
        &self,
        work: impl Future<Output = Stored<T>> + Send + 'static,
    ) -> Stored<T> {
        match self.runtime.spawn(work).await {
            Ok(done) => done,
            Err(_panicked) => Err(StoreError::Failed {
                reason: "the operation panicked or the program is stopping; it was undone"
                    .to_owned(),
                source: None,
            }),
        }
    }

    /// One transaction that writes; the answer follows the flush (R1).
    pub(crate) async fn write<A, T>(
        &self,
        who: Who,
        args: A,
        work: impl for<'a> Fn(&'a mut Tx<'_>, &'a A) -> BoxFuture<'a, Done<T>> + Send + Sync + 'static,
    ) -> Stored<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let op = Op::new(args, work);
        self.run(who, Arc::clone(&op) as _).await?;
        op.take().ok_or_else(|| lost().into_store())
    }

    async fn run(&self, who: Who, job: Arc<dyn Job>) -> Stored<()> {
        let inner = Arc::clone(&self.inner);
        self.spawned(async move {
            inner
                .run(&who, Durability::Flushed, &*job)
                .await
                .map_err(Fault::into_store)
        })
        .await
    }

    /// One statement in one round trip, which may be done twice.
    pub(crate) async fn read(
        &self,
        who: Who,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Stored<Vec<Row>> {
        let inner = Arc::clone(&self.inner);
        self.spawned(async move {
            inner
                .statement(&who, Durability::Relaxed, sql, &params, true)
                .await
                .map_err(Fault::into_store)
        })
        .await
    }

    /// One statement that writes, in one round trip.
    pub(crate) async fn change(
        &self,
        who: Who,
        durability: Durability,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Stored<Vec<Row>> {
        let inner = Arc::clone(&self.inner);
        self.spawned(async move {
            inner
                .statement(&who, durability, sql, &params, false)
                .await
                .map_err(Fault::into_store)
        })
        .await
    }
}

pub(crate) fn pool(address: &Address, connections: u32) -> Pool {
    let manager = Manager::from_config(
        address.config.clone(),
        address.tls.clone(),
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let builder = Pool::builder(manager)
        .max_size(connections.clamp(1, 100) as usize)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .wait_timeout(Some(CONNECTION_WAIT_MAX))
        .create_timeout(Some(CONNECTION_WAIT_MAX));
    match builder.build() {
        Ok(pool) => pool,
        // Only for want of a runtime, which is given two lines above.
        Err(never) => unreachable!("{never}"),
    }
}

/// A transaction was committed whose work gave nothing, which cannot be.
fn lost() -> Fault {
    Fault::Unreadable("the work of a transaction left no value".to_owned())
}

/// A connection that goes back to the pool only when it is known to be outside of any transaction.
struct Lent(Option<Object>);

impl Lent {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl Inner {
    /// Does `work` in a transaction, again when somebody was in the way.
    pub(crate) async fn transaction<A, T>(
        &self,
        who: &Who,
        durability: Durability,
        args: A,
        work: impl for<'a> Fn(&'a mut Tx<'_>, &'a A) -> BoxFuture<'a, Done<T>> + Send + Sync,
    ) -> Done<T>
    where
        A: Send + Sync,
        T: Send,
    {
        let op = Op::new(args, work);
        self.run(who, durability, &*op).await?;
        op.take().ok_or_else(lost)
    }

    async fn run(&self, who: &Who, durability: Durability, job: &dyn Job) -> Done<()> {
        let mut patience = Patience::new();
        loop {
            match self.attempt(who, durability, job).await {
                Ok(said) => {
                    self.bus.told(said);
                    return Ok(());
                }
                Err(fault) => patience.wait_or(fault).await?,
            }
        }
    }

    async fn attempt(&self, who: &Who, durability: Durability, job: &dyn Job) -> Done<Said> {
        let lent = Lent(Some(self.pool.get().await?));
        let Some(client) = lent.0.as_deref() else {
            return Err(Fault::Again);
        };
        let mut tx = Tx::new(client, &self.times, &*self.entropy, who, durability);
        let done = match job.run(&mut tx).await {
            Ok(()) => tx.commit().await,
            Err(fault) => Err(fault),
        };
        let fault = match done {
            Ok(()) => {
                let said = tx.into_said();
                lent.give_back();
                return Ok(said);
            }
            Err(fault) => fault,
        };
        // Only a connection that has answered is used again; every other way out drops it.
        if !fault.is_cut() && (!tx.is_begun() || tx.rollback().await.is_ok()) {
            lent.give_back();
        }
        Err(fault)
    }

    /// Does one statement in a transaction of its own.
    pub(crate) async fn statement(
        &self,
        who: &Who,
        durability: Durability,
        sql: &'static str,
        params: &[Value],
        is_read: bool,
    ) -> Done<Vec<Row>> {
        let mut patience = Patience::new();
        loop {
            let fault = match self.attempt_statement(who, durability, sql, params).await {
                Ok(rows) => return Ok(rows),
                Err(Fault::Unknown) if is_read => Fault::Again,
                Err(fault) => fault,
            };
            patience.wait_or(fault).await?;
        }
    }

    async fn attempt_statement(
        &self,
        who: &Who,
        durability: Durability,
        sql: &'static str,
        params: &[Value],
    ) -> Done<Vec<Row>> {
        let lent = Lent(Some(self.pool.get().await?));
        let Some(client) = lent.0.as_deref() else {
            return Err(Fault::Again);
        };
        let tx = Tx::new(client, &self.times, &*self.entropy, who, durability);
        let (rows, tx) = tx.last(sql, params.to_vec()).await;
        match rows {
            Ok(rows) => {
                lent.give_back();
                Ok(rows)
            }
            Err(fault) => {
                if !fault.is_cut()
                    && !matches!(fault, Fault::Unknown)
                    && tx.rollback().await.is_ok()
                {
                    lent.give_back();
                }
                Err(fault)
            }
        }
    }

    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    pub(crate) fn bus(&self) -> &PostgresBus {
        &self.bus
    }

    /// A role that cannot be taken is found at the start, not in the middle of a run.
    async fn can_take_every_role(&self, shown: &str) -> Result<(), PostgresError> {
        for (role, who) in Who::ROLES.into_iter().zip([
            Who::Owner(adjutant_domain::id::OwnerId::local()),
            Who::Queue,
            Who::Auditor,
        ]) {
            self.statement(&who, Durability::Relaxed, "select 1", &[], true)
                .await
                .map_err(|fault| PostgresError::Role {
                    at: shown.to_owned(),
                    role,
                    reason: fault.into_store().to_string(),
                })?;
        }
        Ok(())
    }
}

/// How long work is tried again.
struct Patience {
    since: Instant,
    tries: u32,
}

impl Patience {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            tries: 0,
        }
    }

    /// Waits a moment, or gives the fault back when there is no hope or no time.
    async fn wait_or(&mut self, fault: Fault) -> Done<()> {
        self.tries += 1;
        let is_late = RETRY_MAX < self.since.elapsed();
        let is_gone = fault.is_cut() || matches!(fault, Fault::Pool(_));
        if !fault.may_pass() || is_late || (!is_gone && TRIES_MAX < self.tries) {
            return Err(fault);
        }
        let pause = if is_gone {
            Duration::from_millis(100)
        } else {
            Duration::from_millis(1 << self.tries.min(7))
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
