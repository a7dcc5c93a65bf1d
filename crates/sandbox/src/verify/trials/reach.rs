//! Attempts to reach what lies outside: files, processes, the network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use adjutant_ports::sandbox::WorkspaceAccess;

use super::{Tool, Trial, calls, held_if, no_secret};
use crate::verify::Seen;
use crate::verify::scene::Scene;

pub(super) fn reading(scene: &Scene) -> Vec<Trial> {
    use Tool::Shell;
    let tree = |dir: &std::path::Path| {
        format!(
            "d='{0}'; ls -a \"$d\"; cat \"$d\"/* 2>/dev/null; true",
            dir.display()
        )
    };
    vec![
        Trial::new(
            "read-state",
            "read the state directory beside the workspace",
            Shell,
            tree(&scene.state),
            no_secret,
        ),
        Trial::new(
            "read-hidden",
            "read a protected directory inside the workspace",
            Shell,
            format!("{}; mv state seen; cat seen/*", tree(&scene.state_inside)),
            no_secret,
        ),
        Trial::new(
            "read-home",
            "read a private key in a home directory",
            Shell,
            tree(&scene.home),
            no_secret,
        ),
        Trial::new(
            "read-other",
            "read another workspace",
            Shell,
            tree(&scene.other),
            no_secret,
        ),
        Trial::new(
            "follow-link",
            "read and write through a link that leads out of the workspace",
            Shell,
            format!(
                "ln -s '{0}/notes.txt' link; cat link; echo changed > link",
                scene.other.display()
            ),
            |scene, seen| {
                let notes = fs::read_to_string(scene.other.join("notes.txt")).unwrap_or_default();
                held_if(notes == scene.secret, "the target is unchanged")
                    .and_then(|_| no_secret(scene, seen))
            },
        ),
        Trial::new(
            "read-shadow",
            "read the password file and the host's account names",
            Shell,
            "cat /etc/shadow /etc/gshadow; ls /root /home /var/lib /run /boot 2>/dev/null",
            |_, seen| {
                held_if(
                    seen.said.is_empty(),
                    format!("{} bytes were readable", seen.said.len()),
                )
            },
        ),
    ]
}

pub(super) fn writing(scene: &Scene) -> Vec<Trial> {
    use Tool::Shell;
    let name = format!("escaped-{}", scene.mark);
    let into = |dir: &str| format!("echo x > {dir}/{name} && echo written");
    let absent = |dir: &'static str, name: String| {
        move |_: &Scene, seen: &Seen<'_>| {
            let there = std::path::Path::new(dir).join(&name).exists();
            held_if(
                !there && !seen.said.contains("written"),
                "nothing was written",
            )
        }
    };
    let mut read_only = Trial::new(
        "write-read-only",
        "write into a workspace that is given read-only",
        Shell,
        "echo x > planted; echo x >> mine; rm -f mine; ls",
        |scene, _| {
            let mine = fs::read_to_string(scene.workspace.join("mine")).unwrap_or_default();
            held_if(
                mine == "public" && !scene.workspace.join("planted").exists(),
                "the workspace is unchanged",
            )
        },
    );
    read_only.access = WorkspaceAccess::ReadOnly;
    vec![
        read_only,
        Trial::new("write-usr", "write into /usr", Shell, into("/usr"), absent("/usr", name.clone())),
        Trial::new("write-etc", "write into /etc", Shell, into("/etc"), absent("/etc", name.clone())),
        Trial::new("write-root", "fill the root and /dev of the inside", Shell, [into(""), into("/dev")].join("; "), absent("/", name)),
        Trial::refused(
            "write-sysctl",
            "change a setting of the kernel through /proc/sys (to the value it has)",
            Shell,
            "for f in vm/swappiness kernel/core_pattern kernel/hostname; do v=$(cat /proc/sys/$f); \
             (echo \"$v\" > /proc/sys/$f) 2>/dev/null && echo \"$f written\" || echo \"$f refused\"; done".to_owned(),
        ),
        Trial::new(
            "set-id-file",
            "leave a file in the workspace that acts for its owner",
            Shell,
            "cp /bin/sh tool; chmod 4755 tool; chmod u+s tool; chmod 2755 tool; install -m 6755 /bin/sh tool2; true",
            |scene, _| {
                let mode = |name: &str| fs::metadata(scene.workspace.join(name)).map_or(0, |it| it.permissions().mode());
                held_if((mode("tool") | mode("tool2")) & 0o6000 == 0, format!("modes {:o} {:o}", mode("tool"), mode("tool2")))
            },
        ),
    ]
}

pub(super) fn processes(scene: &Scene) -> Vec<Trial> {
    use Tool::{Perl, Shell};
    let pid = scene.victim_pid;
    let victim_lives = |scene: &Scene, _: &Seen<'_>| {
        held_if(scene.victim_lives(), "the process outside is untouched")
    };
    vec![
        Trial::new(
            "see-processes",
            "see the processes of the host",
            Shell,
            "ls -d /proc/[0-9]* | wc -l",
            |_, seen| {
                held_if(
                    seen.said.parse::<u32>().is_ok_and(|n| n <= 8),
                    format!("{} processes are visible", seen.said),
                )
            },
        ),
        Trial::new(
            "signal",
            "kill a process of the host, and everything else",
            Shell,
            format!("kill -9 {pid}; kill -9 -1"),
            victim_lives,
        ),
        Trial::refused(
            "trace",
            "trace a process of the host and oneself",
            Perl,
            calls(&[
                (
                    "ptrace attach",
                    libc::SYS_ptrace,
                    &format!("16, {pid}, 0, 0"),
                ),
                ("ptrace me", libc::SYS_ptrace, "0, 0, 0, 0"),
                (
                    "process_vm_readv",
                    libc::SYS_process_vm_readv,
                    &format!("{pid}, 0, 0, 0, 0, 0"),
                ),
                ("pidfd_getfd", 438, "0, 0, 0"),
            ]),
        ),
        Trial::refused(
            "terminal",
            "push input into the terminal we were started from",
            Perl,
            "my $c = 'x'; my $o = open(T, '+<', '/dev/tty'); print 'tty ', ($o ? 'opened' : 'refused'), \"\\n\";\n\
             my $r = ioctl(STDIN, 0x5412, $c); print 'TIOCSTI ', (!defined($r) && $!+0 == 1 ? 'refused' : 'errno '.($!+0)), \"\\n\";",
        ),
    ]
}

pub(super) fn network(scene: &Scene) -> Vec<Trial> {
    use Tool::{Perl, Shell};
    let port = scene.tcp.local_addr().map_or(0, |it| it.port());
    let udp = scene.udp.local_addr().map_or(0, |it| it.port());
    let unix = |address: &str| {
        format!(
            "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) or exit; connect(S, {address}) and print 'connected';"
        )
    };
    vec![
        Trial::new(
            "loopback",
            "connect to a listener on the host's loopback, as the gateway is",
            Perl,
            format!(
                "use Socket; for my $h ('127.0.0.1', '0.0.0.0') {{ socket(S, PF_INET, SOCK_STREAM, 0) or next; \
                 connect(S, sockaddr_in({port}, inet_aton($h))) and print 'connected'; }}"
            ),
            |scene, seen| {
                held_if(
                    scene.tcp.accept().is_err() && seen.said.is_empty(),
                    "no connection arrived",
                )
            },
        ),
        Trial::new(
            "datagram",
            "send a datagram to the host's loopback, as a name lookup does",
            Perl,
            format!(
                "use Socket; socket(S, PF_INET, SOCK_DGRAM, 0) or exit; \
                 send(S, 'lookup', 0, sockaddr_in({udp}, inet_aton('127.0.0.1')));"
            ),
            |scene, _| {
                std::thread::sleep(Duration::from_millis(20));
                held_if(scene.udp.recv(&mut [0; 16]).is_err(), "no datagram arrived")
            },
        ),
        Trial::new(
            "routes",
            "find a network interface or a route that leads anywhere",
            Shell,
            "sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -vx lo; sed 1d /proc/net/route; cat /etc/resolv.conf; true",
            |_, seen| {
                held_if(
                    seen.said.is_empty(),
                    if seen.said.is_empty() {
                        "nothing but an empty loopback"
                    } else {
                        seen.said
                    },
                )
            },
        ),
        Trial::new(
            "local-socket",
            "connect to a socket of the host that lies in the workspace",
            Perl,
            unix("sockaddr_un('socket')"),
            |scene, seen| {
                held_if(
                    scene.unix.accept().is_err() && seen.said.is_empty(),
                    "no connection arrived",
                )
            },
        ),
        Trial::new(
            "abstract-socket",
            "connect to a socket of the host that has no path",
            Perl,
            unix(&format!("pack('S a*', 1, \"\\0{}\")", scene.abstract_name)),
            |scene, seen| {
                held_if(
                    scene.abstract_unix.accept().is_err() && seen.said.is_empty(),
                    "no connection arrived",
                )
            },
        ),
        Trial::refused(
            "odd-sockets",
            "open sockets of families that reach the kernel, the machine's host or the wire",
            Perl,
            [
                ("packet", 17),
                ("vsock", 40),
                ("bluetooth", 31),
                ("alg", 38),
                ("key", 15),
                ("rds", 21),
                ("tipc", 30),
            ]
            .map(|(name, family)| {
                format!(
                    "print '{name} ', (socket(S, {family}, 2, 0) ? 'opened' : 'refused'), \"\\n\";"
                )
            })
            .join("\n"),
        ),
    ]
}
