//! What differs between systems: permission bits, processes, signals, names, the way to a gateway of this machine.
//!
//! The rest of this crate asks here and does not know which system it runs on. What a system lacks is refused with
//! words or said to be unknown, never pretended.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

/// How a process is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It may tidy up.
    Politely,
    /// It may not.
    AtOnce,
}
