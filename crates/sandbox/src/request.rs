//! What a command and a profile must look like before any wall is built.

use std::path::{Path, PathBuf};

use adjutant_ports::sandbox::{Command, Profile, SandboxError, WorkspaceAccess};

use crate::environment;

/// Longest single argument, in bytes. Source: `MAX_ARG_STRLEN` of Linux, 32 pages of 4 KiB, with the final zero.
const ARGUMENT_BYTES_MAX: usize = (128 << 10) - 1;

/// Longest argument list, in bytes: half of what Linux grants under the default stack limit.
const ARGUMENTS_BYTES_MAX: usize = 1 << 20;

/// Host trees that hold other people's files, sockets or the system itself: neither a workspace nor a read-only grant
/// may be one of them or lie in one of them, and none may contain one of them.
const SYSTEM: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys",
    "/usr",
];

/// Directories of a home that hold credentials; masked when a granted tree contains them (S35).
const HOME_SECRETS: &[&str] = &[
    ".aws",
    ".azure",
    ".config/gcloud",
    ".config/gh",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".mozilla",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".local/share/keyrings",
];

/// A command and profile that passed, with every path resolved.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) cwd: PathBuf,
    pub(crate) workspace: PathBuf,
    pub(crate) access: WorkspaceAccess,
    pub(crate) read_only: Vec<PathBuf>,
    pub(crate) hidden: Vec<PathBuf>,
}

impl Request {
    /// Checks `command` against `profile`; resolves links on the host side once.
    pub(crate) fn check(command: Command, profile: &Profile) -> Result<Self, SandboxError> {
        check_arguments(&command.argv)?;
        environment::check(&command.env).map_err(refused)?;
        let hidden = hidden_paths(profile);
        let workspace = granted(&profile.workspace, "the workspace")?;
        if hidden.contains(&workspace) {
            return Err(refused("the workspace is a protected directory"));
        }
        let mut read_only = Vec::with_capacity(profile.read_only.len());
        for path in &profile.read_only {
            let path = granted(path, "a read-only directory")?;
            let protected = hidden.iter().any(|it| path.starts_with(it));
            if protected {
                return Err(refused("a read-only directory lies inside a protected one"));
            }
            read_only.push(path);
        }
        let cwd = resolve(&command.cwd, "the working directory")?;
        if !cwd.starts_with(&workspace) || !cwd.is_dir() {
            return Err(refused(
                "the working directory is not a directory inside the workspace",
            ));
        }
        Ok(Self {
            command,
            cwd,
            workspace,
            access: profile.access,
            read_only,
            hidden,
        })
    }
}

pub(crate) fn refused(reason: impl Into<String>) -> SandboxError {
    SandboxError::Refused {
        reason: reason.into(),
    }
}

fn check_arguments(argv: &[String]) -> Result<(), SandboxError> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(refused("the argument list is empty"));
    }
    if argv.iter().any(|it| it.contains('\0')) {
        return Err(refused("an argument contains a zero byte"));
    }
    let total: usize = argv.iter().map(|it| it.len() + 1).sum();
    if ARGUMENTS_BYTES_MAX < total || argv.iter().any(|it| ARGUMENT_BYTES_MAX < it.len()) {
        return Err(refused("the argument list is too long"));
    }
    Ok(())
}

fn resolve(path: &Path, what: &str) -> Result<PathBuf, SandboxError> {
    if !path.is_absolute() {
        return Err(refused(format!("{what} is not an absolute path")));
    }
    path.canonicalize()
        .map_err(|error| refused(format!("{what} cannot be used: {error}")))
}

fn granted(path: &Path, what: &str) -> Result<PathBuf, SandboxError> {
    let path = resolve(path, what)?;
    if path.to_str().is_none() {
        return Err(refused(format!("{what} has a name that is not UTF-8")));
    }
    let system = SYSTEM.iter().map(Path::new);
    if system
        .into_iter()
        .any(|it| path.starts_with(it) || it.starts_with(&path))
    {
        return Err(refused(format!(
            "{what} is part of the system: {}",
            path.display()
        )));
    }
    Ok(path)
}

/// Everything to mask, resolved. Paths that do not exist have nothing to show.
fn hidden_paths(profile: &Profile) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|it| it.is_absolute());
    let secrets = home
        .into_iter()
        .flat_map(|home| HOME_SECRETS.iter().map(move |it| home.join(it)));
    let mut hidden: Vec<PathBuf> = profile
        .hidden
        .iter()
        .cloned()
        .chain(secrets)
        .filter_map(|it| it.canonicalize().ok())
        .collect();
    hidden.sort();
    hidden.dedup();
    hidden
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use adjutant_ports::sandbox::ProcessLimits;
    use bytes::Bytes;

    fn command(cwd: &Path) -> Command {
        Command {
            argv: vec!["true".into()],
            cwd: cwd.into(),
            env: vec![],
            stdin: Bytes::new(),
        }
    }

    fn profile(workspace: &Path) -> Profile {
        Profile {
            workspace: workspace.into(),
            access: WorkspaceAccess::ReadOnly,
            read_only: vec![],
            hidden: vec![],
            limits: ProcessLimits::default(),
        }
    }

    #[test]
    fn a_working_directory_that_a_link_leads_outside_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        let refused = Request::check(command(&dir.path().join("out")), &profile(dir.path()));
        assert!(matches!(refused, Err(SandboxError::Refused { .. })));
        assert!(Request::check(command(dir.path()), &profile(dir.path())).is_ok());
    }

    #[test]
    fn the_system_is_no_workspace() {
        for path in ["/", "/etc", "/usr/lib", "/proc", "/run"] {
            let path = Path::new(path);
            assert!(
                Request::check(command(path), &profile(path)).is_err(),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn bad_argument_lists_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for argv in [
            vec![],
            vec![String::new()],
            vec!["a\0".to_owned()],
            vec!["a".to_owned(), "b".repeat(128 << 10)],
        ] {
            let command = Command {
                argv,
                ..command(dir.path())
            };
            assert!(Request::check(command, &profile(dir.path())).is_err());
        }
    }

    #[test]
    fn a_read_only_grant_cannot_reach_into_a_hidden_directory() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("ws");
        let state = dir.path().join("state/skills");
        std::fs::create_dir_all(&state).unwrap();
        std::fs::create_dir_all(&workspace).unwrap();
        let mut profile = profile(&workspace);
        profile.hidden.push(dir.path().join("state"));
        profile.read_only.push(state);
        assert!(Request::check(command(&workspace), &profile).is_err());
        profile.hidden.clear();
        assert!(Request::check(command(&workspace), &profile).is_ok());
    }
}
