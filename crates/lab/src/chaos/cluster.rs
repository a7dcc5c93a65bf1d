//! A PostgreSQL that may be tormented: a cluster of our own in a temporary folder, on a Unix socket and a loopback port.
//!
//! `ADJUTANT_TEST_POSTGRES_URL` names another for the scenarios that do not stop it. PostgreSQL refuses to run as root, so
//! root becomes the user of its package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::subject::free_port;

/// The role that Adjutant uses: no superuser, may make its roles, inherits nothing.
const ROLE: &str = "adjutant_chaos";

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// As a crash would: nothing is written, recovery follows.
    Immediate,
    /// Clients are cut off, a checkpoint is made.
    Fast,
}

/// A server, with the databases that were made on it.
pub(crate) struct Cluster {
    server: Server,
    next: AtomicU32,
}

enum Server {
    Own(Own),
    /// Somebody else's: the URL of its administrator.
    Given(String),
}

struct Own {
    dir: PathBuf,
    bin: PathBuf,
    /// On loopback, and of the Unix socket in `dir`: another one after a failover.
    port: u16,
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.pg_ctl(&["-m", "immediate", "stop"]));
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Own {
    fn pg_ctl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = unprivileged(&self.bin.join("pg_ctl"));
        command
            .args(["-w", "-s", "-D"])
            .arg(self.dir.join("data"))
            .args(arguments);
        done(&mut command)
    }

    /// The Unix socket, as this role.
    fn url(&self, role: &str, database: &str) -> String {
        format!(
            "postgresql://{role}@/{database}?host={}&port={}",
            self.dir.display().to_string().replace('/', "%2F"),
            self.port
        )
    }

    fn start(&self) -> Result<()> {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c max_connections=200 \
             -c shared_buffers=64MB -c log_min_messages=warning -c logging_collector=off",
            self.port,
            self.dir.display()
        );
        let log = self.dir.join("log").display().to_string();
        self.pg_ctl(&["-l", &log, "-o", &options, "start"])
    }
}

impl Cluster {
    /// The server named by the environment, else one of our own. None: there is no PostgreSQL here.
    pub(crate) async fn any() -> Result<Option<Self>> {
        match std::env::var("ADJUTANT_TEST_POSTGRES_URL") {
            Ok(url) if !url.is_empty() => Ok(Some(Self {
                server: Server::Given(url),
                next: AtomicU32::new(0),
            })),
            _ => Self::own().await,
        }
    }

    /// A server of our own. None: there is no PostgreSQL here.
    pub(crate) async fn own() -> Result<Option<Self>> {
        let Some(bin) = programs() else {
            return Ok(None);
        };
        // Named by its process, and short: the path of a socket has a bound.
        let dir = std::env::temp_dir().join(format!("adj-chaos-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir)?;
        // From here on whatever goes wrong takes the folder with it.
        let own = Own {
            port: free_port()?,
            dir,
            bin,
        };
        if is_root() {
            done(Command::new("chown").arg("postgres:").arg(&own.dir))?;
        }
        let mut initdb = unprivileged(&own.bin.join("initdb"));
        initdb
            .arg("-D")
            .arg(own.dir.join("data"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-instructions"]);
        done(&mut initdb)?;
        own.start()?;
        let cluster = Self {
            server: Server::Own(own),
            next: AtomicU32::new(0),
        };
        let admin = cluster.admin("postgres").await?;
        let sql = format!("create role {ROLE} login noinherit createrole");
        admin.batch_execute(&sql).await?;
        Ok(Some(cluster))
    }

    /// A new database.
    pub(crate) async fn database(&self) -> Result<Database> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("adjutant_chaos_{}_{n}", std::process::id());
        let admin = self.admin("postgres").await?;
        let (owner, url, given) = match &self.server {
            Server::Own(own) => {
                let url = own.url(ROLE, &name);
                (format!(" owner {ROLE}"), url, None)
            }
            Server::Given(url) => {
                let admin = with_database(url, "postgres");
                (String::new(), with_database(url, &name), Some(admin))
            }
        };
        admin
            .batch_execute(&format!("create database {name}{owner}"))
            .await?;
        Ok(Database { name, url, given })
    }

    /// What somebody is told who comes over TCP, through `port` of this machine.
    pub(crate) fn url_through(port: u16, database: &str) -> String {
        format!("postgresql://{ROLE}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The port of our own server on loopback.
    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.own_server()?.port)
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self, database: &str) -> Result<Client> {
        connect(&match &self.server {
            Server::Own(own) => own.url("postgres", database),
            Server::Given(url) => with_database(url, database),
        })
        .await
    }

    fn own_server(&self) -> Result<&Own> {
        match &self.server {
            Server::Own(own) => Ok(own),
            Server::Given(_) => bail!("not our server"),
        }
    }

    /// Stops our own server.
    pub(crate) fn stop(&self, how: Stop) -> Result<()> {
        let mode = match how {
            Stop::Immediate => "immediate",
            Stop::Fast => "fast",
        };
        self.own_server()?.pg_ctl(&["-m", mode, "stop"])
    }

    /// Starts our own server again.
    pub(crate) fn start(&self) -> Result<()> {
        self.own_server()?.start()
    }

    /// Starts our own server, stopped before, at another port: what a failover looks like from outside.
    pub(crate) fn start_elsewhere(&mut self) -> Result<u16> {
        let Server::Own(own) = &mut self.server else {
            bail!("not our server")
        };
        own.port = free_port()?;
        own.start()?;
        Ok(own.port)
    }
}

/// A database of a cluster. On somebody else's server it goes with this value.
pub(crate) struct Database {
    pub(crate) name: String,
    /// What a gateway or a worker is told.
    pub(crate) url: String,
    /// Who removes it, where the server stays.
    given: Option<String>,
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(admin) = self.given.take() else {
            return;
        };
        let sql = format!("drop database if exists {} with (force)", self.name);
        let removed = async move {
            let admin = connect(&admin).await?;
            anyhow::Ok(admin.batch_execute(&sql).await?)
        };
        // A thread with a runtime of its own: whoever drops this may be in the middle of another one.
        let removing = std::thread::spawn(|| -> Result<()> {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(removed)
        });
        if !matches!(removing.join(), Ok(Ok(()))) {
            eprintln!("the database {} could not be removed", self.name);
        }
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

fn with_database(url: &str, database: &str) -> String {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let authority = base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let between = if options.is_empty() { "" } else { "?" };
    format!("{authority}/{database}{between}{options}")
}

/// The folder with `initdb`: the newest there is.
fn programs() -> Option<PathBuf> {
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

/// Whether this process is root: its own entry in `/proc` tells.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, then effective.
    ids.and_then(|it| it.split_whitespace().nth(1)) == Some("0")
}

fn unprivileged(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program)
            .env("HOME", std::env::temp_dir());
        command
    } else {
        Command::new(program)
    };
    command.current_dir(std::env::temp_dir());
    command
}

/// Runs a command to its end. Its output goes to files: a server that inherits a pipe would keep it open.
fn done(command: &mut Command) -> Result<()> {
    let said = tempfile::tempfile()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .status()
        .with_context(|| format!("{command:?}"))?;
    if !status.success() {
        use std::io::{Read as _, Seek as _};
        let (mut said, mut text) = (said, String::new());
        said.rewind()?;
        said.read_to_string(&mut text)?;
        bail!("{command:?}: {text}");
    }
    Ok(())
}
