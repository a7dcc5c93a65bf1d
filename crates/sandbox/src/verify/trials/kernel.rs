//! Attempts to talk the kernel into something, and to use what was inherited.

use std::fs;

use super::{Tool, Trial, calls, held_if, no_secret};
use crate::environment;

pub(super) fn kernel_walls() -> Vec<Trial> {
    use Tool::Perl;
    // A flag of `clone` that makes a user namespace.
    let user_namespace = libc::CLONE_NEWUSER.to_string();
    vec![
        Trial::refused(
            "mount",
            "mount, unmount and change the root",
            Perl,
            calls(&[
                ("mount", libc::SYS_mount, "'none', '/tmp', 'tmpfs', 0, 0"),
                ("remount", libc::SYS_mount, "'none', '/', 0, 4128, 0"),
                ("umount2", libc::SYS_umount2, "'/proc', 2"),
                ("pivot_root", libc::SYS_pivot_root, "'/tmp', '/tmp'"),
                ("chroot", libc::SYS_chroot, "'/tmp'"),
                ("fsopen", 430, "'tmpfs', 0"),
                ("open_tree", 428, "-100, '/', 1"),
                ("open_by_handle_at", libc::SYS_open_by_handle_at, "0, 0, 0"),
            ]),
        ),
        Trial::refused(
            "namespaces",
            "make a user namespace, by every way there is",
            Perl,
            [
                calls(&[
                    ("unshare", libc::SYS_unshare, user_namespace.as_str()),
                    ("clone", libc::SYS_clone, &format!("{user_namespace}, 0, 0, 0, 0")),
                    ("clone3", 435, "0, 0"),
                ]),
                "print 'unshare(1) ', (system('unshare -Ur true 2>/dev/null') == 0 ? 'went through' : 'refused'), \"\\n\";".to_owned(),
            ]
            .join("\n"),
        ),
        Trial::refused(
            "join-namespace",
            "join the namespaces of the first process",
            Perl,
            format!(
                "for my $n ('user', 'mnt', 'net', 'pid') {{ my $o = open(N, '<', \"/proc/1/ns/$n\"); \
                 print \"$n \", (!$o || syscall({}, fileno(N), 0) == -1 ? 'refused' : 'went through'), \"\\n\"; }}",
                libc::SYS_setns
            ),
        ),
    ]
}

pub(super) fn kernel_rooms() -> Vec<Trial> {
    use Tool::{Perl, Shell};
    let now = "my $now = pack('qq', time(), 0); ";
    vec![
        Trial::refused(
            "keys",
            "use the kernel's key rings",
            Perl,
            calls(&[
                ("keyctl", libc::SYS_keyctl, "0, -3, 0"),
                ("add_key", libc::SYS_add_key, "'user', 'a', 'b', 1, -3"),
                ("request_key", libc::SYS_request_key, "'user', 'a', 0, -3"),
            ]),
        ),
        Trial::refused(
            "kernel-rooms",
            "enter parts of the kernel that ordinary programs do not need",
            Perl,
            calls(&[
                ("io_uring_setup", 425, "1, \"\\0\" x 120"),
                ("bpf", libc::SYS_bpf, "0, \"\\0\" x 128, 128"),
                (
                    "perf_event_open",
                    libc::SYS_perf_event_open,
                    "\"\\0\" x 128, 0, -1, -1, 0",
                ),
                ("userfaultfd", libc::SYS_userfaultfd, "1"),
                ("init_module", libc::SYS_init_module, "'', 0, ''"),
                ("kexec_load", libc::SYS_kexec_load, "0, 0, 0, 0"),
                ("syslog", libc::SYS_syslog, "3, \"\\0\" x 64, 64"),
                ("swapon", libc::SYS_swapon, "'/tmp', 0"),
                ("acct", libc::SYS_acct, "0"),
                ("personality", libc::SYS_personality, "0x0040000"),
            ]),
        ),
        Trial::refused(
            "clock",
            "set the clock and the host name (to what they are)",
            Perl,
            format!(
                "{now}{}",
                calls(&[
                    ("clock_settime", libc::SYS_clock_settime, "0, $now"),
                    ("settimeofday", libc::SYS_settimeofday, "$now, 0"),
                    ("sethostname", libc::SYS_sethostname, "'sandbox', 7"),
                ])
            ),
        ),
        Trial::new(
            "devices",
            "find or make a device that leads to memory or disks",
            Shell,
            "for d in mem kmem port kvm fuse vda sda nvme0n1 loop0 dri; do [ -e /dev/$d ] && echo $d; done; find /dev -type b; \
             mknod /tmp/m c 1 1 2>/dev/null && echo made; true",
            |_, seen| {
                held_if(
                    seen.said.is_empty(),
                    if seen.said.is_empty() {
                        "none"
                    } else {
                        seen.said
                    },
                )
            },
        ),
    ]
}

pub(super) fn inheritance() -> Vec<Trial> {
    use Tool::Shell;
    vec![
        Trial::new(
            "descriptors",
            "use a descriptor left open by the gateway",
            Shell,
            "cd /proc/$$/fd; for f in *; do [ $f -gt 2 ] && [ -e $f ] && { echo fd $f; timeout 0.1 head -c 100 $f; }; done; true",
            |scene, seen| {
                held_if(
                    !seen.said.contains("fd "),
                    if seen.said.is_empty() {
                        "only 0, 1 and 2"
                    } else {
                        seen.said
                    },
                )
                .and_then(|detail| no_secret(scene, seen).map(|_| detail))
            },
        ),
        Trial::new(
            "environment",
            "read variables of the gateway",
            Shell,
            "env; cat /proc/1/environ | tr '\\0' '\\n'",
            |_, seen| {
                let is_ours = |name: &str| {
                    environment::BASE.iter().any(|it| it.0 == name)
                        || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
                };
                let names = seen
                    .said
                    .lines()
                    .filter_map(|it| it.split_once('='))
                    .map(|it| it.0);
                let foreign: Vec<&str> = names.filter(|it| !is_ours(it)).collect();
                held_if(
                    foreign.is_empty(),
                    if foreign.is_empty() {
                        "only made-up ones".to_owned()
                    } else {
                        foreign.join(", ")
                    },
                )
            },
        ),
        Trial::new(
            "privileges",
            "hold a capability, or gain one",
            Shell,
            "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
            |_, seen| {
                let holds = |line: &str| match line
                    .split_once(':')
                    .map(|(name, value)| (name, value.trim()))
                {
                    Some(("NoNewPrivs", value)) => value == "1",
                    Some(("Seccomp", value)) => value == "2",
                    Some((_, value)) => value.chars().all(|it| it == '0'),
                    None => false,
                };
                held_if(
                    seen.said.lines().count() == 7 && seen.said.lines().all(holds),
                    seen.said.replace(['\n', '\t'], " "),
                )
            },
        ),
        Trial::new(
            "core-dump",
            "leave a core dump",
            Shell,
            "ulimit -c; sh -c 'kill -SEGV $$'; ls core* 2>/dev/null; true",
            |scene, seen| {
                let core = fs::read_dir(&scene.workspace).is_ok_and(|mut it| {
                    it.any(|it| {
                        it.is_ok_and(|it| it.file_name().to_string_lossy().starts_with("core"))
                    })
                });
                held_if(
                    seen.said.starts_with('0') && !core,
                    format!("limit {}", seen.said),
                )
            },
        ),
    ]
}
