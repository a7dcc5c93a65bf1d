//! Windows has access lists in place of permission bits, and they are not set yet: what is made has the list of the
//! folder it lies in. Below a person's own profile that keeps other people out, elsewhere it may not.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Leaves the folder as it was made.
#[allow(clippy::unnecessary_wraps, reason = "other systems may fail")]
pub(crate) fn close_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens `path`; a file that is made gets the access list of its folder.
pub(crate) fn open_for_owner(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}
