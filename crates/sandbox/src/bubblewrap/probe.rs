//! What bubblewrap can do on this machine: asked once, by doing it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adjutant_ports::sandbox::SandboxReport;

use super::arguments::Switches;
use crate::inner::Inner;
use crate::probe::{Base, cannot_build, try_true};

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
    pub(super) inner: Option<Inner>,
    pub(super) base: Base,
    pub(super) tmp_bytes: u64,
}

impl Ready {
    pub(super) fn report(&self) -> SandboxReport {
        let nested = "nested user namespaces off in the kernel";
        let of_the_driver = [(nested, self.switches.disable_userns)];
        self.base.report("bubblewrap", &of_the_driver)
    }
}

/// Finds bubblewrap and runs `true` behind the full walls. The error names what is missing and what would bring it.
pub(super) async fn probe(
    search_path: Option<&OsStr>,
    inner: Option<Inner>,
    tmp_bytes: u64,
) -> Result<Ready, String> {
    let program = search_path.and_then(find).ok_or_else(|| {
        "bubblewrap is not installed; install it with `apt install bubblewrap`".to_owned()
    })?;
    let help = help(&program).await?;
    if let Some(switch) = NEEDED.iter().find(|it| !help.contains(**it)) {
        return Err(format!(
            "bubblewrap {NEEDED_VERSION} or newer is needed; this one does not know `{switch}`"
        ));
    }
    let mut ready = Ready {
        program,
        switches: Switches {
            disable_userns: help.contains("--disable-userns"),
        },
        inner,
        base: Base::look().await?,
        tmp_bytes,
    };
    let mut trial = try_true(&ready).await;
    if trial.is_err() && ready.switches.disable_userns {
        // A setuid bubblewrap refuses the switch; the system call filter stops nested namespaces as well.
        ready.switches.disable_userns = false;
        trial = try_true(&ready).await;
    }
    if trial.is_err() && ready.inner.is_some() {
        // Whatever keeps our program from starting inside costs the second wall, not the first; the report says so.
        ready.switches.disable_userns = help.contains("--disable-userns");
        ready.inner = None;
        trial = try_true(&ready).await;
    }
    let standing = trial.map_err(|reason| cannot_build("the walls of bubblewrap", &reason))?;
    ready.base.landlock = standing.map(|it| it.landlock);
    Ok(ready)
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
