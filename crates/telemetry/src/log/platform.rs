//! Files and folders for their owner alone, as far as the system knows such a thing.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{folders_for_owner, for_owner};
#[cfg(windows)]
pub(super) use windows::{folders_for_owner, for_owner};
