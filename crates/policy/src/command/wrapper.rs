//! Programs that run another program given on their own line.
//!
//! A wrapper is looked through only when every option on it is known; otherwise nobody can say where its own arguments
//! end and the command begins.

use super::word::Word;

/// A program that runs the rest of its line.
#[derive(Debug, Clone, Copy)]
struct Wrapper {
    name: &'static str,
    /// Options without a value.
    flags: &'static str,
    /// Options with a value.
    valued: &'static str,
    /// Arguments of its own before the command.
    n_leading: usize,
    effect: Effect,
}

/// What a wrapper adds to the command it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing that matters here.
    Nothing,
    /// Sets variables first.
    Environment,
    /// Asks, whatever it runs.
    Asks(&'static str),
    /// Asks, and part of the command comes from elsewhere.
    AsksOpaque(&'static str),
}

const WRAPPERS: &[Wrapper] = &[
    // Options of `env` take away variables that keep a reader harmless, or split a string into a command.
    Wrapper {
        name: "env",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Environment,
    },
    Wrapper {
        name: "nice",
        flags: "-#",
        valued: "-n --adjustment",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "ionice",
        flags: "-t",
        valued: "-c -n --class --classdata",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "timeout",
        flags: "-v --verbose --foreground --preserve-status",
        valued: "-k -s --kill-after --signal",
        n_leading: 1,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "nohup",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "time",
        flags: "-p -v",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "stdbuf",
        flags: "",
        valued: "-i -o -e --input --output --error",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "setsid",
        flags: "-w --wait",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "command",
        flags: "-p",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "builtin",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "exec",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Nothing,
    },
    Wrapper {
        name: "flock",
        flags: "-s -x -e -n -u -o -F --shared --exclusive --nonblock --nb --unlock --close --no-fork --verbose",
        valued: "-w -E --timeout --wait --conflict-exit-code",
        n_leading: 1,
        effect: Effect::Asks("flock creates its lock file when it is missing."),
    },
    Wrapper {
        name: "script",
        flags: "-a -q -e --append --quiet --return",
        valued: "",
        n_leading: 1,
        effect: Effect::AsksOpaque("script starts a shell and writes down what it does."),
    },
    Wrapper {
        name: "xargs",
        flags: "-0 -r -t -x --null --no-run-if-empty --verbose --exit",
        valued: "-n -P -L -s -I -d --max-args --max-procs --max-lines --max-chars --replace --delimiter",
        n_leading: 0,
        effect: Effect::AsksOpaque("xargs takes arguments of the command from its input."),
    },
    Wrapper {
        name: "busybox",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Asks("The programs inside busybox take other options than the usual ones."),
    },
    Wrapper {
        name: "toybox",
        flags: "",
        valued: "",
        n_leading: 0,
        effect: Effect::Asks("The programs inside toybox take other options than the usual ones."),
    },
    Wrapper {
        name: "sudo",
        flags: "-n -E -H -k -b -S -P --non-interactive --preserve-env --set-home --reset-timestamp --background --stdin",
        valued: "-u -g -p -C -h -r -t -T --user --group --prompt --host",
        n_leading: 0,
        effect: Effect::Asks("It runs with the rights of another user."),
    },
    Wrapper {
        name: "doas",
        flags: "-n",
        valued: "-u -C",
        n_leading: 0,
        effect: Effect::Asks("It runs with the rights of another user."),
    },
    Wrapper {
        name: "pkexec",
        flags: "",
        valued: "--user",
        n_leading: 0,
        effect: Effect::Asks("It runs with the rights of another user."),
    },
    Wrapper {
        name: "runuser",
        flags: "",
        valued: "-u -g -G",
        n_leading: 0,
        effect: Effect::Asks("It runs with the rights of another user."),
    },
    Wrapper {
        name: "su",
        flags: "- -l --login",
        valued: "-c --command -s --shell",
        n_leading: 1,
        effect: Effect::AsksOpaque("It opens a shell with the rights of another user."),
    },
];

/// What became of a line after one wrapper was taken off.
#[derive(Debug)]
pub(super) enum Step {
    /// The first word is no wrapper.
    Bare,
    /// The rest of the line, the variables set for it, and why a person has to look.
    Inner {
        rest: Vec<Word>,
        variables: Vec<Word>,
        asks: Option<Asks>,
    },
    /// The wrapper only answers a question, as `command -v ls` does.
    Query,
    /// The wrapper stands alone or has an option that is not known.
    Stuck(&'static str),
}

/// Why a wrapper asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    pub(super) reason: &'static str,
    pub(super) is_opaque: bool,
}

/// Takes the wrapper off the front of `line`, if there is one.
pub(super) fn unwrap(name: &str, args: &[Word]) -> Step {
    let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) else {
        return Step::Bare;
    };
    if name == "command"
        && args
            .first()
            .is_some_and(|arg| matches!(arg.text().as_str(), "-v" | "-V"))
    {
        return Step::Query;
    }
    let mut at = 0;
    let lists = |list: &str, flag: &str| list.split_ascii_whitespace().any(|known| known == flag);
    while let Some(word) = args.get(at) {
        let text = word.text();
        if !text.starts_with('-') || word.has_glob() || word.unknown {
            break;
        }
        at += 1;
        if text == "--" {
            break;
        }
        let digits = text.len() > 1 && text.chars().skip(1).all(|c| c.is_ascii_digit());
        let long_value = text
            .split_once('=')
            .is_some_and(|(flag, _)| flag.starts_with("--") && lists(wrapper.valued, flag));
        let short: String = text.chars().take(2).collect();
        let attached =
            text.chars().count() > 2 && !text.starts_with("--") && lists(wrapper.valued, &short);
        if lists(wrapper.valued, &text) {
            at += 1;
        } else if !(lists(wrapper.flags, &text)
            || long_value
            || attached
            || (digits && lists(wrapper.flags, "-#")))
        {
            return Step::Stuck("An option of the program in front of the command is not known.");
        }
    }
    let mut variables = Vec::new();
    if wrapper.effect == Effect::Environment {
        while let Some(word) = args.get(at).filter(|word| word.text().contains('=')) {
            variables.push(word.clone());
            at += 1;
        }
    }
    at += wrapper.n_leading;
    let rest: Vec<Word> = args.iter().skip(at).cloned().collect();
    if rest.is_empty() {
        return Step::Stuck(
            "It names no command to run, so it shows or changes something of its own.",
        );
    }
    let asks = match wrapper.effect {
        Effect::Nothing | Effect::Environment => None,
        Effect::Asks(reason) => Some(Asks {
            reason,
            is_opaque: false,
        }),
        Effect::AsksOpaque(reason) => Some(Asks {
            reason,
            is_opaque: true,
        }),
    };
    Step::Inner {
        rest,
        variables,
        asks,
    }
}
