//! What differs between systems: files for their owner alone, groups of processes, facts of the machine.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{
    Group, folders_for_owner, for_owner, host_name, in_a_group, kernel, may_execute, may_read,
    others_may_use, signal_of, storage,
};
#[cfg(windows)]
pub(crate) use windows::{
    Group, folders_for_owner, for_owner, host_name, in_a_group, kernel, may_execute, may_read,
    others_may_use, signal_of, storage,
};

/// Room on the disk of the system.
pub(crate) struct Storage {
    pub(crate) total_bytes: u64,
    pub(crate) available_bytes: u64,
}
