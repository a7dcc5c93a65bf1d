//! What `shell_run` and `code_run` share: the walls for one process, and an honest account of how it ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use adjutant_domain::label::Origin;
use adjutant_domain::tool::ToolOutcome;
use adjutant_policy::{Permit, WorkspaceMode};
use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Profile, SandboxError, WorkspaceAccess,
};
use adjutant_ports::{Sandbox, ToolCx, ToolError};

use crate::Parts;
use crate::config::{Config, Shell};
use crate::cut;
use crate::tool::{Halt, found};

/// Shortest time a call gets: enough to start at all.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Starts processes for tools.
pub(crate) struct Runner {
    sandbox: Arc<dyn Sandbox>,
    state_dir: PathBuf,
    limits: ProcessLimits,
    times: Shell,
    shown_max: usize,
}

impl Runner {
    pub(crate) fn new(parts: &Parts, config: &Config) -> Self {
        Self {
            sandbox: Arc::clone(&parts.sandbox),
            state_dir: parts.state_dir.clone(),
            limits: parts.limits.clone(),
            times: config.shell.clone(),
            shown_max: config.output_bytes,
        }
    }

    /// Runs one program to its end in the workspace. The environment is the sandbox's own; nothing is added to it (S33).
    pub(crate) async fn run(
        &self,
        argv: Vec<String>,
        stdin: Bytes,
        timeout_ms: Option<u64>,
        permit: &Permit,
        cx: &ToolCx,
    ) -> Result<ProcessOutcome, Halt> {
        let command = Command {
            argv,
            cwd: cx.workspace.clone(),
            env: Vec::new(),
            stdin,
        };
        let profile = self.profile(timeout_ms, permit, cx);
        self.sandbox
            .run(command, &profile)
            .await
            .map_err(|error| match error {
                SandboxError::Unavailable { reason } => Halt::Broken(ToolError::Unavailable {
                    what: "the sandbox",
                    reason,
                }),
                SandboxError::Refused { reason } => {
                    Halt::failed(format!("the sandbox refused to start this: {reason}"))
                }
                SandboxError::Os(source) => Halt::Broken(ToolError::Internal {
                    reason: format!("the sandbox could not start the process: {source}"),
                }),
            })
    }

    fn profile(&self, timeout_ms: Option<u64>, permit: &Permit, cx: &ToolCx) -> Profile {
        let asked = timeout_ms.map_or(self.times.timeout.duration(), Duration::from_millis);
        let wall = asked
            .min(self.times.timeout_max.duration())
            .max(TIMEOUT_MIN)
            .min(cx.deadline);
        let other: Vec<PathBuf> = cx.agent.allowed_dirs.iter().map(PathBuf::from).collect();
        Profile {
            workspace: cx.workspace.clone(),
            access: match permit.workspace() {
                WorkspaceMode::ReadOnly => WorkspaceAccess::ReadOnly,
                WorkspaceMode::ReadWrite => WorkspaceAccess::ReadWrite,
            },
            // A folder that is not there must not keep a command from running beside it.
            read_only: other
                .into_iter()
                .filter(|it| it.is_absolute() && it.is_dir() && !self.is_ours(it))
                .collect(),
            hidden: vec![self.state_dir.clone()],
            limits: ProcessLimits {
                wall,
                ..self.limits.clone()
            },
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.state_dir)
    }

    /// What a model reads about a process that ended.
    pub(crate) fn tell(&self, outcome: &ProcessOutcome) -> ToolOutcome {
        let ProcessOutcome {
            ending,
            stdout,
            stderr,
            stdout_total,
            stderr_total,
            elapsed,
        } = outcome;
        // Room for both marks and the last line.
        let room = self.shown_max.saturating_sub(256);
        let for_stderr = stderr
            .len()
            .min((room / 4).max(room.saturating_sub(stdout.len())));
        let mut text = shown(stdout, room - for_stderr, *stdout_total);
        let errors = shown(stderr, for_stderr, *stderr_total);
        if !errors.is_empty() {
            end_line(&mut text);
            text.push_str("[stderr]\n");
            text.push_str(&errors);
        }
        end_line(&mut text);
        let secs = elapsed.as_secs_f64();
        let why = match ending {
            Ending::Exited { code } => {
                text.push_str(&format!("[exit code {code}]"));
                return found(text, Origin::Command);
            }
            Ending::Signalled { signal } => format!("ended by signal {signal} after {secs:.1} s"),
            Ending::TimedOut => format!(
                "stopped at the time limit after {secs:.1} s; it and everything it started were killed, \
                 and what it had done so far stays done"
            ),
            Ending::OutputFlood => format!(
                "stopped because it printed {} bytes; it and everything it started were killed",
                stdout_total + stderr_total
            ),
            Ending::Stopped => "stopped because the run was cancelled".to_owned(),
        };
        text.push_str(&format!("[error: {why}]"));
        ToolOutcome::Failed { text }
    }
}

fn shown(bytes: &[u8], bytes_max: usize, total: u64) -> String {
    cut::keep_ends(&String::from_utf8_lossy(bytes), bytes_max, total)
}

fn end_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}
