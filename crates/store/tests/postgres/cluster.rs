//! A PostgreSQL for tests: `ADJUTANT_TEST_POSTGRES_URL`, or a cluster of its own on a socket in a temporary folder.
//!
//! The first process that needs the cluster makes it; others that come while it runs share it. Every user holds a lock on a
//! file, and a small shell that waits for that lock stops the cluster and removes the folder when the last user is gone,
//! however it ended. Each test has a database of its own, copied from a template.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use adjutant_ports::Clock;
use adjutant_sim::{SimClock, SimEntropy};
use adjutant_store::{Config, Postgres, PostgresOptions};

/// Where the tests' databases are.
pub(crate) struct Cluster {
    /// Of a role that may make databases, without a database.
    base: String,
    options: String,
    /// The folder, when the cluster is our own.
    pub(crate) dir: Option<PathBuf>,
    _used: Option<File>,
}

/// The runtime that stores and connections of all tests of this process live in.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Whether there is a PostgreSQL to test with, without starting it.
#[allow(dead_code, reason = "asked by the cases of the contract only")]
pub(crate) fn is_there() -> bool {
    std::env::var("ADJUTANT_TEST_POSTGRES_URL").is_ok_and(|url| !url.is_empty())
        || programs().is_some()
}

/// The cluster, made when it is asked for first. None: there is no PostgreSQL here.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            let cluster = match std::env::var("ADJUTANT_TEST_POSTGRES_URL") {
                Ok(url) if !url.is_empty() => Some(given(&url)),
                _ => own(""),
            };
            match &cluster {
                Some(cluster) => cluster.template(),
                None => eprintln!(
                    "skipped: no PostgreSQL here (sudo apt-get install postgresql, or set ADJUTANT_TEST_POSTGRES_URL)"
                ),
            }
            cluster
        })
        .as_ref()
}

fn given(url: &str) -> Cluster {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let authority = base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Cluster {
        base: authority,
        options: options.to_owned(),
        dir: None,
        _used: None,
    }
}

/// The folder with `initdb`: the newest there is.
pub(crate) fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Some(bin);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|dir| dir.join("initdb").exists())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command of the cluster: PostgreSQL refuses to run as root, so root becomes the user of the package.
pub(crate) fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program)
        .env("HOME", "/tmp");
    command
}

/// Waits for the last user, stops the cluster, removes the folder: under another name, because whoever comes while it goes
/// would find half of it.
const KEEPER: &str = r#"
trap '' INT HUP TERM
exec flock -x "$1/users" sh -c '
  if [ -f "$1/data/postmaster.pid" ]; then kill -QUIT "$(head -n1 "$1/data/postmaster.pid")" 2>/dev/null; fi
  n=0; while [ -S "$1/.s.PGSQL.5432" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
  mv "$1" "$1.gone.$$" && rm -rf "$1.gone.$$"' sh "$1"
"#;

/// A cluster that a test may stop. None: there is no PostgreSQL to start.
pub(crate) fn separate() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            let cluster = own("-separate");
            match &cluster {
                Some(cluster) => cluster.template(),
                None => eprintln!("skipped: no PostgreSQL here (sudo apt-get install postgresql)"),
            }
            cluster
        })
        .as_ref()
}

fn own(suffix: &str) -> Option<Cluster> {
    let bin = programs()?;
    let key = {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        std::env::current_exe().unwrap().hash(&mut hasher);
        hasher.finish()
    };
    let dir = std::env::temp_dir().join(format!("adjutant-pg-{key:016x}{suffix}"));
    // A keeper that removes the folder may be faster than a new user.
    for _ in 0..100 {
        if let Some(cluster) = join(&bin, &dir) {
            return Some(cluster);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the test cluster in {} cannot be had", dir.display());
}

/// Starts the cluster in `dir`, or finds it running. None: it went away meanwhile.
fn join(bin: &Path, dir: &Path) -> Option<Cluster> {
    std::fs::create_dir_all(dir).ok()?;
    let used = File::create(dir.join("users")).ok()?;
    used.lock_shared().ok()?;
    let start = File::create(dir.join("start")).ok()?;
    start.lock().ok()?;
    // A folder that went away meanwhile may be back already, with other files under these names.
    if !is_at(&used, &dir.join("users")) || !is_at(&start, &dir.join("start")) {
        return None;
    }
    if !dir.join("ready").exists() {
        make(bin, dir);
        File::create(dir.join("ready")).unwrap();
    }
    let host = dir.display().to_string().replace('/', "%2F");
    Some(Cluster {
        base: "postgresql://adjutant_test@".to_owned(),
        options: format!("host={host}"),
        dir: Some(dir.to_owned()),
        _used: Some(used),
    })
}

/// Whether this open file is the one that the path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

pub(crate) fn done(command: &mut Command) {
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

fn make(bin: &Path, dir: &Path) {
    if is_root() {
        done(Command::new("chown").arg("postgres:").arg(dir));
    }
    let mut keeper = Command::new("sh");
    keeper
        .args(["-c", KEEPER, "sh"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    {
        use std::os::unix::process::CommandExt;
        keeper.process_group(0);
    }
    // It outlives this process, on purpose.
    #[allow(clippy::zombie_processes)]
    keeper.spawn().unwrap();
    let data = dir.join("data");
    initdb(bin, &data);
    start(bin, dir);
    runtime().block_on(async {
        let host = dir.display().to_string().replace('/', "%2F");
        let admin = connect(&format!("postgresql://postgres@/postgres?host={host}")).await;
        // What the guide says: no superuser, may make its roles, and inherits nothing from them.
        admin
            .batch_execute("create role adjutant_test login noinherit createdb createrole")
            .await
            .unwrap();
    });
}

/// Makes the files of a server, of which `postgres` is the superuser.
pub(crate) fn initdb(bin: &Path, data: &Path) {
    done(
        unprivileged(&bin.join("initdb"))
            .arg("-D")
            .arg(data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-instructions"]),
    );
}

/// Starts the server of our own cluster; settings as they come, so `fsync` is on.
pub(crate) fn start(bin: &Path, dir: &Path) {
    let options = format!(
        "-c listen_addresses= -c unix_socket_directories={} -c max_connections=300 -c log_min_messages=fatal \
         -c shared_buffers=64MB -c autovacuum=off -c logging_collector=off",
        dir.display()
    );
    done(
        unprivileged(&bin.join("pg_ctl"))
            .args(["-w", "-s", "-D"])
            .arg(dir.join("data"))
            .arg("-l")
            .arg(dir.join("log"))
            .args(["-o", &options, "start"]),
    );
}

/// Stops it at once, as a crash would.
pub(crate) fn stop(dir: &Path) {
    let bin = programs().unwrap();
    done(
        unprivileged(&bin.join("pg_ctl"))
            .args(["-w", "-s", "-m", "immediate", "-D"])
            .arg(dir.join("data"))
            .arg("stop"),
    );
}

pub(crate) fn start_again(dir: &Path) {
    start(&programs().unwrap(), dir);
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

const TEMPLATE: &str = "adjutant_template";

impl Cluster {
    pub(crate) fn url(&self, database: &str) -> String {
        let between = if self.options.is_empty() { "" } else { "?" };
        format!("{}/{database}{between}{}", self.base, self.options)
    }

    /// Makes the template anew, once for each version of the schema.
    fn template(&self) {
        runtime().block_on(async {
            let admin = connect(&self.url("postgres")).await;
            admin
                .batch_execute("select pg_advisory_lock(7)")
                .await
                .unwrap();
            let there = admin
                .query_opt("select 1 from pg_database where datname = $1", &[&TEMPLATE])
                .await
                .unwrap();
            if there.is_none() || self.dir.is_none() {
                admin
                    .batch_execute(&format!("drop database if exists {TEMPLATE}"))
                    .await
                    .unwrap();
                admin
                    .batch_execute(&format!("create database {TEMPLATE}"))
                    .await
                    .unwrap();
                let clock = SimClock::new();
                drop(open(&self.url(TEMPLATE), clock, true).await);
                wait_until_unused(&admin, TEMPLATE).await;
            }
            admin
                .batch_execute("select pg_advisory_unlock(7)")
                .await
                .unwrap();
        });
    }

    /// A database of its own, which goes with the cluster, or with the value if the cluster is not ours.
    pub(crate) fn database(&'static self) -> Database {
        self.database_from(TEMPLATE)
    }

    /// The same, without a schema.
    #[allow(dead_code, reason = "the program's tests begin with it")]
    pub(crate) fn empty_database(&'static self) -> Database {
        self.database_from("template1")
    }

    fn database_from(&'static self, template: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // One at a time: a template may not be in use while it is copied.
        static TURN: Mutex<()> = Mutex::new(());
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("adjutant_t{}_{n}", std::process::id());
        let _turn = TURN.lock().unwrap();
        runtime().block_on(async {
            let admin = connect(&self.url("postgres")).await;
            let sql = format!("create database {name} template {template}");
            for left in (0..50).rev() {
                match admin.batch_execute(&sql).await {
                    Ok(()) => break,
                    Err(error) if left == 0 => panic!("{error:?}"),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Database {
            url: self.url(&name),
            name,
            cluster: self,
        }
    }
}

async fn wait_until_unused(admin: &Client, database: &str) {
    for _ in 0..100 {
        let n: i64 = admin
            .query_one(
                "select count(*) from pg_stat_activity where datname = $1",
                &[&database],
            )
            .await
            .unwrap()
            .get(0);
        if n == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A database of one test.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: String,
    cluster: &'static Cluster,
}

impl Drop for Database {
    fn drop(&mut self) {
        let (url, name) = (self.cluster.url("postgres"), self.name.clone());
        let dropped = async move {
            let admin = connect(&url).await;
            drop(
                admin
                    .batch_execute(&format!("drop database if exists {name} with (force)"))
                    .await,
            );
        };
        if std::thread::panicking() || tokio::runtime::Handle::try_current().is_ok() {
            return;
        }
        runtime().block_on(dropped);
    }
}

/// A store with a clock of its own.
pub(crate) async fn open(url: &str, clock: Arc<SimClock>, is_simulated: bool) -> Arc<Postgres> {
    let options = PostgresOptions {
        is_simulated,
        connections: 6,
        ..PostgresOptions::new(url)
    };
    open_all(options, clock).await
}

pub(crate) async fn open_all(options: PostgresOptions, clock: Arc<SimClock>) -> Arc<Postgres> {
    static SEED: AtomicU32 = AtomicU32::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let entropy = SimEntropy::new(u64::from(std::process::id()) << 16 | u64::from(seed));
    Postgres::open(
        options,
        clock as Arc<dyn Clock>,
        Arc::new(entropy),
        Config::default(),
    )
    .await
    .unwrap()
}

/// The time that it is.
#[derive(Debug)]
struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> adjutant_domain::time::Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        adjutant_domain::time::Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        static BEGAN: OnceLock<std::time::Instant> = OnceLock::new();
        BEGAN.get_or_init(std::time::Instant::now).elapsed()
    }

    fn sleep(&self, span: Duration) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn local_day(&self) -> String {
        self.now().rfc3339().chars().take(10).collect()
    }
}

/// A store on the database's clock, as it is used.
pub(crate) async fn open_with(options: PostgresOptions) -> Arc<Postgres> {
    static SEED: AtomicU32 = AtomicU32::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let entropy = SimEntropy::new(u64::from(std::process::id()) << 17 | u64::from(seed));
    Postgres::open(
        options,
        Arc::new(RealClock),
        Arc::new(entropy),
        Config::default(),
    )
    .await
    .unwrap()
}

pub(crate) async fn open_real(url: &str, connections: usize) -> Arc<Postgres> {
    let options = PostgresOptions {
        connections: u32::try_from(connections).unwrap(),
        ..PostgresOptions::new(url)
    };
    open_with(options).await
}
