//! What bubblewrap can do on this machine: asked once, by doing it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, Profile, SandboxError, SandboxReport, WorkspaceAccess,
};

use super::mounts::Switches;
use super::run;
use crate::ceilings::Groups;
use crate::resident;
use crate::seccomp;
use crate::tree::Memory;

/// Switches without which the walls would have holes, and the version that brought the last of them.
const NEEDED: &[&str] = &[
    "--args",
    "--add-seccomp-fd",
    "--block-fd",
    "--json-status-fd",
    "--perms",
    "--size",
];
const NEEDED_VERSION: &str = "0.7";

/// A bubblewrap that works.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) program: PathBuf,
    pub(super) switches: Switches,
    pub(super) groups: Groups,
    pub(super) filters: Vec<Vec<u8>>,
}

impl Ready {
    /// Who bounds the memory of a whole tree.
    pub(super) fn memory(&self) -> Memory {
        match self.groups.bound_memory() || !resident::can_be_weighed() {
            true => Memory::Kernel,
            false => Memory::Weighed,
        }
    }

    pub(super) fn report(&self) -> SandboxReport {
        let floor = [
            (
                "user, mount, process, network, IPC and host name namespaces",
                true,
            ),
            ("no new privileges and no capabilities", true),
            ("system call filter", true),
            (
                "nested user namespaces off in the kernel",
                self.switches.disable_userns,
            ),
            ("private /tmp of bounded size", true),
            ("own terminal session", true),
            (
                "limits per process: memory, file size, open files, processor time",
                true,
            ),
            ("limit on the number of processes", true),
            (
                "limit on the memory of all processes together",
                self.groups.bound_memory() || self.memory() == Memory::Weighed,
            ),
            (
                "limits enforced by control groups as well",
                self.groups.bound_pids() && self.groups.bound_memory(),
            ),
            ("Landlock inside the walls", false),
        ];
        let mut missing = Vec::new();
        if !self.groups.bound_memory() {
            let how = match self.memory() {
                Memory::Weighed => "is checked ten times a second",
                Memory::Kernel => "has no bound",
            };
            missing.push(format!(
                "no control group is writable for this user, so the memory of all processes together {how}; to have \
                 the kernel bound it, start the gateway as a systemd user service with `Delegate=yes`"
            ));
        }
        SandboxReport {
            driver: "bubblewrap".to_owned(),
            available: true,
            floor: floor
                .into_iter()
                .map(|(name, holds)| (name.to_owned(), holds))
                .collect(),
            missing,
        }
    }
}

/// Finds bubblewrap and runs `true` behind the full walls. The error names what is missing and what would bring it.
pub(super) async fn probe(search_path: Option<&OsStr>, tmp_bytes: u64) -> Result<Ready, String> {
    let program = search_path.and_then(find).ok_or_else(|| {
        "bubblewrap is not installed, and without it commands are not run; install it with `apt install bubblewrap`"
            .to_owned()
    })?;
    let help = help(&program).await?;
    if let Some(switch) = NEEDED.iter().find(|it| !help.contains(**it)) {
        return Err(format!(
            "bubblewrap {NEEDED_VERSION} or newer is needed; this one does not know `{switch}`"
        ));
    }
    let filters = seccomp::filters().map_err(|error| with_causes(&error))?;
    let groups = tokio::task::spawn_blocking(Groups::probe)
        .await
        .map_err(|error| with_causes(&error))?;
    groups.clear();
    if rustix::process::geteuid().is_root() && !groups.bound_pids() {
        // The kernel exempts uid 0 from the limit on the number of processes.
        return Err("this process runs as root and no `pids` control group is writable, so a fork bomb could not be \
                    stopped; run it as an ordinary user"
            .to_owned());
    }
    let disable_userns = help.contains("--disable-userns");
    let mut ready = Ready {
        program,
        switches: Switches { disable_userns },
        groups,
        filters,
    };
    let mut trial = try_true(&ready, tmp_bytes).await;
    if trial.is_err() && disable_userns {
        // A setuid bubblewrap refuses the switch; the system call filter stops nested namespaces as well.
        ready.switches.disable_userns = false;
        trial = try_true(&ready, tmp_bytes).await;
    }
    trial.map(|()| ready)
}

fn find(search_path: &OsStr) -> Option<PathBuf> {
    // A relative entry would let the current directory, perhaps a workspace, choose our walls.
    let dirs = std::env::split_paths(search_path).filter(|it| it.is_absolute());
    dirs.map(|it| it.join("bwrap")).find(|it| is_program(it))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

async fn help(program: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command
        .arg("--help")
        .env_clear()
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(5), command.output()).await;
    match output {
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Err(error)) => Err(format!(
            "`{}` cannot be started: {error}",
            program.display()
        )),
        Err(_) => Err(format!("`{} --help` does not answer", program.display())),
    }
}

async fn try_true(ready: &Ready, tmp_bytes: u64) -> Result<(), String> {
    let workspace =
        Scratch::make().map_err(|error| format!("no temporary directory can be made: {error}"))?;
    let command = Command {
        argv: vec!["true".to_owned()],
        cwd: workspace.0.clone(),
        env: Vec::new(),
        stdin: Bytes::new(),
    };
    let profile = Profile {
        workspace: workspace.0.clone(),
        access: WorkspaceAccess::ReadOnly,
        read_only: Vec::new(),
        hidden: Vec::new(),
        limits: ProcessLimits {
            wall: Duration::from_secs(10),
            ..ProcessLimits::default()
        },
    };
    let reason = match run(ready, command, &profile, tmp_bytes).await {
        Ok(outcome) if outcome.ending == (Ending::Exited { code: 0 }) => return Ok(()),
        Ok(outcome) => format!(
            "{:?}: {}",
            outcome.ending,
            String::from_utf8_lossy(&outcome.stderr).trim()
        ),
        Err(SandboxError::Os(error)) => error.to_string(),
        Err(other) => other.to_string(),
    };
    Err(format!(
        "bubblewrap is installed but cannot build its walls here: {reason}. {}",
        hint(&reason)
    ))
}

/// What usually helps.
fn hint(reason: &str) -> &'static str {
    if reason.contains("namespace") || reason.contains("uid map") || reason.contains("loopback") {
        "Unprivileged user namespaces seem to be off: allow them with `sysctl kernel.unprivileged_userns_clone=1` \
         (Debian), `sysctl user.max_user_namespaces=15000`, or, on Ubuntu, an AppArmor profile for bwrap"
    } else {
        "Commands are not run without walls"
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An empty directory that goes away by itself.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("adjutant-probe-{}-{n}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}
