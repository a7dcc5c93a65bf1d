//! Starting a child from one thread that lives as long as the process, with exactly the descriptors it should have.
//!
//! The kernel's death signal follows the *thread* that made the child, not the process. A runtime may end the thread a
//! future happens to run on, and the child would die with it for no reason; so all children are made by one thread.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{LazyLock, mpsc};

use rustix::fs::{MemfdFlags, SeekFrom};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// What a child is made of.
pub(crate) struct Recipe {
    /// Program and arguments; the environment is empty.
    pub(crate) command: std::process::Command,
    /// Standard input.
    pub(crate) stdin: Stdio,
    /// Descriptors the child keeps under the same numbers. All others above 2 are closed at `exec`.
    pub(crate) kept: Vec<OwnedFd>,
}

/// Starts a child in its own process group with piped output. It is killed when the handle is dropped.
pub(crate) async fn spawn(recipe: Recipe) -> io::Result<Child> {
    let (answer, result) = oneshot::channel();
    let runtime = Handle::current();
    let job: Job = Box::new(move || {
        let _inside = runtime.enter();
        // If the asker is gone, the child is dropped here and thereby killed.
        drop(answer.send(start(recipe)));
    });
    spawner()
        .send(job)
        .map_err(|gone| io::Error::other(gone.to_string()))?;
    result.await.map_err(io::Error::other)?
}

/// An anonymous file with `content`, read from its start, closed on `exec` unless kept.
pub(crate) fn memory_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
    let mut rest = content;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    rustix::fs::seek(&fd, SeekFrom::Start(0))?;
    Ok(fd)
}

fn spawner() -> mpsc::Sender<Job> {
    static JOBS: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("sandbox-spawner".into());
        let started = thread.spawn(move || {
            for job in queue {
                job();
            }
        });
        if let Err(error) = started {
            // The queue is gone with the thread, so every spawn reports an error.
            tracing::error!(%error, "the thread that starts processes could not be made");
        }
        jobs
    });
    JOBS.clone()
}

fn start(recipe: Recipe) -> io::Result<Child> {
    let Recipe {
        mut command,
        stdin,
        kept,
    } = recipe;
    command
        .env_clear()
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let numbers: Vec<i32> = kept.iter().map(|it| it.as_fd().as_raw_fd()).collect();
    // SAFETY: the closure runs between fork and exec in a process that may have had other threads. It allocates
    // nothing, takes no lock and makes only the system calls `close_range` and `fcntl` on plain numbers.
    unsafe {
        command.pre_exec(move || keep_only(&numbers));
    }
    let child = Command::from(command).kill_on_drop(true).spawn();
    drop(kept);
    child
}

/// Marks every descriptor above 2 to be closed at `exec`, except `kept`. Async-signal-safe.
pub(crate) fn keep_only(kept: &[i32]) -> io::Result<()> {
    // SAFETY: plain system call without pointers; it changes a flag of descriptors of this process.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if marked != 0 {
        return Err(io::Error::last_os_error());
    }
    for fd in kept {
        // SAFETY: plain system call; the numbers belong to descriptors that the caller, or across a fork the parent, holds open.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
