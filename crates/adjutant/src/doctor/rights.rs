//! Owners, limits and the disk, as a Unix system tells them.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::state::mode;
use super::{Findings, MEMORY_BYTES_LOW, size};

/// Free space below which nothing can be kept, and below which it is worth a look.
const FREE_BYTES_MIN: u64 = 64 << 20;
const FREE_BYTES_LOW: u64 = 1 << 30;
/// Files that may still be made, below which it is worth a look.
const FREE_FILES_LOW: u64 = 10_000;
/// Open files below which many connections cannot be held.
const OPEN_FILES_MIN: u64 = 1_024;

/// Whose the state directory is.
pub(super) fn owner(home: &Path, metadata: &Metadata, found: &mut Findings) {
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() == me {
        found.ok("state.owner", "it belongs to this user");
    } else {
        let said = format!("it belongs to user {}, this is user {me}", metadata.uid());
        found.error(
            "state.owner",
            said,
            format!("sudo chown -R {me} {}", home.display()),
        );
    }
}

/// Room, and what kind of disk it is.
pub(super) fn disk(home: &Path, found: &mut Findings) {
    match rustix::fs::statvfs(home) {
        Ok(it) => {
            let free = it.f_bavail.saturating_mul(it.f_frsize);
            let fix = "make room, or move the state directory and set `ADJUTANT_HOME`";
            let said = format!("{} free", size(free));
            match free {
                _ if free < FREE_BYTES_MIN => found.error("disk.space", said, fix),
                _ if free < FREE_BYTES_LOW => found.warning("disk.space", said, fix),
                _ => found.ok("disk.space", said),
            }
            // Some file systems make room for files as they come, and say 0.
            let counted = it.f_files != 0;
            let few = counted && it.f_favail < FREE_FILES_LOW;
            let said = format!("room for {} more files", it.f_favail);
            found.expect(
                "disk.files",
                !few,
                if counted {
                    said.clone()
                } else {
                    "no fixed number of files".to_owned()
                },
                said,
                fix,
            );
            let read_only = it.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            if read_only {
                found.error(
                    "disk.writable",
                    "the file system is mounted read-only",
                    "mount it read-write",
                );
            } else {
                found.ok("disk.writable", "the file system is mounted read-write");
            }
        }
        Err(error) => found.error(
            "disk.space",
            format!("cannot be found out: {error}"),
            "check the disk",
        ),
    }
    filesystem(home, found);
}

#[cfg(target_os = "linux")]
fn filesystem(home: &Path, found: &mut Findings) {
    // Magic numbers from linux/magic.h and fs/smb/client.
    const NETWORK: [(i64, &str); 8] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x517b, "SMB"),
        (0x0102_1997, "9P"),
        (0x5346_414f, "AFS"),
        (0x00c3_6400, "Ceph"),
        (0x6573_5546, "FUSE"),
    ];
    let Ok(it) = rustix::fs::statfs(home) else {
        return found.skipped("disk.kind", "the kind of file system cannot be found out");
    };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the field's type depends on the processor"
    )]
    let magic = (it.f_type as i64) & 0xffff_ffff;
    match NETWORK.iter().find(|(number, _)| *number == magic) {
        Some((_, name)) => found.warning(
            "disk.kind",
            format!("the state directory lies on {name}; locks and flushes may not hold there"),
            "put it on a local disk and set `ADJUTANT_HOME`",
        ),
        None => found.ok("disk.kind", "a local file system"),
    }
}

#[cfg(not(target_os = "linux"))]
fn filesystem(_home: &Path, found: &mut Findings) {
    found.skipped(
        "disk.kind",
        "the kind of file system is not looked at on this system",
    );
}

/// Whether the socket file of the one that holds the state directory lets others in.
pub(super) fn socket(socket: &Path, found: &mut Findings) {
    match fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => mode(found, "socket.permissions", socket, &metadata, 0o600),
        Ok(_) => found.error("socket.permissions", format!("{} is no socket", socket.display()), "adjutant gateway restart"),
        Err(_) => found.warning(
            "socket.permissions",
            "the one that holds the state directory has no socket: a command that carries its own gateway, or one that starts",
            "wait for it, or `adjutant gateway restart`",
        ),
    }
}

/// What the system lets this process have.
pub(super) fn limits(found: &mut Findings) {
    let files = getrlimit(Resource::Nofile);
    let (now, most) = (
        files.current.unwrap_or(u64::MAX),
        files.maximum.unwrap_or(u64::MAX),
    );
    found.expect(
        "limits.files",
        OPEN_FILES_MIN <= now,
        format!("{now} open files (at most {most})"),
        format!("{now} open files are few"),
        format!("ulimit -n {}", OPEN_FILES_MIN.max(4_096).min(most)),
    );
    let memory = getrlimit(Resource::As).current;
    match memory {
        Some(bytes) => found.expect(
            "limits.memory",
            MEMORY_BYTES_LOW <= bytes,
            format!("address space of {}", size(bytes)),
            format!("address space of only {}", size(bytes)),
            "ulimit -v unlimited",
        ),
        None => found.ok("limits.memory", "address space without limit"),
    }
    let processes = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
    found.expect(
        "limits.processes",
        256 <= processes,
        if processes == u64::MAX {
            "no limit".to_owned()
        } else {
            format!("{processes} processes")
        },
        format!("only {processes} processes: sandboxed commands need some"),
        "ulimit -u 1024",
    );
    let size_limit = getrlimit(Resource::Fsize).current;
    match size_limit {
        Some(bytes) => found.expect(
            "limits.file_size",
            (1 << 30) <= bytes,
            format!("files of {}", size(bytes)),
            format!("files of at most {}: the store may reach that", size(bytes)),
            "ulimit -f unlimited",
        ),
        None => found.ok("limits.file_size", "no limit"),
    }
    let cores = getrlimit(Resource::Core).current;
    found.expect(
        "limits.core_dumps",
        cores == Some(0),
        "off",
        "a crash would write the memory, keys included, to the disk",
        "ulimit -c 0",
    );
}

/// Whose rights it has.
pub(super) fn user(found: &mut Findings) {
    let root = rustix::process::geteuid().is_root();
    found.expect(
        "user.root",
        !root,
        "an ordinary user",
        "this runs as root; a mistake would reach everything",
        "make a user for it",
    );
    let same = rustix::process::geteuid() == rustix::process::getuid();
    found.expect(
        "user.setuid",
        same,
        "no borrowed rights",
        "this program runs with the rights of another user (setuid)",
        "remove the setuid bit of the program",
    );
}
