//! A process of Adjutant with a state directory of its own, and commands against it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Database, cluster};
pub(crate) use crate::process::{Running, said, until};

/// A database, and the folders of the machines that use it.
pub(crate) struct Site {
    database: Database,
    dir: tempfile::TempDir,
}

impl Site {
    /// None: there is no PostgreSQL here, which was said.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            database: cluster()?.database(),
            dir: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn machine(&self, name: &str) -> Machine<'_> {
        let home = self.dir.path().join(name);
        let machine = Machine { site: self, home };
        let set_up = machine.run(&["setup", "--non-interactive", "--provider", "offline"]);
        assert!(set_up.status.success(), "{}", said(&set_up));
        machine
    }
}

/// One state directory.
pub(crate) struct Machine<'a> {
    site: &'a Site,
    home: PathBuf,
}

impl Machine<'_> {
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adjutant"));
        command
            .args(args)
            .env("ADJUTANT_HOME", &self.home)
            .env("HOME", &self.home)
            .env("SITE_DATABASE", &self.site.database.url)
            .env_remove("ADJUTANT_GATEWAY_TOKEN")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that prints JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.run(&[args, &["--json"]].concat());
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Starts a command whose output is read when it ends.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn serve(&self, args: &[&str]) -> Running {
        let log = std::fs::File::create(self.home.join("out.log")).unwrap();
        let mut command = self.command(args);
        let child = command
            .args(["--database-url", "env:SITE_DATABASE"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }

    /// A gateway without workers, ready.
    pub(crate) fn gateway(&self) -> Running {
        let process = self.serve(&["gateway", "run", "--port", "0", "--workers", "0"]);
        until("the gateway does not start", || {
            let status = self.run(&["status"]);
            (status.status.success() && self.home.join("gateway.sock").exists()).then_some(())
        });
        process
    }

    pub(crate) fn worker(&self, flags: &[&str]) -> Running {
        self.serve(&[&["worker", "run"], flags].concat())
    }

    /// What the register says about the worker of a process.
    pub(crate) fn worker_of(&self, process: &Running) -> Value {
        until("a worker does not register", || {
            let page = self.json(&["worker", "list"]);
            let workers = page["workers"].as_array().unwrap();
            let own = |it: &&Value| it["pid"].as_u64() == Some(u64::from(process.id()));
            workers.iter().find(own).cloned()
        })
    }
}
