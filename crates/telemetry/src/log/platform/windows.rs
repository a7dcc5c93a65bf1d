//! Windows has access lists in place of permission bits, and they are not set yet: what is made has the list of the
//! folder it lies in. Below a person's own profile that keeps other people out, elsewhere it may not.

use std::fs::{DirBuilder, OpenOptions};

/// Nothing is added: the file gets the access list of its folder.
pub(in crate::log) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Nothing is added: a folder gets the access list of the one it lies in.
pub(in crate::log) fn folders_for_owner(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}
