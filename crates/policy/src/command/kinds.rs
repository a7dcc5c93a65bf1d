//! Programs that always ask or are always refused, by kind, so that the question can say why.

/// What is known about a program that is not in the table of readers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) rule: &'static str,
    pub(super) reason: &'static str,
    pub(super) answer: Answer,
    names: &'static [&'static str],
}

/// How a kind of program is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Asks; the arguments say all there is to say.
    Asks,
    /// Asks, and what it will do cannot be seen from its arguments.
    AsksOpaque,
    /// Runs a script: opaque unless the script is a file named on the line.
    Interprets,
    /// Refused.
    Refused,
}

const KINDS: &[Kind] = &[
    Kind {
        rule: "program.interpreter",
        reason: "It runs a program written in another language.",
        answer: Answer::Interprets,
        names: &[
            "sh",
            "bash",
            "dash",
            "ash",
            "zsh",
            "ksh",
            "mksh",
            "fish",
            "csh",
            "tcsh",
            "rbash",
            "python",
            "python2",
            "python3",
            "pypy",
            "pypy3",
            "perl",
            "node",
            "nodejs",
            "deno",
            "bun",
            "ruby",
            "irb",
            "php",
            "lua",
            "luajit",
            "tclsh",
            "wish",
            "expect",
            "osascript",
            "pwsh",
            "powershell",
            "Rscript",
            "R",
            "julia",
            "groovy",
            "scala",
            "ghci",
            "runghc",
            "racket",
            "guile",
            "elixir",
            "erl",
            "ts-node",
            "tsx",
        ],
    },
    Kind {
        rule: "program.interpreter",
        reason: "Its argument is a program that can run commands and write files.",
        answer: Answer::AsksOpaque,
        names: &[
            "awk",
            "gawk",
            "mawk",
            "nawk",
            "bc",
            "dc",
            "m4",
            "gdb",
            "lldb",
            "sqlite3",
            "psql",
            "mysql",
            "redis-cli",
            "vim",
            "vi",
            "nvim",
            "ex",
            "ed",
            "emacs",
            "nano",
            "pico",
            "joe",
            "view",
            "less",
            "more",
            "most",
            "man",
            "top",
            "htop",
            "info",
        ],
    },
    Kind {
        rule: "program.runs-others",
        reason: "It runs other commands in a way that cannot be seen from here.",
        answer: Answer::AsksOpaque,
        names: &[
            "parallel",
            "watch",
            "strace",
            "ltrace",
            "systemd-run",
            "unshare",
            "nsenter",
            "chroot",
            "bwrap",
            "firejail",
            "proot",
            "fakeroot",
            "unbuffer",
            "rlwrap",
            "chronic",
            "entr",
            "inotifywait",
            "taskset",
            "chrt",
            "numactl",
            "npx",
            "pnpx",
            "bunx",
            "uvx",
            "pipx",
            "run-parts",
            "start-stop-daemon",
            "daemonize",
            "tmux",
            "screen",
            "dbus-run-session",
            "xvfb-run",
            "ssh-agent",
            "setarch",
            "linux64",
            "prlimit",
            "valgrind",
            "perf",
            "hyperfine",
            "rr",
            "dtrace",
            "cpulimit",
            "choom",
            "setpriv",
            "capsh",
            "softlimit",
            "tsp",
            "nq",
            "mapfile",
            "readarray",
        ],
    },
    Kind {
        rule: "shell.builtin",
        reason: "It changes how the shell reads or runs what follows.",
        answer: Answer::AsksOpaque,
        names: &[
            "eval", "source", ".", "alias", "unalias", "trap", "shopt", "enable", "hash", "export",
            "declare", "typeset", "local", "readonly", "unset", "let", "read", "bind", "complete",
            "compgen", "compopt", "history", "fc", "exec", "coproc", "function", "select", "umask",
            "ulimit", "getopts", "shift", "pushd", "popd", "dirs", "jobs", "fg", "bg", "disown",
            "wait", "suspend", "return", "break", "continue", "caller", "times",
        ],
    },
    Kind {
        rule: "program.network",
        reason: "It reaches the network.",
        answer: Answer::Asks,
        names: &[
            "curl",
            "wget",
            "nc",
            "ncat",
            "netcat",
            "socat",
            "ssh",
            "scp",
            "sftp",
            "rsync",
            "ftp",
            "lftp",
            "telnet",
            "dig",
            "nslookup",
            "host",
            "ping",
            "traceroute",
            "nmap",
            "whois",
            "http",
            "https",
            "aria2c",
            "gh",
            "glab",
            "aws",
            "gcloud",
            "az",
            "mail",
            "sendmail",
            "ip",
            "ifconfig",
            "ss",
            "netstat",
            "iptables",
            "nft",
            "ssh-copy-id",
            "openssl",
            "rclone",
        ],
    },
    Kind {
        rule: "program.package-manager",
        reason: "It installs or changes software.",
        answer: Answer::Asks,
        names: &[
            "apt", "apt-get", "aptitude", "dpkg", "yum", "dnf", "rpm", "zypper", "pacman", "apk",
            "brew", "port", "snap", "flatpak", "nix", "pip", "pip3", "uv", "poetry", "conda",
            "npm", "pnpm", "yarn", "corepack", "gem", "bundle", "composer", "go", "cargo",
            "rustup", "nvm", "asdf", "mise", "helm", "luarocks", "cpan", "cpanm",
        ],
    },
    Kind {
        rule: "program.build",
        reason: "It runs whatever the project's build files say.",
        answer: Answer::Asks,
        names: &[
            "make",
            "gmake",
            "ninja",
            "cmake",
            "meson",
            "gradle",
            "gradlew",
            "mvn",
            "ant",
            "bazel",
            "buck",
            "just",
            "task",
            "rake",
            "tox",
            "nox",
            "pytest",
            "jest",
            "vitest",
            "mocha",
            "tsc",
            "eslint",
            "prettier",
            "webpack",
            "vite",
            "gcc",
            "g++",
            "cc",
            "c++",
            "clang",
            "clang++",
            "rustc",
            "javac",
            "java",
            "ld",
            "as",
            "dotnet",
            "swift",
            "zig",
            "sbt",
            "mix",
            "rebar3",
            "stack",
            "cabal",
            "dune",
            "xcodebuild",
            "msbuild",
            "pre-commit",
            "scons",
        ],
    },
    Kind {
        rule: "program.container",
        reason: "It controls containers or machines.",
        answer: Answer::Asks,
        names: &[
            "docker",
            "podman",
            "nerdctl",
            "ctr",
            "crictl",
            "kubectl",
            "oc",
            "vagrant",
            "virsh",
            "qemu",
            "lxc",
            "lxd",
            "systemctl",
            "service",
            "launchctl",
            "journalctl",
            "machinectl",
            "loginctl",
            "terraform",
            "tofu",
            "ansible",
            "ansible-playbook",
        ],
    },
    Kind {
        rule: "program.writes",
        reason: "It changes files.",
        answer: Answer::Asks,
        names: &[
            "rm",
            "rmdir",
            "unlink",
            "mv",
            "cp",
            "ln",
            "install",
            "mkdir",
            "mkfifo",
            "mknod",
            "touch",
            "truncate",
            "tee",
            "sponge",
            "dd",
            "shred",
            "chmod",
            "chown",
            "chgrp",
            "chattr",
            "setfacl",
            "patch",
            "split",
            "csplit",
            "tar",
            "bsdtar",
            "cpio",
            "ar",
            "zip",
            "unzip",
            "7z",
            "gzip",
            "gunzip",
            "bzip2",
            "bunzip2",
            "xz",
            "unxz",
            "zstd",
            "rename",
            "mktemp",
            "mkstemp",
            "logrotate",
            "sync",
            "shuf",
        ],
    },
    Kind {
        rule: "program.environment",
        reason: "It shows the environment, where secrets are often kept.",
        answer: Answer::Asks,
        names: &[
            "printenv", "ps", "pgrep", "lsof", "dmesg", "last", "w", "who", "getent", "locale",
            "hostname",
        ],
    },
    Kind {
        rule: "program.process",
        reason: "It acts on running processes.",
        answer: Answer::Asks,
        names: &["kill", "pkill", "killall", "renice", "skill", "fuser"],
    },
    Kind {
        rule: "deny.scheduler",
        reason: "It schedules commands to run later, out of sight.",
        answer: Answer::Refused,
        names: &["at", "batch", "atrm"],
    },
    Kind {
        rule: "deny.power",
        reason: "It stops or restarts the machine.",
        answer: Answer::Refused,
        names: &["shutdown", "reboot", "halt", "poweroff", "telinit", "kexec"],
    },
    Kind {
        rule: "deny.accounts",
        reason: "It changes who may log in to this machine.",
        answer: Answer::Refused,
        names: &[
            "passwd", "chpasswd", "useradd", "adduser", "usermod", "userdel", "deluser",
            "groupadd", "groupmod", "visudo", "vipw", "vigr", "chsh", "newusers", "gpasswd",
        ],
    },
    Kind {
        rule: "deny.device",
        reason: "It destroys what is stored on a disk.",
        answer: Answer::Refused,
        names: &[
            "wipefs",
            "blkdiscard",
            "fdisk",
            "sfdisk",
            "cfdisk",
            "gdisk",
            "sgdisk",
            "parted",
            "mkswap",
            "hdparm",
            "cryptsetup",
        ],
    },
];

/// What is known about `name`, if it is not a reader.
pub(super) fn kind(name: &str) -> Option<Kind> {
    if name == "mkfs" || name.starts_with("mkfs.") || name.starts_with("mke2fs") {
        return KINDS
            .iter()
            .find(|kind| kind.rule == "deny.device")
            .copied();
    }
    let plain = KINDS.iter().find(|kind| kind.names.contains(&name));
    // `python3.12`, `perl5.38`: the same thing with a version.
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    plain
        .or_else(|| {
            KINDS
                .iter()
                .find(|kind| kind.answer == Answer::Interprets && kind.names.contains(&unversioned))
        })
        .copied()
}

/// Whether `name` takes a script of the shell after `-c`.
pub(super) fn is_shell(name: &str) -> bool {
    matches!(
        name,
        "sh" | "bash"
            | "dash"
            | "ash"
            | "zsh"
            | "ksh"
            | "mksh"
            | "fish"
            | "csh"
            | "tcsh"
            | "rbash"
            | "su"
            | "script"
            | "flock"
            | "runuser"
    )
}

/// Whether the script an interpreter is to run cannot be found by name on its line.
pub(super) fn hides_script(args: &[String]) -> bool {
    const INLINE: &[&str] = &[
        "-",
        "-s",
        "-i",
        "--eval",
        "--print",
        "--execute",
        "--command",
        "--login",
        "--rcfile",
        "--init-file",
        "--require",
        "--import",
    ];
    for arg in args {
        if INLINE.contains(&arg.as_str()) {
            return true;
        }
        let Some(letters) = arg.strip_prefix('-') else {
            return false;
        };
        if arg == "-m" {
            return false;
        }
        if !letters.starts_with('-') && letters.contains(['c', 'e', 'E', 'p', 'r', 's', 'n', 'i']) {
            return true;
        }
    }
    // Nothing but options: it reads its script from the standard input.
    true
}
