//! Permission bits, process groups, the kernel's names.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::system::uname;
use tokio::process::Command;

use super::Storage;

/// A file that is made with `options` is its owner's alone.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Makes folders that are their owner's alone.
pub(crate) fn folders_for_owner() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Whether anybody but the owner has a right.
pub(crate) fn others_may_use(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
}

/// Whether this process may read it.
pub(crate) fn may_read(path: &Path) -> bool {
    access(path, Access::READ_OK).is_ok()
}

/// Whether this process may execute it.
pub(crate) fn may_execute(path: &Path) -> bool {
    access(path, Access::EXEC_OK).is_ok()
}

/// The program and all it starts become one group.
pub(crate) fn in_a_group(command: &mut Command) {
    command.process_group(0);
}

/// Ends the whole group, also when the future is dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group of a program that was started by way of [`in_a_group`].
    pub(crate) fn led_by(process: Option<u32>) -> Self {
        Self(process.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Ends it.
    pub(crate) fn kill(&self) {
        if let Some(pid) = self.0
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            // Gone already is as good.
            tracing::trace!(%error, "the process group cannot be ended");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The signal that ended a program.
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// This machine's name.
pub(crate) fn host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// The kernel's release.
pub(crate) fn kernel() -> Option<String> {
    Some(uname().release().to_string_lossy().into_owned())
}

/// Room on the disk of the system; none if it cannot be found out.
pub(crate) fn storage() -> Option<Storage> {
    let it = statvfs("/").ok()?;
    Some(Storage {
        total_bytes: it.f_blocks * it.f_frsize,
        available_bytes: it.f_bavail * it.f_frsize,
    })
}
