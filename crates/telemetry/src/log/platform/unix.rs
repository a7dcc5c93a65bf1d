//! Permission bits.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

/// A file that is made with `options` is its owner's alone.
pub(in crate::log) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Folders that are made with `builder` are their owner's alone.
pub(in crate::log) fn folders_for_owner(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder.mode(0o700)
}
