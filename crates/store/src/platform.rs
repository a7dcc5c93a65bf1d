//! Files and folders for their owner alone, as far as the system knows such a thing.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{close_folder, open_for_owner};
#[cfg(windows)]
pub(crate) use windows::{close_folder, open_for_owner};
