//! This machine: sandbox, kernel, limits, clock, programs, terminal.

use std::env::consts::EXE_SUFFIX;
use std::fs::Metadata;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{Findings, HAS_MODES, NO_MODES, Subject, WAIT_MAX, any_of, kernel, rights};

/// The first release of this program: a clock before that is wrong. 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// How far the clock may lie behind the newest file before it was set back.
const CLOCK_SLACK_SECS: u64 = 24 * 3600;

pub(super) async fn look(subject: &Subject, found: &mut Findings) {
    sandbox(subject, found).await;
    kernel::look(found);
    rights::limits(found);
    rights::user(found);
    clock(subject, found);
    programs(subject, found);
    terminal(subject, found);
}

async fn sandbox(subject: &Subject, found: &mut Findings) {
    let sandbox = adjutant_sandbox::best(&subject.config.sandbox);
    let Ok(report) = tokio::time::timeout(WAIT_MAX, sandbox.report()).await else {
        return found.error(
            "sandbox.driver",
            "it does not answer in time",
            "adjutant sandbox verify",
        );
    };
    if report.available {
        found.ok(
            "sandbox.driver",
            format!("{}; commands run behind its walls", report.driver),
        );
    } else {
        let why = report.missing.join("; ");
        found.error(
            "sandbox.driver",
            format!("commands are refused: {why}"),
            "sudo apt install bubblewrap",
        );
        return;
    }
    for (index, (name, holds)) in report.floor.iter().enumerate() {
        let id = format!("sandbox.floor.{:02}", index + 1);
        // Landlock comes on top of namespaces; its absence is no hole.
        if !*holds && name.starts_with("Landlock") {
            let why = report.missing.iter().find(|it| it.contains("Landlock"));
            let why = why.map_or("not enforced", String::as_str);
            found.skipped(&id, format!("{name}: {why}"));
            continue;
        }
        let fix = report
            .missing
            .first()
            .cloned()
            .unwrap_or_else(|| "adjutant sandbox verify".to_owned());
        found.expect(
            &id,
            *holds,
            name.clone(),
            format!("not enforced: {name}"),
            fix,
        );
    }
}

fn clock(subject: &Subject, found: &mut Findings) {
    let now = subject.clock.now();
    found.expect(
        "clock.year",
        EPOCH_MS <= now.as_millis(),
        now.rfc3339(),
        format!("{} lies before this program was written", now.rfc3339()),
        "set the clock, for example with `timedatectl set-ntp true`",
    );
    let newest = std::fs::read_dir(&subject.place.home)
        .into_iter()
        .flatten()
        .filter_map(|it| it.ok()?.metadata().ok()?.modified().ok())
        .max();
    let ahead = newest
        .and_then(|at| at.duration_since(SystemTime::now()).ok())
        .map_or(0, |it| it.as_secs());
    found.expect(
        "clock.steady",
        ahead < CLOCK_SLACK_SECS,
        "not behind the files it wrote",
        format!(
            "files of the state directory are {} hours ahead of it",
            ahead / 3600
        ),
        "set the clock",
    );
    let zone = subject.env.get("TZ").filter(|it| !it.is_empty());
    let named =
        zone.map(|it| PathBuf::from("/usr/share/zoneinfo").join(it.trim_start_matches(':')));
    match (zone, named) {
        // A rule such as `CET-1CEST` is no file.
        (Some(zone), Some(file))
            if !file.exists() && !zone.contains(|c: char| c.is_ascii_digit()) =>
        {
            found.warning(
                "clock.zone",
                format!("`TZ={zone}` names no zone of this machine: days begin at midnight UTC"),
                "set TZ to a name such as Europe/Berlin, or install tzdata",
            )
        }
        (Some(zone), _) => found.ok("clock.zone", zone.clone()),
        (None, _) => {
            let local = std::path::Path::new("/etc/localtime").exists();
            found.expect(
                "clock.zone",
                local,
                "as /etc/localtime says",
                "not set: day budgets begin at midnight UTC",
                "timedatectl set-timezone Europe/Berlin",
            );
        }
    }
}

fn programs(subject: &Subject, found: &mut Findings) {
    let path = subject
        .env
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default();
    let which = |name: &str| {
        let is_program = |it: &PathBuf| {
            it.metadata()
                .is_ok_and(|meta| meta.is_file() && (!HAS_MODES || any_of(&meta, 0o111)))
        };
        std::env::split_paths(path)
            .map(|it| it.join(format!("{name}{EXE_SUFFIX}")))
            .find(is_program)
    };
    match which("sh") {
        Some(path) => found.ok("program.sh", path.display().to_string()),
        None => found.error(
            "program.sh",
            "there is no `sh`, which `shell_run` needs",
            "install a POSIX shell",
        ),
    }
    for (name, why) in [
        ("git", "for work on repositories"),
        ("node", "for `code_run` with JavaScript"),
        ("python3", "for `code_run` with Python"),
    ] {
        let id = format!("program.{name}");
        match which(name) {
            Some(path) => found.ok(&id, path.display().to_string()),
            None => found.skipped(&id, format!("not installed; it is only needed {why}")),
        }
    }
    let relative: Vec<PathBuf> = std::env::split_paths(path)
        .filter(|it| !it.is_absolute())
        .collect();
    found.expect(
        "program.path",
        relative.is_empty(),
        "every folder in PATH is absolute",
        "PATH has a relative folder: a workspace could choose the programs",
        "take `.` and empty entries out of PATH",
    );
    if !HAS_MODES {
        return found.skipped("program.path_private", NO_MODES);
    }
    let is_open = |meta: &Metadata| any_of(meta, 0o002) && !any_of(meta, 0o1000);
    let open: Vec<String> = std::env::split_paths(path)
        .filter(|it| it.metadata().is_ok_and(|meta| is_open(&meta)))
        .map(|it| it.display().to_string())
        .collect();
    found.expect(
        "program.path_private",
        open.is_empty(),
        "no folder in PATH can be written by everyone",
        format!("everyone can write {}", open.join(", ")),
        format!("chmod o-w {}", open.join(" ")),
    );
}

fn terminal(subject: &Subject, found: &mut Findings) {
    let get = |name: &str| {
        subject
            .env
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    if !std::io::stdout().is_terminal() {
        found.skipped("terminal.kind", "output does not go to a terminal");
    } else if matches!(get("TERM"), "" | "dumb") {
        found.warning(
            "terminal.kind",
            "TERM says that the terminal can do nothing",
            "set TERM, for example to xterm-256color",
        );
    } else {
        found.ok("terminal.kind", get("TERM"));
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .map(get)
        .into_iter()
        .find(|it| !it.is_empty())
        .unwrap_or_default();
    let utf8 = locale
        .to_ascii_lowercase()
        .replace('-', "")
        .contains("utf8");
    found.expect(
        "terminal.locale",
        utf8,
        locale,
        if locale.is_empty() {
            "no locale is set: letters beyond ASCII may look wrong"
        } else {
            "the locale is not UTF-8"
        },
        "export LANG=C.UTF-8",
    );
    match get("NO_COLOR") {
        "" => found.ok("terminal.color", "not switched off"),
        _ => found.skipped("terminal.color", "switched off by `NO_COLOR`"),
    }
}
