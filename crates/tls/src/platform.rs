//! Files for their owner alone, as far as the system knows such a thing.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{folder_for_owner, for_owner, open_to_all};
#[cfg(windows)]
pub(crate) use windows::{folder_for_owner, for_owner, open_to_all};
