//! One command, from the request to its end, whoever builds the walls.
//!
//! The order is the point: the launcher builds the walls and waits; we put its first inner process under limits; only
//! then is the command started. What kills the tree is the death of that first process, which nothing inside can prevent.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout_at};

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Profile, SandboxError,
};

use crate::ceilings::Leaf;
use crate::environment;
use crate::inner::{Inside, Standing};
use crate::plan::{Reach, Step};
use crate::probe::Base;
use crate::request::{Request, refused};
use crate::spawn::{Recipe, memory_file, spawn};
use crate::tree::{Memory, Output, Seen, Tree};

/// How long the walls may take to build; they need milliseconds.
const BUILD_MAX: Duration = Duration::from_secs(10);

/// How far the building may run past the limit of the command: a part of the 3 s that R32 grants.
const BUILD_GRACE: Duration = Duration::from_secs(1);

/// Longest text on a status or report descriptor, in bytes: two short lines.
const LINES_BYTES_MAX: usize = 4 << 10;

/// Longest standard input, in bytes: it is held in memory twice.
const STDIN_BYTES_MAX: usize = 16 << 20;

/// A driver that was probed and works.
pub(crate) trait Launcher {
    /// What all drivers have in common.
    fn base(&self) -> &Base;

    /// Everything its launcher is started with for this request.
    fn launch(&self, request: &Request) -> io::Result<Launch>;
}

/// A launcher about to be started. It reports its first inner process and its end in the words of bubblewrap, and starts
/// nothing before a byte comes through the gate.
pub(crate) struct Launch {
    pub(crate) recipe: Recipe,
    pub(crate) status: Lines,
    pub(crate) gate: OwnedFd,
    /// Where our own last part says that all walls stand, if there is one.
    pub(crate) report: Option<Lines>,
}

/// What came of a command.
pub(crate) struct Ran {
    pub(crate) outcome: ProcessOutcome,
    /// What the last part said of its walls, if there was one.
    pub(crate) standing: Option<Standing>,
}

/// Runs one command inside the walls. Dropping the future kills the tree.
pub(crate) async fn run(
    launcher: &(impl Launcher + Sync),
    command: Command,
    profile: &Profile,
) -> Result<Ran, SandboxError> {
    let started = Instant::now();
    let limits = &profile.limits;
    let deadline = started + limits.wall;
    if STDIN_BYTES_MAX < command.stdin.len() {
        return Err(refused("the standard input is too long"));
    }
    let profile = profile.clone();
    let checked = tokio::task::spawn_blocking(move || Request::check(command, &profile)).await;
    let request = checked.map_err(|error| SandboxError::Os(io::Error::other(error)))??;

    let base = launcher.base();
    let leaf = Leaf::make(&base.groups, limits).map_err(SandboxError::Os)?;
    let Launch {
        recipe,
        mut status,
        gate,
        report,
    } = launcher.launch(&request).map_err(SandboxError::Os)?;
    let has_last_part = report.is_some();
    let child = spawn(recipe).await.map_err(SandboxError::Os)?;
    let mut tree = Tree::new(child, leaf);
    let mut output = Output::new(
        tree.take_output().map_err(SandboxError::Os)?,
        limits.kept_output_bytes,
    );

    let opened = {
        let built_by = (started + BUILD_MAX).min(deadline + BUILD_GRACE);
        let build = build(
            &mut tree,
            (&mut status, gate, report),
            (limits, base.memory()),
        );
        let built = timeout_at(built_by, build).await;
        built.unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    };
    let standing = match opened {
        Ok(standing) => standing,
        Err(error) => {
            // The launcher has said on its standard error why it gave up; read that before judging.
            let aftermath = Instant::now() + Duration::from_millis(500);
            tree.watch(&mut output, limits, aftermath).await;
            let said = String::from_utf8_lossy(&output.err.take_kept())
                .trim()
                .to_owned();
            return Err(not_built(&said, &error));
        }
    };
    let seen = tree.watch(&mut output, limits, deadline).await;
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
        Seen::Exit => match exit_code(&mut status).await {
            Some(code) => outcome.ending = as_ending(code),
            // Our last part tells this in the words of a shell; bubblewrap has words of its own.
            None if has_last_part => return Err(silent(&outcome)),
            None => judge_failure(&mut outcome)?,
        },
    }
    Ok(Ran { outcome, standing })
}

/// What the last part is told, system call filters apart.
pub(crate) fn inside(request: &Request, steps: &[Step]) -> Inside {
    let base = environment::BASE.iter();
    let base = base.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let here = request
        .cwd
        .to_str()
        .map(|it| ("PWD".to_owned(), it.to_owned()));
    Inside {
        argv: request.command.argv.clone(),
        env: base
            .chain(here)
            .chain(request.command.env.iter().cloned())
            .collect(),
        cwd: request.cwd.clone(),
        reach: Some(Reach::of(steps)),
        filters: Vec::new(),
    }
}

/// Standard input of the command.
pub(crate) fn stdin(request: &Request) -> io::Result<Stdio> {
    Ok(match request.command.stdin.as_ref() {
        [] => Stdio::null(),
        content => Stdio::from(memory_file("stdin", content)?),
    })
}

/// Waits for the walls, puts the first inner process under limits, lets the command start.
async fn build(
    tree: &mut Tree,
    (status, gate, report): (&mut Lines, OwnedFd, Option<Lines>),
    (limits, memory): (&ProcessLimits, Memory),
) -> io::Result<Option<Standing>> {
    let pid = child_pid(status).await?;
    tree.adopt(pid, limits, memory)?;
    rustix::io::write(&gate, b"1")?;
    match report {
        None => Ok(None),
        Some(mut report) => loop {
            if let Some(standing) = report.all().next() {
                return Ok(Some(standing));
            }
            if report.more().await? == 0 {
                return Err(io::Error::other("the command was not started"));
            }
        },
    }
}

fn not_built(said: &str, error: &io::Error) -> SandboxError {
    let reason = if said.is_empty() {
        error.to_string()
    } else {
        said.to_owned()
    };
    SandboxError::Os(io::Error::new(error.kind(), reason))
}

/// A launcher speaks as a shell does: 128 plus the number of the signal.
fn as_ending(code: i32) -> Ending {
    const SIGNALLED: std::ops::RangeInclusive<i32> = 129..=159;
    match code {
        code if SIGNALLED.contains(&code) => Ending::Signalled { signal: code - 128 },
        code => Ending::Exited { code },
    }
}

fn silent(outcome: &ProcessOutcome) -> SandboxError {
    let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
    SandboxError::Os(io::Error::other(said))
}

/// Turns the complaint of a bubblewrap that started no command into what a shell would say.
fn judge_failure(outcome: &mut ProcessOutcome) -> Result<(), SandboxError> {
    const NOT_EXECUTABLE: i32 = 126;
    const NOT_FOUND: i32 = 127;
    let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
    let Some(failure) = said.strip_prefix("bwrap: execvp ") else {
        return Err(silent(outcome));
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

#[derive(Deserialize)]
struct StatusLine {
    #[serde(rename = "child-pid")]
    child_pid: Option<i32>,
    #[serde(rename = "exit-code")]
    exit_code: Option<i32>,
}

async fn child_pid(status: &mut Lines) -> io::Result<Pid> {
    loop {
        if let Some(pid) = status
            .all::<StatusLine>()
            .find_map(|it| it.child_pid)
            .and_then(Pid::from_raw)
        {
            return Ok(pid);
        }
        if status.more().await? == 0 {
            return Err(io::Error::other(
                "the launcher ended before it built the walls",
            ));
        }
    }
}

/// The exit status as the launcher tells it; `None` if the command was never started.
async fn exit_code(status: &mut Lines) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(1);
    while let Ok(Ok(1..)) = timeout_at(end, status.more()).await {}
    status.all::<StatusLine>().find_map(|it| it.exit_code)
}

/// JSON from a descriptor, line by line.
pub(crate) struct Lines {
    from: Receiver,
    text: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(from: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            from: Receiver::from_owned_fd(from)?,
            text: Vec::new(),
        })
    }

    async fn more(&mut self) -> io::Result<usize> {
        if LINES_BYTES_MAX <= self.text.len() {
            return Ok(0);
        }
        self.from.read_buf(&mut self.text).await
    }

    fn all<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> + '_ {
        let whole = self
            .text
            .split_inclusive(|it| *it == b'\n')
            .filter(|it| it.ends_with(b"\n"));
        whole.filter_map(|it| serde_json::from_slice(it).ok())
    }
}
