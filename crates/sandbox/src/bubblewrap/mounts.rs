//! Which parts of the host a confined process sees, as arguments for bubblewrap.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use adjutant_ports::sandbox::WorkspaceAccess;

use crate::environment;
use crate::request::Request;

/// Top-level names that are links into `/usr` on some systems and directories on others.
const SYSTEM: &[&str] = &["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"];

/// Read-only trees outside of `/usr` that hold nothing but programs.
const PROGRAMS: &[&str] = &["/nix/store", "/gnu/store"];

/// The files of `/etc` that programs need to start. Nothing in them is secret or personal.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/debian_version",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/perl",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// Parts of `/proc` that tell about the host and that no ordinary program reads.
const PROC_FILES: &[&str] = &[
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
];
const PROC_DIRS: &[&str] = &["/proc/acpi", "/proc/scsi"];

/// Files made up for the inside: path and content.
pub(crate) const SYNTHETIC: &[(&str, &str)] = &[
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp/home:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
    (
        "/etc/hosts",
        "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    ),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
];

/// Size of the shared-memory directory.
const SHM_BYTES: u64 = 64 << 20;

/// Numbers the inner user has, whoever runs us: nobody inside learns the real one.
const USER_ID: &str = "1000";

/// Descriptors of the synthetic files and filters, as the child will see them.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// One per entry of [`SYNTHETIC`].
    pub(crate) synthetic: Vec<i32>,
    /// One per system call filter.
    pub(crate) filters: Vec<i32>,
    /// Where bubblewrap reports its child and its end.
    pub(crate) status: i32,
    /// What bubblewrap waits for before it starts the command.
    pub(crate) gate: i32,
}

/// Which optional switches this bubblewrap has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switches {
    /// `--disable-userns`, from 0.8.
    pub(crate) disable_userns: bool,
}

/// The options before `--`.
pub(crate) fn options(
    request: &Request,
    fds: &Descriptors,
    switches: Switches,
    tmp_bytes: u64,
) -> Vec<OsString> {
    let mut list = List::default();
    namespaces(&mut list, switches);
    system(&mut list);
    for ((path, _), fd) in SYNTHETIC.iter().zip(&fds.synthetic) {
        list.push(["--perms", "0444", "--ro-bind-data", &fd.to_string(), path]);
    }
    kernel(&mut list);
    list.push([
        "--perms",
        "1777",
        "--size",
        &tmp_bytes.to_string(),
        "--tmpfs",
        "/tmp",
    ]);
    granted(&mut list, request);
    list.push(["--perms", "0700", "--dir", "/tmp/home"]);
    list.push(["--symlink", "/tmp", "/var/tmp"]);
    // The tree of mount points is itself memory that could be filled.
    list.push(["--remount-ro", "/"]);
    list.push(["--clearenv"]);
    for (name, value) in environment::BASE {
        list.push(["--setenv", name, value]);
    }
    for (name, value) in &request.command.env {
        list.push(["--setenv", name, value]);
    }
    list.push([OsStr::new("--chdir"), request.cwd.as_os_str()]);
    for fd in &fds.filters {
        list.push(["--add-seccomp-fd", &fd.to_string()]);
    }
    list.push([
        "--json-status-fd",
        &fds.status.to_string(),
        "--block-fd",
        &fds.gate.to_string(),
    ]);
    list.0
}

/// Arguments as bubblewrap reads them from a descriptor: each ended by a zero byte.
pub(crate) fn to_bytes(options: &[OsString]) -> Vec<u8> {
    options
        .iter()
        .flat_map(|it| it.as_bytes().iter().copied().chain([0]))
        .collect()
}

#[derive(Default)]
struct List(Vec<OsString>);

impl List {
    fn push<T: AsRef<OsStr>, const N: usize>(&mut self, args: [T; N]) {
        self.0
            .extend(args.into_iter().map(|it| it.as_ref().to_owned()));
    }
}

fn namespaces(list: &mut List, switches: Switches) {
    list.push([
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--new-session",
    ]);
    list.push([
        "--uid",
        USER_ID,
        "--gid",
        USER_ID,
        "--hostname",
        "sandbox",
        "--cap-drop",
        "ALL",
    ]);
    if switches.disable_userns {
        list.push(["--disable-userns"]);
    }
}

fn system(list: &mut List) {
    list.push(["--ro-bind", "/usr", "/usr"]);
    for name in SYSTEM {
        match std::fs::read_link(name) {
            Ok(target) => list.push([
                OsStr::new("--symlink"),
                target.as_os_str(),
                OsStr::new(name),
            ]),
            Err(_) if Path::new(name).is_dir() => list.push(["--ro-bind", name, name]),
            Err(_) => {}
        }
    }
    for name in PROGRAMS.iter().chain(ETC) {
        list.push(["--ro-bind-try", name, name]);
    }
}

fn kernel(list: &mut List) {
    list.push(["--proc", "/proc"]);
    for name in PROC_FILES.iter().filter(|it| Path::new(it).exists()) {
        list.push(["--ro-bind", "/dev/null", name]);
    }
    for name in PROC_DIRS.iter().filter(|it| Path::new(it).exists()) {
        list.push([
            "--perms",
            "0555",
            "--size",
            "4096",
            "--tmpfs",
            name,
            "--remount-ro",
            name,
        ]);
    }
    // Under root the kernel lets even a process without capabilities write most of `/proc/sys`, because the files
    // belong to uid 0 outside. Only a read-only mount stops that.
    list.push(["--remount-ro", "/proc", "--dev", "/dev"]);
    list.push([
        "--perms",
        "1777",
        "--size",
        &SHM_BYTES.to_string(),
        "--tmpfs",
        "/dev/shm",
        "--remount-ro",
        "/dev",
    ]);
}

/// What stands at one granted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Show {
    ReadOnly,
    ReadWrite,
    Nothing,
}

/// Workspace, read-only grants and masks, outer before inner, so that the more exact path wins; a mask wins over a grant
/// of the same path.
fn granted(list: &mut List, request: &Request) {
    let workspace = match request.access {
        WorkspaceAccess::ReadOnly => Show::ReadOnly,
        WorkspaceAccess::ReadWrite => Show::ReadWrite,
    };
    let grants: Vec<(&PathBuf, Show)> = std::iter::once((&request.workspace, workspace))
        .chain(request.read_only.iter().map(|it| (it, Show::ReadOnly)))
        .collect();
    let masks = request
        .hidden
        .iter()
        .filter(|hidden| grants.iter().any(|(path, _)| hidden.starts_with(path)));
    let mut all: Vec<(usize, &PathBuf, Show)> = masks
        .map(|it| (it, Show::Nothing))
        .chain(grants.iter().copied())
        .map(|(path, show)| (path.components().count(), path, show))
        .collect();
    all.sort();
    for (_, path, show) in all {
        match show {
            Show::ReadOnly => {
                list.push([OsStr::new("--ro-bind"), path.as_os_str(), path.as_os_str()])
            }
            Show::ReadWrite => {
                list.push([OsStr::new("--bind"), path.as_os_str(), path.as_os_str()])
            }
            Show::Nothing if path.is_dir() => {
                list.push(["--perms", "0555", "--size", "4096", "--tmpfs"]);
                list.push([
                    path.as_os_str(),
                    OsStr::new("--remount-ro"),
                    path.as_os_str(),
                ]);
            }
            Show::Nothing => list.push([
                OsStr::new("--ro-bind"),
                OsStr::new("/dev/null"),
                path.as_os_str(),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use adjutant_ports::sandbox::{Command, ProcessLimits, Profile};
    use bytes::Bytes;

    fn shown(profile: &Profile) -> Vec<String> {
        let command = Command {
            argv: vec!["true".into()],
            cwd: profile.workspace.clone(),
            env: vec![],
            stdin: Bytes::new(),
        };
        let request = Request::check(command, profile).unwrap();
        let mut list = List::default();
        granted(&mut list, &request);
        list.0
            .iter()
            .map(|it| it.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_workspace_inside_a_hidden_directory_is_shown_and_its_hidden_part_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let workspace = root.join("state/ws");
        std::fs::create_dir_all(workspace.join("private")).unwrap();
        let profile = Profile {
            workspace: workspace.clone(),
            access: WorkspaceAccess::ReadWrite,
            read_only: vec![],
            hidden: vec![root.join("state"), workspace.join("private")],
            limits: ProcessLimits::default(),
        };
        let shown = shown(&profile);
        let bind = shown.iter().position(|it| it == "--bind").unwrap();
        let mask = shown.iter().position(|it| it == "--tmpfs").unwrap();
        assert!(bind < mask);
        assert_eq!(shown[mask + 1], workspace.join("private").to_string_lossy());
        assert_eq!(shown.iter().filter(|it| *it == "--tmpfs").count(), 1);
    }
}
