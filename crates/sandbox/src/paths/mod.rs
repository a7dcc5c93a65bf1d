//! Files beneath granted directories, always by descriptor (S39, D24).
//!
//! A path is walked one name at a time from the descriptor of its root; no name is ever given to the kernel together
//! with a second one, and no link is followed by the kernel. So there is no moment between a check and its use: what
//! was checked is the thing that is used.

#[cfg(unix)]
mod act;
#[cfg(unix)]
mod beneath;
#[cfg(not(unix))]
mod nowhere;

#[cfg(unix)]
pub use beneath::Roots;
#[cfg(not(unix))]
pub use nowhere::Roots;

use std::sync::Arc;

use adjutant_ports::files::{FileError, FileScope, Files};

/// Opens the directories of `scope`; the factory that tools are given.
///
/// # Errors
/// [`FileError`] if a directory cannot be opened or is itself protected.
pub fn open(scope: &FileScope) -> Result<Arc<dyn Files>, FileError> {
    let roots = Roots::new(&scope.workspace, &scope.allowed_dirs, &scope.denied)?;
    Ok(Arc::new(roots))
}

#[cfg(all(test, unix))]
mod tests;
