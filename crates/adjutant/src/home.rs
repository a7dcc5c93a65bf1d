//! Where things are on this machine.

use std::path::PathBuf;

use crate::platform;

/// The owner's home directory.
pub(crate) fn user_home() -> Option<PathBuf> {
    std::env::var_os(platform::HOME_VARIABLE)
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

/// The state directory: `$ADJUTANT_HOME`, else `~/.adjutant`. Always absolute.
pub(crate) fn state_dir() -> Option<PathBuf> {
    let named = std::env::var_os("ADJUTANT_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from);
    let path = named.or_else(|| user_home().map(|home| home.join(".adjutant")))?;
    std::path::absolute(path).ok()
}

/// This machine's name, for lists of workers.
pub(crate) fn host_name() -> String {
    platform::host_name()
}
