//! The walls of bubblewrap: every namespace, a system call filter, a root of our own making.
//!
//! The order is the point: bubblewrap builds the walls and waits; we put its first inner process under limits; only then
//! is the command started. What kills the tree is the death of that first process, which nothing inside can prevent.

mod mounts;
mod probe;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};

use crate::bubblewrap::mounts::Descriptors;
use crate::bubblewrap::probe::Ready;
use crate::ceilings::Leaf;
use crate::config::Config;
use crate::request::{Request, refused};
use crate::spawn::{Recipe, memory_file, spawn};
use crate::tree::{Memory, Output, Seen, Tree};

/// How long bubblewrap may take to build the walls; it needs milliseconds.
const BUILD_MAX: Duration = Duration::from_secs(10);

/// How far the building may run past the limit of the command: a part of the 3 s that R32 grants.
const BUILD_GRACE: Duration = Duration::from_secs(1);

/// Longest report of bubblewrap on its status descriptor, in bytes: two short lines.
const STATUS_BYTES_MAX: usize = 4 << 10;

/// Longest standard input, in bytes: it is held in memory twice.
const STDIN_BYTES_MAX: usize = 16 << 20;

/// The bubblewrap driver.
#[derive(Debug)]
pub struct Bubblewrap {
    search_path: Option<std::ffi::OsString>,
    tmp_bytes: u64,
    ready: OnceCell<Result<Ready, String>>,
}

impl Bubblewrap {
    /// Looks for `bwrap` on the search path of this process when it is first needed.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_search_path(config, std::env::var_os("PATH"))
    }

    /// The same with a given search path.
    #[must_use]
    pub fn with_search_path(config: &Config, search_path: Option<std::ffi::OsString>) -> Self {
        Self {
            search_path,
            tmp_bytes: config.tmp_bytes,
            ready: OnceCell::new(),
        }
    }

    /// What the probe found; probes the first time.
    async fn ready(&self) -> Result<&Ready, SandboxError> {
        let ready = self
            .ready
            .get_or_init(|| probe::probe(self.search_path.as_deref(), self.tmp_bytes))
            .await;
        ready.as_ref().map_err(|reason| SandboxError::Unavailable {
            reason: reason.clone(),
        })
    }
}

#[async_trait]
impl Sandbox for Bubblewrap {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        let ready = self.ready().await?;
        run(ready, command, profile, self.tmp_bytes).await
    }

    async fn report(&self) -> SandboxReport {
        match self.ready().await {
            Ok(ready) => ready.report(),
            Err(error) => SandboxReport {
                driver: "bubblewrap".to_owned(),
                available: false,
                floor: Vec::new(),
                missing: vec![error.to_string()],
            },
        }
    }
}

/// Runs one command inside the walls. Dropping the future kills the tree.
async fn run(
    ready: &Ready,
    command: Command,
    profile: &Profile,
    tmp_bytes: u64,
) -> Result<ProcessOutcome, SandboxError> {
    let started = Instant::now();
    let limits = &profile.limits;
    let deadline = started + limits.wall;
    if STDIN_BYTES_MAX < command.stdin.len() {
        return Err(refused("the standard input is too long"));
    }
    let profile = profile.clone();
    let checked = tokio::task::spawn_blocking(move || Request::check(command, &profile)).await;
    let request = checked.map_err(|error| SandboxError::Os(io::Error::other(error)))??;

    let leaf = Leaf::make(&ready.groups, limits).map_err(SandboxError::Os)?;
    let (recipe, mut status, gate) =
        recipe(ready, &request, tmp_bytes).map_err(SandboxError::Os)?;
    let child = spawn(recipe).await.map_err(SandboxError::Os)?;
    let mut tree = Tree::new(child, leaf);
    let mut output = Output::new(
        tree.take_output().map_err(SandboxError::Os)?,
        limits.kept_output_bytes,
    );

    let opened = {
        let built_by = (started + BUILD_MAX).min(deadline + BUILD_GRACE);
        let build = open_gate(&mut tree, &mut status, gate, (limits, ready.memory()));
        let built = timeout_at(built_by, build).await;
        built.unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    };
    let seen = match opened {
        Ok(()) => tree.watch(&mut output, limits, deadline).await,
        Err(error) => {
            // bubblewrap has said on its standard error why it gave up; read that before judging.
            let aftermath = Instant::now() + Duration::from_millis(500);
            tree.watch(&mut output, limits, aftermath).await;
            let said = String::from_utf8_lossy(&output.err.take_kept())
                .trim()
                .to_owned();
            return Err(not_built(&said, &error));
        }
    };
    let mut outcome = ProcessOutcome {
        ending: Ending::Stopped,
        stdout: output.out.take_kept(),
        stderr: output.err.take_kept(),
        stdout_total: output.out.total,
        stderr_total: output.err.total,
        elapsed: started.elapsed(),
    };
    match seen {
        Seen::Cut(ending) => outcome.ending = ending,
        Seen::Exit => judge_exit(&mut outcome, status.exit_code().await)?,
    }
    Ok(outcome)
}

/// Everything bubblewrap is started with, our ends of the two pipes apart.
fn recipe(
    ready: &Ready,
    request: &Request,
    tmp_bytes: u64,
) -> io::Result<(Recipe, Status, OwnedFd)> {
    let (status, status_inside) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (gate_inside, gate) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let mut kept = Vec::new();
    let mut keep = |fd: OwnedFd| {
        let number = fd.as_raw_fd();
        kept.push(fd);
        number
    };
    let mut fds = Descriptors {
        status: keep(status_inside),
        gate: keep(gate_inside),
        ..Descriptors::default()
    };
    for (path, content) in mounts::SYNTHETIC {
        fds.synthetic
            .push(keep(memory_file(path, content.as_bytes())?));
    }
    for filter in &ready.filters {
        fds.filters.push(keep(memory_file("filter", filter)?));
    }
    let options = mounts::options(request, &fds, ready.switches, tmp_bytes);
    // On a descriptor instead of the command line: other users of the host can read command lines.
    let options = keep(memory_file("options", &mounts::to_bytes(&options))?);

    let mut command = std::process::Command::new(&ready.program);
    command
        .arg("--args")
        .arg(options.to_string())
        .arg("--")
        .args(&request.command.argv)
        .current_dir("/");
    let stdin = match request.command.stdin.as_ref() {
        [] => Stdio::null(),
        content => Stdio::from(memory_file("stdin", content)?),
    };
    Ok((
        Recipe {
            command,
            stdin,
            kept,
        },
        Status::new(status)?,
        gate,
    ))
}

/// Waits for the walls, puts the first inner process under limits, lets the command start.
async fn open_gate(
    tree: &mut Tree,
    status: &mut Status,
    gate: OwnedFd,
    (limits, memory): (&ProcessLimits, Memory),
) -> io::Result<()> {
    let pid = status.child_pid().await?;
    tree.adopt(pid, limits, memory)?;
    rustix::io::write(&gate, b"1")?;
    Ok(())
}

fn not_built(said: &str, error: &io::Error) -> SandboxError {
    let reason = if said.is_empty() {
        error.to_string()
    } else {
        said.to_owned()
    };
    SandboxError::Os(io::Error::new(error.kind(), reason))
}

/// Turns the report of bubblewrap into an ending.
fn judge_exit(outcome: &mut ProcessOutcome, code: Option<i32>) -> Result<(), SandboxError> {
    // bubblewrap speaks as a shell does: 128 plus the number of the signal.
    const SIGNALLED: std::ops::RangeInclusive<i32> = 129..=159;
    const NOT_EXECUTABLE: i32 = 126;
    const NOT_FOUND: i32 = 127;
    if let Some(code) = code {
        outcome.ending = match code {
            code if SIGNALLED.contains(&code) => Ending::Signalled { signal: code - 128 },
            code => Ending::Exited { code },
        };
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
    let Some(failure) = said.strip_prefix("bwrap: execvp ") else {
        return Err(SandboxError::Os(io::Error::other(said)));
    };
    let code = if failure.ends_with("No such file or directory") {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    };
    outcome.ending = Ending::Exited { code };
    outcome.stderr = Bytes::from(format!("{failure}\n"));
    outcome.stderr_total = outcome.stderr.len() as u64;
    Ok(())
}

/// What bubblewrap tells about its child, line by line.
struct Status {
    from: Receiver,
    text: Vec<u8>,
}

#[derive(Deserialize)]
struct StatusLine {
    #[serde(rename = "child-pid")]
    child_pid: Option<i32>,
    #[serde(rename = "exit-code")]
    exit_code: Option<i32>,
}

impl Status {
    fn new(from: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            from: Receiver::from_owned_fd(from)?,
            text: Vec::new(),
        })
    }

    async fn child_pid(&mut self) -> io::Result<Pid> {
        loop {
            if let Some(pid) = self
                .lines()
                .find_map(|it| it.child_pid)
                .and_then(Pid::from_raw)
            {
                return Ok(pid);
            }
            if self.more().await? == 0 {
                return Err(io::Error::other(
                    "bubblewrap ended before it built the walls",
                ));
            }
        }
    }

    /// The exit status as bubblewrap tells it; `None` if the command was never started.
    async fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(1);
        while let Ok(Ok(1..)) = timeout_at(end, self.more()).await {}
        self.lines().find_map(|it| it.exit_code)
    }

    async fn more(&mut self) -> io::Result<usize> {
        if STATUS_BYTES_MAX <= self.text.len() {
            return Ok(0);
        }
        self.from.read_buf(&mut self.text).await
    }

    fn lines(&self) -> impl Iterator<Item = StatusLine> + '_ {
        let whole = self
            .text
            .split_inclusive(|it| *it == b'\n')
            .filter(|it| it.ends_with(b"\n"));
        whole.filter_map(|it| serde_json::from_slice(it).ok())
    }
}
