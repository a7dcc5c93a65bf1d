//! The door to processes: a command goes in, a confined process comes out.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What to start. The argument list is exact; no shell is implied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments. Never empty.
    pub argv: Vec<String>,
    /// Working directory; must lie inside the profile's workspace.
    pub cwd: PathBuf,
    /// Variables added to the allow-listed base environment (S33). Loader, interpreter, shell and proxy control
    /// variables are refused.
    pub env: Vec<(String, String)>,
    /// Bytes for standard input; empty means `/dev/null`.
    pub stdin: Bytes,
}

/// How the workspace appears inside the walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceAccess {
    /// Mounted read-only.
    ReadOnly,
    /// Mounted read-write.
    ReadWrite,
}

/// The walls for one process: what it may reach and how much it may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The only host directory that is visible with its real contents besides the read-only system tree.
    pub workspace: PathBuf,
    /// Read-only or read-write workspace.
    pub access: WorkspaceAccess,
    /// Further host directories visible read-only.
    pub read_only: Vec<PathBuf>,
    /// Host paths that must never be visible, even when they lie inside an allowed directory (the state directory).
    pub hidden: Vec<PathBuf>,
    /// Ceilings (S38).
    pub limits: ProcessLimits,
}

/// Ceilings of one call; a breach kills the whole process tree. Defaults from the threat model, section 6.4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Wall-clock time.
    pub wall: Duration,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Output kept for the caller, in bytes (stdout and stderr each).
    pub kept_output_bytes: u64,
    /// Output after which the tree is killed, in bytes (both streams together).
    pub output_bytes_max: u64,
    /// Largest file the process may write, in bytes.
    pub file_bytes_max: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(120),
            memory_bytes: 512 << 20,
            pids: 256,
            kept_output_bytes: 1 << 20,
            output_bytes_max: 64 << 20,
            file_bytes_max: 1 << 30,
        }
    }
}

/// How a confined process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Ending {
    /// It exited by itself.
    Exited {
        /// Exit status.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Signal number.
        signal: i32,
    },
    /// The wall-clock limit was reached; the tree was killed.
    TimedOut,
    /// It printed more than `output_bytes_max`; the tree was killed.
    OutputFlood,
    /// It was stopped by the caller (cancel) and the tree was killed.
    Stopped,
}

/// What a confined process left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessOutcome {
    /// How it ended.
    pub ending: Ending,
    /// The first `kept_output_bytes` of standard output.
    pub stdout: Bytes,
    /// The first `kept_output_bytes` of standard error.
    pub stderr: Bytes,
    /// How many bytes it really wrote to standard output.
    pub stdout_total: u64,
    /// How many bytes it really wrote to standard error.
    pub stderr_total: u64,
    /// Wall-clock time used.
    pub elapsed: Duration,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A floor item is missing on this machine; nothing was started (S34).
    #[error("the sandbox is unavailable: {reason}")]
    Unavailable {
        /// Which wall is missing and what would bring it.
        reason: String,
    },
    /// The command or profile is not acceptable.
    #[error("the sandbox refused the command: {reason}")]
    Refused {
        /// What was wrong.
        reason: String,
    },
    /// The operating system failed.
    #[error("the sandbox could not start the process")]
    Os(#[source] std::io::Error),
}

/// A wall and everything it enforces, for `status` and `sandbox explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// `bubblewrap`, `native`, `none`.
    pub driver: String,
    /// Whether commands can be run at all.
    pub available: bool,
    /// One line per floor item: name and whether it is enforced.
    pub floor: Vec<(String, bool)>,
    /// What is missing and what would bring it; empty when complete.
    pub missing: Vec<String>,
}

/// The door to processes.
///
/// Dropping the future of [`Sandbox::run`] kills the whole process tree.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs one command to its end inside the walls of `profile`.
    ///
    /// # Errors
    /// [`SandboxError::Unavailable`] when a floor item is missing: there is no fallback to the host.
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError>;
    /// What this sandbox enforces here and now. Probed once, then remembered.
    async fn report(&self) -> SandboxReport;
}
