//! What can be done at the end of a walk: reading, writing, listing, removing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use adjutant_ports::files::{
    FileContent, FileEntry, FileError, FileKind, FileStat, Files, Listing, WalkLimits, WriteEffect,
    WriteMode, Written,
};

use super::beneath::{
    Links, Missing, Roots, Spot, Walk, from_errno, from_io, lossy, open_dir, refuse_kernel_files,
};

/// Most names read from one directory before it is cut: a listing is sorted, so it must be held.
const NAMES_PER_DIRECTORY_MAX: usize = 100_000;

/// Most levels a walk descends, whatever the caller asks for: each level holds a descriptor.
const DEPTH_MAX: usize = 64;

/// Links are followed beneath the roots.
const TO_READ: Walk = Walk {
    on_the_way: Links::Follow,
    at_the_end: Links::Follow,
    missing: Missing::Refuse,
};
/// The last part is described as it is.
const TO_DESCRIBE: Walk = Walk {
    at_the_end: Links::Keep,
    ..TO_READ
};
/// No link is trusted with a write.
const TO_WRITE: Walk = Walk {
    on_the_way: Links::Refuse,
    at_the_end: Links::Refuse,
    missing: Missing::Make,
};
/// A link itself may be removed.
const TO_REMOVE: Walk = Walk {
    on_the_way: Links::Refuse,
    at_the_end: Links::Keep,
    missing: Missing::Refuse,
};

impl Files for Roots {
    fn read(&self, path: &str, bytes_max: u64) -> Result<FileContent, FileError> {
        let spot = self.resolve(path, TO_READ)?;
        let name = regular(&spot, path)?;
        // The thing may change between look and open: do not block on a pipe, do not follow a link.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&spot.dir, name, flags, Mode::empty())
            .map_err(|it| from_errno(it, path))?;
        let stat = rustix::fs::fstat(&fd).map_err(|it| from_errno(it, path))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(FileError::Special {
                path: path.to_owned(),
            });
        }
        refuse_kernel_files(fd.as_fd(), path)?;
        self.check(&spot.real, Some(&stat), path)?;
        let mut bytes = Vec::new();
        File::from(fd)
            .take(bytes_max)
            .read_to_end(&mut bytes)
            .map_err(|error| from_io(error, path))?;
        let total_bytes = u64::try_from(stat.st_size)
            .unwrap_or(0)
            .max(bytes.len() as u64);
        Ok(FileContent {
            bytes: Bytes::from(bytes),
            total_bytes,
        })
    }

    fn write(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<Written, FileError> {
        // With `Replace` the file has to be there, so no directory is made on the way to find that out.
        let missing = if mode == WriteMode::Replace {
            Missing::Refuse
        } else {
            Missing::Make
        };
        let spot = self.resolve(
            path,
            Walk {
                missing,
                ..TO_WRITE
            },
        )?;
        let Some(name) = &spot.name else {
            return Err(FileError::IsDirectory {
                path: path.to_owned(),
            });
        };
        let effect = match (&spot.stat, mode) {
            (Some(_), WriteMode::Replace | WriteMode::CreateOrReplace) => {
                writable(&spot, path)?;
                WriteEffect::Replaced
            }
            (Some(_), WriteMode::CreateNew) => {
                return Err(FileError::Exists {
                    path: path.to_owned(),
                });
            }
            (None, WriteMode::Replace) => {
                return Err(FileError::NotFound {
                    path: path.to_owned(),
                });
            }
            (None, WriteMode::CreateNew | WriteMode::CreateOrReplace) => WriteEffect::Created,
        };
        replace(&spot, name, bytes, mode, path)?;
        Ok(Written {
            path: spot.real.clone(),
            bytes: bytes.len() as u64,
            effect,
        })
    }

    fn list(&self, path: &str, entries_max: usize) -> Result<Listing, FileError> {
        let limits = WalkLimits {
            entries_max,
            depth_max: 1,
            skip_dirs: Vec::new(),
        };
        self.walk(path, &limits)
    }

    fn walk(&self, path: &str, limits: &WalkLimits) -> Result<Listing, FileError> {
        let spot = self.resolve(path, TO_READ)?;
        let dir = directory(&spot, path)?;
        let mut listing = Listing {
            entries: Vec::new(),
            truncated: false,
        };
        let start = Place {
            dir,
            real: spot.real,
            below: String::new(),
            depth: 1,
        };
        self.collect(&start, limits, path, &mut listing)?;
        Ok(listing)
    }

    fn stat(&self, path: &str) -> Result<FileStat, FileError> {
        let spot = self.resolve(path, TO_DESCRIBE)?;
        spot.stat
            .as_ref()
            .map(describe)
            .ok_or_else(|| FileError::NotFound {
                path: path.to_owned(),
            })
    }

    fn remove(&self, path: &str) -> Result<(), FileError> {
        let spot = self.resolve(path, TO_REMOVE)?;
        let Some(name) = &spot.name else {
            return Err(FileError::Denied {
                path: path.to_owned(),
            });
        };
        let Some(stat) = &spot.stat else {
            return Err(FileError::NotFound {
                path: path.to_owned(),
            });
        };
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        rustix::fs::unlinkat(&spot.dir, name, flags).map_err(|it| from_errno(it, path))?;
        rustix::fs::fsync(&spot.dir).map_err(|it| from_errno(it, path))
    }

    fn display_root(&self) -> PathBuf {
        self.workspace().to_path_buf()
    }
}

/// The last name of a spot where a regular file stands.
fn regular<'a>(spot: &'a Spot, path: &str) -> Result<&'a OsStr, FileError> {
    let path = path.to_owned();
    let Some(stat) = &spot.stat else {
        return Err(FileError::NotFound { path });
    };
    match (&spot.name, FileType::from_raw_mode(stat.st_mode)) {
        (Some(name), FileType::RegularFile) => Ok(name),
        (None, _) | (_, FileType::Directory) => Err(FileError::IsDirectory { path }),
        (_, FileType::Symlink) => Err(FileError::Link { path }),
        _ => Err(FileError::Special { path }),
    }
}

fn writable(spot: &Spot, path: &str) -> Result<(), FileError> {
    regular(spot, path)?;
    match spot.stat.as_ref().is_some_and(|it| 1 < it.st_nlink) {
        true => Err(FileError::HardLinked {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

fn directory(spot: &Spot, path: &str) -> Result<OwnedFd, FileError> {
    if spot.stat.is_none() {
        return Err(FileError::NotFound {
            path: path.to_owned(),
        });
    }
    match &spot.name {
        None => spot.dir.try_clone().map_err(|error| from_io(error, path)),
        Some(name) => open_dir(spot.dir.as_fd(), name, path),
    }
}

/// Puts new content in place of a name: temporary file, flush, rename, flush of the directory (R22).
fn replace(
    spot: &Spot,
    name: &OsStr,
    bytes: &[u8],
    mode: WriteMode,
    path: &str,
) -> Result<(), FileError> {
    let temporary = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&spot.dir, &temporary, flags, Mode::from_raw_mode(0o666));
    let fd = fd.map_err(|it| from_errno(it, path))?;
    let result = fill(fd, spot.stat.as_ref(), bytes, path).and_then(|()| {
        let renamed = match mode {
            WriteMode::CreateNew => rename_new(spot, &temporary, name),
            WriteMode::Replace | WriteMode::CreateOrReplace => {
                rustix::fs::renameat(&spot.dir, &temporary, &spot.dir, name)
            }
        };
        renamed
            .and_then(|()| rustix::fs::fsync(&spot.dir))
            .map_err(|it| from_errno(it, path))
    });
    if result.is_err() {
        // Nothing to say if it is not there any more: then the rename happened and only the flush failed.
        rustix::fs::unlinkat(&spot.dir, &temporary, AtFlags::empty()).ok();
    }
    result
}

/// Renames without replacing. Systems or disks that cannot do that in one step get a link and an unlink, which fails
/// as well if the name is taken.
fn rename_new(spot: &Spot, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&spot.dir, from, &spot.dir, to, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other,
        }
    }
    rustix::fs::linkat(&spot.dir, from, &spot.dir, to, AtFlags::empty())?;
    rustix::fs::unlinkat(&spot.dir, from, AtFlags::empty())
}

fn fill(fd: OwnedFd, old: Option<&Stat>, bytes: &[u8], path: &str) -> Result<(), FileError> {
    if let Some(old) = old {
        // A gateway that runs as root would otherwise take the file from its owner. Nobody else may give files away, and
        // for them the owner is the same already.
        let (owner, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        rustix::fs::fchown(&fd, Some(owner), Some(group)).ok();
        // Permission bits only: nothing that makes the file act for its owner.
        let mode = Mode::from_raw_mode(old.st_mode & 0o777);
        rustix::fs::fchmod(&fd, mode).map_err(|it| from_errno(it, path))?;
    }
    let mut file = File::from(fd);
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| from_io(error, path))
}

fn temporary_name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |it| it.subsec_nanos());
    format!(".adjutant-{}-{nanos:08x}-{n}.tmp", std::process::id()).into()
}

fn describe(stat: &Stat) -> FileStat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Special,
    };
    let bytes = if kind == FileKind::File {
        u64::try_from(stat.st_size).unwrap_or(0)
    } else {
        0
    };
    // The widths of both fields differ between systems; nanoseconds are below 10^9 everywhere.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation)]
    let modified_ms = (stat.st_mtime as i64)
        .saturating_mul(1000)
        .saturating_add(stat.st_mtime_nsec as i64 / 1_000_000);
    FileStat {
        kind,
        bytes,
        modified_ms,
    }
}

/// A directory that is being listed.
struct Place {
    dir: OwnedFd,
    real: PathBuf,
    /// Its path below the start, with a final `/` unless empty.
    below: String,
    depth: usize,
}

impl Roots {
    fn collect(
        &self,
        place: &Place,
        limits: &WalkLimits,
        path: &str,
        into: &mut Listing,
    ) -> Result<(), FileError> {
        let (names, was_cut) = names(place, path)?;
        into.truncated |= was_cut;
        for name in names {
            let Ok(stat) = rustix::fs::statat(&place.dir, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let real = place.real.join(&name);
            if self.check(&real, Some(&stat), path).is_err() {
                continue;
            }
            if limits.entries_max <= into.entries.len() {
                into.truncated = true;
                return Ok(());
            }
            let entry = FileEntry {
                path: format!("{}{}", place.below, lossy(&name)),
                stat: describe(&stat),
            };
            let below = format!("{}/", entry.path);
            let is_directory = entry.stat.kind == FileKind::Directory;
            into.entries.push(entry);
            let is_skipped = limits.skip_dirs.iter().any(|it| OsStr::new(it) == name);
            if !is_directory || is_skipped || limits.depth_max <= place.depth {
                continue;
            }
            if DEPTH_MAX <= place.depth {
                into.truncated = true;
                continue;
            }
            let Some(dir) = self.open_below(place, &name, &real, path) else {
                continue;
            };
            let inner = Place {
                dir,
                real,
                below,
                depth: place.depth + 1,
            };
            // One directory that cannot be read does not end the walk.
            self.collect(&inner, limits, path, into).ok();
        }
        Ok(())
    }

    fn open_below(
        &self,
        place: &Place,
        name: &OsStr,
        real: &std::path::Path,
        path: &str,
    ) -> Option<OwnedFd> {
        let dir = open_dir(place.dir.as_fd(), name, path).ok()?;
        let stat = rustix::fs::fstat(&dir).ok()?;
        self.check(real, Some(&stat), path).ok().map(|()| dir)
    }
}

/// The names in a directory in byte order, and whether there were too many.
fn names(place: &Place, path: &str) -> Result<(Vec<OsString>, bool), FileError> {
    let mut names = Vec::new();
    let mut was_cut = false;
    for entry in Dir::read_from(&place.dir).map_err(|it| from_errno(it, path))? {
        let entry = entry.map_err(|it| from_errno(it, path))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if NAMES_PER_DIRECTORY_MAX <= names.len() {
            was_cut = true;
            break;
        }
        names.push(OsStr::from_bytes(name).to_owned());
    }
    names.sort();
    Ok((names, was_cut))
}
