//! Configuration, logs, workspace, backups, the program itself.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use adjutant_cli::Severity;

use super::state::mode;
use super::{Findings, HAS_MODES, Mend, NO_MODES, Subject, any_of, size};
use crate::daemon::is_installed;
use crate::platform::folders;
use crate::setup::check_workspace;

/// A log directory larger than this was not rotated as configured.
const LOG_BYTES_SLACK: u64 = 10 << 20;
/// A store older than this should have a backup.
const BACKUP_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn look(subject: &Subject, found: &mut Findings) {
    config(subject, found);
    logs(subject, found);
    workspace(subject, found);
    backups(&subject.place.home, found);
    program(subject, found);
    service(subject, found);
}

fn config(subject: &Subject, found: &mut Findings) {
    let path = &subject.config_file;
    match &subject.config_problem {
        None => found.ok("config.valid", path.display().to_string()),
        Some(problem) => found.error("config.valid", problem.clone(), "adjutant config edit"),
    }
    match fs::metadata(path) {
        Err(_) => found.warning(
            "config.file",
            format!("{} does not exist: defaults are in force", path.display()),
            "adjutant setup",
        ),
        Ok(metadata) => {
            found.ok("config.file", size(metadata.len()));
            mode(found, "config.permissions", path, &metadata, 0o600);
        }
    }
    if let Ok(text) = fs::read_to_string(path) {
        // A reference such as `env:NAME` is no secret; what the log would mask is one.
        let line = text
            .lines()
            .position(|line| adjutant_telemetry::redact(line) != line);
        match line {
            None => found.ok("config.secrets", "no key or password is written out in it"),
            Some(at) => found.error(
                "config.secrets",
                format!("line {} looks like a key or password", at + 1),
                "put it into a variable and write `env:NAME`, and make a new key: this one was on disk",
            ),
        }
    }
    let known = [
        "HOME",
        "CONFIG",
        "GATEWAY_TOKEN",
        "LOG",
        "PROFILE",
        "VAULT_KEY",
        "NO_UPDATE",
    ];
    let unknown: Vec<&str> = subject
        .env
        .keys()
        .filter_map(|name| {
            name.strip_prefix("ADJUTANT_")
                .filter(|rest| !rest.contains("__") && !rest.starts_with("TEST_"))
        })
        .filter(|rest| !known.contains(rest))
        .collect();
    found.expect(
        "config.variables",
        unknown.is_empty(),
        "every variable that begins with `ADJUTANT_` is known",
        format!(
            "unknown: {}",
            unknown
                .iter()
                .map(|it| format!("ADJUTANT_{it}"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        "settings are written `ADJUTANT_SECTION__KEY`; unset the others",
    );
}

fn logs(subject: &Subject, found: &mut Findings) {
    let Some(folder) = subject.place.log.parent() else {
        return;
    };
    match fs::metadata(folder) {
        Err(_) => {
            let mend = Mend::new(format!("mkdir -m 700 {}", folder.display()), || {
                folders(0o700).recursive(true).create(folder)
            });
            found.fixable(
                "log.folder",
                Severity::Warning,
                format!("{} does not exist", folder.display()),
                mend,
            );
        }
        Ok(_) => match probe_write(folder) {
            Ok(()) => found.ok("log.folder", format!("{} can be written", folder.display())),
            Err(error) => found.error(
                "log.folder",
                format!("{}: {error}", folder.display()),
                "set `logging.path` to a place that can be written",
            ),
        },
    }
    let logging = &subject.config.logging;
    let most = logging
        .max_bytes
        .saturating_mul(u64::from(logging.keep) + 1)
        .saturating_add(LOG_BYTES_SLACK);
    let all: Vec<(PathBuf, Metadata)> = files_in(folder);
    let total: u64 = all.iter().map(|(_, it)| it.len()).sum();
    found.expect(
        "log.size",
        total <= most,
        size(total),
        format!(
            "{}, more than `logging.max_bytes` and `logging.keep` allow",
            size(total)
        ),
        format!(
            "look into {} and remove what is not needed",
            folder.display()
        ),
    );
    if let Ok(metadata) = fs::metadata(&subject.place.log) {
        mode(
            found,
            "log.permissions",
            &subject.place.log,
            &metadata,
            0o600,
        );
    }
}

fn workspace(subject: &Subject, found: &mut Findings) {
    let home = &subject.place.home;
    let folder = subject
        .config
        .agents
        .workspace
        .as_deref()
        .map_or_else(|| home.join("workspace"), PathBuf::from);
    if let Err(failure) = check_workspace(&folder, home) {
        found.error(
            "workspace.place",
            failure.message,
            "adjutant setup --agent-workspace DIR",
        );
    } else if subject.user_home.as_deref() == Some(folder.as_path()) {
        found.error(
            "workspace.place",
            "it is your whole home directory",
            "adjutant setup --agent-workspace DIR",
        );
    } else {
        found.ok("workspace.place", folder.display().to_string());
    }
    match fs::metadata(&folder) {
        Err(_) => {
            let mend = Mend::new(format!("mkdir -m 700 {}", folder.display()), || {
                folders(0o700).recursive(true).create(&folder)
            });
            found.fixable(
                "workspace.exists",
                Severity::Warning,
                format!("{} does not exist", folder.display()),
                mend,
            );
        }
        Ok(metadata) => {
            match probe_write(&folder) {
                Ok(()) => found.ok("workspace.exists", "it exists and can be written"),
                Err(error) => found.error(
                    "workspace.exists",
                    format!("it cannot be written: {error}"),
                    format!("chmod u+rwx {}", folder.display()),
                ),
            }
            if !HAS_MODES {
                return found.skipped("workspace.permissions", NO_MODES);
            }
            found.expect(
                "workspace.permissions",
                !any_of(&metadata, 0o002),
                "others cannot write there",
                "any user of this machine can put words for the agent there",
                format!("chmod o-w {}", folder.display()),
            );
        }
    }
}

fn backups(home: &Path, found: &mut Findings) {
    let store = home.join(adjutant_store::FILE_NAME);
    let age = |path: &Path| {
        fs::metadata(path)
            .ok()?
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
    };
    let born = fs::metadata(&store).ok().and_then(|it| it.created().ok());
    let old_store = born
        .and_then(|at| SystemTime::now().duration_since(at).ok())
        .is_some_and(|it| BACKUP_AGE_MAX < it);
    let newest = files_in(&home.join("backups"))
        .into_iter()
        .filter_map(|(path, _)| age(&path))
        .min();
    match newest {
        Some(age) if age <= BACKUP_AGE_MAX => found.ok(
            "backup.age",
            format!("the newest is {} days old", age.as_secs() / 86_400),
        ),
        _ if !old_store => found.ok("backup.age", "the store is younger than a month"),
        _ => found.warning(
            "backup.age",
            "the store is older than a month and there is no backup of this month",
            format!(
                "stop the gateway and copy {} to another disk",
                home.display()
            ),
        ),
    }
    let damaged: Vec<PathBuf> = files_in(home)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            path.file_name()
                .is_some_and(|it| it.to_string_lossy().contains(".damaged-"))
        })
        .collect();
    found.expect(
        "store.damaged",
        damaged.is_empty(),
        "no damaged store was put aside",
        format!("{} damaged files are kept", damaged.len()),
        "restore what you need from them or from a backup, then remove them",
    );
}

fn program(subject: &Subject, found: &mut Findings) {
    let Ok(path) = std::env::current_exe() else {
        return found.skipped("program.file", "the program's own file cannot be found out");
    };
    let deleted = path.to_string_lossy().ends_with(" (deleted)");
    found.expect(
        "program.file",
        !deleted,
        path.display().to_string(),
        "the file of this program was replaced while it runs",
        "start it again",
    );
    if !HAS_MODES {
        found.skipped("program.permissions", NO_MODES);
    } else if let Ok(metadata) = fs::metadata(&path) {
        let open = any_of(&metadata, 0o002);
        let open_folder = path
            .parent()
            .and_then(|it| fs::metadata(it).ok())
            .is_some_and(|it| any_of(&it, 0o002) && !any_of(&it, 0o1000));
        if open || open_folder {
            found.error(
                "program.permissions",
                "any user of this machine can replace the program",
                format!("chmod o-w {} and its folder", path.display()),
            );
        } else {
            found.ok("program.permissions", "others cannot replace it");
        }
    }
    let temp = std::env::temp_dir();
    match probe_write(&temp) {
        Ok(()) => found.ok("temp.writable", temp.display().to_string()),
        Err(error) => found.error(
            "temp.writable",
            format!("{}: {error}", temp.display()),
            "set TMPDIR to a folder that can be written",
        ),
    }
    if let Some(home) = &subject.user_home {
        let keys = home.join(".ssh");
        match fs::metadata(&keys) {
            Ok(_) if !HAS_MODES => found.skipped("home.keys", NO_MODES),
            Ok(it) if any_of(&it, 0o077) => {
                found.warning(
                    "home.keys",
                    format!("{} can be entered by others", keys.display()),
                    format!("chmod 700 {}", keys.display()),
                );
            }
            Ok(_) => found.ok("home.keys", format!("{} is private", keys.display())),
            Err(_) => found.skipped("home.keys", format!("there is no {}", keys.display())),
        }
    }
}

fn service(subject: &Subject, found: &mut Findings) {
    let Some(service) = &subject.place.service else {
        return found.skipped(
            "service.entry",
            "the service manager of this system is not known",
        );
    };
    if !is_installed(service) {
        return found.skipped(
            "service.entry",
            "not installed; `adjutant gateway install` starts the gateway at every login",
        );
    }
    let current = std::env::current_exe().ok();
    match service.installed_program() {
        Some(program) if !program.exists() => {
            found.error(
                "service.entry",
                format!("it starts {}, which does not exist", program.display()),
                "adjutant gateway install",
            );
        }
        Some(program) if current.as_ref() != Some(&program) => {
            found.warning(
                "service.entry",
                format!("it starts {}, not this program", program.display()),
                "adjutant gateway install",
            );
        }
        Some(_) => found.ok("service.entry", service.file().display().to_string()),
        None => found.error(
            "service.entry",
            format!("{} names no program", service.file().display()),
            "adjutant gateway install",
        ),
    }
}

fn files_in(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|it| {
            let it = it.ok()?;
            Some((it.path(), it.metadata().ok()?))
        })
        .filter(|(_, it)| it.is_file())
        .collect()
}

/// Makes and removes a file: permission bits alone do not tell.
fn probe_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".adjutant-doctor-{}", std::process::id()));
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(path)
}
