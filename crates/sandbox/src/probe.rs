//! What this machine has of what every driver needs: asked once, by doing it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, Profile, SandboxError, SandboxReport, WorkspaceAccess,
};

use crate::ceilings::Groups;
use crate::inner::Standing;
use crate::resident;
use crate::run::{self, Launcher};
use crate::seccomp;
use crate::tree::Memory;

/// What all drivers have in common.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) groups: Groups,
    pub(crate) filters: Vec<Vec<u8>>,
    /// Version of Landlock inside the walls: 0 if the kernel has none, `None` if nobody of ours stands inside.
    pub(crate) landlock: Option<u32>,
}

impl Base {
    /// Looks for control groups and compiles the filters. The error names what is missing and what would bring it.
    pub(crate) async fn look() -> Result<Self, String> {
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
        Ok(Self {
            groups,
            filters,
            landlock: None,
        })
    }

    /// Who bounds the memory of a whole tree.
    pub(crate) fn memory(&self) -> Memory {
        match self.groups.bound_memory() || !resident::can_be_weighed() {
            true => Memory::Kernel,
            false => Memory::Weighed,
        }
    }

    /// What is enforced; `of_the_driver` is what drivers differ in.
    pub(crate) fn report(&self, driver: &str, of_the_driver: &[(&str, bool)]) -> SandboxReport {
        let common = [
            (
                "user, mount, process, network, IPC and host name namespaces",
                true,
            ),
            ("no new privileges and no capabilities", true),
            ("system call filter", true),
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
        ];
        let landlock = match self.landlock {
            Some(version @ 1..) => (format!("Landlock inside the walls (ABI {version})"), true),
            _ => ("Landlock inside the walls".to_owned(), false),
        };
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
        match self.landlock {
            Some(1..) => {}
            Some(0) => missing.push(
                "this kernel has no Landlock, or one older than 5.19; the walls are namespaces, mounts and the filter"
                    .to_owned(),
            ),
            None => missing.push(
                "Landlock is not used, because this program cannot be started inside the walls".to_owned(),
            ),
        }
        SandboxReport {
            driver: driver.to_owned(),
            available: true,
            floor: common
                .iter()
                .chain(of_the_driver)
                .map(|(name, holds)| ((*name).to_owned(), *holds))
                .chain([landlock])
                .collect(),
            missing,
        }
    }
}

/// The report of a driver that does not work here.
pub(crate) fn unavailable(driver: &str, why: &SandboxError) -> SandboxReport {
    let why = match why {
        SandboxError::Unavailable { reason } => reason.clone(),
        other => other.to_string(),
    };
    SandboxReport {
        driver: driver.to_owned(),
        available: false,
        floor: Vec::new(),
        missing: vec![why],
    }
}

/// Runs `true` behind the full walls.
pub(crate) async fn try_true(
    launcher: &(impl Launcher + Sync),
) -> Result<Option<Standing>, String> {
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
    match run::run(launcher, command, &profile).await {
        Ok(ran) if ran.outcome.ending == (Ending::Exited { code: 0 }) => Ok(ran.standing),
        Ok(ran) => Err(format!(
            "{:?}: {}",
            ran.outcome.ending,
            String::from_utf8_lossy(&ran.outcome.stderr).trim()
        )),
        Err(SandboxError::Os(error)) => Err(error.to_string()),
        Err(other) => Err(other.to_string()),
    }
}

/// Says that walls cannot be built here, and what usually helps.
pub(crate) fn cannot_build(what: &str, reason: &str) -> String {
    let is_about_namespaces = [
        "namespace",
        "uid map",
        "uid_map",
        "loopback",
        "not permitted",
    ]
    .iter()
    .any(|it| reason.contains(it));
    let hint = if is_about_namespaces {
        "Unprivileged user namespaces seem to be off: allow them with `sysctl kernel.unprivileged_userns_clone=1` \
         (Debian), `sysctl user.max_user_namespaces=15000`, or, on Ubuntu, an AppArmor profile for bwrap"
    } else {
        "Commands are not run without walls"
    };
    format!("{what} cannot be built here: {reason}. {hint}")
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
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
    fn make() -> io::Result<Self> {
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
