//! The walk: from a text to a directory descriptor and one last name.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use adjutant_ports::files::FileError;

/// Longest path, in bytes. Source: `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4096;

/// Most links followed in one path. Source: the limit of Linux, path_resolution(7).
const LINKS_MAX: usize = 40;

/// How a directory is opened: never through a link, never inherited.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The same thing on the same disk, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    // The widths differ between systems.
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_lossless
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}

#[derive(Debug)]
struct Root {
    given: PathBuf,
    real: PathBuf,
    fd: OwnedFd,
}

#[derive(Debug)]
struct Denied {
    real: PathBuf,
    identity: Option<Identity>,
}

/// The directories one scope may touch, opened. The first one is the workspace.
///
/// A protected path that contains a granted directory does not cover that directory (a workspace may lie in the state
/// directory); one that lies inside a granted directory always does. A further allowed directory inside a protected
/// one is refused.
#[derive(Debug)]
pub struct Roots {
    roots: Vec<Root>,
    denied: Vec<Denied>,
}

/// What a walk does with a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Walks on to its target, which must lie beneath a root as well.
    Follow,
    /// Ends at the link itself.
    Keep,
    /// Refuses.
    Refuse,
}

/// What a walk does with a missing directory on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    Make,
}

/// How a path is walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) on_the_way: Links,
    pub(super) at_the_end: Links,
    pub(super) missing: Missing,
}

/// Where a walk ended: a directory, the name in it, and what stands there now.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    /// `None` when the path names the directory itself (`.`, `..`, a root).
    pub(super) name: Option<OsString>,
    /// `None` when nothing stands there.
    pub(super) stat: Option<Stat>,
    /// The full path, links resolved, for people.
    pub(super) real: PathBuf,
}

impl Roots {
    /// Opens the workspace and the further directories.
    ///
    /// # Errors
    /// [`FileError`] if one cannot be opened, is protected, or belongs to the kernel.
    pub fn new(
        workspace: &Path,
        allowed: &[PathBuf],
        denied: &[PathBuf],
    ) -> Result<Self, FileError> {
        let denied: Vec<Denied> = denied.iter().map(|it| Denied::new(it)).collect();
        let mut roots = Vec::with_capacity(1 + allowed.len());
        for (index, dir) in std::iter::once(workspace)
            .chain(allowed.iter().map(PathBuf::as_path))
            .enumerate()
        {
            let root = Root::open(dir)?;
            let is_protected = |it: &Denied| {
                it.real == root.real || (0 < index && root.real.starts_with(&it.real))
            };
            if denied.iter().any(is_protected) {
                return Err(FileError::Denied {
                    path: dir.display().to_string(),
                });
            }
            roots.push(root);
        }
        Ok(Self { roots, denied })
    }

    pub(super) fn workspace(&self) -> &Path {
        // `new` puts the workspace first.
        self.roots.first().map_or(Path::new("/"), |it| &it.real)
    }

    /// Walks `text` to its end.
    pub(super) fn resolve(&self, text: &str, walk: Walk) -> Result<Spot, FileError> {
        if text.contains('\0') || PATH_BYTES_MAX < text.len() {
            return Err(FileError::BadPath {
                reason: "it is too long or contains a zero byte".to_owned(),
            });
        }
        Walker::start(self, text)?.run(walk)
    }

    fn find(&self, path: &Path) -> Option<(&Root, PathBuf)> {
        let below = |root: &Root| {
            let rest = path
                .strip_prefix(&root.real)
                .or_else(|_| path.strip_prefix(&root.given))
                .ok()?;
            Some(rest.to_path_buf())
        };
        let all = self
            .roots
            .iter()
            .filter_map(|root| below(root).map(|rest| (root, rest)));
        all.min_by_key(|(_, rest)| rest.components().count())
    }

    /// Refuses a thing that is protected, by its name or by what it is.
    pub(super) fn check(
        &self,
        real: &Path,
        stat: Option<&Stat>,
        text: &str,
    ) -> Result<(), FileError> {
        let identity = stat.map(Identity::of);
        let covers = |denied: &Denied| {
            let by_name =
                real.starts_with(&denied.real) && !self.is_granted_inside(&denied.real, real);
            by_name || (identity.is_some() && denied.identity == identity)
        };
        match self.denied.iter().any(covers) {
            true => Err(FileError::Denied {
                path: text.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Whether a granted directory inside `denied` contains `path`.
    fn is_granted_inside(&self, denied: &Path, path: &Path) -> bool {
        self.roots
            .iter()
            .any(|it| it.real.starts_with(denied) && path.starts_with(&it.real))
    }
}

impl Root {
    fn open(dir: &Path) -> Result<Self, FileError> {
        let text = dir.display().to_string();
        if !dir.is_absolute() {
            return Err(FileError::BadPath {
                reason: format!("`{text}` is not absolute"),
            });
        }
        let real = dir.canonicalize().map_err(|error| from_io(error, &text))?;
        let fd = rustix::fs::open(&real, DIRECTORY, Mode::empty())
            .map_err(|errno| from_errno(errno, &text))?;
        refuse_kernel_files(fd.as_fd(), &text)?;
        Ok(Self {
            given: dir.to_path_buf(),
            real,
            fd,
        })
    }
}

impl Denied {
    fn new(path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let identity = rustix::fs::stat(&real).ok().map(|it| Identity::of(&it));
        Self { real, identity }
    }
}

/// One walk in progress.
struct Walker<'a> {
    roots: &'a Roots,
    text: &'a str,
    root: &'a Root,
    /// Directories entered below the root, with the names they were entered by.
    entered: Vec<(OwnedFd, OsString)>,
    ahead: VecDeque<OsString>,
    links: usize,
}

impl<'a> Walker<'a> {
    fn start(roots: &'a Roots, text: &'a str) -> Result<Self, FileError> {
        let path = Path::new(text);
        let outside = || FileError::Outside {
            path: text.to_owned(),
        };
        let (root, rest) = if path.is_absolute() {
            roots.find(path).ok_or_else(outside)?
        } else {
            (roots.roots.first().ok_or_else(outside)?, path.to_path_buf())
        };
        Ok(Self {
            roots,
            text,
            root,
            entered: Vec::new(),
            ahead: names(&rest),
            links: 0,
        })
    }

    fn run(mut self, walk: Walk) -> Result<Spot, FileError> {
        while let Some(name) = self.ahead.pop_front() {
            if name == ".." {
                // Our own stack knows the way back; asking the kernel for `..` could lead elsewhere.
                self.entered.pop().ok_or_else(|| self.outside())?;
                continue;
            }
            let real = self.here().join(&name);
            let is_last = self.ahead.is_empty();
            let stat = self.stat(&name, is_last, walk.missing)?;
            self.roots.check(&real, stat.as_ref(), self.text)?;
            let kind = stat.as_ref().map(|it| FileType::from_raw_mode(it.st_mode));
            let links = if is_last {
                walk.at_the_end
            } else {
                walk.on_the_way
            };
            match kind {
                Some(FileType::Symlink) if links == Links::Follow => self.follow(&name)?,
                Some(FileType::Symlink) if links == Links::Refuse || !is_last => {
                    return Err(FileError::Link {
                        path: self.text.to_owned(),
                    });
                }
                _ if is_last => {
                    let dir = self
                        .dir()
                        .try_clone_to_owned()
                        .map_err(|error| from_io(error, self.text))?;
                    return Ok(Spot {
                        dir,
                        name: Some(name),
                        stat,
                        real,
                    });
                }
                Some(FileType::Directory) => self.enter(name, &real)?,
                Some(_) | None => {
                    return Err(FileError::NotDirectory {
                        path: self.text.to_owned(),
                    });
                }
            }
        }
        let dir = self
            .dir()
            .try_clone_to_owned()
            .map_err(|error| from_io(error, self.text))?;
        let stat = rustix::fs::fstat(&dir).map_err(|errno| from_errno(errno, self.text))?;
        Ok(Spot {
            dir,
            name: None,
            stat: Some(stat),
            real: self.here(),
        })
    }

    fn dir(&self) -> BorrowedFd<'_> {
        self.entered
            .last()
            .map_or(self.root.fd.as_fd(), |(fd, _)| fd.as_fd())
    }

    fn here(&self) -> PathBuf {
        let mut path = self.root.real.clone();
        path.extend(self.entered.iter().map(|(_, name)| name));
        path
    }

    fn outside(&self) -> FileError {
        FileError::Outside {
            path: self.text.to_owned(),
        }
    }

    /// What stands at `name`; makes a missing directory where the walk goes on and may do so.
    fn stat(
        &self,
        name: &OsStr,
        is_last: bool,
        missing: Missing,
    ) -> Result<Option<Stat>, FileError> {
        let look = || rustix::fs::statat(self.dir(), name, AtFlags::SYMLINK_NOFOLLOW);
        let result = match look() {
            Err(Errno::NOENT) if is_last => return Ok(None),
            Err(Errno::NOENT) if missing == Missing::Make => {
                self.roots.check(&self.here().join(name), None, self.text)?;
                match rustix::fs::mkdirat(self.dir(), name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => look(),
                    Err(errno) => Err(errno),
                }
            }
            other => other,
        };
        result
            .map(Some)
            .map_err(|errno| from_errno(errno, self.text))
    }

    fn enter(&mut self, name: OsString, real: &Path) -> Result<(), FileError> {
        let fd = open_dir(self.dir(), &name, self.text)?;
        // The name may have changed hands since it was looked at: judge what was really opened.
        let stat = rustix::fs::fstat(&fd).map_err(|errno| from_errno(errno, self.text))?;
        self.roots.check(real, Some(&stat), self.text)?;
        self.entered.push((fd, name));
        Ok(())
    }

    fn follow(&mut self, name: &OsStr) -> Result<(), FileError> {
        self.links += 1;
        if LINKS_MAX < self.links {
            return Err(FileError::Link {
                path: self.text.to_owned(),
            });
        }
        let target = rustix::fs::readlinkat(self.dir(), name, Vec::new());
        let target = target.map_err(|errno| from_errno(errno, self.text))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        let mut ahead = if target.is_absolute() {
            let (root, rest) = self.roots.find(&target).ok_or_else(|| self.outside())?;
            self.root = root;
            self.entered.clear();
            names(&rest)
        } else {
            names(&target)
        };
        ahead.append(&mut self.ahead);
        if PATH_BYTES_MAX < ahead.len() {
            return Err(FileError::Link {
                path: self.text.to_owned(),
            });
        }
        self.ahead = ahead;
        Ok(())
    }
}

/// The parts of a path below a root; `.` and empty parts are dropped, `..` is kept.
fn names(path: &Path) -> VecDeque<OsString> {
    let part = |it: Component<'_>| match it {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// Opens a directory by one name, never through a link, never one that the kernel makes up.
pub(super) fn open_dir(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    text: &str,
) -> Result<OwnedFd, FileError> {
    let fd = rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())
        .map_err(|errno| from_errno(errno, text))?;
    refuse_kernel_files(fd.as_fd(), text)?;
    Ok(fd)
}

/// Refuses file systems whose files are doors into the kernel.
#[cfg(target_os = "linux")]
pub(super) fn refuse_kernel_files(fd: BorrowedFd<'_>, text: &str) -> Result<(), FileError> {
    // bpf, cgroup, cgroup2, debugfs, devpts, efivarfs, proc, pstore, securityfs, selinux, sysfs, tracefs.
    // Source: include/uapi/linux/magic.h of Linux.
    const KERNEL: &[i64] = &[
        0xcafe_4a11,
        0x0027_e0eb,
        0x6367_7270,
        0x6462_6720,
        0x1cd1,
        0xde5e_81e4,
        0x9fa0,
        0x6165_676c,
        0x7363_6673,
        0xf97c_ff8c,
        0x6265_6572,
        0x7472_6163,
    ];
    let kind = rustix::fs::fstatfs(fd)
        .map_err(|errno| from_errno(errno, text))?
        .f_type;
    // The width of the field differs between architectures; the numbers are 32 bits.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let kind = (kind as i64) & 0xffff_ffff;
    match KERNEL.contains(&kind) {
        true => Err(FileError::Denied {
            path: text.to_owned(),
        }),
        false => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_kernel_files(_fd: BorrowedFd<'_>, _text: &str) -> Result<(), FileError> {
    Ok(())
}

pub(super) fn from_io(error: std::io::Error, text: &str) -> FileError {
    match Errno::from_io_error(&error) {
        Some(errno) => from_errno(errno, text),
        None => FileError::Io {
            path: text.to_owned(),
            source: error,
        },
    }
}

pub(super) fn from_errno(errno: Errno, text: &str) -> FileError {
    let path = text.to_owned();
    match errno {
        Errno::NOENT => FileError::NotFound { path },
        Errno::NOTDIR => FileError::NotDirectory { path },
        Errno::ISDIR => FileError::IsDirectory { path },
        Errno::LOOP => FileError::Link { path },
        Errno::EXIST => FileError::Exists { path },
        Errno::NOTEMPTY => FileError::NotEmpty { path },
        Errno::ACCESS | Errno::PERM | Errno::ROFS => FileError::Permission { path },
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => FileError::Full { path },
        Errno::NAMETOOLONG => FileError::BadPath {
            reason: format!("a part of `{path}` is too long"),
        },
        other => FileError::Io {
            path,
            source: other.into(),
        },
    }
}

/// The bytes of a name as text, for listings.
pub(super) fn lossy(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
