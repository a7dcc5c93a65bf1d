//! Owners, limits and the disk are not found out on Windows yet: each check says so.

use std::fs::Metadata;
use std::path::Path;

use super::Findings;

const NOT_YET: &str = "not looked at on this system yet";

/// Whose the state directory is.
pub(super) fn owner(_home: &Path, _metadata: &Metadata, found: &mut Findings) {
    found.skipped("state.owner", NOT_YET);
}

/// Room, and what kind of disk it is.
pub(super) fn disk(_home: &Path, found: &mut Findings) {
    for id in ["disk.space", "disk.files", "disk.writable", "disk.kind"] {
        found.skipped(id, NOT_YET);
    }
}

/// Whether the socket file of the one that holds the state directory lets others in.
pub(super) fn socket(_socket: &Path, found: &mut Findings) {
    found.skipped(
        "socket.permissions",
        "there is no socket file on this system",
    );
}

/// What the system lets this process have.
pub(super) fn limits(found: &mut Findings) {
    for id in [
        "limits.files",
        "limits.memory",
        "limits.processes",
        "limits.file_size",
        "limits.core_dumps",
    ] {
        found.skipped(id, NOT_YET);
    }
}

/// Whose rights it has.
pub(super) fn user(found: &mut Findings) {
    for id in ["user.root", "user.setuid"] {
        found.skipped(id, NOT_YET);
    }
}
