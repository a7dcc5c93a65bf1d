//! What differs between systems: Ctrl-C, the terminal's state and size, files for their owner alone.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{EDITOR, Interrupts, TerminalState, for_owner, terminal_size};
#[cfg(windows)]
pub(crate) use windows::{EDITOR, Interrupts, TerminalState, for_owner, terminal_size};

/// Columns and rows of a terminal.
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}
