//! What stands outside of the walls to be reached: secrets, listeners, a process.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

/// The scenery. Dropping it ends the process and closes the listeners; the files stay in the scratch directory.
pub(super) struct Scene {
    /// The only directory an attempt is given.
    pub(super) workspace: PathBuf,
    /// A protected directory beside the workspace, and one inside it.
    pub(super) state: PathBuf,
    pub(super) state_inside: PathBuf,
    /// A home with a key, and somebody else's workspace.
    pub(super) home: PathBuf,
    pub(super) other: PathBuf,
    /// The text in every planted file.
    pub(super) secret: String,
    /// A mark for command lines that nobody else uses.
    pub(super) mark: String,
    pub(super) tcp: TcpListener,
    pub(super) udp: UdpSocket,
    pub(super) unix: UnixListener,
    pub(super) abstract_unix: UnixListener,
    pub(super) abstract_name: String,
    victim: std::sync::Mutex<Child>,
    pub(super) victim_pid: u32,
    /// A descriptor of a secret that every child of a careless program would inherit.
    _leak: OwnedFd,
}

impl Scene {
    pub(super) fn build(scratch: &Path) -> io::Result<Self> {
        let scratch = scratch.canonicalize()?;
        let nanos = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |it| it.subsec_nanos());
        let unique = format!("{}{nanos}", std::process::id());
        let workspace = scratch.join("workspace");
        let state = scratch.join("state");
        let home = scratch.join("home/.ssh");
        let other = scratch.join("other");
        let state_inside = workspace.join("state");
        let secret = format!("planted-{unique}");
        for (dir, file) in [
            (&state, "token"),
            (&home, "id_ed25519"),
            (&other, "notes.txt"),
            (&state_inside, "token"),
            (&workspace, "mine"),
        ] {
            fs::create_dir_all(dir)?;
            fs::write(dir.join(file), &secret)?;
        }
        fs::write(workspace.join("mine"), "public")?;
        // A socket's path has room for about a hundred bytes; by descriptor it is always short enough.
        let here = fs::File::open(&workspace)?;
        let unix = UnixListener::bind(format!("/proc/self/fd/{}/socket", here.as_raw_fd()))?;
        let victim = victim()?;
        let abstract_name = format!("adjutant-{unique}");
        let scene = Self {
            tcp: TcpListener::bind("127.0.0.1:0")?,
            udp: UdpSocket::bind("127.0.0.1:0")?,
            unix,
            abstract_unix: UnixListener::bind_addr(&SocketAddr::from_abstract_name(
                &abstract_name,
            )?)?,
            // Without close-on-exec, on purpose.
            _leak: rustix::fs::open(state.join("token"), OFlags::RDONLY, Mode::empty())?,
            victim_pid: victim.id(),
            victim: std::sync::Mutex::new(victim),
            mark: format!("86400.{unique}"),
            workspace,
            state,
            state_inside,
            home,
            other,
            secret,
            abstract_name,
        };
        scene.tcp.set_nonblocking(true)?;
        scene.udp.set_nonblocking(true)?;
        scene.unix.set_nonblocking(true)?;
        scene.abstract_unix.set_nonblocking(true)?;
        Ok(scene)
    }

    pub(super) fn victim_lives(&self) -> bool {
        self.victim
            .lock()
            .is_ok_and(|mut it| matches!(it.try_wait(), Ok(None)))
    }

    /// Processes of this machine whose command line contains the mark, after a moment to die in.
    pub(super) fn n_marked(&self) -> usize {
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            let n = count_marked(&self.mark);
            if n == 0 || end < Instant::now() {
                return n;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Ok(mut victim) = self.victim.lock() {
            // It may be dead already; then there is nothing left to do.
            victim.kill().ok();
            victim.wait().ok();
        }
    }
}

/// A process of the host that attempts try to signal and trace. It ends by itself when we die: its input closes.
fn victim() -> io::Result<Child> {
    std::process::Command::new("cat")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn count_marked(mark: &str) -> usize {
    let Ok(pids) = fs::read_dir("/proc") else {
        return 0;
    };
    let lines = pids
        .flatten()
        .filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    lines
        .filter(|it| String::from_utf8_lossy(it).contains(mark))
        .count()
}
