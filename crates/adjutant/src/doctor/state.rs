//! The state directory: whose it is, where it lies, what guards it, what a dead process left in it.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use adjutant_cli::Severity;
use adjutant_vault::{Token, TokenError};

use super::{Findings, Mend, Subject, size};
use crate::daemon::{Life, PidFile, life, sweep};
use crate::setup::TOKEN_FILE;

/// Free space below which nothing can be kept, and below which it is worth a look.
const FREE_BYTES_MIN: u64 = 64 << 20;
const FREE_BYTES_LOW: u64 = 1 << 30;
/// Files that may still be made, below which it is worth a look.
const FREE_FILES_LOW: u64 = 10_000;

/// Whether there is a state directory to look further into.
pub(super) fn look(subject: &Subject, found: &mut Findings) -> bool {
    let home = &subject.place.home;
    if !state_dir(home, found) {
        return false;
    }
    private(found, "state.private_files", &private_files(subject));
    disk(home, found);
    token(subject, found);
    leftovers(subject, found);
    true
}

/// Whether there is a state directory to look into.
fn state_dir(home: &Path, found: &mut Findings) -> bool {
    let here = home.display();
    let metadata = match fs::metadata(home) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            found.error(
                "state.directory",
                format!("{here} is not a directory"),
                "move the file away, then `adjutant setup`",
            );
            return false;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let make = Mend::new(format!("mkdir -m 700 {here}"), || {
                DirBuilder::new().recursive(true).mode(0o700).create(home)
            });
            found.fixable(
                "state.directory",
                Severity::Error,
                format!("{here} does not exist"),
                make,
            );
            return home.is_dir();
        }
        Err(error) => {
            found.error(
                "state.directory",
                format!("{here}: {error}"),
                "check the permissions of the folders above",
            );
            return false;
        }
    };
    found.ok("state.directory", format!("{here}"));
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() == me {
        found.ok("state.owner", "it belongs to this user");
    } else {
        let said = format!("it belongs to user {}, this is user {me}", metadata.uid());
        found.error("state.owner", said, format!("sudo chown -R {me} {here}"));
    }
    mode(found, "state.permissions", home, &metadata, 0o700);
    match fs::read_dir(home) {
        Ok(_) => found.ok("state.readable", "its files can be listed"),
        Err(error) => found.error(
            "state.readable",
            format!("its files cannot be listed: {error}"),
            format!("chmod 700 {here}"),
        ),
    }
    true
}

/// Others may have no right beyond `allowed`.
pub(super) fn mode(found: &mut Findings, id: &str, path: &Path, metadata: &Metadata, allowed: u32) {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !allowed == 0 {
        found.ok(id, format!("only its owner has access (mode {mode:o})"));
    } else {
        let how = format!("chmod {allowed:o} {}", path.display());
        let mend = Mend::new(how, || {
            fs::set_permissions(path, Permissions::from_mode(allowed))
        });
        found.fixable(
            id,
            Severity::Error,
            format!("{} can be used by others (mode {mode:o})", path.display()),
            mend,
        );
    }
}

/// Files with something in them that others must not read; those that exist.
fn private_files(subject: &Subject) -> Vec<PathBuf> {
    let home = &subject.place.home;
    let names = [
        adjutant_store::FILE_NAME,
        "adjutant.db-wal",
        "adjutant.db-shm",
        "lock",
        "environment",
    ];
    let mut all: Vec<PathBuf> = names.iter().map(|name| home.join(name)).collect();
    all.push(PidFile::path(home));
    all.retain(|path| path.exists());
    all
}

fn private(found: &mut Findings, id: &str, paths: &[PathBuf]) {
    let open: Vec<&PathBuf> = paths
        .iter()
        .filter(|path| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o077 != 0))
        .collect();
    if open.is_empty() {
        return found.ok(
            id,
            format!("{} files, all readable by the owner only", paths.len()),
        );
    }
    let names: Vec<String> = open.iter().map(|it| it.display().to_string()).collect();
    let mend = Mend::new(format!("chmod 600 {}", names.join(" ")), || {
        open.iter()
            .try_for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o600)))
    });
    found.fixable(
        id,
        Severity::Error,
        format!("others can read {}", names.join(", ")),
        mend,
    );
}

fn disk(home: &Path, found: &mut Findings) {
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

fn token(subject: &Subject, found: &mut Findings) {
    let path = subject.place.home.join(TOKEN_FILE);
    if let Some(text) = subject
        .env
        .get("ADJUTANT_GATEWAY_TOKEN")
        .filter(|it| !it.is_empty())
    {
        match Token::parse(text) {
            Ok(_) => found.ok(
                "token.strength",
                "the one in `ADJUTANT_GATEWAY_TOKEN` is strong",
            ),
            Err(error) => found.error(
                "token.strength",
                error.to_string(),
                "unset ADJUTANT_GATEWAY_TOKEN",
            ),
        }
    }
    match fs::metadata(&path) {
        Err(_) if subject.env.contains_key("ADJUTANT_GATEWAY_TOKEN") => {
            found.skipped("token.file", "the variable is used instead");
        }
        Err(error) => found.error(
            "token.file",
            format!("{}: {error}", path.display()),
            "adjutant setup",
        ),
        Ok(metadata) => {
            found.ok("token.file", path.display().to_string());
            mode(found, "token.permissions", &path, &metadata, 0o600);
            match Token::load(&path) {
                Ok(_) => found.ok("token.content", "long and random enough"),
                Err(TokenError::Exposed { .. }) => {
                    found.skipped("token.content", "not looked at while others can read it");
                }
                Err(error) => {
                    found.error(
                        "token.content",
                        error.to_string(),
                        format!("rm {} && adjutant setup", path.display()),
                    );
                }
            }
        }
    }
}

/// What a process that died may have left.
fn leftovers(subject: &Subject, found: &mut Findings) {
    let place = &subject.place;
    match life(&place.home) {
        Life::Up { pid, .. } => {
            let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            found.ok("lock.owner", format!("{who} holds the state directory"));
            socket_mode(&place.socket, found);
        }
        Life::Down => {
            found.ok("lock.owner", "nobody holds the state directory");
            stale_socket(&place.socket, found);
        }
        Life::Stale { said } => {
            let mend = Mend::new(
                format!("rm {}", PidFile::path(&place.home).display()),
                || {
                    sweep(place, &said);
                    Ok(())
                },
            );
            let message = format!("process {} is gone, but its files are there", said.pid);
            found.fixable("lock.owner", Severity::Warning, message, mend);
            stale_socket(&place.socket, found);
        }
    }
}

fn socket_mode(socket: &Path, found: &mut Findings) {
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

fn stale_socket(socket: &Path, found: &mut Findings) {
    if socket.exists() {
        let mend = Mend::new(format!("rm {}", socket.display()), || {
            fs::remove_file(socket)
        });
        found.fixable(
            "socket.stale",
            Severity::Warning,
            format!("{} leads nowhere", socket.display()),
            mend,
        );
    } else {
        found.ok("socket.stale", "no socket of a dead process");
    }
}
