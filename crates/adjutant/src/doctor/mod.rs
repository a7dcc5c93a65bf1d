//! Whether everything an installation needs is as it should be, and what to do where it is not.
//!
//! Every check looks at something real and can fail. What would be changed by `--fix` is safe to change: permissions are
//! narrowed, missing folders are made, files of dead processes are removed. Nothing with contents is ever touched.

mod certificate;
mod files;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "kernel_elsewhere.rs"]
mod kernel;
mod machine;
mod providers;
#[cfg(unix)]
mod rights;
#[cfg(windows)]
#[path = "rights_windows.rs"]
mod rights;
mod running;
mod state;

use std::fs::Metadata;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};

use adjutant_cli::{Check, Exit, Failure, Fixing, Report, Severity};
use adjutant_ports::Clock;

use crate::config::{Config, Settings, Sources};
use crate::daemon::Place;
use crate::doors::SystemClock;
use crate::parts::Parts;
use crate::setup::Env;
use crate::{failures, home};

/// Longest time of one check that waits for something.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Memory below which a gateway and one sandboxed command do not fit.
#[cfg(unix)]
const MEMORY_BYTES_LOW: u64 = 512 << 20;

/// Whether this system has permission bits.
const HAS_MODES: bool = cfg!(unix);
/// What is said where it has none.
const NO_MODES: &str = "this system's access lists are not looked at yet";

/// Whether one of `bits` is among the permission bits; never on a system without them.
fn any_of(metadata: &Metadata, bits: u32) -> bool {
    crate::platform::mode(metadata).is_some_and(|mode| mode & bits != 0)
}

/// What is looked at.
struct Subject {
    /// The gateway's place, state directory included.
    place: Place,
    /// The active configuration file.
    config_file: PathBuf,
    /// The settings; the defaults when the file is wrong.
    config: Config,
    /// What is wrong with the file.
    config_problem: Option<String>,
    /// Where the gateway is to listen.
    address: SocketAddr,
    /// The environment.
    env: Env,
    /// The owner's home directory.
    user_home: Option<PathBuf>,
    /// This program's version.
    version: String,
    /// Time.
    clock: Arc<dyn Clock>,
}

/// Checks of a store that no gateway holds. Only awaited in that case.
type VerifyStore<'a> = BoxFuture<'a, Result<Report, Failure>>;

/// Looks at everything, and mends what is safe to mend if asked. A broken configuration is a finding, not an error.
///
/// # Errors
/// Never today: what cannot be looked at is a finding.
pub(crate) async fn checks(
    place: &Place,
    state_dir: &Path,
    sources: Sources,
    fixing: Fixing,
) -> Result<Report, Failure> {
    let (config_file, env) = (sources.file.clone(), sources.variables.clone());
    let opened = Settings::open(sources, state_dir);
    let config_problem = opened.as_ref().err().map(ToString::to_string);
    let config = opened
        .map(|settings| settings.current().tree.clone())
        .unwrap_or_default();
    let subject = Subject {
        place: place.clone(),
        config_file,
        address: SocketAddr::new(config.gateway.bind, config.gateway.port),
        config,
        config_problem,
        env,
        user_home: home::user_home(),
        version: crate::VERSION.to_owned(),
        clock: Arc::new(SystemClock::new()),
    };
    let verify = verify_store(state_dir, subject.config.clone()).boxed();
    Ok(look(&subject, fixing, verify).await)
}

async fn verify_store(state_dir: &Path, config: Config) -> Result<Report, Failure> {
    let opened = Parts::open(state_dir, Arc::new(config)).await;
    let parts = opened.map_err(|error| failures::parts(state_dir, &error))?;
    let report = parts.store.verify().await;
    let report = report.map_err(|error| Failure::new(Exit::Failed, "STORE", error.to_string()))?;
    let check = |id: &str, severity: Severity, message: String| Check {
        id: id.to_owned(),
        severity,
        message,
        fix: None,
        fixed: false,
    };
    let good = report
        .checked
        .iter()
        .map(|(what, n)| check(what, Severity::Ok, n.to_string()));
    let bad = report
        .findings
        .iter()
        .map(|said| check("finding", Severity::Error, said.clone()));
    Ok(Report {
        checks: good.chain(bad).collect(),
    })
}

async fn look(subject: &Subject, fixing: Fixing, verify: VerifyStore<'_>) -> Report {
    let mut files = Findings::new(fixing);
    // Folders first: what comes later may need them.
    if state::look(subject, &mut files) {
        files::look(subject, &mut files);
        certificate::look(subject, &mut files);
    }
    let (mut machine, mut providers, mut running) = (
        Findings::new(fixing),
        Findings::new(fixing),
        Findings::new(fixing),
    );
    tokio::join!(
        machine::look(subject, &mut machine),
        providers::look(subject, &mut providers),
        running::look(subject, verify, &mut running),
    );
    let all = [files, running, machine, providers];
    Report {
        checks: all.into_iter().flat_map(|it| it.checks).collect(),
    }
}

/// What was found so far.
struct Findings {
    checks: Vec<Check>,
    fixing: Fixing,
}

impl Findings {
    fn new(fixing: Fixing) -> Self {
        Self {
            checks: Vec::new(),
            fixing,
        }
    }

    fn push(
        &mut self,
        id: &str,
        severity: Severity,
        message: impl Into<String>,
        fix: Option<String>,
    ) {
        self.checks.push(Check {
            id: id.to_owned(),
            severity,
            message: message.into(),
            fix,
            fixed: false,
        });
    }

    fn ok(&mut self, id: &str, message: impl Into<String>) {
        self.push(id, Severity::Ok, message, None);
    }

    fn skipped(&mut self, id: &str, message: impl Into<String>) {
        self.push(id, Severity::Skipped, message, None);
    }

    fn warning(&mut self, id: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(id, Severity::Warning, message, Some(fix.into()));
    }

    fn error(&mut self, id: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(id, Severity::Error, message, Some(fix.into()));
    }

    /// `true` is fine; otherwise a warning.
    fn expect(
        &mut self,
        id: &str,
        holds: bool,
        good: impl Into<String>,
        bad: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if holds {
            self.ok(id, good)
        } else {
            self.warning(id, bad, fix)
        }
    }

    /// Something that is wrong and that `mend` puts right.
    fn fixable(
        &mut self,
        id: &str,
        severity: Severity,
        message: impl Into<String>,
        mend: Mend<'_>,
    ) {
        let message = message.into();
        if self.fixing == Fixing::No {
            let fix = format!("{}; `adjutant doctor --fix` does it", mend.how);
            return self.push(id, severity, message, Some(fix));
        }
        match (mend.act)() {
            Ok(()) => self.checks.push(Check {
                id: id.to_owned(),
                severity: Severity::Ok,
                message: format!("was: {message}"),
                fix: Some(mend.how),
                fixed: true,
            }),
            Err(error) => self.push(
                id,
                severity,
                format!("{message}; it cannot be fixed: {error}"),
                Some(mend.how),
            ),
        }
    }
}

/// A safe change: the command a person would type, and the same thing done here.
struct Mend<'a> {
    how: String,
    act: Box<dyn FnOnce() -> io::Result<()> + 'a>,
}

impl<'a> Mend<'a> {
    fn new(how: impl Into<String>, act: impl FnOnce() -> io::Result<()> + 'a) -> Self {
        Self {
            how: how.into(),
            act: Box::new(act),
        }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = "bytes";
    let (mut whole, mut rest) = (bytes, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        rest = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "bytes" || 10 <= whole {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{rest} {unit}")
    }
}

#[cfg(test)]
mod tests;
