//! A running process tree: reading what it prints, and making sure that it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout};

use adjutant_ports::sandbox::{Ending, ProcessLimits};

use crate::ceilings::Leaf;
use crate::resident;

/// How long a tree that was killed may take to vanish, and how long its pipes may stay open (R32 grants 3 s in all).
const AFTERMATH_MAX: Duration = Duration::from_secs(1);

/// How long the launcher gets to bury the first inner process.
const BURIAL_MAX: Duration = Duration::from_millis(500);

/// One read from a pipe, in bytes: the capacity of a pipe on Linux.
const READ_BYTES: usize = 64 << 10;

/// Who bounds the memory of a whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A control group, or nobody.
    Kernel,
    /// We do, by looking.
    Weighed,
}

/// Everything that has to end together. Dropping it kills the tree.
#[derive(Debug)]
pub(crate) struct Tree {
    child: Child,
    /// The process group of the launcher, until its child makes a session of its own.
    group: Option<Pid>,
    /// First process of the inner process namespace: when it dies, the kernel kills all others in there.
    init: Option<OwnedFd>,
    leaf: Option<Leaf>,
    /// First inner process by number, when its tree has to be weighed because no group bounds its memory.
    weighed: Option<Pid>,
}

impl Tree {
    pub(crate) fn new(child: Child, leaf: Option<Leaf>) -> Self {
        let group = child
            .id()
            .and_then(|it| i32::try_from(it).ok())
            .and_then(Pid::from_raw);
        Self {
            child,
            group,
            init: None,
            leaf,
            weighed: None,
        }
    }

    /// Takes hold of the inner first process, found by the number the launcher reported, and moves it into its group.
    pub(crate) fn adopt(
        &mut self,
        pid: Pid,
        limits: &ProcessLimits,
        memory: Memory,
    ) -> io::Result<()> {
        let init = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // A number can be given away again once its process is dead. The parent proves that it is still the one.
        if parent_of(pid)? != self.group {
            return Err(io::Error::other(
                "the first process inside ended before it began",
            ));
        }
        self.init = Some(init);
        crate::ceilings::limit_resources(pid, limits)?;
        self.weighed = (memory == Memory::Weighed).then_some(pid);
        self.leaf.as_ref().map_or(Ok(()), |leaf| leaf.admit(pid))
    }

    /// The pipes of the launcher and everything in it. Can be taken once.
    pub(crate) fn take_output(&mut self) -> io::Result<(ChildStdout, ChildStderr)> {
        let streams = self.child.stdout.take().zip(self.child.stderr.take());
        streams.ok_or_else(|| io::Error::other("the output of the process is not piped"))
    }

    /// Reads until everything ended or a ceiling is reached; the tree is gone afterwards.
    pub(crate) async fn watch(
        &mut self,
        output: &mut Output,
        limits: &ProcessLimits,
        deadline: Instant,
    ) -> Seen {
        let seen = self.watch_until_end(output, limits, deadline).await;
        self.end().await;
        seen
    }

    async fn watch_until_end(
        &mut self,
        output: &mut Output,
        limits: &ProcessLimits,
        deadline: Instant,
    ) -> Seen {
        let mut has_exited = false;
        let mut next_weighing = Instant::now() + resident::EVERY;
        let mut deadline = deadline;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => {
                    // After the exit this is only the end of the wait for pipes that someone still holds.
                    return if has_exited { Seen::Exit } else { Seen::Cut(Ending::TimedOut) };
                }
                () = sleep_until(next_weighing), if self.weighed.is_some() && !has_exited => {
                    if self.is_too_heavy(limits) {
                        // What the kernel's own guard does.
                        let signal = Signal::KILL.as_raw();
                        return Seen::Cut(Ending::Signalled { signal });
                    }
                    next_weighing = Instant::now() + resident::EVERY;
                }
                () = output.out.read(), if !output.out.is_done => {}
                () = output.err.read(), if !output.err.is_done => {}
                _ = self.child.wait(), if !has_exited => {
                    // What the status was, the launcher tells more exactly on its own descriptor.
                    has_exited = true;
                    // Whatever still runs inside has lost its owner.
                    self.kill_init();
                    deadline = deadline.min(Instant::now() + AFTERMATH_MAX);
                }
            }
            if limits.output_bytes_max < output.total() {
                return Seen::Cut(Ending::OutputFlood);
            }
            if has_exited && output.out.is_done && output.err.is_done {
                return Seen::Exit;
            }
        }
    }

    fn is_too_heavy(&self, limits: &ProcessLimits) -> bool {
        self.weighed
            .is_some_and(|first| limits.memory_bytes < resident::bytes_of(first))
    }

    /// Kills everything and waits, within bounds, until it is gone.
    pub(crate) async fn end(&mut self) {
        self.kill_init();
        if self.init.is_some() {
            // Without its first process the launcher has nothing left to do: it buries it and leaves by itself. Killed
            // at once, it would leave a dead process to whoever adopts orphans here, and not everybody buries those.
            timeout(BURIAL_MAX, self.child.wait()).await.ok();
        }
        self.kill();
        if let Some(init) = self.init.take()
            && !is_gone(init).await
        {
            tracing::warn!("a killed process tree is not gone yet");
        }
        if timeout(AFTERMATH_MAX, self.child.wait()).await.is_err() {
            tracing::warn!("the launcher of a killed process tree is not gone yet");
        }
        self.leaf = None;
    }

    /// Sends the signal that nothing can ignore. Failing means that there is nobody left to receive it.
    fn kill_init(&self) {
        if let Some(init) = &self.init {
            rustix::process::pidfd_send_signal(init.as_fd(), Signal::KILL).ok();
        }
    }

    /// The same for the inner first process and the launcher.
    fn kill(&self) {
        self.kill_init();
        // Once the launcher is reaped, its number may belong to someone else.
        if self.child.id().is_some()
            && let Some(group) = self.group
        {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits, within bounds, for the death of a process.
async fn is_gone(process: OwnedFd) -> bool {
    // Readable means dead, and the kernel lets the first process of a namespace die only after all others in there.
    let wait = move |max: Duration| {
        let max = rustix::event::Timespec::try_from(max).ok();
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        rustix::event::poll(&mut fds, max.as_ref()).is_ok_and(|n| n == 1)
    };
    wait(Duration::ZERO)
        || tokio::task::spawn_blocking(move || wait(AFTERMATH_MAX))
            .await
            .unwrap_or(false)
}

fn parent_of(pid: Pid) -> io::Result<Option<Pid>> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let parent = status.lines().find_map(|it| it.strip_prefix("PPid:"));
    Ok(parent
        .and_then(|it| it.trim().parse().ok())
        .and_then(Pid::from_raw))
}

/// How the watch ended.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The launcher exited by itself.
    Exit,
    /// A ceiling was reached.
    Cut(Ending),
}

/// Both output streams.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) out: Stream<ChildStdout>,
    pub(crate) err: Stream<ChildStderr>,
}

impl Output {
    pub(crate) fn new((out, err): (ChildStdout, ChildStderr), kept_max: u64) -> Self {
        let kept_max = usize::try_from(kept_max).unwrap_or(usize::MAX);
        Self {
            out: Stream::new(out, kept_max),
            err: Stream::new(err, kept_max),
        }
    }

    fn total(&self) -> u64 {
        self.out.total.saturating_add(self.err.total)
    }
}

/// One output stream: its first bytes and how many there were.
#[derive(Debug)]
pub(crate) struct Stream<R> {
    from: R,
    buffer: Vec<u8>,
    kept: Vec<u8>,
    kept_max: usize,
    pub(crate) total: u64,
    is_done: bool,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(from: R, kept_max: usize) -> Self {
        Self {
            from,
            buffer: vec![0; READ_BYTES],
            kept: Vec::new(),
            kept_max,
            total: 0,
            is_done: false,
        }
    }

    /// Reads once. Safe to drop at the await: then nothing was read.
    async fn read(&mut self) {
        let n = match self.from.read(&mut self.buffer).await {
            Ok(0) | Err(_) => {
                self.is_done = true;
                return;
            }
            Ok(n) => n,
        };
        self.total = self.total.saturating_add(n as u64);
        let room = self.kept_max.saturating_sub(self.kept.len()).min(n);
        self.kept
            .extend_from_slice(self.buffer.get(..room).unwrap_or_default());
    }

    pub(crate) fn take_kept(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.kept))
    }
}
