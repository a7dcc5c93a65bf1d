//! The last part: no new privileges, Landlock, the system call filters, and then the command.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use crate::inner::landlocked;
use crate::plan::Reach;
use crate::{seccomp, spawn};

/// What a shell says of a program that is none, and of one that is missing.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What to become, and behind which last walls.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inside {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Working directory.
    #[serde(with = "crate::plan::bytes")]
    pub(crate) cwd: PathBuf,
    /// What Landlock lets it touch; `None` leaves Landlock out.
    pub(crate) reach: Option<Reach>,
    /// System call filters, when nobody outside puts them on.
    pub(crate) filters: Vec<Vec<u8>>,
}

/// Said on the report descriptor when all walls stand and the command is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Standing {
    /// The version of Landlock that is enforced; 0 if the kernel has none that can be used.
    pub(crate) landlock: u32,
}

/// Returns only if the command could not be started.
pub(super) fn become_command(inside: OwnedFd, report: OwnedFd) -> io::Result<ExitCode> {
    let inside: Inside = super::read(&inside)?;
    let [program, args @ ..] = inside.argv.as_slice() else {
        return Err(io::Error::other("the argument list is empty"));
    };
    std::env::set_current_dir(&inside.cwd)?;
    rustix::thread::set_no_new_privs(true)?;
    let landlock = match &inside.reach {
        Some(reach) => landlocked::confine(reach)?,
        None => 0,
    };
    for filter in &inside.filters {
        seccomp::apply(filter)?;
    }
    let mut said = serde_json::to_vec(&Standing { landlock })?;
    said.push(b'\n');
    File::from(report).write_all(&said)?;
    spawn::keep_only(&[])?;
    let error = Command::new(program)
        .args(args)
        .env_clear()
        .envs(inside.env.iter().map(|(name, value)| (name, value)))
        .exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let what = rustix::io::Errno::from_io_error(&error)
        .map_or(error.to_string(), |it| io::Error::from(it).to_string());
    let what = what.split(" (os error").next().unwrap_or_default();
    eprintln!("{program}: {what}");
    Ok(ExitCode::from(code))
}
