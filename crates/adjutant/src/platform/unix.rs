//! Permission bits, signals, sessions, socket files.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use adjutant_cli::{Failure, Reachable};
use adjutant_client::{Credential, Endpoint};
use adjutant_ports::store::ProcessMark;

use super::Ending;

/// The variable that names the owner's home directory.
pub(crate) const HOME_VARIABLE: &str = "HOME";

/// Gives a file that is made with `options` these permission bits.
pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// Makes folders with these permission bits.
pub(crate) fn folders(mode: u32) -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(mode);
    builder
}

/// Changes the permission bits of what lies at `path`.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Changes the permission bits of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// The permission bits, sticky bit and the like included; none on a system without them.
pub(crate) fn mode(metadata: &Metadata) -> Option<u32> {
    Some(metadata.permissions().mode() & 0o7777)
}

/// A number that no other file of the same disk has.
pub(crate) fn file_number(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// Makes the names in a folder last.
pub(crate) fn flush_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Leaves the terminal's session.
pub(crate) fn leave_terminal() {
    // It fails only for the leader of a group, who has left already.
    if rustix::process::setsid().is_err() {
        tracing::debug!("this process leads a session of its own already");
    }
}

/// Whether a process can be left behind in the background.
///
/// # Errors
/// Never here.
#[allow(clippy::unnecessary_wraps, reason = "not every system can")]
pub(crate) fn can_detach() -> Result<(), Failure> {
    Ok(())
}

/// Makes the program the leader of a process group of its own.
pub(crate) fn in_a_group(command: &mut tokio::process::Command) {
    command.process_group(0);
}

/// Whether there is a process with this number, ours or not.
pub(crate) fn is_alive(pid: u32) -> bool {
    number(pid).is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
}

/// How the processes of this machine know one of them, ours by default; none where that cannot be told.
#[cfg(target_os = "linux")]
pub(crate) fn process_mark(pid: Option<u32>) -> Option<ProcessMark> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let pid = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ProcessMark {
        space: format!("{}/{}", boot.trim(), namespace.display()),
        born: born(&stat)?,
    })
}

/// When a process began, from its `stat` (proc_pid_stat(5), field 22); none when it is only waited for.
#[cfg(target_os = "linux")]
fn born(stat: &str) -> Option<u64> {
    // The name may hold spaces and brackets of its own.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let born = fields.nth(18)?.parse().ok()?;
    (!is_dead).then_some(born)
}

/// How the processes of this machine know one of them: it cannot be told here yet.
#[cfg(not(target_os = "linux"))]
pub(crate) fn process_mark(_pid: Option<u32>) -> Option<ProcessMark> {
    None
}

/// Tells a process to end.
///
/// # Errors
/// When it is there, but may not be told so.
pub(crate) fn tell_to_end(pid: u32, how: Ending) -> io::Result<()> {
    let pid = number(pid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no process has this number"))?;
    let signal = match how {
        Ending::Politely => Signal::TERM,
        Ending::AtOnce => Signal::KILL,
    };
    match kill_process(pid, signal) {
        // Gone in the meantime: what was wanted.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// This machine's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Resolves when another process asks this one to end.
pub(crate) async fn asked_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "requests to end cannot be heard");
            std::future::pending::<()>().await;
        }
    }
}

/// Everything that ends a program with a terminal: Ctrl-C, a closed terminal, a request to end.
pub(crate) struct Endings {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
}

impl Endings {
    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// How the gateway of the state directory `home` is reached: through its socket file.
pub(crate) fn door(_home: &Path, socket: &Path, credential: &Credential) -> Reachable {
    Reachable {
        endpoint: Endpoint::Unix(socket.to_owned()),
        credential: credential.clone(),
    }
}

/// Whether a gateway may be there to be asked: without its socket file there is none.
pub(crate) fn has_door(_home: &Path, socket: &Path) -> bool {
    socket.exists()
}
