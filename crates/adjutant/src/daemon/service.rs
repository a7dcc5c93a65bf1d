//! An entry of the system's service manager, so that the gateway or the node starts at every login.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use adjutant_cli::{Exit, Failure, Removing, ServiceState};

use crate::platform::{folders, with_mode};

/// Longest wait for the service manager.
const MANAGER_MAX: Duration = Duration::from_secs(10);

/// Who starts services here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    Launchd,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name of the systemd unit.
    unit: &'static str,
    /// Name of the launchd agent.
    label: &'static str,
    /// For people.
    what: &'static str,
    /// Arguments of the program.
    args: Vec<String>,
    /// How long it may take to end when it is told to.
    stop_within: Duration,
}

/// What ending may take beside what is under way.
const STOP_MARGIN: Duration = Duration::from_secs(10);

impl Entry {
    /// `gateway run`, whose workers have this long for the steps under way when it is told to stop.
    pub(crate) fn gateway(drain: Duration) -> Self {
        Self {
            unit: "adjutant.service",
            label: "app.adjutant.gateway",
            what: "gateway",
            args: vec!["gateway".to_owned(), "run".to_owned()],
            stop_within: drain + STOP_MARGIN,
        }
    }

    /// `node run` with `args`.
    pub(crate) fn node(args: Vec<String>) -> Self {
        let words = ["node", "run"].into_iter().map(str::to_owned);
        Self {
            unit: "adjutant-node.service",
            label: "app.adjutant.node",
            what: "node",
            args: words.chain(args).collect(),
            stop_within: STOP_MARGIN * 2,
        }
    }
}

/// The entry of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    entry: Entry,
    manager: Manager,
    file: PathBuf,
    program: PathBuf,
    home: PathBuf,
    log: PathBuf,
}

impl Service {
    /// The entry for the state directory `home`; none on a system whose service manager we do not know.
    ///
    /// `config_home` is `XDG_CONFIG_HOME`, if it is set.
    pub(crate) fn of(
        entry: Entry,
        user_home: &Path,
        config_home: Option<&Path>,
        home: &Path,
        log: &Path,
        program: PathBuf,
    ) -> Option<Self> {
        let (manager, file) = if cfg!(target_os = "linux") {
            let base = config_home
                .filter(|it| it.is_absolute())
                .map_or_else(|| user_home.join(".config"), Path::to_owned);
            (Manager::Systemd, base.join("systemd/user").join(entry.unit))
        } else if cfg!(target_os = "macos") {
            (
                Manager::Launchd,
                user_home
                    .join("Library/LaunchAgents")
                    .join(format!("{}.plist", entry.label)),
            )
        } else {
            return None;
        };
        Some(Self {
            entry,
            manager,
            file,
            program,
            home: home.to_owned(),
            log: log.to_owned(),
        })
    }

    /// The entry for this program and this person.
    pub(crate) fn here(entry: Entry, home: &Path, log: &Path) -> Option<Self> {
        let config_home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let user = crate::home::user_home()?;
        let program = std::env::current_exe().ok()?;
        Self::of(entry, &user, config_home.as_deref(), home, log, program)
    }

    /// The file it consists of.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The program the installed entry starts; none when it is not installed or names none.
    pub(crate) fn installed_program(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        let quoted = match self.manager {
            Manager::Systemd => text
                .lines()
                .find_map(|line| line.strip_prefix("ExecStart=\""))?
                .split('"')
                .next()?,
            Manager::Launchd => text
                .split("<key>ProgramArguments</key>")
                .nth(1)?
                .split("<string>")
                .nth(1)?
                .split("</string>")
                .next()?,
        };
        Some(PathBuf::from(quoted.replace("%%", "%").replace("$$", "$")))
    }

    fn name(&self) -> &'static str {
        match self.manager {
            Manager::Systemd => "systemd",
            Manager::Launchd => "launchd",
        }
    }

    fn text(&self) -> Result<String, Failure> {
        let (program, home, log) = (path(&self.program)?, path(&self.home)?, path(&self.log)?);
        for it in &self.entry.args {
            word(Some(it), it)?;
        }
        Ok(match self.manager {
            Manager::Systemd => unit(&self.entry, program, home),
            Manager::Launchd => plist(&self.entry, program, home, log),
        })
    }

    fn state(&self, note: Option<String>) -> ServiceState {
        ServiceState {
            manager: self.name().to_owned(),
            files: vec![self.file.clone()],
            installed: is_installed(self),
            note,
        }
    }
}

/// A word that cannot end its line or its quotes.
fn word<'a>(text: Option<&'a str>, shown: &dyn std::fmt::Display) -> Result<&'a str, Failure> {
    let forbidden = |it: char| it.is_control() || ['"', '\\', '<', '&'].contains(&it);
    text.filter(|it| !it.contains(forbidden)).ok_or_else(|| {
        let message = format!("{shown} cannot be written into a service file");
        Failure::new(Exit::Failed, "SERVICE", message).with_hint("use plain characters")
    })
}

fn path(path: &Path) -> Result<&str, Failure> {
    word(path.to_str(), &path.display())
}

/// Whether the entry is there.
pub(crate) fn is_installed(service: &Service) -> bool {
    service.file.is_file()
}

/// Writes the entry and tells the service manager, if there is one to tell.
///
/// # Errors
/// When the file cannot be written.
pub(crate) async fn install(service: &Service) -> Result<ServiceState, Failure> {
    let text = service.text()?;
    replace(&service.file, &text).map_err(|error| Failure::io(service.file.display(), &error))?;
    let steps = match service.manager {
        Manager::Systemd => vec![
            vec!["systemctl", "--user", "daemon-reload"],
            vec!["systemctl", "--user", "enable", service.entry.unit],
        ],
        Manager::Launchd => vec![],
    };
    let mut note = match service.manager {
        Manager::Systemd => format!(
            "it starts at the next login; `systemctl --user start {}` starts it now, `loginctl enable-linger` keeps it \
             running without a login",
            service.entry.unit.trim_end_matches(".service")
        ),
        Manager::Launchd => format!(
            "it starts at the next login; `launchctl load {}` starts it now",
            service.file.display()
        ),
    };
    if let Err(why) = tell(&steps).await {
        note = format!(
            "{why}; the file is written: run `systemctl --user daemon-reload && systemctl --user enable {}` where a user \
             service manager runs",
            service.entry.unit
        );
    }
    let keys = service.home.join("environment");
    note.push_str(&format!(
        ". Services do not see the variables of a shell: put keys as NAME=value into {} (mode 600)",
        keys.display()
    ));
    Ok(service.state(Some(note)))
}

/// Removes the entry, or says what would go.
///
/// # Errors
/// When the file cannot be removed.
pub(crate) async fn uninstall(service: &Service, how: Removing) -> Result<ServiceState, Failure> {
    if !is_installed(service) {
        return Ok(service.state(Some("it is not installed".to_owned())));
    }
    if how == Removing::DryRun {
        let note = format!(
            "{} would be removed; the state directory stays",
            service.file.display()
        );
        return Ok(service.state(Some(note)));
    }
    let (before, after) = match service.manager {
        Manager::Systemd => (
            vec![vec!["systemctl", "--user", "disable", service.entry.unit]],
            vec![vec!["systemctl", "--user", "daemon-reload"]],
        ),
        Manager::Launchd => (vec![], vec![]),
    };
    let told = tell(&before).await;
    std::fs::remove_file(&service.file)
        .map_err(|error| Failure::io(service.file.display(), &error))?;
    let told = match told {
        Ok(()) => tell(&after).await,
        Err(why) => Err(why),
    };
    let mut note = format!(
        "removed; a {} that runs goes on until it is stopped",
        service.entry.what
    );
    if let Err(why) = told {
        note = format!("the file is removed, but {why}");
    }
    Ok(service.state(Some(note)))
}

/// Runs each command to its end. The error says why the service manager was not told.
async fn tell(commands: &[Vec<&str>]) -> Result<(), String> {
    for words in commands {
        let [program, arguments @ ..] = words.as_slice() else {
            continue;
        };
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let shown = words.join(" ");
        match tokio::time::timeout(MANAGER_MAX, command.output()).await {
            Err(_too_late) => return Err(format!("`{shown}` does not answer")),
            Ok(Err(error)) => return Err(format!("`{shown}` cannot be run: {error}")),
            Ok(Ok(output)) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or_default().trim();
                return Err(format!("`{shown}` failed ({said})"));
            }
            Ok(Ok(_)) => {}
        }
    }
    Ok(())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        folders(0o755).recursive(true).create(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = with_mode(&mut options, 0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

/// The systemd user unit. No `RestrictNamespaces`, `ProtectProc` or `ProtectKernelTunables`: the sandbox builds its own,
/// tighter namespaces around each command, and these would keep it from doing so. `Delegate` gives it control groups.
fn unit(entry: &Entry, program: &str, home: &str) -> String {
    let percent = |text: &str| text.replace('%', "%%");
    let quote = |text: &str| format!("\"{}\"", percent(text).replace('$', "$$"));
    // Plain words stay as they are, as people would write them.
    let plain = |it: &String| {
        it.bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"-_./:".contains(&it))
    };
    let words: Vec<String> = entry
        .args
        .iter()
        .map(|it| if plain(it) { it.clone() } else { quote(it) })
        .collect();
    let (command, state) = (quote(program), percent(home));
    let stop = entry.stop_within.as_secs();
    let (what, words) = (entry.what, words.join(" "));
    format!(
        "[Unit]\n\
         Description=Adjutant {what}\n\
         StartLimitIntervalSec=60\n\
         StartLimitBurst=5\n\
         \n\
         [Service]\n\
         Type=simple\n\
         Environment=\"ADJUTANT_HOME={state}\"\n\
         EnvironmentFile=-{state}/environment\n\
         ExecStart={command} {words}\n\
         Restart=on-failure\n\
         RestartSec=2\n\
         RestartPreventExitStatus=2 5 78\n\
         KillMode=mixed\n\
         TimeoutStopSec={stop}\n\
         Delegate=yes\n\
         UMask=0077\n\
         LimitCORE=0\n\
         LimitNOFILE=65536\n\
         NoNewPrivileges=yes\n\
         LockPersonality=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         SystemCallArchitectures=native\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    )
}

/// The launchd agent.
fn plist(entry: &Entry, program: &str, home: &str, log: &str) -> String {
    let words: String = entry
        .args
        .iter()
        .map(|it| format!("\t\t<string>{it}</string>\n"))
        .collect();
    let label = entry.label;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         \t<key>Label</key>\n\t<string>{label}</string>\n\
         \t<key>ProgramArguments</key>\n\t<array>\n\
         \t\t<string>{program}</string>\n{words}\t</array>\n\
         \t<key>EnvironmentVariables</key>\n\t<dict>\n\
         \t\t<key>ADJUTANT_HOME</key>\n\t\t<string>{home}</string>\n\t</dict>\n\
         \t<key>RunAtLoad</key>\n\t<true/>\n\
         \t<key>KeepAlive</key>\n\t<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>\n\
         \t<key>Umask</key>\n\t<integer>63</integer>\n\
         \t<key>StandardOutPath</key>\n\t<string>{log}</string>\n\
         \t<key>StandardErrorPath</key>\n\t<string>{log}</string>\n\
         </dict>\n</plist>\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DRAIN: Duration = Duration::from_secs(25);

    #[test]
    fn the_unit_restarts_after_a_failure_but_not_after_a_wrong_configuration() {
        let text = unit(
            &Entry::gateway(DRAIN),
            "/opt/100%/adjutant",
            "/home/ada/.adjutant",
        );
        assert!(
            text.contains("ExecStart=\"/opt/100%%/adjutant\" gateway run\n"),
            "{text}"
        );
        for line in [
            "Restart=on-failure",
            "RestartPreventExitStatus=2 5 78",
            "NoNewPrivileges=yes",
            "UMask=0077",
            // What the workers have, and a margin: the manager kills later than the gateway lets go.
            "TimeoutStopSec=35",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}");
        }
        assert!(
            !text.contains("RestrictNamespaces"),
            "the sandbox could not build its walls"
        );
    }

    #[test]
    fn a_node_has_a_unit_of_its_own_and_its_arguments_stay_one_word_each() {
        let args = ["--gateway", "wss://home:18789/", "--name", "my $box 5%"];
        let entry = Entry::node(args.into_iter().map(str::to_owned).collect());
        let text = unit(&entry, "/opt/adjutant", "/home/ada/.adjutant");
        let line = "ExecStart=\"/opt/adjutant\" node run --gateway wss://home:18789/ --name \"my $$box 5%%\"\n";
        assert!(text.contains(line), "{text}");
        let home = Path::new("/home/ada");
        for evil in ["a\nExecStartPre=evil", "a\" b", "a\\"] {
            let entry = Entry::node(vec![evil.to_owned()]);
            if let Some(service) =
                Service::of(entry, home, None, home, home, PathBuf::from("/opt/a"))
            {
                assert!(service.text().is_err(), "{evil:?}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn removing_can_be_looked_at_first() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("state");
        let program = PathBuf::from("/opt/adjutant");
        let service = Service::of(
            Entry::gateway(DRAIN),
            dir.path(),
            None,
            &home,
            &home.join("log"),
            program.clone(),
        )
        .unwrap();
        assert!(!is_installed(&service));
        replace(service.file(), &service.text().unwrap()).unwrap();
        assert_eq!(service.installed_program(), Some(program));
        assert!(
            uninstall(&service, Removing::DryRun)
                .await
                .unwrap()
                .installed
        );
        assert!(is_installed(&service));
    }

    #[test]
    fn a_path_that_could_end_its_line_is_refused() {
        let home = Path::new("/tmp/a\nExecStartPre=evil");
        if let Some(service) = Service::of(
            Entry::gateway(DRAIN),
            Path::new("/home/ada"),
            None,
            home,
            home,
            PathBuf::from("/opt/a"),
        ) {
            assert!(service.text().is_err());
        }
    }
}
