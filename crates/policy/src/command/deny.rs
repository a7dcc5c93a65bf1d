//! What is refused even if someone would say yes: damage that cannot be undone, and changes to what guards the rest.

use std::path::{Path, PathBuf};

use super::Surroundings;
use super::path::{HARMLESS_DEVICES, Place, is_protected};
use super::word::Word;

/// The identity of a refusal and its reason for a person.
pub(super) type Refusal = (&'static str, &'static str);

const STATE: Refusal = (
    "deny.state",
    "It touches the place where the assistant keeps its own records and secrets.",
);
const SHADOW: Refusal = ("deny.shadow", "It reads the password file of the machine.");
const PROTECTED: Refusal = (
    "deny.protected",
    "It changes a file that decides who may log in, what starts by itself, or how tools behave.",
);
const ROOT: Refusal = (
    "deny.root",
    "It would remove or change a whole system, home or project tree from the top.",
);
const DEVICE: Refusal = ("deny.device", "It writes to a device directly.");
const POWER: Refusal = ("deny.power", "It stops or restarts the machine.");
const SCHEDULER: Refusal = (
    "deny.scheduler",
    "It schedules commands to run later, out of sight.",
);
const EVERYTHING: Refusal = ("deny.kill-all", "It ends every process it can reach.");

/// Special files that lead to a person or a process and not to a disk. Writing to them asks.
const STREAM_DEVICES: &[&str] = &[
    "/dev/tty",
    "/dev/pts",
    "/dev/fd",
    "/dev/shm",
    "/dev/full",
    "/dev/zero",
    "/dev/tcp",
    "/dev/udp",
];

/// Where paths are judged from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) around: &'a Surroundings<'a>,
    /// Every directory the command may find itself in.
    pub(super) cwds: &'a [PathBuf],
}

impl Ground<'_> {
    pub(super) fn places(&self, word: &Word) -> Vec<Place> {
        self.cwds.iter().map(|cwd| Place::of(word, cwd)).collect()
    }

    fn is_state(&self, place: &Place) -> bool {
        let Surroundings {
            workspace,
            state_dir,
            ..
        } = *self.around;
        let exempt = workspace.starts_with(state_dir) && place.is_beneath(workspace);
        !exempt && place.may_be_beneath(state_dir)
    }

    /// A reason to refuse even reading `word`.
    pub(super) fn forbids_reading(&self, word: &Word) -> Option<Refusal> {
        if word.unknown || word.glyphs.is_empty() {
            return None;
        }
        self.places(word).iter().find_map(|place| {
            let shadow = [
                "/etc/shadow",
                "/etc/shadow-",
                "/etc/gshadow",
                "/etc/gshadow-",
                "/private/etc/master.passwd",
            ];
            if self.is_state(place) {
                Some(STATE)
            } else if !place.ends_wide()
                && shadow
                    .iter()
                    .any(|path| place.may_be_beneath(Path::new(path)))
            {
                Some(SHADOW)
            } else {
                None
            }
        })
    }

    /// A reason to refuse writing to `word`.
    pub(super) fn forbids_writing(&self, word: &Word) -> Option<Refusal> {
        if word.unknown
            || word.glyphs.is_empty()
            || HARMLESS_DEVICES.contains(&word.text().as_str())
        {
            return None;
        }
        if let Some(refusal) = self.forbids_reading(word) {
            return Some(refusal);
        }
        self.places(word).iter().find_map(|place| {
            if STREAM_DEVICES
                .iter()
                .any(|device| place.is_beneath(Path::new(device)))
            {
                None
            } else if place.may_be_beneath(Path::new("/dev")) && !self.is_inside(place) {
                Some(DEVICE)
            } else if is_protected(place, self.around.workspace, self.around.home) {
                Some(PROTECTED)
            } else {
                None
            }
        })
    }

    fn is_inside(&self, place: &Place) -> bool {
        place.is_beneath(self.around.workspace)
    }

    /// Whether removing `word` with everything in it takes away more than a part of the workspace.
    fn is_a_top(&self, word: &Word) -> bool {
        if word.unknown {
            return false;
        }
        let Surroundings {
            workspace,
            state_dir,
            home,
            ..
        } = *self.around;
        let above = |path: &Path, place: &Place| {
            path.ancestors().skip(1).any(|up| {
                place.may_contain(up) && Place::of_path(up).parts.len() == place.parts.len()
            })
        };
        self.places(word).iter().any(|place| {
            let is_top = |place: &Place| {
                place.parts.is_empty()
                    || above(workspace, place)
                    || above(state_dir, place)
                    || (place.may_contain(home) && !place.is_beneath(workspace))
                    || (place.parts.len() == 1
                        && !place.is_beneath(workspace)
                        && !place.may_be_beneath(Path::new("/tmp")))
            };
            is_top(place) || place.emptied().is_some_and(|whole| is_top(&whole))
        })
    }
}

/// A reason to refuse `program` with `args` outright.
pub(super) fn catastrophe(program: &str, args: &[Word], ground: Ground<'_>) -> Option<Refusal> {
    let texts: Vec<String> = args.iter().map(Word::text).collect();
    let has = |wanted: &[&str]| texts.iter().any(|text| wanted.contains(&text.as_str()));
    match program {
        "init" => has(&["0", "6"]).then_some(POWER),
        "systemctl" | "loginctl" => has(&[
            "poweroff",
            "reboot",
            "halt",
            "kexec",
            "suspend",
            "hibernate",
            "emergency",
            "rescue",
        ])
        .then_some(POWER),
        "crontab" => (!texts.iter().all(|text| text == "-l")).then_some(SCHEDULER),
        "kill" => {
            (1 < texts.len() && texts.last().is_some_and(|last| last == "-1")).then_some(EVERYTHING)
        }
        "rm" | "chmod" | "chown" | "chgrp" | "mv" | "shred" | "find" => {
            trees(program, args, &texts, ground).or_else(|| targets(program, args, &texts, ground))
        }
        _ => targets(program, args, &texts, ground),
    }
}

fn trees(program: &str, args: &[Word], texts: &[String], ground: Ground<'_>) -> Option<Refusal> {
    let is_option = |text: &String| text.starts_with('-');
    let recursive = texts.iter().filter(|text| is_option(text)).any(|text| {
        text.starts_with("--r")
            || text == "--no-preserve-root"
            || (!text.starts_with("--") && text.contains(['r', 'R']))
    });
    let deletes = match program {
        "find" => texts
            .iter()
            .any(|text| text == "-delete" || text.starts_with("-exec") || text.starts_with("-ok")),
        "mv" => true,
        _ => recursive,
    };
    let removes = match program {
        "find" => {
            texts.iter().any(|text| text == "-delete")
                || texts
                    .iter()
                    .any(|text| text == "rm" || text.ends_with("/rm"))
        }
        _ => deletes,
    };
    if !removes {
        return None;
    }
    let operands = args
        .iter()
        .zip(texts)
        .take_while(|(_, text)| program != "find" || !is_option(text));
    let mut operands: Vec<&Word> = operands
        .filter(|(_, text)| !is_option(text))
        .map(|(word, _)| word)
        .collect();
    if program == "mv" {
        // The last one is where things go.
        operands.pop();
    }
    operands
        .into_iter()
        .any(|word| ground.is_a_top(word))
        .then_some(ROOT)
}

/// Which arguments of a program are written.
fn targets(program: &str, args: &[Word], texts: &[String], ground: Ground<'_>) -> Option<Refusal> {
    let operands: Vec<&Word> = args
        .iter()
        .zip(texts)
        .filter(|(_, text)| !text.starts_with('-'))
        .map(|(word, _)| word)
        .collect();
    let in_place = texts.iter().any(|text| {
        text.starts_with("-i") || text.starts_with("--in-place") || text.starts_with("-pi")
    });
    let mut written: Vec<Word> = Vec::new();
    match program {
        "rm" | "rmdir" | "unlink" | "mv" | "mkdir" | "mkfifo" | "mknod" | "touch" | "truncate"
        | "tee" | "sponge" | "shred" | "chmod" | "chown" | "chgrp" | "chattr" | "setfacl"
        | "ed" | "ex" | "vi" | "vim" | "nvim" | "nano" | "emacs" | "pico" | "joe" | "patch"
        | "mkswap" | "split" => written.extend(operands.into_iter().cloned()),
        "git"
            if texts
                .iter()
                .any(|text| matches!(text.as_str(), "clone" | "init" | "worktree")) =>
        {
            written.extend(operands.into_iter().cloned());
        }
        "cp" | "install" | "ln" | "rsync" | "scp" | "uniq" | "xxd" if 1 < operands.len() => {
            written.extend(operands.last().copied().cloned());
        }
        "sed" | "gsed" | "perl" | "ruby" if in_place => {
            written.extend(operands.into_iter().cloned())
        }
        "dd" => {
            written.extend(
                args.iter()
                    .filter(|word| word.text().starts_with("of="))
                    .map(|word| word.from(3)),
            );
        }
        _ => {}
    }
    written.extend(values_of_writing_options(program, args, texts));
    written.iter().find_map(|word| ground.forbids_writing(word))
}

/// Values of options that name a file or directory to write to.
fn values_of_writing_options(program: &str, args: &[Word], texts: &[String]) -> Vec<Word> {
    let names: &[&str] = match program {
        "curl" => &[
            "-o",
            "--output",
            "--output-dir",
            "-D",
            "--dump-header",
            "-c",
            "--cookie-jar",
            "--trace",
        ],
        "wget" => &[
            "-O",
            "--output-document",
            "-P",
            "--directory-prefix",
            "-o",
            "--output-file",
            "-a",
        ],
        "tar" | "bsdtar" | "make" | "cmake" => &["-C", "--directory"],
        "unzip" => &["-d"],
        "7z" => &["-o"],
        "sort" | "tree" | "gcc" | "cc" | "clang" | "g++" | "rustc" | "ld" | "shuf" | "go" => {
            &["-o", "--output"]
        }
        "openssl" => &["-out", "-keyout"],
        "ssh-keygen" => &["-f"],
        "cp" | "mv" | "install" | "ln" => &["-t", "--target-directory"],
        "find" => &["-fprint", "-fprint0", "-fprintf", "-fls"],
        "git" => &["--output"],
        "strace" | "script" | "time" => &["-o"],
        _ => &[],
    };
    let mut values = Vec::new();
    for (index, (word, text)) in args.iter().zip(texts).enumerate() {
        for name in names {
            if text == name {
                values.extend(args.get(index + 1).cloned());
            } else if let Some(rest) = text.strip_prefix(name) {
                let long = name.starts_with("--");
                if long && rest.starts_with('=') {
                    values.push(word.from(name.len() + 1));
                } else if !long {
                    values.push(word.from(name.len()));
                }
            }
        }
    }
    values
}
