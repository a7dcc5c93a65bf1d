//! Files for their owner alone, as far as the system knows such a thing.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{exposed, for_owner};
#[cfg(windows)]
pub(crate) use windows::{exposed, for_owner};
