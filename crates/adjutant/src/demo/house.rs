//! The throwaway installation: a folder, a sample workspace, a gateway process. All of it is gone afterwards.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use adjutant_cli::{DemoFolder, Exit, Failure};
use adjutant_client::{Client, Credential};
use adjutant_ports::Entropy as _;

use super::talk::Session;
use crate::daemon::{Place, SOCKET_FILE, answers};
use crate::doors::OsEntropy;
use crate::platform::{self, Ending, Endings};

/// What lies in a file that no command of the agent may read.
pub(super) const SECRET: &str = "demo-secret-that-must-not-leak";

/// Longest wait for the gateway, and for a file to have some words.
const START_MAX: Duration = Duration::from_secs(20);
const FILE_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The sample workspace.
pub(super) mod sample {
    pub(crate) const TODO: &str =
        "# To do\n- [ ] water the plants\n- [ ] answer Ada's letter\n- [x] buy light bulbs\n";
    pub(crate) const NOTES: &[(&str, &str)] = &[
        (
            "garden.md",
            "# Garden\nThe tomatoes want milk and sun, says the neighbour.\n",
        ),
        ("trip.md", "# Trip\nTrain at 8:40, seats 61 and 62.\n"),
    ];
    pub(super) const DATA: &str = "month,kwh\nJanuary,210\nFebruary,190\nMarch,160\n";
    pub(super) const README: &str =
        "# A sample workspace\nEverything in here may be changed; it is thrown away.\n";
}

/// What must not outlive the demonstration.
#[derive(Debug, Default)]
struct Leftovers {
    process: Option<u32>,
    folder: Option<PathBuf>,
}

impl Leftovers {
    fn clear(&mut self) {
        if let Some(pid) = self.process.take()
            && let Err(error) = platform::tell_to_end(pid, Ending::AtOnce)
        {
            tracing::debug!(%error, "the process of the demonstration was gone already");
        }
        if let Some(folder) = self.folder.take() {
            remove(&folder);
        }
    }
}

/// A process that is being killed may still make a file: the second try gets it.
fn remove(folder: &Path) {
    for _ in 0..20 {
        match fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => tracing::debug!(%error, "the demonstration's folder is still in use"),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The folder and the gateway in it.
pub(super) struct House {
    root: PathBuf,
    place: Place,
    child: Option<Child>,
    leftovers: Arc<Mutex<Leftovers>>,
    // Dropping it ends the thread that waits for Ctrl-C.
    _watch: oneshot::Sender<()>,
}

impl House {
    /// Makes an empty one. From here on Ctrl-C tidies up, too.
    pub(super) fn build(folder: DemoFolder) -> Result<Self, Failure> {
        let name = format!("adjutant-demo-{:08x}", OsEntropy.next_u128() & 0xffff_ffff);
        let root = std::env::temp_dir().join(name);
        platform::folders(0o700)
            .create(&root)
            .map_err(|error| Failure::io(root.display(), &error))?;
        // Links on the way, as in macOS, would make paths look different from inside.
        let root = fs::canonicalize(&root).unwrap_or(root);
        let home = root.join("state");
        let place = Place {
            socket: home.join(SOCKET_FILE),
            log: root.join("gateway.log"),
            home,
            config: None,
            credential: Credential::None,
            tls: adjutant_tls::Config::default(),
            drain: adjutant_engine::Config::default().drain.duration(),
            service: None,
        };
        let folder = match folder {
            DemoFolder::Remove => Some(root.clone()),
            DemoFolder::Keep => None,
        };
        let leftovers = Arc::new(Mutex::new(Leftovers {
            process: None,
            folder,
        }));
        let watch = watch(Arc::clone(&leftovers))?;
        Ok(Self {
            root,
            place,
            child: None,
            leftovers,
            _watch: watch,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    /// Sample files, a secret to be kept, and `setup`, run as a person would run it.
    pub(super) async fn furnish(&self) -> Result<(), Failure> {
        let put = |path: PathBuf, text: &str| {
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| fs::write(&path, text))
                .map_err(|error| Failure::io(path.display(), &error))
        };
        let workspace = self.workspace();
        put(workspace.join("todo.md"), sample::TODO)?;
        put(workspace.join("README.md"), sample::README)?;
        put(workspace.join("data.csv"), sample::DATA)?;
        for (name, text) in sample::NOTES {
            put(workspace.join("notes").join(name), text)?;
        }
        put(self.root.join("home/.ssh/id_demo"), SECRET)?;
        let mut setup = self.program()?;
        setup
            .args([
                "setup",
                "--non-interactive",
                "--provider",
                "offline",
                "--agent-workspace",
            ])
            .arg(&workspace);
        let output = setup
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| Failure::io("setup", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(broken(format!("`setup` failed: {}", said.trim())));
        }
        Ok(())
    }

    /// Starts the gateway and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.place.log);
        let log = log.map_err(|error| Failure::io(self.place.log.display(), &error))?;
        let errors = log
            .try_clone()
            .map_err(|error| Failure::io(self.place.log.display(), &error))?;
        let mut command = self.program()?;
        command
            .args(["gateway", "run", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        // Ctrl-C is for us, and we end it.
        platform::in_a_group(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::io("the gateway", &error))?;
        self.keep_pid(child.id());
        let begun = Instant::now();
        while !answers(&self.place).await {
            let ended = child
                .try_wait()
                .map_err(|error| Failure::io("the gateway", &error))?;
            if let Some(status) = ended {
                self.keep_pid(None);
                return Err(broken(format!(
                    "the gateway ended at once ({status}): {}",
                    self.last_words()
                )));
            }
            if START_MAX < begun.elapsed() {
                return Err(broken(format!(
                    "the gateway does not answer: {}",
                    self.last_words()
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Kills the gateway without a warning. Its process number.
    pub(super) async fn kill(&mut self) -> Result<u32, Failure> {
        let Some(mut child) = self.child.take() else {
            return Err(broken("there is no gateway to kill"));
        };
        let pid = child
            .id()
            .ok_or_else(|| broken("the gateway ended before it was killed"))?;
        child
            .kill()
            .await
            .map_err(|error| Failure::io("the gateway", &error))?;
        self.keep_pid(None);
        Ok(pid)
    }

    /// Fails with the gateway's last words if it is not there any more.
    pub(super) fn is_alive(&self) -> Result<(), Failure> {
        match crate::daemon::life(&self.place.home) {
            crate::daemon::Life::Up { .. } => Ok(()),
            crate::daemon::Life::Down | crate::daemon::Life::Stale { .. } => Err(broken(format!(
                "the gateway is gone: {}",
                self.last_words()
            ))),
        }
    }

    /// Ends the gateway, politely at first, and removes the folder.
    pub(super) async fn close(&mut self) {
        if let Some(mut child) = self.child.take() {
            let told = child
                .id()
                .is_some_and(|pid| platform::tell_to_end(pid, Ending::Politely).is_ok());
            let ended = told
                && tokio::time::timeout(Duration::from_secs(3), child.wait())
                    .await
                    .is_ok();
            if !ended && let Err(error) = child.kill().await {
                tracing::debug!(%error, "the gateway of the demonstration was gone already");
            }
        }
        self.keep_pid(None);
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// A connection, and a session by that name.
    pub(super) async fn session(&self, key: &'static str) -> Result<Session, Failure> {
        let door = self.place.door();
        let client = Client::connect_with(door.endpoint, door.credential, Duration::ZERO).await?;
        Session::open(client, key).await
    }

    /// Waits until the file has the words.
    pub(super) async fn wait_for(&self, path: &Path, words: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        while !fs::read_to_string(path).is_ok_and(|text| text.contains(words)) {
            if FILE_MAX < begun.elapsed() {
                return Err(broken(format!("{} does not get `{words}`", path.display())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// This program with the environment of the throwaway installation: no key, no setting, no token of the real one.
    fn program(&self) -> Result<Command, Failure> {
        let program =
            std::env::current_exe().map_err(|error| Failure::io("this program", &error))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command
            .env("ADJUTANT_HOME", &self.place.home)
            .env("HOME", self.root.join("home"))
            .current_dir(&self.root)
            .kill_on_drop(true);
        Ok(command)
    }

    fn keep_pid(&self, pid: Option<u32>) {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .process = pid;
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.place.log)
            .map(|it| String::from_utf8_lossy(&it).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn is_ours(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("ADJUTANT_") || name.ends_with("_API_KEY") || name.starts_with("XDG_")
}

fn broken(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, "DEMO", message)
}

/// Tidies up and ends the process on Ctrl-C, a closed terminal or a request to end. A thread of its own: the
/// demonstration may be waiting for a person.
fn watch(leftovers: Arc<Mutex<Leftovers>>) -> Result<oneshot::Sender<()>, Failure> {
    let wrong = |error: std::io::Error| Failure::io("signals", &error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(wrong)?;
    let (over, ended) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async {
            let Ok(mut endings) = Endings::listen() else {
                return;
            };
            tokio::select! {
                _ = ended => return,
                () = endings.next() => {}
            }
            leftovers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            std::process::exit(i32::from(Exit::Interrupted.number()));
        });
    };
    std::thread::Builder::new()
        .name("demo-signals".to_owned())
        .spawn(run)
        .map_err(wrong)?;
    Ok(over)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_folder_and_the_process_are_gone_whatever_happens() {
        let house = House::build(DemoFolder::Remove).unwrap();
        let root = house.root().to_owned();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        house.keep_pid(Some(child.id()));
        assert!(root.is_dir());
        drop(house);
        assert!(!root.exists());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn nothing_of_the_real_installation_reaches_the_throwaway_one() {
        for name in [
            "ADJUTANT_HOME",
            "ADJUTANT_GATEWAY_TOKEN",
            "OPENAI_API_KEY",
            "XDG_CONFIG_HOME",
        ] {
            assert!(is_ours(&OsString::from(name)), "{name}");
        }
        assert!(!is_ours(&OsString::from("PATH")));
    }
}
