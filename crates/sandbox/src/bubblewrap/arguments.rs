//! The plan as arguments for bubblewrap.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::environment;
use crate::plan::{Access, HOST_NAME, Source, Step, USER_ID};
use crate::request::Request;

/// Descriptors that bubblewrap is told about, as it will see them.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// One per [`Step::File`], in order.
    pub(super) files: Vec<i32>,
    /// One per system call filter.
    pub(super) filters: Vec<i32>,
    /// Where bubblewrap reports its child and its end.
    pub(super) status: i32,
    /// What bubblewrap waits for before it starts the command.
    pub(super) gate: i32,
}

/// Which optional switches this bubblewrap has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switches {
    /// `--disable-userns`, from 0.8.
    pub(super) disable_userns: bool,
}

/// The options before `--`.
pub(super) fn options(
    request: &Request,
    steps: &[Step],
    fds: &Descriptors,
    switches: Switches,
) -> Vec<OsString> {
    let mut list = List::default();
    namespaces(&mut list, switches);
    let mut files = fds.files.iter();
    for step in steps {
        list.furnish(step, &mut files);
    }
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
pub(super) fn to_bytes(options: &[OsString]) -> Vec<u8> {
    options
        .iter()
        .flat_map(|it| it.as_bytes().iter().copied().chain([0]))
        .collect()
}

fn namespaces(list: &mut List, switches: Switches) {
    let id = USER_ID.to_string();
    list.push([
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--new-session",
    ]);
    list.push(["--uid", &id, "--gid", &id, "--hostname", HOST_NAME]);
    list.push(["--cap-drop", "ALL"]);
    if switches.disable_userns {
        list.push(["--disable-userns"]);
    }
}

#[derive(Default)]
struct List(Vec<OsString>);

impl List {
    fn push<T: AsRef<OsStr>, const N: usize>(&mut self, args: [T; N]) {
        self.0
            .extend(args.into_iter().map(|it| it.as_ref().to_owned()));
    }

    fn push_path(&mut self, switch: &str, path: &Path) {
        self.push([OsStr::new(switch), path.as_os_str()]);
    }

    fn push_two(&mut self, switch: &str, from: &Path, to: &Path) {
        self.push([OsStr::new(switch), from.as_os_str(), to.as_os_str()]);
    }

    fn furnish<'a>(&mut self, step: &Step, files: &mut impl Iterator<Item = &'a i32>) {
        match step {
            Step::Show {
                path,
                access,
                source,
            } => {
                let switch = match (access, source) {
                    (Access::Read, Source::System) => "--ro-bind-try",
                    (Access::Read, Source::Granted) => "--ro-bind",
                    (Access::Write, _) => "--bind",
                };
                self.push_two(switch, path, path);
            }
            Step::Memory {
                path,
                mode,
                bytes,
                access,
            } => {
                self.push(["--perms", &octal(*mode), "--size", &bytes.to_string()]);
                self.push_path("--tmpfs", path);
                if *access == Access::Read {
                    self.push_path("--remount-ro", path);
                }
            }
            Step::File { path, .. } => {
                // One descriptor was made per file, by the same list.
                let fd = files.next().copied().unwrap_or(-1).to_string();
                self.push(["--perms", "0444", "--ro-bind-data", &fd, path]);
            }
            Step::Mask { path } => self.push_two("--ro-bind", Path::new("/dev/null"), path),
            Step::Directory { path, mode } => {
                self.push(["--perms", &octal(*mode), "--dir", path]);
            }
            Step::Link { path, target } => self.push_two("--symlink", target, Path::new(path)),
            Step::Processes => self.push(["--proc", "/proc"]),
            Step::Devices => self.push(["--dev", "/dev"]),
            Step::Seal { path } => self.push(["--remount-ro", path]),
        }
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
