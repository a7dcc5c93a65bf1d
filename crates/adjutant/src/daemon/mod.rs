//! The gateway as a process of its own: started, watched and stopped from the outside.
//!
//! What counts is the kernel lock of the state directory, not a file with a number in it: a number may belong to a
//! process that died, or to another one that got the same number (R14).

mod lock;
mod pid;
mod service;
mod tail;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use adjutant_cli::{Exit, Failure, GatewayOptions, GatewayState, Reachable, TlsState};
use adjutant_client::{Client, ClientError, Credential};
use adjutant_domain::time::Timestamp;
use adjutant_store::{LockError, OpenError};

use crate::platform::{self, Ending};

pub(crate) use pid::{FILE_NAME as PID_FILE, PidFile};
pub(crate) use service::{Entry, Service, install, is_installed, uninstall};
pub(crate) use tail::logs;

/// Name of the socket file within the state directory.
pub(crate) const SOCKET_FILE: &str = "gateway.sock";

/// Tells a process that it is the daemon. Not a setting, so it does not begin like one.
const DAEMON_VARIABLE: &str = "_ADJUTANT_DAEMON";

/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a polite stop, beside the time that workers have for the steps under way.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// Longest wait for the kernel to take a killed process away.
const KILL_MAX: Duration = Duration::from_secs(5);
/// How often the state is looked at while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Longest wait for an answer on the socket.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How much of the log is read to say why a start failed.
const LAST_WORDS_BYTES_MAX: u64 = 16 * 1024;

/// Where a gateway lives.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The state directory.
    pub(crate) home: PathBuf,
    /// The socket file.
    pub(crate) socket: PathBuf,
    /// The log file.
    pub(crate) log: PathBuf,
    /// The configuration file, when it is not the usual one.
    pub(crate) config: Option<PathBuf>,
    /// What the gateway is shown.
    pub(crate) credential: Credential,
    /// How long its workers have for the steps under way when it is told to stop.
    pub(crate) drain: Duration,
    /// How its port is encrypted, as configured now.
    pub(crate) tls: adjutant_tls::Config,
    /// The entry of the service manager, if there is one for this system.
    pub(crate) service: Option<Service>,
}

impl Place {
    /// How the gateway that lives there is reached.
    pub(crate) fn door(&self) -> Reachable {
        platform::door(&self.home, &self.socket, &self.credential)
    }
}

/// Whether a gateway lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// A process holds the state directory.
    Up {
        /// Its number.
        pid: Option<u32>,
        /// What it wrote about itself.
        said: Option<PidFile>,
    },
    /// Nobody holds it.
    Down,
    /// Nobody holds it, but a process that died without a word left its files.
    Stale {
        /// What it wrote about itself.
        said: PidFile,
    },
}

/// Whether a gateway holds the state directory `home`.
pub(crate) fn life(home: &Path) -> Life {
    let said = PidFile::read(home);
    match (lock::holder(home), said) {
        (lock::Holder::Nobody, None) => Life::Down,
        (lock::Holder::Nobody, Some(said)) => Life::Stale { said },
        // Files of an earlier process say nothing about the one that holds the lock now.
        (lock::Holder::Somebody { pid }, said) => {
            let said = said.filter(|it| pid.is_none_or(|pid| pid == it.pid));
            Life::Up {
                pid: pid.or(said.as_ref().map(|it| it.pid)),
                said,
            }
        }
    }
}

/// Refuses a state directory that a process holds, as taking its lock would, without taking it.
pub(crate) fn must_be_free(home: &Path) -> Result<(), OpenError> {
    match life(home) {
        Life::Down | Life::Stale { .. } => Ok(()),
        Life::Up { pid, said } => Err(LockError::Held {
            dir: home.to_owned(),
            pid,
            address: said.and_then(|it| Some(it.address?.to_string())),
        }
        .into()),
    }
}

/// Leaves the terminal's session if this process was started by [`start`]. To be called before any thread exists.
pub(crate) fn leave_terminal_if_daemon() {
    if is_daemon() {
        platform::leave_terminal();
    }
}

/// Whether this process was started by [`start`]: it logs to the log file, rotated, instead of to the terminal.
pub(crate) fn is_daemon() -> bool {
    std::env::var_os(DAEMON_VARIABLE).is_some()
}

/// Whether a gateway runs, where and since when. A `pid` without `running` belongs to one that died.
pub(crate) fn state(place: &Place) -> GatewayState {
    let empty = GatewayState {
        log: Some(place.log.clone()),
        state_dir: place.home.clone(),
        installed: place.service.as_ref().is_some_and(is_installed),
        tls: certificate(place),
        ..GatewayState::default()
    };
    match life(&place.home) {
        Life::Down => empty,
        Life::Stale { said } => GatewayState {
            pid: Some(said.pid),
            started_at: said.started_at,
            ..empty
        },
        Life::Up { pid, said: None } => GatewayState {
            running: true,
            pid,
            ..empty
        },
        Life::Up {
            pid,
            said: Some(said),
        } => GatewayState {
            running: true,
            pid,
            address: said.address,
            // What the running one speaks, not what was configured since.
            tls: said
                .fingerprint
                .map(|fingerprint| TlsState {
                    fingerprint,
                    valid_until: None,
                })
                .map(|at_start| certificate(place).unwrap_or(at_start)),
            socket: said.socket.or_else(|| Some(place.socket.clone())),
            version: said.version,
            started_at: said.started_at,
            ..empty
        },
    }
}

/// The certificate that lies there.
fn certificate(place: &Place) -> Option<TlsState> {
    let leaf = adjutant_tls::leaf(&place.tls, &place.home).ok()??;
    Some(TlsState {
        fingerprint: leaf.fingerprint.to_string(),
        valid_until: leaf
            .not_after
            .map(|it| Timestamp::from_millis(it.saturating_mul(1_000))),
    })
}

/// Starts the daemon and waits until it is ready.
///
/// The program is executed anew rather than forked: a runtime with threads does not survive a fork.
///
/// # Errors
/// `Conflict` naming the one that runs; otherwise whatever the new process ended with.
pub(crate) async fn start(
    place: &Place,
    options: &GatewayOptions,
) -> Result<GatewayState, Failure> {
    platform::can_detach()?;
    match life(&place.home) {
        Life::Up { pid, said } => return Err(runs_already(&place.home, pid, said.as_ref())),
        Life::Stale { said } => sweep(place, &said),
        Life::Down => {}
    }
    let mut log = open_log(&place.log).map_err(|error| Failure::io(place.log.display(), &error))?;
    let from = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut child = spawn(place, options, log)?;
    let begun = Instant::now();
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Failure::io("the new process", &error))?;
        if let Some(status) = ended {
            return Err(failed_start(place, status, from));
        }
        if answers(place).await {
            // It says where it is right after it begins to listen.
            let said_so = PidFile::read(&place.home).is_some_and(|it| it.pid == child.id());
            if said_so || START_MAX < begun.elapsed() {
                return Ok(state(place));
            }
        }
        if START_MAX < begun.elapsed() {
            end(&mut child);
            let message = format!(
                "the gateway did not become ready within {} s",
                START_MAX.as_secs()
            );
            return Err(
                Failure::timeout(message).with_hint(format!("its log is {}", place.log.display()))
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Stops the daemon; the state afterwards.
///
/// # Errors
/// `UNSUPPORTED` where no other process can be told to end; when the process may not be signalled, or outlives even a kill.
pub(crate) async fn stop(place: &Place) -> Result<GatewayState, Failure> {
    match life(&place.home) {
        Life::Down => return Ok(state(place)),
        Life::Stale { said } => {
            sweep(place, &said);
            return Ok(state(place));
        }
        Life::Up { pid: None, .. } => {
            let message = format!(
                "something holds {}, but does not say who it is",
                place.home.display()
            );
            return Err(
                Failure::new(Exit::Failed, "UNKNOWN_OWNER", message).with_hint(format!(
                    "look with `fuser {}`",
                    place.home.join("lock").display()
                )),
            );
        }
        Life::Up { pid: Some(pid), .. } => {
            tell_to_end(pid, Ending::Politely)?;
            if !gone_within(place, pid, place.drain + STOP_MARGIN).await {
                tell_to_end(pid, Ending::AtOnce)?;
                if !gone_within(place, pid, KILL_MAX).await {
                    let message = format!("process {pid} does not end, not even when killed");
                    return Err(Failure::timeout(message)
                        .with_hint("it may wait for a disk that does not answer"));
                }
            }
        }
    }
    // Whoever was killed could not tidy up.
    if let Life::Stale { said } = life(&place.home) {
        sweep(place, &said);
    }
    Ok(state(place))
}

/// Whether a gateway answers on the socket. One that refuses us answers, too.
pub(crate) async fn answers(place: &Place) -> bool {
    if !platform::has_door(&place.home, &place.socket) {
        return false;
    }
    let asked = async {
        let door = place.door();
        let client = Client::connect(door.endpoint, door.credential).await?;
        client.call_value("health", serde_json::json!({})).await
    };
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(_) | Err(ClientError::Refused { .. })) => true,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Removes what a dead process left: its number and its socket.
pub(crate) fn sweep(place: &Place, said: &PidFile) {
    let socket = said.socket.as_ref().unwrap_or(&place.socket);
    for path in [&PidFile::path(&place.home), socket] {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "a stale file stays"),
        }
    }
}

fn runs_already(home: &Path, pid: Option<u32>, said: Option<&PidFile>) -> Failure {
    let who = pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    );
    let at = said
        .and_then(|it| it.address)
        .map(|it| format!(" at {it}"))
        .unwrap_or_default();
    let message = format!("a gateway runs already for {}: {who}{at}", home.display());
    Failure::new(Exit::Conflict, "CONFLICT", message)
        .with_hint("`adjutant gateway restart` replaces it, `adjutant gateway stop` ends it")
}

fn spawn(place: &Place, options: &GatewayOptions, log: File) -> Result<Child, Failure> {
    let io = |error| Failure::io("the program could not be started again", &error);
    let program = std::env::current_exe().map_err(io)?;
    let errors = log.try_clone().map_err(io)?;
    let mut command = Command::new(program);
    command
        .args(["gateway", "run"])
        .env("ADJUTANT_HOME", &place.home)
        .env(DAEMON_VARIABLE, "1")
        .current_dir(&place.home)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    if let Some(config) = &place.config {
        command
            .arg("--config")
            .arg(std::path::absolute(config).map_err(io)?);
    }
    command.args(flags(options));
    command.spawn().map_err(io)
}

/// What was asked of the start, as the background process is told.
fn flags(options: &GatewayOptions) -> Vec<String> {
    // Taken apart whole, so that nothing new is left behind.
    let GatewayOptions {
        port,
        bind,
        workers,
        database_url,
    } = options;
    let given = [
        ("--port", port.map(|it| it.to_string())),
        ("--bind", bind.clone()),
        ("--workers", workers.map(|it| it.to_string())),
        ("--database-url", database_url.clone()),
    ];
    let words = given
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), value?]));
    words.flatten().collect()
}

/// Why the new process ended: its exit code is kept, its last words are the message.
fn failed_start(place: &Place, status: ExitStatus, from: u64) -> Failure {
    let said = last_words(&place.log, from);
    let line = said
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("error: "))
        .map(str::to_owned);
    let hint = said
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("hint: "))
        .map(str::to_owned);
    let (exit, code) = match status.code() {
        Some(2) => (Exit::Usage, "USAGE"),
        Some(5) => (Exit::Conflict, "CONFLICT"),
        Some(78) => (Exit::Config, "CONFIG"),
        _ => (Exit::Failed, "START_FAILED"),
    };
    let message = line.unwrap_or_else(|| format!("the gateway ended at once ({status})"));
    let hint = hint.unwrap_or_else(|| format!("its log is {}", place.log.display()));
    Failure::new(exit, code, message).with_hint(hint)
}

fn last_words(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            from.max(end.saturating_sub(LAST_WORDS_BYTES_MAX)).min(end),
        ))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // No words are a poor reason, but the exit status is still one.
    read()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        platform::folders(0o700).recursive(true).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let file = platform::with_mode(&mut options, 0o600).open(path)?;
    platform::set_file_mode(&file, 0o600)?;
    Ok(file)
}

fn end(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
        tracing::warn!(%error, "a process that did not become ready could not be ended");
    }
}

fn tell_to_end(pid: u32, how: Ending) -> Result<(), Failure> {
    platform::tell_to_end(pid, how).map_err(|error| {
        let what = format!("process {pid} cannot be stopped");
        match error.kind() {
            std::io::ErrorKind::Unsupported => {
                Failure::new(Exit::Failed, "UNSUPPORTED", format!("{what}: {error}"))
                    .with_hint("press Ctrl-C in the window it runs in")
            }
            _ => Failure::io(what, &error),
        }
    })
}

/// Waits until `pid` no longer holds the state directory.
async fn gone_within(place: &Place, pid: u32, span: Duration) -> bool {
    let begun = Instant::now();
    loop {
        match life(&place.home) {
            Life::Up { pid: Some(now), .. } if now == pid => {}
            Life::Up { .. } | Life::Down | Life::Stale { .. } => return true,
        }
        if span < begun.elapsed() {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn place(home: &Path) -> Place {
        Place {
            home: home.to_owned(),
            socket: home.join(SOCKET_FILE),
            log: home.join("logs/gateway.log"),
            config: None,
            credential: Credential::None,
            tls: adjutant_tls::Config::default(),
            drain: std::time::Duration::from_secs(10),
            service: None,
        }
    }

    fn said(pid: u32) -> PidFile {
        PidFile {
            pid,
            address: None,
            fingerprint: None,
            socket: None,
            database: None,
            version: Some("0.1.0".to_owned()),
            started_at: None,
        }
    }

    #[test]
    fn what_is_asked_of_a_start_is_asked_of_the_process_in_the_background() {
        let options = GatewayOptions {
            port: Some(1),
            bind: Some("::1".to_owned()),
            workers: Some(0),
            database_url: Some("env:DB".to_owned()),
        };
        let told = "--port 1 --bind ::1 --workers 0 --database-url env:DB";
        assert_eq!(flags(&options).join(" "), told);
        assert!(flags(&GatewayOptions::default()).is_empty());
    }

    // covers: M008, M010
    #[test]
    fn up_down_and_stale_are_three_states() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(life(dir.path()), Life::Down);
        let left = said(std::process::id());
        left.write(dir.path()).unwrap();
        assert_eq!(life(dir.path()), Life::Stale { said: left.clone() });
        assert!(!state(&place(dir.path())).running);
        let lock = adjutant_store::Lock::acquire(dir.path()).unwrap();
        let pid = Some(std::process::id());
        assert_eq!(
            life(dir.path()),
            Life::Up {
                pid,
                said: Some(left)
            }
        );
        assert!(state(&place(dir.path())).running);
        drop(lock);
        // Another test may be starting a program just now: its child holds a copy of the lock until it is executed.
        let freed = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            matches!(life(dir.path()), Life::Stale { .. })
        });
        assert!(freed);
    }

    // covers: R14
    #[test]
    fn a_number_that_another_process_has_now_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        said(1).write(dir.path()).unwrap();
        let _lock = adjutant_store::Lock::acquire(dir.path()).unwrap();
        assert_eq!(
            life(dir.path()),
            Life::Up {
                pid: Some(std::process::id()),
                said: None
            }
        );
    }

    #[tokio::test]
    async fn a_second_start_is_a_conflict_that_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = adjutant_store::Lock::acquire(dir.path()).unwrap();
        let failure = start(&place(dir.path()), &GatewayOptions::default())
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(
            failure.message.contains(&std::process::id().to_string()),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn stopping_what_is_not_there_tidies_up_and_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        assert!(!stop(&place).await.unwrap().running);
        said(1).write(dir.path()).unwrap();
        std::fs::write(&place.socket, "").unwrap();
        assert_eq!(stop(&place).await.unwrap().pid, None);
        assert!(!place.socket.exists() && !PidFile::path(dir.path()).exists());
    }

    #[test]
    fn a_failed_start_tells_the_last_words_and_keeps_the_exit_code() {
        use std::os::unix::process::ExitStatusExt;
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        drop(open_log(&place.log).unwrap());
        std::fs::write(
            &place.log,
            "old\nerror: unknown key `gateway.prot`\nhint: did you mean `gateway.port`?\n",
        )
        .unwrap();
        let failure = failed_start(&place, ExitStatus::from_raw(78 << 8), 4);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Config, "unknown key `gateway.prot`")
        );
        assert_eq!(
            failure.hint.as_deref(),
            Some("did you mean `gateway.port`?")
        );
    }
}
