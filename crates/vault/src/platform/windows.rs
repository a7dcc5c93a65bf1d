//! Windows has access lists in place of permission bits, and they are neither set nor read yet: a file has the list of
//! the folder it lies in. Below a person's own profile that keeps other people out, elsewhere it may not.

use std::fs::{File, OpenOptions};
use std::io;

/// Nothing is added: the file gets the access list of its folder.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Never known here.
#[allow(
    clippy::unnecessary_wraps,
    reason = "other systems have to look, and may fail"
)]
pub(crate) fn exposed(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}
