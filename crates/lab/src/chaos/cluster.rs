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

/// A server, or where somebody else's is.
pub(crate) struct Cluster {
    own: Option<Own>,
    /// URL of the administrator, without a database.
    given: Option<String>,
    next: AtomicU32,
}

struct Own {
    dir: PathBuf,
    bin: PathBuf,
    /// What the port on loopback is.
    port: u16,
    /// Where its Unix socket is: another one after a failover.
    socket: PathBuf,
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

    fn start(&self) -> Result<()> {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c max_connections=200 \
             -c shared_buffers=64MB -c log_min_messages=warning -c logging_collector=off",
            self.port,
            self.socket.display()
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
                own: None,
                given: Some(url),
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
        if is_root() {
            done(Command::new("chown").arg("postgres:").arg(&dir))?;
        }
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-instructions"]);
        done(&mut initdb)?;
        let own = Own {
            socket: dir.clone(),
            port: free_port()?,
            dir,
            bin,
        };
        own.start()?;
        let cluster = Self {
            own: Some(own),
            given: None,
            next: AtomicU32::new(0),
        };
        let admin = cluster.admin("postgres").await?;
        let sql = format!("create role {ROLE} login noinherit createrole");
        admin.batch_execute(&sql).await?;
        Ok(Some(cluster))
    }

    /// A new database. Returns its name.
    pub(crate) async fn database(&self) -> Result<String> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("adjutant_chaos_{}_{n}", std::process::id());
        let admin = self.admin("postgres").await?;
        let owner = if self.own.is_some() {
            format!(" owner {ROLE}")
        } else {
            String::new()
        };
        admin
            .batch_execute(&format!("create database {name}{owner}"))
            .await?;
        Ok(name)
    }

    /// Removes a database, whoever uses it.
    pub(crate) async fn drop_database(&self, name: &str) -> Result<()> {
        let admin = self.admin("postgres").await?;
        let sql = format!("drop database if exists {name} with (force)");
        Ok(admin.batch_execute(&sql).await?)
    }

    /// What a gateway or a worker is told: the socket of our own server, or the given URL.
    pub(crate) fn url(&self, database: &str) -> String {
        match (&self.own, &self.given) {
            (Some(own), _) => format!(
                "postgresql://{ROLE}@/{database}?host={}&port={}",
                own.socket.display().to_string().replace('/', "%2F"),
                own.port
            ),
            (None, Some(url)) => with_database(url, database),
            (None, None) => String::new(),
        }
    }

    /// What somebody is told who comes over TCP, through `port` of this machine.
    pub(crate) fn url_through(port: u16, database: &str) -> String {
        format!("postgresql://{ROLE}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The port of our own server on loopback.
    pub(crate) fn port(&self) -> Option<u16> {
        self.own.as_ref().map(|own| own.port)
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self, database: &str) -> Result<Client> {
        let url = match (&self.own, &self.given) {
            (Some(own), _) => format!(
                "postgresql://postgres@/{database}?host={}&port={}",
                own.socket.display().to_string().replace('/', "%2F"),
                own.port
            ),
            (None, Some(url)) => with_database(url, database),
            (None, None) => bail!("no server"),
        };
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Stops our own server.
    pub(crate) fn stop(&self, how: Stop) -> Result<()> {
        let mode = match how {
            Stop::Immediate => "immediate",
            Stop::Fast => "fast",
        };
        self.own
            .as_ref()
            .context("not our server")?
            .pg_ctl(&["-m", mode, "stop"])
    }

    /// Starts our own server again.
    pub(crate) fn start(&self) -> Result<()> {
        self.own.as_ref().context("not our server")?.start()
    }

    /// Starts our own server, stopped before, at another port and another socket: what a failover looks like from outside.
    pub(crate) fn start_elsewhere(&mut self) -> Result<u16> {
        let own = self.own.as_mut().context("not our server")?;
        own.port = free_port()?;
        own.start()?;
        Ok(own.port)
    }
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
