//! A gateway and its workers, as processes that are killed, frozen and started again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rusqlite::OpenFlags;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::Client;
use crate::subject::{Home, Process, Signal, Subject, free_port, signal, wait_http};

/// The lease of workers in the campaign, with its heartbeat and poll. Short enough that thousands of take-overs fit into an
/// hour, long enough that a busy machine does not lose a lease by itself (a heartbeat may be late by two seconds).
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// Runs that one worker has at once.
pub(crate) const SLOTS: u32 = 4;
const WORKER: &str = "[worker]\nreflect = false\nlease = \"3s\"\nheartbeat = \"1s\"\npoll = \"1s\"\nruns_at_once = 4\n\
    [gateway.rate]\nrequests_per_minute = 1000000\nburst = 1000000\n";
/// How long a gateway may take to be ready.
const READY: Duration = Duration::from_secs(40);
/// How long everybody may take to stop: the ten seconds that a worker gives the step under way, and as much again.
const STOP_MAX: Duration = Duration::from_secs(20);
/// The SQLite file of a home.
pub(crate) const SQLITE_FILE: &str = "adjutant.db";

/// What every process of the fleet gets besides its home.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Environment.
    pub(crate) env: Vec<(String, String)>,
    /// A program in front of the binary, with its arguments.
    pub(crate) wrapper: Vec<String>,
}

/// A gateway and its workers.
pub(crate) struct Fleet {
    pub(crate) home: Home,
    pub(crate) port: u16,
    pub(crate) gateway: Option<Subject>,
    pub(crate) workers: Vec<Process>,
    workers_inside: u16,
    /// For the next process that is started.
    pub(crate) extra: Extra,
    /// The home of workers, when it is another one: a config with another database URL.
    worker_home: Option<PathBuf>,
    /// Where the agent works.
    workspace: PathBuf,
}

impl Fleet {
    /// A home over this database (none: SQLite), without a process yet.
    pub(crate) async fn new(
        dir: &Path,
        binary: &Path,
        mock: u16,
        database_url: Option<&str>,
        more: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let home = Home::new(dir, binary, mock, &config(database_url, more)).await?;
        Ok(Self {
            home,
            port: free_port()?,
            gateway: None,
            workers: Vec::new(),
            workers_inside: if database_url.is_some() { 0 } else { 2 },
            extra: Extra::default(),
            worker_home: None,
            workspace: dir.join("workspace"),
        })
    }

    /// A home that is there already, over SQLite.
    pub(crate) fn over(dir: &Path, binary: &Path) -> Result<Self> {
        Ok(Self {
            home: Home {
                dir: dir.to_owned(),
                binary: binary.to_owned(),
            },
            port: free_port()?,
            gateway: None,
            workers: Vec::new(),
            workers_inside: 2,
            extra: Extra::default(),
            worker_home: None,
            workspace: dir.join("workspace"),
        })
    }

    /// Gives the workers another way to the database than the gateway has.
    pub(crate) async fn workers_reach(&mut self, mock: u16, url: &str) -> Result<()> {
        let dir = self.home.dir.join("workers");
        std::fs::create_dir_all(&dir)?;
        Home::new(&dir, &self.home.binary, mock, &config(Some(url), "")).await?;
        self.worker_home = Some(dir);
        Ok(())
    }

    /// The folder that agents work in.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.workspace.clone()
    }

    /// Lets the agent work elsewhere.
    pub(crate) fn work_in(&mut self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        dir.clone_into(&mut self.workspace);
        Ok(())
    }

    /// The store of this home, where it is SQLite.
    pub(crate) fn sqlite(&self) -> Result<rusqlite::Connection> {
        let path = self.home.dir.join(SQLITE_FILE);
        // Without the flag that makes one: an empty file would be a store in which nothing is.
        let found = OpenFlags::SQLITE_OPEN_READ_WRITE;
        rusqlite::Connection::open_with_flags(&path, found)
            .with_context(|| path.display().to_string())
    }

    fn command(&self, home: &Path, log: &str) -> Result<Command> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.dir.join(log))?;
        let plain = Home {
            dir: home.to_owned(),
            binary: self.home.binary.clone(),
        }
        .command();
        let mut command = match self.extra.wrapper.split_first() {
            None => plain,
            Some((program, arguments)) => {
                let mut wrapped = Command::new(program);
                wrapped.args(arguments).arg(&self.home.binary);
                for (name, value) in plain.as_std().get_envs() {
                    if let Some(value) = value {
                        wrapped.env(name, value);
                    }
                }
                wrapped.stdin(std::process::Stdio::null());
                wrapped
            }
        };
        command.stdout(log.try_clone()?).stderr(log);
        for (name, value) in &self.extra.env {
            command.env(name, value);
        }
        Ok(command)
    }

    /// Starts the gateway without waiting for it.
    pub(crate) fn spawn_gateway(&mut self) -> Result<()> {
        let mut command = self.command(&self.home.dir, "gateway.log")?;
        command
            .args(["gateway", "run", "--port", &self.port.to_string()])
            .args(["--workers", &self.workers_inside.to_string()]);
        self.gateway = Some(Subject {
            process: Process::start(&mut command)?,
            port: self.port,
        });
        Ok(())
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn start_gateway(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.spawn_gateway()?;
        let ready = wait_http(self.port, "/readyz", READY).await;
        if let Err(error) = ready {
            bail!("{error:#}: {}", self.tail("gateway.log"));
        }
        Ok(begun.elapsed())
    }

    /// Starts the gateway, lets its agent do everything without asking, then starts `n` workers.
    pub(crate) async fn start(&mut self, n: usize) -> Result<()> {
        self.start_gateway().await?;
        let mut client = Client::connect(self.port).await?;
        let trust = json!({ "agentId": "main", "level": 5 });
        client.call("agents.trust", trust).await?;
        let agent =
            json!({ "name": "main", "approvalPolicy": "auto", "workspace": self.workspace() });
        client
            .call("agents.update", json!({ "agent": agent }))
            .await?;
        for _ in 0..n {
            self.add_worker()?;
        }
        Ok(())
    }

    /// Starts one worker more.
    pub(crate) fn add_worker(&mut self) -> Result<()> {
        let worker = self.spawn_worker()?;
        self.workers.push(worker);
        Ok(())
    }

    fn spawn_worker(&self) -> Result<Process> {
        let home = self.worker_home.as_ref().unwrap_or(&self.home.dir);
        let mut command = self.command(home, "workers.log")?;
        command.args(["worker", "run"]);
        Process::start(&mut command)
    }

    /// `kill -9` of the worker at `index`, and another in its place at once. Returns the process id that is gone.
    pub(crate) async fn replace_worker(&mut self, index: usize) -> Result<u32> {
        let fresh = self.spawn_worker()?;
        let place = self.workers.get_mut(index).context("no such worker")?;
        let mut old = std::mem::replace(place, fresh);
        let pid = old.pid();
        old.kill().await?;
        Ok(pid)
    }

    /// Starts workers that have ended by themselves anew. Returns how many there were.
    pub(crate) fn revive_workers(&mut self) -> Result<u32> {
        let mut n_dead = 0;
        for index in 0..self.workers.len() {
            let is_dead = match self.workers.get_mut(index) {
                Some(worker) => worker.has_ended()?,
                None => false,
            };
            if is_dead {
                n_dead += 1;
                let fresh = self.spawn_worker()?;
                if let Some(place) = self.workers.get_mut(index) {
                    *place = fresh;
                }
            }
        }
        Ok(n_dead)
    }

    /// `kill -9` of the gateway.
    pub(crate) async fn kill_gateway(&mut self) -> Result<()> {
        if let Some(mut gateway) = self.gateway.take() {
            gateway.kill().await?;
        }
        Ok(())
    }

    /// Whether the gateway's process lives.
    pub(crate) fn is_gateway_up(&mut self) -> bool {
        self.gateway
            .as_mut()
            .is_some_and(|it| matches!(it.process.has_ended(), Ok(false)))
    }

    /// The processes there are, by what they are called.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        let gateway = self
            .gateway
            .iter()
            .map(|it| ("gateway".to_owned(), it.pid()));
        let workers = (1..).zip(&self.workers);
        let workers = workers.map(|(n, it)| (format!("worker {n}"), it.pid()));
        gateway.chain(workers).collect()
    }

    /// Ends everything politely. Returns who did not end within [`STOP_MAX`], or not well: none is as it must be.
    pub(crate) async fn stop(&mut self) -> Result<Vec<String>> {
        let names = self.pids();
        let gateway = self.gateway.take().map(|it| it.process);
        let workers = std::mem::take(&mut self.workers);
        let mut processes: Vec<Process> = gateway.into_iter().chain(workers).collect();
        for process in &mut processes {
            // One that ended by itself cannot be told to.
            if !process.has_ended()? {
                signal(process.pid(), Signal::Terminate)?;
            }
        }
        let until = tokio::time::Instant::now() + STOP_MAX;
        let mut findings = Vec::new();
        for ((name, _), process) in names.iter().zip(&mut processes) {
            match tokio::time::timeout_at(until, process.end()).await {
                Ok(status) => {
                    let status = status?;
                    if !status.success() {
                        findings.push(format!("{name} ended with {status}"));
                    }
                }
                Err(_) => {
                    findings.push(format!("{name} did not end within {STOP_MAX:?}"));
                    process.kill().await?;
                }
            }
        }
        Ok(findings)
    }

    /// `adjutant verify` over a store that nobody runs. Returns its findings: none is clean.
    pub(crate) async fn verify(&self) -> Result<Vec<String>> {
        let output = self
            .home
            .command()
            .args(["verify", "--json"])
            .output()
            .await?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(text.trim()).unwrap_or_default();
        let mut findings: Vec<String> = report["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|it| it["id"] == "finding" || it["severity"] == "error")
            .map(|it| format!("verify: {it}"))
            .collect();
        if findings.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            findings.push(format!("verify failed: {text}{said}"));
        }
        Ok(findings)
    }

    /// The last lines of a log, for a message.
    pub(crate) fn tail(&self, log: &str) -> String {
        let text = std::fs::read_to_string(self.home.dir.join(log)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(5);
        lines.get(from..).unwrap_or_default().join(" | ")
    }
}

fn config(database_url: Option<&str>, more: &str) -> String {
    let store = database_url.map_or(String::new(), |url| {
        format!("[store]\ndatabase_url = \"{url}\"\n")
    });
    format!("{WORKER}{store}{more}")
}
