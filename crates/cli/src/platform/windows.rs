//! What Windows has of it so far: Ctrl-C. The size of the console is not asked for, so lines are 80 columns wide; its
//! state is neither kept nor brought back; a file gets the access list of the folder it lies in.

use std::fs::OpenOptions;

use tokio::signal::windows::{CtrlC, ctrl_c};

use super::Size;

/// The editor when none is named.
pub(crate) const EDITOR: &str = "notepad";

/// Nothing is added: the file gets the access list of its folder.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Every Ctrl-C from now on.
pub(crate) struct Interrupts(CtrlC);

impl Interrupts {
    /// Begins to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        ctrl_c().map(Self)
    }

    /// The next one.
    pub(crate) async fn recv(&mut self) {
        self.0.recv().await;
    }
}

/// Not kept.
pub(crate) enum TerminalState {}

impl TerminalState {
    /// None.
    pub(crate) fn of_input() -> Option<Self> {
        None
    }

    /// Never called: there is no value.
    pub(crate) fn restore(&self) {
        match *self {}
    }
}

/// Not asked for.
pub(crate) fn terminal_size() -> Option<Size> {
    None
}
