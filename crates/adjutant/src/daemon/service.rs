//! An entry of the system's service manager, so that the gateway starts at every login.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use adjutant_cli::{Exit, Failure, Removing, ServiceState};

/// Name of the systemd unit.
const UNIT: &str = "adjutant.service";
/// Name of the launchd agent.
const LABEL: &str = "app.adjutant.gateway";
/// Longest wait for the service manager.
const MANAGER_MAX: Duration = Duration::from_secs(10);

/// Who starts services here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    Launchd,
}

/// The entry of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
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
            (Manager::Systemd, base.join("systemd/user").join(UNIT))
        } else if cfg!(target_os = "macos") {
            (
                Manager::Launchd,
                user_home
                    .join("Library/LaunchAgents")
                    .join(format!("{LABEL}.plist")),
            )
        } else {
            return None;
        };
        Some(Self {
            manager,
            file,
            program,
            home: home.to_owned(),
            log: log.to_owned(),
        })
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
        let word = |path: &Path| {
            let text = path
                .to_str()
                .filter(|it| !it.contains(['"', '\\', '\n', '<', '&']));
            text.map(str::to_owned).ok_or_else(|| {
                let message = format!("{} cannot be written into a service file", path.display());
                Failure::new(Exit::Failed, "SERVICE", message)
                    .with_hint("use a path of plain characters")
            })
        };
        let (program, home, log) = (word(&self.program)?, word(&self.home)?, word(&self.log)?);
        Ok(match self.manager {
            Manager::Systemd => unit(&program, &home),
            Manager::Launchd => plist(&program, &home, &log),
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
            vec!["systemctl", "--user", "enable", UNIT],
        ],
        Manager::Launchd => vec![],
    };
    let mut note = match service.manager {
        Manager::Systemd => {
            "it starts at the next login; `systemctl --user start adjutant` starts it now, \
                             `loginctl enable-linger` keeps it running without a login"
                .to_owned()
        }
        Manager::Launchd => format!(
            "it starts at the next login; `launchctl load {}` starts it now",
            service.file.display()
        ),
    };
    if let Err(why) = tell(&steps).await {
        note = format!(
            "{why}; the file is written: run `systemctl --user daemon-reload && systemctl --user enable {UNIT}` where \
             a user service manager runs"
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
            vec![vec!["systemctl", "--user", "disable", UNIT]],
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
    let mut note = "removed; a gateway that runs goes on until it is stopped".to_owned();
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
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

/// The systemd user unit. No `RestrictNamespaces`, `ProtectProc` or `ProtectKernelTunables`: the sandbox builds its own,
/// tighter namespaces around each command, and these would keep it from doing so. `Delegate` gives it control groups.
fn unit(program: &str, home: &str) -> String {
    let percent = |text: &str| text.replace('%', "%%");
    let (command, state) = (percent(program).replace('$', "$$"), percent(home));
    format!(
        "[Unit]\n\
         Description=Adjutant gateway\n\
         StartLimitIntervalSec=60\n\
         StartLimitBurst=5\n\
         \n\
         [Service]\n\
         Type=simple\n\
         Environment=\"ADJUTANT_HOME={state}\"\n\
         EnvironmentFile=-{state}/environment\n\
         ExecStart=\"{command}\" gateway run\n\
         Restart=on-failure\n\
         RestartSec=2\n\
         RestartPreventExitStatus=2 5 78\n\
         KillMode=mixed\n\
         TimeoutStopSec=20\n\
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
fn plist(program: &str, home: &str, log: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         \t<key>Label</key>\n\t<string>{LABEL}</string>\n\
         \t<key>ProgramArguments</key>\n\t<array>\n\
         \t\t<string>{program}</string>\n\t\t<string>gateway</string>\n\t\t<string>run</string>\n\t</array>\n\
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

    #[test]
    fn the_unit_restarts_after_a_failure_but_not_after_a_wrong_configuration() {
        let text = unit("/opt/100%/adjutant", "/home/ada/.adjutant");
        assert!(
            text.contains("ExecStart=\"/opt/100%%/adjutant\" gateway run\n"),
            "{text}"
        );
        for line in [
            "Restart=on-failure",
            "RestartPreventExitStatus=2 5 78",
            "NoNewPrivileges=yes",
            "UMask=0077",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}");
        }
        assert!(
            !text.contains("RestrictNamespaces"),
            "the sandbox could not build its walls"
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn removing_can_be_looked_at_first() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("state");
        let program = PathBuf::from("/opt/adjutant");
        let service =
            Service::of(dir.path(), None, &home, &home.join("log"), program.clone()).unwrap();
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
