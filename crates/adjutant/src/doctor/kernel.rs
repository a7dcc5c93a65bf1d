//! The Linux kernel: namespaces, filters, control groups, memory.

use super::{Findings, MEMORY_BYTES_LOW, size};

/// Oldest kernel whose namespaces and filters the sandbox was built for.
const KERNEL_MIN: (u32, u32) = (5, 4);

/// What the sandbox needs of it.
pub(super) fn look(found: &mut Findings) {
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
