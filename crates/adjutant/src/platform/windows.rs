//! What Windows has of it so far.
//!
//! Its access lists are neither set nor read: what is made has the list of the folder it lies in, which keeps other
//! people out below a person's own profile, elsewhere perhaps not. There is no background process and no way to end one
//! politely: the gateway runs in a window of its own and ends with Ctrl-C. There is no socket file: a gateway of this
//! machine is reached through its TCP port, with the token of its state directory.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

use adjutant_cli::{Exit, Failure, Reachable};
use adjutant_client::{Credential, Endpoint, Fingerprint};
use adjutant_vault::Token;

use super::Ending;
use crate::daemon::PidFile;
use crate::setup::{TOKEN_FILE, TOKEN_VARIABLE};

/// The variable that names the owner's home directory.
pub(crate) const HOME_VARIABLE: &str = "USERPROFILE";

/// Nothing is added: the file gets the access list of its folder.
pub(crate) fn with_mode(options: &mut OpenOptions, _mode: u32) -> &mut OpenOptions {
    options
}

/// Makes folders with the access list of the one they lie in.
pub(crate) fn folders(_mode: u32) -> DirBuilder {
    DirBuilder::new()
}

/// Changes nothing.
#[allow(clippy::unnecessary_wraps, reason = "other systems may fail")]
pub(crate) fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Changes nothing.
#[allow(clippy::unnecessary_wraps, reason = "other systems may fail")]
pub(crate) fn set_file_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// There are none.
pub(crate) fn mode(_metadata: &Metadata) -> Option<u32> {
    None
}

/// Not known: a log that was rotated is recognised by its length only.
pub(crate) fn file_number(_metadata: &Metadata) -> u64 {
    0
}

/// Nothing: a folder cannot be opened here, and the file system keeps a journal of names.
#[allow(clippy::unnecessary_wraps, reason = "other systems may fail")]
pub(crate) fn flush_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Nothing: no process is left behind, see [`can_detach`].
pub(crate) fn leave_terminal() {}

/// Whether a process can be left behind in the background.
///
/// # Errors
/// Always here, with what to do instead.
pub(crate) fn can_detach() -> Result<(), Failure> {
    let message = "a gateway in the background is not supported on this system yet";
    Err(Failure::new(Exit::Failed, "UNSUPPORTED", message)
        .with_hint("leave `adjutant gateway run` open in a window of its own"))
}

/// Nothing: Ctrl-C reaches every program of the console.
pub(crate) fn in_a_group(_command: &mut tokio::process::Command) {}

/// Always: it cannot be found out yet, and the lock of the state directory is what counts.
pub(crate) fn is_alive(_pid: u32) -> bool {
    true
}

/// How the processes of this machine know one of them: it cannot be told here yet.
pub(crate) fn process_mark(_pid: Option<u32>) -> Option<adjutant_ports::store::ProcessMark> {
    None
}

/// Refuses.
pub(crate) fn tell_to_end(_pid: u32, _how: Ending) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "ending another process is not supported on this system yet",
    ))
}

/// This machine's name.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_unset| "windows".to_owned())
}

/// Resolves when the window is closed or Ctrl-Break is pressed.
pub(crate) async fn asked_to_end() {
    match (ctrl_break(), ctrl_close()) {
        (Ok(mut broken), Ok(mut closed)) => {
            tokio::select! {
                _ = broken.recv() => {}
                _ = closed.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "requests to end cannot be heard");
            std::future::pending::<()>().await;
        }
    }
}

/// Everything that ends a program with a console: Ctrl-C, Ctrl-Break, a closed window.
pub(crate) struct Endings {
    interrupt: CtrlC,
    broken: CtrlBreak,
    closed: CtrlClose,
}

impl Endings {
    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            broken: ctrl_break()?,
            closed: ctrl_close()?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.broken.recv() => {}
            _ = self.closed.recv() => {}
        }
    }
}

/// How the gateway of the state directory `home` is reached: at the address it wrote down, with the token that lies
/// beside it or in the environment. One that wrote down none cannot be reached.
pub(crate) fn door(home: &Path, socket: &Path, credential: &Credential) -> Reachable {
    let endpoint = PidFile::read(home)
        .and_then(written_down)
        // Connecting to it says that there are no socket files here.
        .unwrap_or_else(|| Endpoint::Unix(socket.to_owned()));
    let credential = match credential {
        Credential::None => token(home).map_or(Credential::None, Credential::token),
        given => given.clone(),
    };
    Reachable {
        endpoint,
        credential,
    }
}

fn written_down(said: PidFile) -> Option<Endpoint> {
    let address = said.address.map(here)?;
    let Some(fingerprint) = said.fingerprint else {
        return Endpoint::parse(&format!("http://{address}")).ok();
    };
    let pin = Fingerprint::parse(&fingerprint)?;
    Endpoint::parse(&format!("https://{address}"))
        .and_then(|it| it.pinned(pin))
        .ok()
}

/// Whether a gateway may be there to be asked: one that is there wrote down its address.
pub(crate) fn has_door(home: &Path, _socket: &Path) -> bool {
    PidFile::read(home).is_some_and(|it| it.address.is_some())
}

/// One that listens everywhere listens here, too.
fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn token(home: &Path) -> Option<String> {
    let named = std::env::var(TOKEN_VARIABLE).ok();
    named.filter(|it| !it.is_empty()).or_else(|| {
        let token = Token::load(&home.join(TOKEN_FILE)).ok()?;
        Some(token.expose().to_owned())
    })
}
