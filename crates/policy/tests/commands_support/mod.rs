//! The labelled commands, and the surroundings they are judged in.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

use std::path::Path;

use adjutant_policy::command::{Analysis, Class, Surroundings, analyse};

/// The surroundings of every labelled command.
pub fn around() -> Surroundings<'static> {
    Surroundings {
        workspace: Path::new("/home/ada/work"),
        cwd: Path::new("/home/ada/work"),
        state_dir: Path::new("/home/ada/.adjutant"),
        home: Path::new("/home/ada"),
    }
}

/// The analysis of `script` there.
pub fn of(script: &str) -> Analysis {
    analyse(script, &around())
}

/// The text behind `\n`, `\t`, `\r`, `\\` and `\u{…}`.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next().unwrap() {
            'n' => plain.push('\n'),
            't' => plain.push('\t'),
            'r' => plain.push('\r'),
            '\\' => plain.push('\\'),
            'u' => {
                let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                plain.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
            }
            other => panic!("unknown escape \\{other} in {text}"),
        }
    }
    plain
}

/// Every labelled command with its label.
pub fn corpus() -> Vec<(Class, String)> {
    include_str!("../commands.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (class, command) = line.split_once('\t').unwrap();
            let class = match class {
                "safe-read" => Class::SafeRead,
                "needs-approval" => Class::NeedsApproval,
                "always-deny" => Class::AlwaysDeny,
                other => panic!("unknown class {other}"),
            };
            (class, unescape(command))
        })
        .collect()
}
