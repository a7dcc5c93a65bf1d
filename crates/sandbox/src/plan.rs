//! Which parts of the host a confined process sees, as steps that each driver carries out in its own way.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use adjutant_ports::sandbox::WorkspaceAccess;

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
const SYNTHETIC: &[(&str, &str)] = &[
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

/// Number of the inner user and group, whoever runs us: nobody inside learns the real one.
pub(crate) const USER_ID: u32 = 1000;

/// Name of the inner host.
pub(crate) const HOST_NAME: &str = "sandbox";

/// Where processes inside see each other.
const PROC: &str = "/proc";
/// Where the inner devices are.
const DEV: &str = "/dev";
/// The private directory for temporary files.
const TMP: &str = "/tmp";
/// The other one, which is the same inside unless something of it is granted.
const VAR_TMP: &str = "/var/tmp";
/// Shared memory of the inside.
const SHM: &str = "/dev/shm";

/// One step of furnishing an empty inside. Steps are carried out in order; a later one stands on the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// A host tree at the same path, without set-id files and devices.
    Show {
        /// The path, outside and inside.
        #[serde(with = "crate::plan::bytes")]
        path: PathBuf,
        /// Whether it can be written.
        access: Access,
        /// Who says that it may be seen.
        source: Source,
    },
    /// A fresh directory in memory.
    Memory {
        /// Its place.
        #[serde(with = "crate::plan::bytes")]
        path: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Its size in bytes.
        bytes: u64,
        /// Whether it can be written; if not, it is empty for good.
        access: Access,
    },
    /// A file of our own making that nobody can write.
    File {
        /// Its place.
        path: String,
        /// What is in it.
        content: String,
    },
    /// Hides a file.
    Mask {
        /// The file.
        #[serde(with = "crate::plan::bytes")]
        path: PathBuf,
    },
    /// A directory.
    Directory {
        /// Its place.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Its place.
        path: String,
        /// What is in it.
        #[serde(with = "crate::plan::bytes")]
        target: PathBuf,
    },
    /// The processes of the inside, at `/proc`.
    Processes,
    /// The harmless devices, at `/dev`.
    Devices,
    /// Makes one mount, not those below it, read-only.
    Seal {
        /// Its place.
        path: String,
    },
}

/// Whether something can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    /// No.
    Read,
    /// Yes.
    Write,
}

/// Who says that a host tree may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// This file: it may be a link, which only root can have made, and if it is missing nobody misses it.
    System,
    /// The caller: links were resolved when the request was checked, so there must be none any more.
    Granted,
}

/// Everything the inside consists of.
pub(crate) fn steps(request: &Request, tmp_bytes: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    system(&mut steps);
    steps.extend(SYNTHETIC.iter().map(|(path, content)| Step::File {
        path: (*path).to_owned(),
        content: (*content).to_owned(),
    }));
    kernel(&mut steps);
    steps.push(memory(TMP, 0o1777, tmp_bytes, Access::Write));
    granted(&mut steps, request);
    steps.push(Step::Directory {
        path: "/tmp/home".to_owned(),
        mode: 0o700,
    });
    let is_taken = |it: &PathBuf| it.starts_with(VAR_TMP);
    if !std::iter::once(&request.workspace)
        .chain(&request.read_only)
        .any(is_taken)
    {
        steps.push(Step::Link {
            path: VAR_TMP.to_owned(),
            target: TMP.into(),
        });
    }
    // The tree of mount points is itself memory that could be filled.
    steps.push(seal("/"));
    steps
}

/// What the steps let a process read, write and use as a device: the same once more, for walls that know nothing of
/// mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// Trees that can be read and run from.
    #[serde(with = "crate::plan::bytes::list")]
    pub(crate) readable: Vec<PathBuf>,
    /// Trees that can be written as well.
    #[serde(with = "crate::plan::bytes::list")]
    pub(crate) writable: Vec<PathBuf>,
    /// Trees of devices.
    #[serde(with = "crate::plan::bytes::list")]
    pub(crate) devices: Vec<PathBuf>,
}

impl Reach {
    /// From the steps.
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut reach = Self::default();
        for step in steps {
            match step {
                Step::Show { path, access, .. } | Step::Memory { path, access, .. } => match access
                {
                    Access::Read => reach.readable.push(path.clone()),
                    Access::Write => reach.writable.push(path.clone()),
                },
                Step::File { path, .. } => reach.readable.push(path.into()),
                Step::Processes => reach.readable.push(PROC.into()),
                Step::Devices => reach.devices.push(DEV.into()),
                Step::Mask { .. }
                | Step::Directory { .. }
                | Step::Link { .. }
                | Step::Seal { .. } => {}
            }
        }
        reach
    }
}

fn memory(path: impl Into<PathBuf>, mode: u32, bytes: u64, access: Access) -> Step {
    Step::Memory {
        path: path.into(),
        mode,
        bytes,
        access,
    }
}

fn nothing_at(path: impl Into<PathBuf>) -> Step {
    memory(path, 0o555, 4096, Access::Read)
}

fn seal(path: &str) -> Step {
    Step::Seal {
        path: path.to_owned(),
    }
}

fn show(path: impl Into<PathBuf>, access: Access, source: Source) -> Step {
    Step::Show {
        path: path.into(),
        access,
        source,
    }
}

fn system(steps: &mut Vec<Step>) {
    steps.push(show("/usr", Access::Read, Source::System));
    for name in SYSTEM {
        match std::fs::read_link(name) {
            Ok(target) => steps.push(Step::Link {
                path: (*name).to_owned(),
                target,
            }),
            Err(_) if Path::new(name).is_dir() => {
                steps.push(show(*name, Access::Read, Source::System));
            }
            Err(_) => {}
        }
    }
    let there = PROGRAMS.iter().chain(ETC);
    let there = there.filter(|it| Path::new(it).exists());
    steps.extend(there.map(|it| show(*it, Access::Read, Source::System)));
}

fn kernel(steps: &mut Vec<Step>) {
    steps.push(Step::Processes);
    let files = PROC_FILES.iter().filter(|it| Path::new(it).exists());
    steps.extend(files.map(|it| Step::Mask { path: (*it).into() }));
    let dirs = PROC_DIRS.iter().filter(|it| Path::new(it).exists());
    steps.extend(dirs.map(|it| nothing_at(*it)));
    // Under root the kernel lets even a process without capabilities write most of `/proc/sys`, because the files
    // belong to uid 0 outside. Only a read-only mount stops that.
    steps.push(seal(PROC));
    steps.push(Step::Devices);
    steps.push(memory(SHM, 0o1777, SHM_BYTES, Access::Write));
    steps.push(seal(DEV));
}

/// What stands at one granted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grant {
    Shown(Access),
    Nothing,
}

/// Workspace, read-only grants and masks, outer before inner, so that the more exact path wins; a mask wins over a grant
/// of the same path.
fn granted(steps: &mut Vec<Step>, request: &Request) {
    let workspace = match request.access {
        WorkspaceAccess::ReadOnly => Access::Read,
        WorkspaceAccess::ReadWrite => Access::Write,
    };
    let read_only = request.read_only.iter().map(|it| (it, Access::Read));
    let grants: Vec<(&PathBuf, Access)> = std::iter::once((&request.workspace, workspace))
        .chain(read_only)
        .collect();
    let masks = request
        .hidden
        .iter()
        .filter(|hidden| grants.iter().any(|(path, _)| hidden.starts_with(path)));
    let mut all: Vec<(usize, &PathBuf, Grant)> = masks
        .map(|it| (it, Grant::Nothing))
        .chain(
            grants
                .iter()
                .map(|(path, access)| (*path, Grant::Shown(*access))),
        )
        .map(|(path, grant)| (path.components().count(), path, grant))
        .collect();
    all.sort();
    steps.extend(all.into_iter().map(|(_, path, grant)| match grant {
        Grant::Shown(access) => show(path, access, Source::Granted),
        Grant::Nothing if path.is_dir() => nothing_at(path),
        Grant::Nothing => Step::Mask { path: path.clone() },
    }));
}

/// Paths are bytes, which JSON has no word for.
pub(crate) mod bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Vec::deserialize(from)?).into())
    }

    pub(crate) mod list {
        use super::{Deserialize, Deserializer, OsStrExt, OsStringExt, PathBuf, Serializer};
        use std::ffi::OsString;

        pub(crate) fn serialize<S: Serializer>(
            paths: &[PathBuf],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(paths.iter().map(|it| it.as_os_str().as_bytes()))
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<PathBuf>, D::Error> {
            let paths = Vec::<Vec<u8>>::deserialize(from)?;
            Ok(paths
                .into_iter()
                .map(|it| OsString::from_vec(it).into())
                .collect())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use adjutant_ports::sandbox::{Command, ProcessLimits, Profile};

    fn plan(profile: &Profile) -> Vec<Step> {
        let command = Command {
            argv: vec!["true".into()],
            cwd: profile.workspace.clone(),
            env: vec![],
            stdin: ::bytes::Bytes::new(),
        };
        steps(&Request::check(command, profile).unwrap(), 1 << 20)
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
        let plan = plan(&profile);
        let at = |wanted: &Step| plan.iter().position(|it| it == wanted).unwrap();
        let shown = at(&show(&workspace, Access::Write, Source::Granted));
        let masked = at(&nothing_at(workspace.join("private")));
        assert!(shown < masked);
        assert!(!plan.contains(&nothing_at(root.join("state"))));
        assert_eq!(plan.last(), Some(&seal("/")));
    }

    #[test]
    fn what_may_be_written_is_the_memory_and_a_writable_workspace_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().canonicalize().unwrap();
        let mut profile = Profile {
            workspace: workspace.clone(),
            access: WorkspaceAccess::ReadOnly,
            read_only: vec![],
            hidden: vec![],
            limits: ProcessLimits::default(),
        };
        let memory: [PathBuf; 2] = [SHM.into(), TMP.into()];
        assert_eq!(Reach::of(&plan(&profile)).writable, memory);
        profile.access = WorkspaceAccess::ReadWrite;
        let [shm, tmp] = memory;
        assert_eq!(Reach::of(&plan(&profile)).writable, [shm, tmp, workspace]);
    }

    #[test]
    fn a_plan_survives_the_way_through_a_descriptor_whatever_the_bytes_of_its_paths() {
        use std::os::unix::ffi::OsStringExt;
        let odd = PathBuf::from(std::ffi::OsString::from_vec(b"/ws/\xff\n\"x".to_vec()));
        let steps = vec![
            Step::Mask { path: odd.clone() },
            show(odd, Access::Read, Source::Granted),
        ];
        let text = serde_json::to_vec(&steps).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Step>>(&text).unwrap(), steps);
    }
}
