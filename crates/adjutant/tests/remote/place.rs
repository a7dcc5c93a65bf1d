//! A gateway in a folder of its own, commands against it, and programs beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub(crate) use crate::process::{Running, said, until};

/// A state directory.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    /// Set up, with these lines beneath what setup wrote.
    pub(crate) fn new(config: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let done = place.adjutant(&["setup", "--non-interactive", "--provider", "offline"]);
        assert!(done.status.success(), "{}", said(&done));
        place.configure(config);
        place
    }

    /// Adds lines to the configuration.
    pub(crate) fn configure(&self, config: &str) {
        let path = self.path().join("config.toml");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, format!("{before}\n{config}\n")).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.path().join("token")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adjutant"));
        command
            .args(args)
            .env("ADJUTANT_HOME", self.path())
            .env("HOME", self.path())
            .env_remove("ADJUTANT_GATEWAY_TOKEN")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn adjutant(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A command to the gateway at `url`, with the token of `of`.
    pub(crate) fn ask(&self, url: &str, of: &Self, args: &[&str]) -> Output {
        let token = of.token_file().display().to_string();
        let mut all = vec!["--gateway", url, "--token-file", &token, "--timeout", "20s"];
        all.extend(args);
        self.adjutant(&all)
    }

    /// Runs the gateway; gives its address, too.
    pub(crate) fn gateway(&self) -> (Running, SocketAddr) {
        self.gateway_at(0)
    }

    pub(crate) fn gateway_at(&self, port: u16) -> (Running, SocketAddr) {
        let port = port.to_string();
        // One that was killed left it.
        drop(std::fs::remove_file(self.path().join("gateway.pid")));
        let child = self
            .command(&["gateway", "run", "--port", &port, "--workers", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        let address = until("the gateway does not start", || {
            let text = std::fs::read_to_string(self.path().join("gateway.pid")).ok()?;
            let said: Value = serde_json::from_str(&text).ok()?;
            said["address"].as_str()?.parse().ok()
        });
        (running, address)
    }
}

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A program of the machine, looked for where administrators' programs lie, too. None: the test says that it skips.
pub(crate) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|it| it.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: `{name}` is missing (sudo apt-get install {package})");
    }
    found
}

/// Runs a program quietly; fails the test when it fails.
pub(crate) fn run(program: &Path, args: &[&str]) -> Output {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program:?}: {}", said(&output));
    output
}
