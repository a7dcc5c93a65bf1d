//! The escape suite against walls with known holes: it has to find them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use serde_json::{Value, json};

use adjutant_ports::sandbox::{
    Command, Ending, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};
use adjutant_sandbox::{Bubblewrap, Config, EscapeTrial, Inner, Native, Verdict, verify};

const INNER: &str = env!("CARGO_BIN_EXE_sandbox-inner");

/// bubblewrap with a process namespace and a read-only host, but the host's network, files, variables and no filter.
struct WeakBubblewrap;

#[async_trait]
impl Sandbox for WeakBubblewrap {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        refuse_bombs(&command)?;
        let mut weak = tokio::process::Command::new("bwrap");
        weak.args(["--unshare-user", "--unshare-pid", "--die-with-parent"])
            .args(["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"])
            .args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"])
            .args(["--size", "1000000", "--tmpfs", "/tmp", "--bind"])
            .arg(&profile.workspace)
            .arg(&profile.workspace)
            .arg("--chdir")
            .arg(&command.cwd)
            .arg("--")
            .args(&command.argv);
        finish(weak).await
    }

    async fn report(&self) -> SandboxReport {
        unreachable!("the suite does not ask")
    }
}

/// The walls of this program with a plan that shows nearly all of the host, writable, and no filter. With or without
/// Landlock behind those mounts.
struct WeakNative {
    landlock: bool,
}

impl WeakNative {
    fn plan(&self, command: &Command, profile: &Profile) -> (Value, Value) {
        let bytes = |path: &Path| json!(path.as_os_str().as_bytes());
        let shown = |path: &Path| json!({"show": {"path": bytes(path), "access": "write", "source": "system"}});
        // The whole scenery of the suite lies beside the workspace.
        let scenery = profile.workspace.parent().unwrap();
        let mut steps = vec![json!("processes"), json!("devices")];
        for name in ["bin", "etc", "home", "lib", "lib64", "root", "sbin", "usr"] {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => steps.push(json!({"link": {"path": path, "target": bytes(&target)}})),
                Err(_) if path.is_dir() => steps.push(shown(&path)),
                Err(_) => {}
            }
        }
        steps.push(shown(scenery));
        let readable: Vec<Value> = ["/usr", "/bin", "/lib", "/lib64", "/proc"]
            .map(|it| bytes(Path::new(it)))
            .into();
        let reach = json!({
            "readable": readable,
            "writable": [bytes(&profile.workspace)],
            "devices": [bytes(Path::new("/dev"))],
        });
        let inside = json!({
            "argv": command.argv,
            "env": [["PATH", "/usr/bin:/bin"], ["GATEWAY_SECRET", "from the gateway"]],
            "cwd": bytes(&command.cwd),
            "reach": if self.landlock { reach } else { Value::Null },
            "filters": [],
        });
        (
            json!({"parent": std::process::id(), "steps": steps}),
            inside,
        )
    }
}

#[async_trait]
impl Sandbox for WeakNative {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        refuse_bombs(&command)?;
        let (plan, inside) = self.plan(&command, profile);
        let file = |content: &Value| {
            let fd = rustix::fs::memfd_create("plan", MemfdFlags::empty()).unwrap();
            rustix::io::write(&fd, content.to_string().as_bytes()).unwrap();
            fd
        };
        // Inherited, unlike everything else that is opened in this program.
        let pipe = || rustix::pipe::pipe_with(PipeFlags::empty()).unwrap();
        let ((_status, status), (gate, opened), (_report, report)) = (pipe(), pipe(), pipe());
        rustix::io::write(&opened, b"1").unwrap();
        let given: [OwnedFd; 5] = [file(&plan), file(&inside), status, gate, report];
        let mut weak = tokio::process::Command::new(INNER);
        weak.args(["sandbox-inner", "enter"])
            .args(given.iter().map(|it| it.as_raw_fd().to_string()));
        finish(weak).await
    }

    async fn report(&self) -> SandboxReport {
        unreachable!("the suite does not ask")
    }
}

/// A bomb behind weak walls is nothing to try on a machine that others use.
fn refuse_bombs(command: &Command) -> Result<(), SandboxError> {
    let is_dangerous = ["fork()", "kill -9", "trap ''", "/dev/zero", "exec sleep"];
    let script = command.argv.last().cloned().unwrap_or_default();
    // Nor is a change to the real files of the machine.
    let changes = ["> /usr/", "> /etc/", "/proc/sys"];
    match is_dangerous
        .iter()
        .chain(&changes)
        .any(|it| script.contains(it))
    {
        true => Err(SandboxError::Refused {
            reason: "too dangerous here".into(),
        }),
        false => Ok(()),
    }
}

async fn finish(mut weak: tokio::process::Command) -> Result<ProcessOutcome, SandboxError> {
    weak.kill_on_drop(true);
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

/// Not below `/tmp`: even the weak walls have one of their own.
fn place() -> PathBuf {
    let built = env!("CARGO_TARGET_TMPDIR");
    let place = if built.starts_with("/tmp") {
        "/var/tmp"
    } else {
        built
    };
    place.into()
}

async fn attack(sandbox: &dyn Sandbox) -> Vec<EscapeTrial> {
    let scratch = tempfile::tempdir_in(place()).unwrap();
    let trials = verify(sandbox, scratch.path()).await.unwrap();
    for trial in &trials {
        println!("{:?} {}: {}", trial.verdict, trial.name, trial.detail);
    }
    trials
}

fn assert_verdict(trials: &[EscapeTrial], names: &[&str], verdict: Verdict) {
    for name in names {
        let trial = trials.iter().find(|it| it.name == *name).unwrap();
        assert_eq!(trial.verdict, verdict, "{name}: {}", trial.detail);
    }
}

/// What the report says why nothing can be tried; printed.
async fn is_missing(sandbox: &dyn Sandbox) -> bool {
    let report = sandbox.report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
    }
    !report.available
}

// covers: D18, S35, S36
#[tokio::test]
async fn the_suite_finds_the_holes_of_a_weak_bubblewrap() {
    let path = std::env::var_os("PATH");
    if is_missing(&Bubblewrap::with(&Config::default(), path, None)).await {
        return;
    }
    let trials = attack(&WeakBubblewrap).await;
    let holes = [
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
    ];
    assert_verdict(&trials, &holes, Verdict::Escaped);
    assert!(trials.iter().any(EscapeTrial::held), "weak is not nothing");
}

fn native() -> Native {
    Native::with_inner(&Config::default(), Inner::at(Path::new(INNER)).ok())
}

// covers: D18, S35, S36
#[tokio::test]
async fn the_suite_finds_the_holes_of_weak_walls_of_this_program() {
    if is_missing(&native()).await {
        return;
    }
    let trials = attack(&WeakNative { landlock: false }).await;
    let holes = [
        "read-state",
        "read-hidden",
        "read-home",
        "read-other",
        "follow-link",
        "read-shadow",
        "write-read-only",
        "set-id-file",
        "local-socket",
        "keys",
        "kernel-rooms",
        "environment",
        "privileges",
        "memory",
    ];
    assert_verdict(&trials, &holes, Verdict::Escaped);
    // What namespaces alone stop.
    let stopped = [
        "loopback",
        "datagram",
        "abstract-socket",
        "see-processes",
        "descriptors",
    ];
    assert_verdict(&trials, &stopped, Verdict::Held);
}

// covers: D18, S35
#[tokio::test]
async fn landlock_alone_keeps_what_weak_mounts_would_show() {
    let report = native().report().await;
    let has_landlock = |(name, holds): &(String, bool)| *holds && name.starts_with("Landlock");
    if !report.floor.iter().any(has_landlock) {
        println!("SKIPPED: {}", report.missing.join("; "));
        return;
    }
    let trials = attack(&WeakNative { landlock: true }).await;
    // Names may be listed everywhere inside, contents may not be read.
    let kept = ["read-state", "read-home", "read-other", "follow-link"];
    assert_verdict(&trials, &kept, Verdict::Held);
    // It is no filter: what the mounts do not hide and rules allow stays reachable.
    assert_verdict(&trials, &["read-hidden", "keys"], Verdict::Escaped);
}
