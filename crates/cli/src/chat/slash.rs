//! The commands a person types into a chat. The parser handles them; no model ever sees them.

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// Words for the agent.
    Words(String),
    /// A command.
    Command(Slash),
    /// Something that begins like a command and is none.
    Unknown {
        /// As it was typed.
        typed: String,
        /// What it is most like.
        nearest: Option<&'static str>,
    },
    /// A command with the wrong arguments.
    Misused {
        /// How it is used.
        usage: &'static str,
    },
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slash {
    Help,
    New,
    Stop,
    Model(Option<String>),
    Approve { id: String, answer: String },
    Usage,
    Why(Option<String>),
    History,
    Sessions,
    Quit,
}

/// Name, usage and meaning of every command, in the order of `/help`.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("help", "/help", "show this list"),
    ("new", "/new", "begin a new thread; the old one is kept"),
    ("stop", "/stop", "stop what is running in this session"),
    (
        "model",
        "/model [provider/model]",
        "show or choose the model of this session",
    ),
    (
        "approve",
        "/approve <id> once|session|for 2h|always|deny",
        "answer an open question",
    ),
    ("usage", "/usage", "what was spent, here and today"),
    (
        "why",
        "/why [run]",
        "explain the last run: steps, decisions, cost",
    ),
    ("history", "/history", "show the last messages"),
    ("sessions", "/sessions", "list sessions"),
    ("quit", "/quit", "leave (also Ctrl-D)"),
];

/// Reads a line. `/x: y` means `/x y`; `//x` is words beginning with a slash.
pub(super) fn parse(line: &str) -> Line {
    let line = line.trim();
    if line.is_empty() {
        return Line::Empty;
    }
    let Some(rest) = line.strip_prefix('/') else {
        return Line::Words(line.to_owned());
    };
    if rest.starts_with('/') {
        return Line::Words(rest.to_owned());
    }
    let (word, args) = rest
        .split_once(|c: char| c.is_whitespace() || c == ':')
        .unwrap_or((rest, ""));
    let args = args.trim_start_matches(':').trim();
    let optional = || (!args.is_empty()).then(|| args.to_owned());
    let bare = |slash: Slash| {
        if args.is_empty() {
            Line::Command(slash)
        } else {
            misused(word)
        }
    };
    match word {
        "help" | "?" => Line::Command(Slash::Help),
        "new" => bare(Slash::New),
        "stop" => bare(Slash::Stop),
        "model" => Line::Command(Slash::Model(optional())),
        "approve" => match args.split_once(char::is_whitespace) {
            Some((id, answer)) => Line::Command(Slash::Approve {
                id: id.to_owned(),
                answer: answer.trim().to_owned(),
            }),
            None => misused("approve"),
        },
        "usage" => bare(Slash::Usage),
        "why" => Line::Command(Slash::Why(optional())),
        "history" => bare(Slash::History),
        "sessions" => bare(Slash::Sessions),
        "quit" | "exit" | "q" => bare(Slash::Quit),
        _ => {
            let nearest = crate::nearest(word, COMMANDS.iter().map(|(name, ..)| *name));
            let nearest = COMMANDS
                .iter()
                .map(|(name, ..)| *name)
                .find(|name| Some(*name) == nearest);
            Line::Unknown {
                typed: format!("/{word}"),
                nearest,
            }
        }
    }
}

fn misused(word: &str) -> Line {
    let usage = COMMANDS
        .iter()
        .find(|(name, ..)| *name == word)
        .map_or("/help", |(_, usage, _)| *usage);
    Line::Misused { usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Line) {
        assert_eq!(parse(line), expect, "{line}");
    }

    #[test]
    fn words_go_to_the_agent_and_commands_do_not() {
        check("  ", Line::Empty);
        check(" hello ", Line::Words("hello".to_owned()));
        check(
            "//etc is a folder",
            Line::Words("/etc is a folder".to_owned()),
        );
        check("/new", Line::Command(Slash::New));
        check(
            "/model openai/gpt-5-mini",
            Line::Command(Slash::Model(Some("openai/gpt-5-mini".to_owned()))),
        );
        check("/model", Line::Command(Slash::Model(None)));
        check("/q", Line::Command(Slash::Quit));
    }

    #[test]
    fn a_colon_stands_for_a_space() {
        let expect = Slash::Approve {
            id: "ab12cd".to_owned(),
            answer: "for 2h".to_owned(),
        };
        check("/approve: ab12cd for 2h", Line::Command(expect));
    }

    #[test]
    fn what_is_nearly_a_command_is_not_sent_to_the_agent() {
        check(
            "/histroy",
            Line::Unknown {
                typed: "/histroy".to_owned(),
                nearest: Some("history"),
            },
        );
        check(
            "/xyzzy",
            Line::Unknown {
                typed: "/xyzzy".to_owned(),
                nearest: None,
            },
        );
        check(
            "/approve abc",
            Line::Misused {
                usage: "/approve <id> once|session|for 2h|always|deny",
            },
        );
        check("/stop now", Line::Misused { usage: "/stop" });
    }
}
