//! Signals, termios, permission bits.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Size;

/// The editor when none is named.
pub(crate) const EDITOR: &str = "vi";

/// A file that is made with `options` is its owner's alone.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Every Ctrl-C from now on.
pub(crate) struct Interrupts(Signal);

impl Interrupts {
    /// Begins to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        signal(SignalKind::interrupt()).map(Self)
    }

    /// The next one.
    pub(crate) async fn recv(&mut self) {
        self.0.recv().await;
    }
}

/// How the terminal stands.
pub(crate) struct TerminalState(Termios);

impl TerminalState {
    /// Of standard input; none when that is no terminal.
    pub(crate) fn of_input() -> Option<Self> {
        tcgetattr(std::io::stdin()).ok().map(Self)
    }

    /// Brings it back.
    pub(crate) fn restore(&self) {
        // A terminal that is gone needs no restoring.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}

/// The size of the terminal behind standard output; none when that is no terminal.
pub(crate) fn terminal_size() -> Option<Size> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    Some(Size {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}
