//! Carries out the plan: a root of our own in a new mount namespace, by descriptors, so that no name is looked up twice.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::plan::{Access, Source, Step};

/// Where the new root stands while it is built. Any directory will do; this one every plan shows.
const BUILDING_SITE: &str = "/usr";

/// Size of the root itself, in bytes: directories and small files.
const ROOT_BYTES: &str = "8388608";

/// Devices without which programs do not run, and that lead nowhere.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Links that programs expect beside them.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes the inside and steps into it. Afterwards nothing of the host is mounted but what the plan shows.
pub(super) fn furnish(steps: &[Step]) -> io::Result<()> {
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", all)
        .map_err(|error| failed("separating the mounts", Path::new("/"), error))?;
    let umask = rustix::process::umask(Mode::empty());
    // Before the new root covers anything.
    let sources: Vec<Option<OwnedFd>> = steps.iter().map(source).collect::<io::Result<_>>()?;
    let devices = DEVICES.map(|name| tree(&Path::new("/dev").join(name), Source::System));
    let root = Root::make()?;
    let mut devices = Some(devices);
    for (step, source) in steps.iter().zip(sources) {
        root.carry_out(step, source, &mut devices)?;
    }
    root.step_into()?;
    rustix::process::umask(umask);
    Ok(())
}

/// The host tree of a step, detached from where it stands.
fn source(step: &Step) -> io::Result<Option<OwnedFd>> {
    let (path, access, source) = match step {
        Step::Show {
            path,
            access,
            source,
        } => (path.as_path(), *access, *source),
        Step::Mask { .. } => (Path::new("/dev/null"), Access::Read, Source::System),
        _ => return Ok(None),
    };
    let tree = match tree(path, source) {
        Err(error) if source == Source::System && error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        other => other?,
    };
    let read_only = match access {
        Access::Read => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Access::Write => MountAttrFlags::empty(),
    };
    let attributes =
        read_only | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    set_attributes(tree.as_fd(), attributes, Depth::All)
        .map_err(|error| failed("protecting", path, error))?;
    Ok(Some(tree))
}

fn tree(path: &Path, source: Source) -> io::Result<OwnedFd> {
    let links = match source {
        Source::System => ResolveFlags::empty(),
        Source::Granted => ResolveFlags::NO_SYMLINKS,
    };
    let place = rustix::fs::openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        links,
    )
    .map_err(|error| failed("opening", path, error))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(&place, "", flags).map_err(|error| failed("taking", path, error))
}

/// The new root while it is built.
struct Root {
    fd: OwnedFd,
}

impl Root {
    fn make() -> io::Result<Self> {
        let fd = fresh("tmpfs", &[("mode", "0755"), ("size", ROOT_BYTES)])?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&fd, "", CWD, BUILDING_SITE, flags)
            .map_err(|error| failed("making", Path::new("/"), error))?;
        Ok(Self { fd })
    }

    fn carry_out(
        &self,
        step: &Step,
        source: Option<OwnedFd>,
        devices: &mut Option<[io::Result<OwnedFd>; DEVICES.len()]>,
    ) -> io::Result<()> {
        match step {
            Step::Show { path, .. } | Step::Mask { path } => match source {
                Some(tree) => self.place(&tree, path),
                None => Ok(()),
            },
            Step::Memory {
                path,
                mode,
                bytes,
                access,
            } => {
                let (mode, bytes) = (format!("{mode:o}"), bytes.to_string());
                self.place(&fresh("tmpfs", &[("mode", &mode), ("size", &bytes)])?, path)?;
                match access {
                    Access::Read => self.seal(path),
                    Access::Write => Ok(()),
                }
            }
            Step::File { path, content } => self.file(Path::new(path), content.as_bytes()),
            Step::Directory { path, mode } => {
                self.directory(Path::new(path), *mode)?;
                Ok(())
            }
            Step::Link { path, target } => self.link(Path::new(path), target),
            Step::Processes => self.place(&fresh("proc", &[])?, Path::new("/proc")),
            Step::Devices => self.devices(devices.take().into_iter().flatten()),
            Step::Seal { path } => self.seal(Path::new(path)),
        }
    }

    fn devices(&self, trees: impl Iterator<Item = io::Result<OwnedFd>>) -> io::Result<()> {
        let dev = Path::new("/dev");
        self.place(
            &fresh("tmpfs", &[("mode", "0755"), ("size", "65536")])?,
            dev,
        )?;
        for (name, tree) in DEVICES.iter().zip(trees) {
            let tree = match tree {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // Their whole point is that they are devices.
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            set_attributes(tree.as_fd(), attributes, Depth::All)?;
            self.place(&tree, &dev.join(name))?;
        }
        for (path, target) in DEVICE_LINKS {
            self.link(Path::new(path), Path::new(target))?;
        }
        let pts = fresh("devpts", &[("mode", "0620"), ("ptmxmode", "0666")])?;
        self.place(&pts, &dev.join("pts"))
    }

    /// Puts a detached tree at `path`, which is made if it is not there.
    fn place(&self, tree: &OwnedFd, path: &Path) -> io::Result<()> {
        let at = match is_directory(tree)? {
            true => self.directory(path, 0o755)?,
            false => self.file_place(path)?,
        };
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &at, "", flags)
            .map_err(|error| failed("mounting", path, error))
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        let at = self.open(path)?;
        set_attributes(at.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, Depth::One)
            .map_err(|error| failed("sealing", path, error))
    }

    fn file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o444))
            .map_err(|error| failed("making", path, error))?;
        io::Write::write_all(&mut std::fs::File::from(fd), content)
    }

    fn file_place(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.file(path, b"")?;
                self.open(path)
            }
            other => other,
        }
    }

    fn link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, &parent, &name).map_err(|error| failed("making", path, error))
    }

    fn parent(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let (parent, name) = path
            .parent()
            .zip(path.file_name())
            .ok_or_else(|| failed("making", path, Errno::INVAL))?;
        Ok((self.directory(parent, 0o755)?, name.into()))
    }

    /// Opens a directory, making what is missing of it.
    fn directory(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        let mut at = self.open(Path::new("/"))?;
        let mut so_far = PathBuf::from("/");
        for part in path.components() {
            let name = match part {
                Component::RootDir => continue,
                Component::Normal(name) => name,
                _ => return Err(failed("making", path, Errno::INVAL)),
            };
            so_far.push(name);
            at = match self.open(&so_far) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let mode = if so_far == path { mode } else { 0o755 };
                    rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(mode))
                        .map_err(|error| failed("making", &so_far, error))?;
                    self.open(&so_far)?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    /// Opens what stands at `path` of the inside. No link is followed: those that are there were made by us, for the
    /// command, or by somebody in a workspace, for us.
    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = match below.as_os_str().is_empty() {
            true => Path::new("."),
            false => below,
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.fd, below, flags, Mode::empty(), how)
            .map_err(|error| failed("opening inside", path, error))
    }

    fn step_into(self) -> io::Result<()> {
        let failed = |error| failed("stepping into", Path::new("/"), error);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let old = rustix::fs::open("/", flags, Mode::empty()).map_err(failed)?;
        rustix::process::fchdir(&self.fd).map_err(failed)?;
        // The old root comes to stand upon the new one, from where it is taken away.
        rustix::process::pivot_root(".", ".").map_err(failed)?;
        rustix::process::fchdir(&old).map_err(failed)?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed)?;
        rustix::process::chdir("/").map_err(failed)
    }
}

/// A new file system, mounted nowhere yet. Nothing in it acts for its owner or is a device.
fn fresh(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let make = || -> Result<OwnedFd, Errno> {
        let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(&fs, *key, *value)?;
        }
        rustix::mount::fsconfig_create(&fs)?;
        let no_exec = match kind {
            "tmpfs" => MountAttrFlags::empty(),
            _ => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        };
        // Terminals are devices.
        let no_devices = match kind {
            "devpts" => MountAttrFlags::empty(),
            _ => MountAttrFlags::MOUNT_ATTR_NODEV,
        };
        let attributes = no_exec | no_devices | MountAttrFlags::MOUNT_ATTR_NOSUID;
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(|error| failed("making a file system of kind", Path::new(kind), error))
}

fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    let mode = rustix::fs::fstat(fd)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory)
}

/// Which mounts are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

/// Adds attributes to mounts.
fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    depth: Depth,
) -> Result<(), Errno> {
    let wanted = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let deep = match depth {
        Depth::One => 0,
        Depth::All => libc::AT_RECURSIVE,
    };
    // SAFETY: the path is a constant, the structure is read only during the call and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | deep,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn failed(what: &str, path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(
        error.kind(),
        format!("{what} {} failed: {error}", path.display()),
    )
}
