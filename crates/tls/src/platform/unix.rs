//! Permission bits.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// A file that is made with `options` is its owner's alone (S48).
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// A folder that is made with `builder` is its owner's alone.
pub(crate) fn folder_for_owner(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder.mode(0o700)
}

/// The permission bits, if they let everybody read. A group may: that is how tools hand keys to services.
pub(crate) fn open_to_all(metadata: &Metadata) -> Option<u32> {
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}
