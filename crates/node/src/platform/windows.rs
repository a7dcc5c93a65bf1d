//! What Windows has of it so far.
//!
//! Its access lists are neither set nor read: what is made has the list of the folder it lies in, which keeps other
//! people out below a person's own profile, elsewhere perhaps not. A program is ended alone: whatever it started itself
//! goes on.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::path::Path;
use std::process::ExitStatus;

use tokio::process::Command;

use super::Storage;

/// Nothing is added: the file gets the access list of its folder.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Makes folders with the access list of the one they lie in.
pub(crate) fn folders_for_owner() -> DirBuilder {
    DirBuilder::new()
}

/// Never known here.
pub(crate) fn others_may_use(_metadata: &Metadata) -> bool {
    false
}

/// Whether this process may read it.
pub(crate) fn may_read(path: &Path) -> bool {
    File::open(path).is_ok()
}

/// Whether its name ends like a program's.
pub(crate) fn may_execute(path: &Path) -> bool {
    path.extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("exe") || it.eq_ignore_ascii_case("com"))
}

/// There are no groups: the program is ended by its handle, when that is dropped.
pub(crate) fn in_a_group(_command: &mut Command) {}

/// Nothing: see [`in_a_group`].
pub(crate) struct Group;

impl Group {
    /// Keeps nothing.
    pub(crate) fn led_by(_process: Option<u32>) -> Self {
        Self
    }

    /// Ends nothing: the one who waits for the program must end it.
    #[allow(clippy::unused_self, reason = "other systems have groups")]
    pub(crate) fn kill(&self) {}
}

/// There are none.
pub(crate) fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

/// This machine's name.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_unset| "windows".to_owned())
}

/// Not found out yet.
pub(crate) fn kernel() -> Option<String> {
    None
}

/// Not found out yet.
pub(crate) fn storage() -> Option<Storage> {
    None
}
