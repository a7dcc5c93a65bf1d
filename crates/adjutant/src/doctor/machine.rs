//! This machine: sandbox, kernel, limits, clock, programs, terminal.

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};

use super::{Findings, Subject, WAIT_MAX, size};

/// Open files below which many connections cannot be held.
const OPEN_FILES_MIN: u64 = 1_024;
/// Memory below which a gateway and one sandboxed command do not fit.
const MEMORY_BYTES_LOW: u64 = 512 << 20;
/// The first release of this program: a clock before that is wrong. 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// How far the clock may lie behind the newest file before it was set back.
const CLOCK_SLACK_SECS: u64 = 24 * 3600;
/// Oldest kernel whose namespaces and filters the sandbox was built for.
const KERNEL_MIN: (u32, u32) = (5, 4);

pub(super) async fn look(subject: &Subject, found: &mut Findings) {
    sandbox(subject, found).await;
    kernel(found);
    limits(found);
    user(found);
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

#[cfg(target_os = "linux")]
fn kernel(found: &mut Findings) {
    let read = |path: &str| std::fs::read_to_string(path).map(|it| it.trim().to_owned());
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|it| {
        it.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse::<u32>()
            .ok()
    });
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let wanted = format!("{}.{}", KERNEL_MIN.0, KERNEL_MIN.1);
    found.expect(
        "kernel.version",
        KERNEL_MIN <= version,
        release.clone(),
        format!("{release} is older than {wanted}"),
        format!("use a kernel of {wanted} or newer"),
    );
    let spaces = read("/proc/sys/user/max_user_namespaces")
        .ok()
        .and_then(|it| it.parse::<u64>().ok());
    match spaces {
        Some(0) => found.error(
            "kernel.user_namespaces",
            "switched off",
            "sudo sysctl user.max_user_namespaces=15000",
        ),
        Some(n) => found.ok("kernel.user_namespaces", format!("up to {n}")),
        None => found.error(
            "kernel.user_namespaces",
            "this kernel has none",
            "use a kernel with user namespaces",
        ),
    }
    match read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() {
        Ok("0") => found.error("kernel.unprivileged_namespaces", "only root may make them", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        _ => match read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() {
            Ok("1") => found.warning(
                "kernel.unprivileged_namespaces",
                "AppArmor restricts them; bubblewrap needs a profile that allows them, and the walls of this program one of their own",
                "install the distribution's bubblewrap profile, or sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            _ => found.ok("kernel.unprivileged_namespaces", "every user may make them"),
        },
    }
    let status = read("/proc/self/status").unwrap_or_default();
    found.expect(
        "kernel.seccomp",
        status.contains("\nSeccomp:"),
        "system call filters are there",
        "this kernel has no system call filters",
        "use a kernel with seccomp",
    );
    cgroups(found);
    match read("/sys/kernel/security/lsm") {
        Ok(modules) if modules.split(',').any(|it| it == "landlock") => {
            found.ok("kernel.landlock", "available")
        }
        Ok(_) => found.skipped(
            "kernel.landlock",
            "not switched on in this kernel; the walls do without",
        ),
        Err(_) => found.skipped("kernel.landlock", "cannot be found out"),
    }
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|it| u32::from_str_radix(it.trim(), 8).ok());
    match umask {
        Some(mask) => found.expect(
            "user.umask",
            mask & 0o002 != 0,
            format!("{mask:04o}"),
            format!("{mask:04o}: new files can be changed by every user"),
            "umask 077",
        ),
        None => found.skipped("user.umask", "cannot be found out"),
    }
    memory(found);
}

#[cfg(target_os = "linux")]
fn cgroups(found: &mut Findings) {
    let there = |name: &str| std::path::Path::new("/sys/fs/cgroup").join(name).exists();
    let version = match (
        there("cgroup.controllers"),
        there("memory") && there("pids"),
    ) {
        (true, _) => Some(2),
        (false, true) => Some(1),
        (false, false) => None,
    };
    match version {
        Some(version) => found.ok(
            "kernel.cgroups",
            format!("control groups, version {version}"),
        ),
        None => found.warning(
            "kernel.cgroups",
            "no control groups for memory and processes: both are bounded by other means only",
            "mount /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

#[cfg(not(target_os = "linux"))]
fn kernel(found: &mut Findings) {
    for id in [
        "kernel.version",
        "kernel.user_namespaces",
        "kernel.seccomp",
        "kernel.cgroups",
        "kernel.landlock",
    ] {
        found.skipped(id, "Linux only");
    }
}

#[cfg(target_os = "linux")]
fn memory(found: &mut Findings) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    match kib("MemAvailable:").map(|it| it.saturating_mul(1024)) {
        Some(free) => found.expect(
            "memory.available",
            MEMORY_BYTES_LOW <= free,
            format!("{} available", size(free)),
            format!("only {} available", size(free)),
            "end programs that use much of it",
        ),
        None => found.skipped("memory.available", "cannot be found out"),
    }
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|it| it.trim().parse::<u64>().ok());
    match limit {
        Some(limit) => found.expect(
            "memory.limit",
            MEMORY_BYTES_LOW <= limit,
            format!("this container may use {}", size(limit)),
            format!("this container may use only {}", size(limit)),
            "give the container more memory",
        ),
        None => found.ok("memory.limit", "no container limit"),
    }
}

fn limits(found: &mut Findings) {
    let files = getrlimit(Resource::Nofile);
    let (now, most) = (
        files.current.unwrap_or(u64::MAX),
        files.maximum.unwrap_or(u64::MAX),
    );
    found.expect(
        "limits.files",
        OPEN_FILES_MIN <= now,
        format!("{now} open files (at most {most})"),
        format!("{now} open files are few"),
        format!("ulimit -n {}", OPEN_FILES_MIN.max(4_096).min(most)),
    );
    let memory = getrlimit(Resource::As).current;
    match memory {
        Some(bytes) => found.expect(
            "limits.memory",
            MEMORY_BYTES_LOW <= bytes,
            format!("address space of {}", size(bytes)),
            format!("address space of only {}", size(bytes)),
            "ulimit -v unlimited",
        ),
        None => found.ok("limits.memory", "address space without limit"),
    }
    let processes = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
    found.expect(
        "limits.processes",
        256 <= processes,
        if processes == u64::MAX {
            "no limit".to_owned()
        } else {
            format!("{processes} processes")
        },
        format!("only {processes} processes: sandboxed commands need some"),
        "ulimit -u 1024",
    );
    let size_limit = getrlimit(Resource::Fsize).current;
    match size_limit {
        Some(bytes) => found.expect(
            "limits.file_size",
            (1 << 30) <= bytes,
            format!("files of {}", size(bytes)),
            format!("files of at most {}: the store may reach that", size(bytes)),
            "ulimit -f unlimited",
        ),
        None => found.ok("limits.file_size", "no limit"),
    }
    let cores = getrlimit(Resource::Core).current;
    found.expect(
        "limits.core_dumps",
        cores == Some(0),
        "off",
        "a crash would write the memory, keys included, to the disk",
        "ulimit -c 0",
    );
}

fn user(found: &mut Findings) {
    let root = rustix::process::geteuid().is_root();
    found.expect(
        "user.root",
        !root,
        "an ordinary user",
        "this runs as root; a mistake would reach everything",
        "make a user for it",
    );
    let same = rustix::process::geteuid() == rustix::process::getuid();
    found.expect(
        "user.setuid",
        same,
        "no borrowed rights",
        "this program runs with the rights of another user (setuid)",
        "remove the setuid bit of the program",
    );
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
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(path)
            .map(|it| it.join(name))
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
    let open: Vec<String> = std::env::split_paths(path)
        .filter(|it| {
            it.metadata()
                .is_ok_and(|meta| meta.permissions().mode() & 0o1002 == 0o002)
        })
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
