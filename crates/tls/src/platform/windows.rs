//! Windows has access lists in place of permission bits, and they are neither set nor read yet.

use std::fs::{DirBuilder, Metadata, OpenOptions};

/// Nothing is added: the file gets the access list of its folder.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Nothing is added.
pub(crate) fn folder_for_owner(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}

/// Never known here.
pub(crate) fn open_to_all(_metadata: &Metadata) -> Option<u32> {
    None
}
