//! The escape suite against walls with known holes: it has to find them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use adjutant_ports::sandbox::{
    Command, Ending, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};
use adjutant_sandbox::{Bubblewrap, Config, Verdict, verify};

/// Process namespace and a read-only host, but the host's network, files, variables and no filter at all.
struct WeakWalls;

#[async_trait]
impl Sandbox for WeakWalls {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        // A bomb without walls is nothing to try on a machine that others use.
        let is_dangerous = ["fork()", "kill -9", "trap ''", "/dev/zero", "exec sleep"];
        let script = command.argv.last().cloned().unwrap_or_default();
        if is_dangerous.iter().any(|it| script.contains(it)) {
            return Err(SandboxError::Refused {
                reason: "too dangerous here".into(),
            });
        }
        let mut weak = tokio::process::Command::new("bwrap");
        weak.args(["--unshare-user", "--unshare-pid", "--die-with-parent"])
            .args(["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"])
            .args([
                "--ro-bind",
                "/",
                "/",
                "--dev",
                "/dev",
                "--proc",
                "/proc",
                "--size",
                "1000000",
            ])
            .args(["--tmpfs", "/tmp", "--bind"])
            .arg(&profile.workspace)
            .arg(&profile.workspace)
            .arg("--chdir")
            .arg(&command.cwd)
            .arg("--")
            .args(&command.argv)
            .kill_on_drop(true);
        let started = Instant::now();
        let output = tokio::time::timeout(Duration::from_secs(10), weak.output()).await;
        let (ending, stdout, stderr) = match output {
            Ok(output) => {
                let output = output.map_err(SandboxError::Os)?;
                let code = output.status.code().unwrap_or(-1);
                (Ending::Exited { code }, output.stdout, output.stderr)
            }
            Err(_) => (Ending::TimedOut, Vec::new(), Vec::new()),
        };
        Ok(ProcessOutcome {
            ending,
            stdout_total: stdout.len() as u64,
            stderr_total: stderr.len() as u64,
            stdout: Bytes::from(stdout),
            stderr: Bytes::from(stderr),
            elapsed: started.elapsed(),
        })
    }

    async fn report(&self) -> SandboxReport {
        unreachable!("the suite does not ask")
    }
}

// covers: D18, S35, S36
#[tokio::test]
async fn the_suite_finds_the_holes_of_weak_walls() {
    let report = Bubblewrap::new(&Config::default()).report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
        return;
    }
    // Not below `/tmp`: even the weak walls have one of their own.
    let built = env!("CARGO_TARGET_TMPDIR");
    let place = if built.starts_with("/tmp") {
        "/var/tmp"
    } else {
        built
    };
    let scratch = tempfile::tempdir_in(place).unwrap();
    let trials = verify(&WeakWalls, scratch.path()).await.unwrap();
    for trial in &trials {
        println!("{:?} {}: {}", trial.verdict, trial.name, trial.detail);
    }
    for name in [
        "read-state",
        "read-hidden",
        "read-home",
        "read-other",
        "follow-link",
        "set-id-file",
        "loopback",
        "datagram",
        "local-socket",
        "abstract-socket",
        "namespaces",
        "keys",
        "descriptors",
        "environment",
        "privileges",
        "memory",
    ] {
        let trial = trials.iter().find(|it| it.name == name).unwrap();
        assert_eq!(trial.verdict, Verdict::Escaped, "{name}: {}", trial.detail);
    }
    assert!(trials.iter().any(|it| it.held()), "weak is not nothing");
}
